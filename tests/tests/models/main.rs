//! Language models: the team with one behind it, against servers that nobody here wrote and against scripts.
//!
//! Goal: whatever a model or its provider does, no task is lost, and nothing that it invented is in a brief. Method:
//! `llmock` breaks on demand and judges us; a real llama.cpp server counts itself; a scripted model invents to order.
#![cfg(unix)]

mod dialects;
mod fleet;
mod invents;
mod llama;
mod mock;
mod named;
mod shared;
mod started;

use std::path::Path;
use std::time::Duration;

use callboard::llm::{ModelConfig, Models};
use callboard::team::Inquiry;

/// The models that are configured when this one is named, at this address.
fn config(model: &str, url: &str) -> ModelConfig {
    let default = vec![model.parse().expect("a model")];
    ModelConfig { default, url: Some(url.into()), silence: Some(Duration::from_secs(60)), ..ModelConfig::default() }
}

fn models(config: ModelConfig) -> Models {
    Models::open(&config, |_| None).expect("the provider is known")
}

fn inquiry(question: &str, folder: &Path) -> Inquiry {
    Inquiry { question: question.into(), sources: vec![folder.to_str().expect("a Unicode path").into()] }
}

/// A folder with one document.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("mill.md"), text).expect("a document");
    folder
}

#[test]
fn a_provider_that_nobody_knows_is_refused_before_anything_is_asked() {
    let wrong = Models::open(&config("nobody/x", "http://127.0.0.1:1/v1"), |_| None).unwrap_err().to_string();
    assert!(wrong.contains("nobody"), "{wrong}");
    let keyless = ModelConfig { url: None, ..config("openai/x", "") };
    let wrong = Models::open(&keyless, |_| None).unwrap_err().to_string();
    assert!(wrong.contains("OPENAI_API_KEY"), "{wrong}");
}
