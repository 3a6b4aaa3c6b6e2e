//! A door as a process, with notes that its team reads.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use callboard_tests::process::Child;
use callboard_tests::programs;
use tempfile::TempDir;

/// The key of the doors here.
pub(crate) const KEY: &str = "a-key-for-the-tests";
/// What the team reads unless it is given something else.
pub(crate) const NOTES: &str =
    "# Otters\n\nOtters sleep on their backs. They hold hands so that they do not drift apart.\n";
/// How long a door may take to close.
const PATIENCE: Duration = Duration::from_secs(60);

/// A door, and the folder of its store.
pub(crate) struct Door {
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    process: Child,
}

impl Door {
    /// One on a store of its own, with more options.
    pub(crate) fn on_a_store(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("main.db").display().to_string();
        Self::open(folder, &[&["--store", &store], options].concat())
    }

    /// One beside the nodes of a broker.
    pub(crate) fn on_a_broker(url: &str, options: &[&str]) -> Self {
        Self::open(tempfile::tempdir().expect("a folder"), &[&["--broker", url], options].concat())
    }

    fn open(folder: TempDir, options: &[&str]) -> Self {
        let notes = folder.path().join("notes");
        std::fs::create_dir(&notes).expect("a folder");
        std::fs::write(notes.join("otters.md"), NOTES).expect("a file");
        let mut command = callboard(folder.path());
        command.args(["serve", "--http", "127.0.0.1:0", "--public", "executive", "diag.echo", "--sources"]);
        let mut process = Child::start(command.arg(&notes).args(options));
        let Some(url) = process.word() else { panic!("{:?}", process.end()) };
        Self { folder, url, process }
    }

    /// Closes it, which must go well.
    pub(crate) fn close(mut self) {
        self.process.terminate();
        assert!(self.process.ends_within(PATIENCE), "it closes");
        let ended = self.process.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    /// Waits until a client has said all of these; what it said after each.
    pub(crate) fn says(&self, client: Child, steps: &[&str]) {
        let mut client = client;
        for step in steps {
            if !client.says(step) {
                panic!("{step}: {:?}", client.end());
            }
        }
        let ended = client.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// The command line, with this folder as its home.
pub(crate) fn callboard(home: &Path) -> Command {
    let mut command = Command::new(programs::callboard());
    command.env("HOME", home).env("CALLBOARD_HTTP_KEY", KEY).env_remove("XDG_DATA_HOME").env_remove("CALLBOARD_STORE");
    command
}
