//! Questions, approvals, their answers and their timeouts outlive every process: nodes, and the server of a broker, are
//! killed while people are waited for, again and again, and the run goes on as if nothing had happened. On a store people
//! answer while nothing runs at all.
#![cfg(unix)]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use callboard_tests::nats::Server;
use callboard_tests::programs;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

/// A question that has to be answered, work that has to be approved, and each rule for when nobody answers. `up` is asked
/// when the two gates are over, so that its time has to do only for what is done with it.
const GATES: &str = r#"
name = "gates"
output = { said = "{{say.text}}", silent = "{{silent}}", up = "{{up}}", lost = "{{lost}}", late = "{{late}}", passed = "{{passed.text}}" }
[[task]]
id = "choose"
capability = "human.default"
input = { question = "which?", choices = ["red", "blue"], who = ["ann", "bob"] }
[[task]]
id = "say"
capability = "diag.echo"
input = { text = "{{choose}} it is" }
approval = { queue = "finance" }
[[task]]
id = "silent"
capability = "human.nobody"
input = { question = "well?", on_timeout = { answer = "by default" } }
deadline = "2s"
[[task]]
id = "up"
capability = "human.nobody"
depends_on = ["say"]
input = { question = "up?", on_timeout = { escalate = "boss" } }
deadline = "25s"
[[task]]
id = "lost"
capability = "human.nobody"
input = { question = "lost?" }
deadline = "2s"
on_failure = "skip"
[[task]]
id = "late"
capability = "diag.echo"
input = { text = "never said" }
approval = { queue = "nobody", within = "2s", on_timeout = "reject" }
on_failure = "skip"
[[task]]
id = "passed"
capability = "diag.echo"
input = { text = "said unasked" }
approval = { queue = "nobody", within = "2s", on_timeout = "approve" }
"#;

/// Processes that work on one run, and the place where it is kept.
struct Stage {
    program: PathBuf,
    folder: tempfile::TempDir,
    server: Option<Server>,
    working: Option<std::process::Child>,
}

impl Stage {
    fn new(server: Option<Server>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gates.toml"), GATES).unwrap();
        Self { program: programs::callboard(), folder, server, working: None }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.folder.path()).env("HOME", self.folder.path()).stdin(Stdio::null());
        match &self.server {
            Some(server) => command.env("CALLBOARD_BROKER", server.url()),
            None => command.env("CALLBOARD_STORE", "store.db"),
        };
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Has the run worked on: by a node on the broker, or by a process on the store.
    fn work(&mut self, on_store: &[&str]) {
        let args =
            if self.server.is_some() { &["node", "start", "--name", "a", "--serve", "diag.echo=2"] } else { on_store };
        let child = self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.working = Some(child);
    }

    /// Kills every process, the server too, and starts the server again.
    fn kill_all(&mut self) {
        let mut child = self.working.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(server) = &self.server {
            server.kill();
            server.restart();
            // What the server had in memory is made again by a node, and people come in through that.
            self.work(&[]);
            let begun = Instant::now();
            while !self.run(&["inbox", "ls"]).status.success() {
                assert!(begun.elapsed() < PATIENCE, "no node comes back");
            }
        }
    }

    /// Has the run gone on with, where nobody does.
    fn go_on(&mut self) {
        if self.server.is_none() {
            self.work(&["workflow", "resume", "gates-1", "--stay"]);
        }
    }

    /// The question of a queue, once it is asked.
    fn asked(&self, queue: &str, what: &str) -> String {
        let begun = Instant::now();
        loop {
            let ls = self.run(&["inbox", "ls", "--queue", queue, "--json"]);
            let all: Value = serde_json::from_slice(&ls.stdout).unwrap_or_default();
            let one = all.as_array().into_iter().flatten().find(|one| one["question"].as_str().unwrap().contains(what));
            if let Some(one) = one {
                return one["id"].as_str().unwrap().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{what} is not asked: {ls:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn answer(&self, question: &str, answer: &str, who: &str) -> (i32, String) {
        let said = self.run(&["inbox", "answer", question, answer, "--as", who]);
        (said.status.code().unwrap(), String::from_utf8(said.stderr).unwrap())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.working.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn gates_survive(mut stage: Stage) {
    if stage.server.is_some() {
        stage.work(&[]);
        // It is submitted as soon as the node is there, and left when nothing but people is waited for.
        let begun = Instant::now();
        while stage.run(&["run", "gates.toml", "--run", "gates-1"]).status.code() != Some(6) {
            assert!(begun.elapsed() < PATIENCE, "it does not wait for people");
        }
    } else {
        stage.work(&["run", "gates.toml", "--run", "gates-1", "--stay"]);
    }
    let choose = stage.asked("default", "which?");
    stage.kill_all();
    let (exit, said) = stage.answer(&choose, "green", "ann");
    assert!(exit == 2 && said.contains("red, blue"), "{said}");
    let (exit, said) = stage.answer(&choose, "red", "eve");
    assert!(exit != 0 && said.contains("it is for ann, bob"), "{said}");
    assert_eq!(stage.answer(&choose, "red", "ann").0, 0);
    let (exit, said) = stage.answer(&choose, "blue", "bob");
    assert!(exit == 2 && said.contains("was answered by ann"), "{said}");
    assert_eq!(stage.answer(&choose, "red", "ann").0, 0, "said twice is said once");

    stage.go_on();
    let approve = stage.asked("finance", "may diag.echo be given this?");
    stage.kill_all();
    let (exit, said) = stage.answer(&approve, r#"{"edit": {"text": 7}}"#, "cfo");
    assert!(exit == 2, "{said}");
    assert_eq!(stage.answer(&approve, r#"{"edit": {"text": "crimson it is"}}"#, "cfo").0, 0);
    let (exit, said) = stage.answer(&approve, r#"{"reject": "no"}"#, "ceo");
    assert!(exit == 2 && said.contains("was answered by cfo"), "{said}");

    stage.go_on();
    // Its time goes on while nobody is there to look at it.
    stage.asked("nobody", "up?");
    stage.kill_all();
    stage.go_on();
    let up = stage.asked("boss", "up?");
    stage.kill_all();
    assert_eq!(stage.answer(&up, "go", "zoe").0, 0);
    stage.go_on();
    let ended =
        if stage.server.is_some() { stage.run(&["task", "watch", "gates-1", "--stay", "--json"]) } else { stage.end() };
    let shown = stage.run(&["task", "show", "gates-1", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let expected = serde_json::json!({
        "said": "crimson it is", "silent": "by default", "up": "go", "lost": null, "late": null, "passed": "said unasked",
    });
    assert_eq!(shown["status"], "completed", "{shown}\n{ended:?}");
    assert_eq!(shown["result"], expected, "{shown}");
}

impl Stage {
    /// Waits for the end of the process that works.
    fn end(&mut self) -> Output {
        self.working.take().unwrap().wait_with_output().unwrap()
    }
}

#[test]
fn on_a_store() {
    gates_survive(Stage::new(None));
}

#[test]
fn on_a_broker() {
    gates_survive(Stage::new(Some(Server::start())));
}
