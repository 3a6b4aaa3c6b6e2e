//! A folder with a store and some files, and commands that are run in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A workflow that completes: its second task fails once.
pub(crate) const GOOD: &str = r#"
name = "intro"
output = "{{b.text}}"
[inputs]
who = "board"
[[task]]
id = "a"
capability = "diag.echo"
input = { text = "hello {{inputs.who}}" }
[[task]]
id = "b"
capability = "diag.echo"
input = { text = "{{a.text}}!", fail_times = 1 }
retry = { attempts = 2, base = "10ms" }
"#;

/// A workflow of which one task fails for good.
pub(crate) const BAD: &str = r#"
name = "broken"
[[task]]
id = "a"
capability = "diag.echo"
input = { text = "hello" }
[[task]]
id = "b"
capability = "diag.echo"
input = { text = "{{a.text}}!", fail_times = 9 }
retry = { attempts = 2, base = "10ms" }
[[task]]
id = "c"
capability = "diag.echo"
input = { text = "{{b.text}}" }
"#;

/// A workflow that takes its time in its third task, `c`; see [`endless`].
pub(crate) const SLOW: &str = r#"
name = "slow"
[[task]]
id = "a"
capability = "diag.echo"
input = { text = "one" }
[[task]]
id = "b"
capability = "diag.echo"
input = { text = "{{a.text}}, two" }
[[task]]
id = "c"
capability = "diag.echo"
input = { text = "{{b.text}}, three", delay_ms = 4000 }
[[task]]
id = "d"
capability = "diag.echo"
input = { text = "{{c.text}}, four" }
"#;

/// [`SLOW`] with a third task that does not end within a test, however slow the machine is.
pub(crate) fn endless() -> String {
    SLOW.replace("4000", "600000")
}

/// A folder of its own for one test; gone with it.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

/// What a command did.
pub(crate) struct Did {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) fn new() -> World {
        World { folder: tempfile::tempdir().unwrap() }
    }

    /// With a run that completed, one that failed, and documents.
    pub(crate) fn with_runs() -> World {
        let world = World::new();
        world.file("good.toml", GOOD);
        world.file("bad.toml", BAD);
        world.file("docs/otter.md", "# Otters\n\nThe otter eats fish. It lives in rivers.\n");
        assert_eq!(world.run(&["run", "good.toml"]).exit, 0);
        assert_eq!(world.run(&["run", "bad.toml"]).exit, 1);
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A command in this world's folder with this world's store and a tame environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
        command.args(args).current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("LC_ALL", "C.UTF-8").env("RUST_BACKTRACE", "1");
        command.env("CALLBOARD_STORE", "store.db").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Did {
        Did::of(self.command(args).output().unwrap())
    }

    /// Runs what must succeed with `--json`, and reads its answer.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let did = self.run(&[args, &["--json"]].concat());
        assert_eq!(did.exit, 0, "{args:?}: {}", did.err);
        serde_json::from_str(&did.out).unwrap_or_else(|why| panic!("{args:?}: {why}: {}", did.out))
    }

    /// What a command answers; none when it fails, for the store may just be made by another process.
    pub(crate) fn look(&self, args: &[&str]) -> Option<Value> {
        let did = self.run(&[args, &["--json"]].concat());
        (did.exit == 0).then(|| serde_json::from_str(&did.out).unwrap())
    }

    /// Starts a command that goes on.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running(Some(child))
    }

    /// Waits until a condition holds that other processes bring about.
    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(60), "never came: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many tasks of the newest run have completed.
    pub(crate) fn completed(&self) -> usize {
        self.json(&["task", "ls", "--run", "last", "--status", "completed"]).as_array().unwrap().len()
    }

    /// Starts a run of `slow.toml`, and comes back when its third task has begun.
    pub(crate) fn start_slow(&self, args: &[&str]) -> Running {
        let begun = Begun::follow(self);
        let run = self.start(&[&["run", "slow.toml"], args].concat());
        begun.thirds(1);
        run
    }
}

/// Which tasks have begun, as a process tells that was there before them. So nothing has to be started to learn that a
/// task is at work, which takes longer on a slow machine than many a task.
pub(crate) struct Begun<'w> {
    world: &'w World,
    told: tempfile::NamedTempFile,
    _tail: Running,
}

impl<'w> Begun<'w> {
    pub(crate) fn follow(world: &'w World) -> Begun<'w> {
        let told = tempfile::NamedTempFile::new().unwrap();
        let mut tail = world.command(&["event", "tail", "--type", "task.started", "--json"]);
        let mut tail = Running(Some(tail.stdout(told.reopen().unwrap()).stderr(Stdio::piped()).spawn().unwrap()));
        tail.until_err("following");
        Begun { world, told, _tail: tail }
    }

    /// Waits until the third task of so many runs of [`SLOW`] has begun.
    pub(crate) fn thirds(&self, runs: usize) {
        self.world.until("the third task", || {
            let told = std::fs::read_to_string(self.told.path()).unwrap();
            let mut begun: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            // The last line may still be written.
            for event in told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                let id = |field: &str| event[field].as_str().unwrap().to_owned();
                begun.entry(id("run")).or_default().insert(id("task"));
            }
            // The task of the run itself has begun too.
            begun.values().filter(|tasks| tasks.len() > 3).count() >= runs
        });
    }
}

/// A process that ends with its test.
pub(crate) struct Running(Option<Child>);

/// Reads a line of a stream that goes on, byte by byte, so that nothing of what follows is taken.
fn line_of(from: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

impl Running {
    pub(crate) fn of(child: Child) -> Running {
        Running(Some(child))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// The next line that it writes to standard output.
    pub(crate) fn out(&mut self) -> String {
        line_of(self.0.as_mut().unwrap().stdout.as_mut().unwrap())
    }

    /// The next line that it writes to standard error.
    pub(crate) fn err(&mut self) -> String {
        line_of(self.0.as_mut().unwrap().stderr.as_mut().unwrap())
    }

    /// Reads standard error until a line begins so.
    pub(crate) fn until_err(&mut self, beginning: &str) {
        let mut line = self.err();
        while !line.starts_with(beginning) {
            assert!(!line.is_empty(), "ended before {beginning:?}");
            line = self.err();
        }
    }

    pub(crate) fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn end(mut self) -> Did {
        Did::of(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Did {
    pub(crate) fn of(output: Output) -> Did {
        Did {
            exit: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// All three as one text, with what differs from run to run masked.
    pub(crate) fn masked(&self) -> String {
        let part =
            |name: &str, text: &str| if text.is_empty() { String::new() } else { format!("-- {name}\n{}", mask(text)) };
        format!("exit {}\n{}{}", self.exit, part("out", &self.out), part("err", &self.err))
    }
}

/// Compares with what is written in the test, line by line, so that a difference can be read.
#[track_caller]
pub(crate) fn same(did: &Did, expected: &str) {
    let (got, expected) = (did.masked(), expected.trim_start_matches('\n'));
    assert!(got.trim_end() == expected.trim_end(), "expected:\n{expected}\ngot:\n{got}");
}

/// Ids become `RUN`, `TASK` or `ID`, durations `T`, dates `DATE` and times of day `CLOCK`; several blanks become one.
pub(crate) fn mask(text: &str) -> String {
    text.lines().map(|line| mask_line(line) + "\n").collect()
}

fn mask_line(line: &str) -> String {
    let indent = &line[..line.len() - line.trim_start().len()];
    let mut words = line.split_whitespace().peekable();
    let mut masked = Vec::new();
    while let Some(word) = words.next() {
        let is_number = word.parse::<f64>().is_ok();
        let unit = words.next_if(|next| is_number && matches!(next.trim_end_matches([',', ':']), "ms" | "s"));
        masked.push(match unit {
            Some(unit) => unit.replace("ms", "T").replace('s', "T"),
            None => mask_word(word),
        });
    }
    format!("{indent}{}", masked.join(" "))
}

fn mask_word(word: &str) -> String {
    let core = word.trim_end_matches([',', '.', ':']);
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let colons = core.bytes().filter(|b| *b == b':').count();
    let mask = match core.len() {
        36 if hex(core) => "RUN",
        69 if hex(&core.replace('_', "-")) => "TASK",
        8 if hex(core) && core.bytes().any(|b| b.is_ascii_digit()) => "ID",
        24 if core.ends_with('Z') && colons == 2 => "DATE",
        8 if colons == 2 => "CLOCK",
        _ => core,
    };
    format!("{mask}{}", &word[core.len()..])
}
