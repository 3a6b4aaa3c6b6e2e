//! What a server is started with.

use std::path::{Component, Path};

/// The configuration of a [`Server`](super::Server), beyond port, address and store, which it chooses itself.
#[derive(Clone, Debug, Default)]
pub struct Config {
    text: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Config {
    /// Lines in the server's own language.
    pub fn text(text: &str) -> Self {
        Self::default().and(text)
    }

    /// A file, used as it is. Its own includes are found beside it.
    pub fn file(path: &Path) -> Self {
        Self::default().and_file(path)
    }

    /// Further lines.
    #[must_use]
    pub fn and(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self.text.push('\n');
        self
    }

    /// A further file.
    #[must_use]
    pub fn and_file(self, path: &Path) -> Self {
        let path = path.canonicalize().unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        // The server looks below the including file even for an absolute path, so we climb: above the root is the root.
        let names = path.components().filter(|part| matches!(part, Component::Normal(_))).map(|part| part.as_os_str());
        let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
        self.and(&format!("include \"{}{}\"", "../".repeat(32), names.join("/")))
    }

    /// A further argument on the command line, which goes before what files say.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A variable that files may refer to as `$NAME`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("server.conf"), &self.text).expect("the configuration is written");
    }

    pub(super) fn arguments(&self, folder: &Path, port: u16) -> Vec<String> {
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let ours = ["--config", &path("server.conf"), "--addr", "127.0.0.1", "--port", &port.to_string()];
        let store = ["--jetstream", "--store_dir", &path("store")];
        ours.into_iter().chain(store).map(str::to_owned).chain(self.arguments.iter().cloned()).collect()
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (&**name, &**value))
    }
}
