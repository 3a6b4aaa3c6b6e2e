//! The fenced blocks of a page.

use std::path::Path;

use callboard_tests::programs::root;

/// A page with its blocks, in order.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) blocks: Vec<Block>,
}

/// One fenced block.
#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    /// Of its first fence, from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Page {
    /// README.md and all of docs/.
    pub(crate) fn all() -> Vec<Page> {
        let mut paths = vec!["README.md".to_owned()];
        collect(&root().join("docs"), &mut paths);
        paths.sort();
        paths.into_iter().map(|path| Page { blocks: of(&read(&path)), path }).collect()
    }
}

impl Block {
    /// Whether a reader types it.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(&*self.language, "sh" | "console")
    }

    /// The name of the file that it is, if one stands in its first line: `# intro.toml`.
    pub(crate) fn file_name(&self) -> Option<&str> {
        let name = self.text.lines().next()?.strip_prefix("# ")?;
        (self.language == "toml" && name.ends_with(".toml") && !name.contains([' ', '/'])).then_some(name)
    }
}

/// The blocks of a text.
pub(crate) fn of(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { line: number + 1, language: language.trim().into(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    blocks
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn collect(folder: &Path, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            let short = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            paths.push(short);
        }
    }
}

#[test]
fn blocks_are_found_with_their_language() {
    let found = of("Words.\n\n```toml\n# a.toml\nb = 1\n```\n\n```sh\nls\n```\n");
    let languages: Vec<(&str, usize)> = found.iter().map(|block| (&*block.language, block.line)).collect();
    assert_eq!(languages, [("toml", 3), ("sh", 8)]);
    assert_eq!((found[0].file_name(), found[1].is_typed()), (Some("a.toml"), true));
    assert_eq!(of("```toml\n[dependencies]\n```\n")[0].file_name(), None);
}
