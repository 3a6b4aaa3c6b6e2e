//! The research lead in a scripted world, and its workers over real files.

use std::path::Path;

use super::{Lead, Reader};
use crate::extract::Claim;
use crate::source::{Limits, Only};
use crate::team::{DATABASE, Findings, Inquiry, Library, WEB};
use crate::testing::World;
use crate::{Agent, Class, Error, Failure};

fn ask(sources: &[&str]) -> Inquiry {
    Inquiry { question: "When was the mill built?".into(), sources: sources.iter().map(|s| (*s).into()).collect() }
}

fn found(text: &str, score: f32) -> Findings {
    let claim = Claim { text: text.into(), source: "a".into(), locator: "line 1".into(), quote: text.into(), score };
    Findings { claims: vec![claim], coverage: 0.9, ..Findings::default() }
}

fn refused(code: &'static str) -> Error {
    Error::Failed { to: "x".into(), failure: Box::new(Failure::permanent("not there").code(code).into_remote()) }
}

#[tokio::test]
async fn the_web_is_idle_without_pages_and_says_why() {
    let world = World::new().answers(DATABASE, |_| Ok(found("In 1843.", 1.0)));
    let findings = Lead.handle(world.context(), ask(&["docs"])).await.unwrap();
    assert_eq!(findings.remarks["research.web"], "no page and no URL in the sources");
    assert_eq!(findings.claims.len(), 1);
}

#[tokio::test]
async fn pages_among_the_files_are_left_to_the_web() {
    let world = World::new().answers(WEB, |_| Ok(found("In 1843, said the page.", 2.0))).answers(DATABASE, |_| {
        let mut findings = found("In 1843.", 1.0);
        findings.reading.left = 1;
        Ok(findings)
    });
    let findings = Lead.handle(world.context(), ask(&["docs"])).await.unwrap();
    let texts: Vec<&str> = findings.claims.iter().map(|claim| claim.text.as_str()).collect();
    assert_eq!(texts, ["In 1843, said the page.", "In 1843."]);
}

#[tokio::test]
async fn a_source_that_fails_is_a_problem_only_when_another_does_not() {
    let world = World::new().answers(DATABASE, |_| Ok(found("In 1843.", 1.0))).answers(WEB, |_| Err(refused("CB0306")));
    let findings = Lead.handle(world.context(), ask(&["docs", "http://a.example/"])).await.unwrap();
    assert_eq!((findings.claims.len(), findings.problems.len()), (1, 1));
    let world = World::new().answers(WEB, |_| Err(refused("CB0306")));
    let failure = Lead.handle(world.context(), ask(&["http://a.example/"])).await.unwrap_err().into_remote();
    assert_eq!(failure.code, "CB0306");
}

#[tokio::test]
async fn a_joined_question_that_nothing_covers_is_to_be_taken_apart() {
    let joined = "Who founded the town of Gera and when was the old mill built?";
    let inquiry = Inquiry { question: joined.into(), ..ask(&["docs"]) };
    let world = World::new()
        .answers(DATABASE, |inquiry| Ok(Findings { question: inquiry.question, coverage: 0.3, ..Findings::default() }));
    let findings = Lead.handle(world.context(), inquiry).await.unwrap();
    assert!(findings.replan.requires_replanning);
    assert_eq!(findings.replan.instead, ["Who founded the town of Gera?", "when was the old mill built?"]);
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mill.md"), "# Mill\n\nThe mill was built in 1843. It burnt in 1901.\n").unwrap();
    std::fs::write(folder.path().join("logo.png"), b"\x89PNG\0\0").unwrap();
    folder
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_worker_quotes_documents_and_says_what_it_could_not_read() {
    let (folder, reader) = (folder(), Reader::new(&Library::default(), Only::Local));
    let sources = [text(folder.path()), text(&folder.path().join("nosuch"))];
    let inquiry = ask(&[&sources[0], &sources[1]]);
    let findings = reader.handle(World::new().context(), inquiry).await.unwrap();
    assert_eq!(findings.claims[0].quote, "The mill was built in 1843.");
    assert_eq!((findings.claims[0].source.as_str(), findings.claims[0].locator.as_str()), ("mill.md", "line 3"));
    let skipped: Vec<&str> = findings.reading.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
    assert_eq!(skipped, ["not text", "no such file or folder"]);
}

#[tokio::test]
async fn a_worker_that_can_read_nothing_fails_for_good() {
    let reader = Reader::new(&Library::default(), Only::Local);
    for (sources, code) in [(&["/nosuch/folder"][..], "CB0301"), (&[], "CB0302")] {
        let failure = reader.handle(World::new().context(), ask(sources)).await.unwrap_err().into_remote();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Permanent, code));
    }
}

#[tokio::test]
async fn a_single_file_that_cannot_be_read_is_told_by_its_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let small = Library::new(Limits { file_bytes: 10_000, ..Limits::default() });
    let long = "All words. ".repeat(1_000);
    let mut files: Vec<(&str, &[u8], &str)> =
        vec![("a.png", b"\x89PNG\0", "CB0304"), ("b.txt", b"", "CB0302"), ("c.txt", long.as_bytes(), "CB0309")];
    let code = if cfg!(feature = "pdf") { "CB0305" } else { "CB0308" };
    files.push(("d.pdf", b"%PDF-1.4 and no more", code));
    files.push(("e.db", b"SQLite format 3\0 and no more", "CB0310"));
    for (name, bytes, code) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let reader = Reader::new(&small, Only::Local);
        let failure = reader.handle(World::new().context(), ask(&[&text(&path)])).await.unwrap_err().into_remote();
        assert_eq!(failure.code, code, "{name}: {}", failure.message);
    }
}

#[tokio::test]
async fn a_run_reads_its_sources_once_and_the_next_run_again() {
    let (folder, library) = (folder(), Library::default());
    let sources = [text(folder.path())];
    let first = library.open("one", &sources, Only::Local).await.unwrap();
    std::fs::write(folder.path().join("more.txt"), "More.").unwrap();
    let (again, other) =
        tokio::join!(library.open("one", &sources, Only::Local), library.open("two", &sources, Only::Local));
    assert!(std::sync::Arc::ptr_eq(&first, &again.unwrap()));
    assert_eq!((first.reading.documents, other.unwrap().reading.documents), (1, 2));
}
