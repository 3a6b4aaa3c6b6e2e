//! The questions, and their paragraphs as a folder of files.

use std::path::PathBuf;

use serde::Deserialize;

/// A paragraph with the questions that it answers.
pub(crate) struct Paragraph {
    pub(crate) text: String,
    pub(crate) questions: Vec<Question>,
}

pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) gold: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Context>,
}

#[derive(Deserialize)]
struct Context {
    context: String,
    qas: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    question: String,
    answers: Vec<Gold>,
}

#[derive(Deserialize)]
struct Gold {
    text: String,
}

/// All paragraphs, or none with a line that says so.
pub(crate) fn paragraphs() -> Option<Vec<Paragraph>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/xquad");
    let folder = std::env::var_os("CALLBOARD_XQUAD").map_or(beside, PathBuf::from);
    let path = folder.join("xquad.en.json");
    let Ok(bytes) = std::fs::read(&path) else {
        println!("SKIPPED: no {}; set CALLBOARD_XQUAD to the folder of xquad.en.json", path.display());
        return None;
    };
    let file: File = serde_json::from_slice(&bytes).expect("SQuAD's format");
    let contexts = file.data.into_iter().flat_map(|article| article.paragraphs);
    Some(contexts.map(paragraph).collect())
}

fn paragraph(context: Context) -> Paragraph {
    let question = |asked: Asked| Question {
        text: asked.question,
        // Quotes have their white space collapsed, so gold answers must too.
        gold: asked.answers.iter().map(|gold| gold.text.split_whitespace().collect::<Vec<_>>().join(" ")).collect(),
    };
    Paragraph { text: context.context, questions: context.qas.into_iter().map(question).collect() }
}

/// The name of the file of paragraph `number`.
pub(crate) fn file_name(number: usize) -> String {
    format!("{number:03}.txt")
}

/// One file for each paragraph.
pub(crate) fn as_files(paragraphs: &[Paragraph]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temp folder");
    for (number, paragraph) in paragraphs.iter().enumerate() {
        std::fs::write(folder.path().join(file_name(number)), &paragraph.text).expect("a file");
    }
    folder
}
