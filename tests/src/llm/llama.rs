use std::process::Command;

use super::Server;
use crate::programs::{folder, root};

/// A real server with a real, small model: llama.cpp with SmolLM2, by `scripts/llama-server`.
pub struct Llama(Server);

impl Llama {
    /// One on a free port.
    ///
    /// # Panics
    /// When it cannot be had: whoever asks for it tests nothing without.
    pub fn start() -> Self {
        let target = folder().parent().expect("a profile lies in the target directory").to_owned();
        let mut command = Command::new(root().join("scripts/llama-server"));
        Self(Server::start(command.env("CARGO_TARGET_DIR", target)).ready("/health"))
    }

    /// Where its model is asked.
    pub fn url(&self) -> String {
        format!("{}/v1", self.0.address)
    }

    /// What it has counted itself: tokens read, those that it remembered included, and tokens said.
    pub fn counted(&self) -> (u64, u64) {
        let metrics = self.0.ask("GET", "/metrics", "").expect("it has metrics");
        let value = |name: &str| -> u64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("llamacpp:{name} ")));
            line.and_then(|value| value.trim().parse::<f64>().ok()).map_or(0, |value| value as u64)
        };
        let read = value("prompt_tokens_total") + value("prompt_tokens_cached_total");
        (read, value("tokens_predicted_total"))
    }
}
