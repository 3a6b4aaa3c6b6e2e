use std::fs;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temp folder")
}

fn load_folder(folder: &tempfile::TempDir) -> Result<Loaded, SourceError> {
    load(&[folder.path().to_str().expect("a Unicode path")], Only::All, &Limits::default())
}

#[test]
fn a_folder_gives_relative_names_in_order_and_says_what_it_skipped() {
    let root = folder();
    fs::create_dir_all(root.path().join("b/.git")).expect("folders");
    fs::write(root.path().join("b/two.md"), "# Two\n\nText.").expect("file");
    fs::write(root.path().join("a.txt"), "One.").expect("file");
    fs::write(root.path().join("logo.png"), b"\x89PNG\0\0").expect("file");
    fs::write(root.path().join("latin.txt"), b"caf\xe9").expect("file");
    fs::write(root.path().join("b/.git/config"), "hidden").expect("file");
    let loaded = load_folder(&root).expect("documents");
    let names: Vec<&str> = loaded.documents.iter().map(|document| document.source.as_str()).collect();
    assert_eq!(names, ["a.txt", "b/two.md"]);
    let skipped: Vec<(&str, &str)> = loaded.skipped.iter().map(|s| (s.source.as_str(), s.why.as_str())).collect();
    assert_eq!(skipped, [("latin.txt", "not UTF-8"), ("logo.png", "not text")]);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let (root, outside) = (folder(), folder());
    fs::write(outside.path().join("secret.txt"), "Secret.").expect("file");
    fs::write(root.path().join("a.txt"), "One.").expect("file");
    std::os::unix::fs::symlink(outside.path(), root.path().join("out")).expect("link");
    std::os::unix::fs::symlink(root.path(), root.path().join("loop")).expect("link");
    let loaded = load_folder(&root).expect("documents");
    assert_eq!(loaded.documents.len(), 1);
    assert_eq!(loaded.skipped.len(), 2);
}

#[cfg(unix)]
#[test]
fn what_may_never_end_is_refused() {
    let error = load(&["/dev/zero"], Only::All, &Limits::default()).expect_err("a device").to_string();
    assert!(error.starts_with("cannot read /dev/zero: neither a file nor a folder"), "{error}");
}

#[test]
fn nothing_to_read_is_an_error_that_names_the_source() {
    let root = folder();
    assert!(matches!(load_folder(&root), Err(SourceError::Nothing { skipped: 0, .. })));
    fs::write(root.path().join("x.bin"), b"\0\0").expect("file");
    let error = load_folder(&root).expect_err("nothing to read").to_string();
    assert!(error.contains("x.bin: not text") && error.contains(SourceError::ALLOWED), "{error}");
    let missing = load(&["no/such/place"], Only::All, &Limits::default());
    assert!(matches!(missing, Err(SourceError::Missing { path, .. }) if path == "no/such/place"));
    assert_eq!(load::<&str>(&[], Only::All, &Limits::default()), Err(SourceError::NoneNamed));
}

#[test]
fn limits_hold_and_say_so() {
    let root = folder();
    for name in ["a.txt", "b.txt", "c.txt"] {
        fs::write(root.path().join(name), "0123456789").expect("file");
    }
    let source = [root.path().to_str().expect("a Unicode path")];
    let whys = |limits: &Limits| -> Vec<String> {
        load(&source, Only::All, limits).expect("documents").skipped.into_iter().map(|skipped| skipped.why).collect()
    };
    assert_eq!(whys(&Limits { files: 2, ..Limits::default() }), ["more than 2 files"]);
    assert_eq!(whys(&Limits { total_bytes: 25, ..Limits::default() }), ["more than 25 bytes in all sources"]);
    assert_eq!(whys(&Limits { passages: 2, ..Limits::default() }), ["cut: more than 2 passages"]);
    let error = load(&source, Only::All, &Limits { file_bytes: 9, ..Limits::default() });
    assert!(matches!(error, Err(SourceError::Nothing { skipped: 3, .. })));
}

#[test]
fn a_mistyped_path_is_told_its_nearest_name() {
    let root = folder();
    fs::create_dir(root.path().join("docs")).expect("a folder");
    let wanted = root.path().join("dosc");
    let error = load(&[wanted.to_str().expect("a Unicode path")], Only::All, &Limits::default());
    let near = root.path().join("docs").to_string_lossy().into_owned();
    assert!(matches!(error, Err(SourceError::Missing { nearest: Some(nearest), .. }) if nearest == near));
}

#[test]
fn a_database_is_read_by_rows_and_says_which_tables_it_cut() {
    let root = folder();
    let database = rusqlite::Connection::open(root.path().join("a.db")).expect("a database");
    database.execute_batch("CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('one'), ('two');").expect("rows");
    drop(database);
    let source = [root.path().to_str().expect("a Unicode path")];
    let loaded = load(&source, Only::Local, &Limits { total_bytes: 4, ..Limits::default() }).expect("documents");
    assert_eq!(loaded.documents[0].kind, Kind::Sqlite);
    assert_eq!(loaded.documents[0].passages.len(), 1);
    assert_eq!(
        (loaded.skipped[0].source.as_str(), loaded.skipped[0].why.as_str()),
        ("a.db, table t", "cut: too much text")
    );
}

#[cfg(feature = "web")]
#[test]
fn pages_and_files_are_shared_between_two_readers() {
    let root = folder();
    fs::write(root.path().join("a.html"), "<p>Hello.</p>").expect("file");
    fs::write(root.path().join("b.txt"), "World.").expect("file");
    let source = [root.path().to_str().expect("a Unicode path")];
    let names = |only| -> (Vec<String>, usize) {
        let loaded = load(&source, only, &Limits::default()).expect("documents");
        (loaded.documents.into_iter().map(|document| document.source).collect(), loaded.unwanted)
    };
    assert_eq!(names(Only::Web), (vec!["a.html".to_owned()], 1));
    assert_eq!(names(Only::Local), (vec!["b.txt".to_owned()], 1));
    assert!(is_url("HTTPS://example.org") && !is_url("ftp://example.org") && !is_url("docs/a.md"));
}
