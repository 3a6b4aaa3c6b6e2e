//! The files of the workspace, as text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use callboard_tests::programs::root;

/// Every text file that belongs to the project, by its path from the root.
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the workspace; what is built, and what version control keeps, is left out.
    pub(crate) fn read() -> Self {
        let mut files = BTreeMap::new();
        walk(root(), root(), &mut files);
        Self { files }
    }

    /// A file that must be there.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files.get(path).unwrap_or_else(|| panic!("there is no {path}"))
    }

    /// Whether a file or a folder is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.contains_key(path) || self.under(&format!("{path}/")).next().is_some()
    }

    pub(crate) fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files.iter().filter(move |(path, _)| path.starts_with(folder)).map(|(path, text)| (&**path, &**text))
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.under("").filter(|(path, _)| path.ends_with(".rs"))
    }

    pub(crate) fn markdown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.under("").filter(|(path, _)| path.ends_with(".md"))
    }

    /// The modules directly below each crate's root, as `crate/module`.
    pub(crate) fn rooms(&self) -> BTreeSet<String> {
        let room = |path: &str| {
            let (package, inside) = path.split_once("/src/")?;
            let module = inside.split('/').next()?.trim_end_matches(".rs");
            let product = !package.starts_with("tests") && !package.starts_with("examples");
            (product && !["lib", "main", "tests"].contains(&module)).then(|| format!("{package}/{module}"))
        };
        self.sources().filter_map(|(path, _)| room(path)).collect()
    }
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == ".git" || name.starts_with("target") {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let short = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            files.insert(short, text);
        }
    }
}
