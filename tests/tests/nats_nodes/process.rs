//! Whole processes: nodes that `callboard node start` starts, and a run that they work on.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use callboard_tests::bounds::within;
use callboard_tests::nats::{Config, Server};
use callboard_tests::programs;
use serde_json::Value;
use tempfile::TempDir;

/// How long a process may take to get as far as it must.
const PATIENCE: Duration = Duration::from_secs(60);
/// A question that is researched in several parts, so that there is enough to do for two nodes.
const QUESTION: &str =
    "What is restarted when an agent fails? What happens to a task when its process is killed? What is a dead letter?";

/// A server, a folder with documents, and nodes that die with this.
struct Site {
    server: Server,
    folder: TempDir,
    nodes: Vec<(String, Child)>,
}

impl Site {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        // Built before anything is timed.
        programs::callboard();
        Self { server: Server::with(config), folder: tempfile::tempdir().unwrap(), nodes: Vec::new() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(programs::callboard());
        command.args(words).current_dir(programs::root());
        command.env("HOME", self.folder.path()).env("XDG_DATA_HOME", self.folder.path()).env_remove("RUST_LOG");
        command
    }

    fn far(&self, words: &[&str]) -> Output {
        self.command(words).env("CALLBOARD_BROKER", self.server.url()).output().unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let out = self.far(&[words, &["--json"]].concat());
        serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{words:?}: {e}\n{}", String::from_utf8_lossy(&out.stderr)))
    }

    /// As [`Site::json`], but null when it failed: a node that is late with an answer fails what has to ask it.
    fn answer(&self, words: &[&str]) -> Value {
        let out = self.far(&[words, &["--json"]].concat());
        if out.status.success() { serde_json::from_slice(&out.stdout).unwrap() } else { Value::Null }
    }

    /// Starts nodes and waits until all of them are listed.
    fn start(&mut self, names: &[&str], more: &[&str]) {
        for name in names {
            let log = std::fs::File::create(self.log(name)).unwrap();
            let words = [&["node", "start", "--name", name], more].concat();
            let mut node = self.command(&words);
            node.env("CALLBOARD_BROKER", self.server.url()).stdout(Stdio::null()).stderr(log);
            self.nodes.push(((*name).to_owned(), node.spawn().unwrap()));
        }
        let here = |site: &Self| {
            // Before the first node has made the streams there is nothing to list.
            let listed = String::from_utf8(site.far(&["node", "ls"]).stdout).unwrap();
            let listed: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
            names.iter().all(|name| listed.contains(name))
        };
        self.until("the nodes are listed", here);
    }

    fn log(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("{node}.log"))
    }

    /// Asks again and again, without a pause: each question is a process of its own.
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let logs = self.nodes.iter().map(|(name, _)| std::fs::read_to_string(self.log(name)).unwrap_or_default());
            assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", logs.collect::<String>());
        }
    }

    fn child(&mut self, node: &str) -> &mut Child {
        &mut self.nodes.iter_mut().find(|(name, _)| name == node).unwrap().1
    }

    fn signal(&mut self, node: &str, signal: &str) {
        let pid = self.child(node).id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for (_, node) in &mut self.nodes {
            let _ = (node.kill(), node.wait());
        }
    }
}

fn near(site: &Site, sources: &Path) -> Value {
    let words = ["--store", "memory", "run", "--ask", QUESTION, "--json", "--sources", sources.to_str().unwrap()];
    let out = site.command(&words).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&out.stderr)))
}

/// What was said beside the data, as one line: a terminal's width breaks it anywhere.
fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn same(far: &Value, near: &Value) {
    assert_eq!(far["status"], near["status"], "{far}");
    for field in ["brief", "claims", "dropped", "not_found", "coverage"] {
        assert_eq!(far[field].to_string(), near[field].to_string(), "{field}");
    }
}

#[test]
fn two_nodes_answer_as_one_process_does_and_share_the_work() {
    let mut site = Site::new();
    site.start(&["a", "b"], &[]);
    let docs = programs::root().join("docs");
    let near = near(&site, &docs);
    // The server gives work to those who wait in turn, so one run may by chance be all of one node's.
    let mut nodes = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let far = site.json(&["run", "--ask", QUESTION, "--sources", docs.to_str().unwrap()]);
        same(&far, &near);
        nodes.extend(
            far["tasks"].as_array().unwrap().iter().filter_map(|task| task["node"].as_str().map(str::to_owned)),
        );
    }
    assert_eq!(nodes.len(), 2, "{nodes:?}");
}

#[test]
fn either_node_may_be_killed_while_it_works() {
    for victim in ["a", "b"] {
        let mut site = Site::new();
        site.start(&["a", "b"], &[]);
        let docs = programs::root().join("docs");
        let words = ["run", "--ask", QUESTION, "--json", "--sources", docs.to_str().unwrap()];
        let mut run = site.command(&words);
        run.env("CALLBOARD_BROKER", site.server.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = run.spawn().unwrap();
        let begun = |site: &Site| {
            let tasks = site.json(&["task", "ls"]);
            tasks.as_array().is_some_and(|tasks| tasks.iter().any(|task| task["status"] != "pending"))
        };
        site.until("the run has begun", begun);
        site.signal(victim, "-KILL");
        let out = run.wait_with_output().unwrap();
        let far: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", told(&out)));
        same(&far, &near(&site, &docs));
    }
}

#[test]
fn a_node_that_is_told_to_end_drains_and_ends_well() {
    let mut site = Site::new();
    site.start(&["a", "b", "c"], &["--serve", "diag.echo=4"]);
    let submitted = site.far(&["task", "submit", "diag.echo", "--input", r#"{"text":"x","delay_ms":300}"#]);
    assert!(submitted.status.success(), "{}", told(&submitted));
    site.signal("a", "-TERM");
    assert!(site.far(&["node", "drain", "b"]).status.success());
    for node in ["a", "b"] {
        let ended = site.child(node).wait().unwrap();
        let log = std::fs::read_to_string(site.log(node)).unwrap();
        assert!(ended.success(), "{node}: {ended}\n{log}");
    }
    let gone = |site: &Site| {
        let listed = site.json(&["node", "ls"]);
        listed.as_array().unwrap().iter().all(|row| row["node"] == "c")
    };
    site.until("those that have ended are not listed", gone);
    let ended = |site: &Site| site.json(&["task", "ls"])[0]["status"] == "completed";
    site.until("what they handed back is done", ended);
}

#[test]
fn a_cancel_shows_what_each_node_says() {
    let mut site = Site::new();
    site.start(&["a", "b"], &["--serve", "diag.echo=4"]);
    let input = r#"{"text":"x","delay_ms":600000}"#;
    let number = std::cell::Cell::new(0);
    // One that is late is told as silent or left out. A task is cancelled once, so each try has its own.
    let all_say = |site: &Site| {
        let run = format!("long-{}", number.replace(number.get() + 1));
        assert!(site.far(&["task", "submit", "diag.echo", "--run", &run, "--input", input]).status.success());
        site.until("it is at work", |site| site.answer(&["task", "ls", "--run", &run])[0]["status"] == "in_progress");
        let said = site.json(&["task", "cancel", &run]);
        assert_eq!(said["cancelled"], serde_json::json!([run]), "{said}");
        let nodes = said["nodes"].as_array().unwrap();
        let told: Vec<&Value> = nodes.iter().filter(|node| node["error"].is_null()).collect();
        assert!(told.iter().all(|node| node["zombies"] == serde_json::json!([])), "{said}");
        told.iter().filter_map(|node| node["node"].as_str()).eq(["a", "b"])
    };
    site.until("both say that it has stopped", all_say);
}

#[test]
fn a_name_has_one_node_and_the_newer_is_it() {
    let mut site = Site::new();
    site.start(&["a"], &["--serve", "diag.echo"]);
    let old = site.nodes.remove(0);
    site.start(&["a"], &["--serve", "diag.echo"]);
    let mut old = old.1;
    let ended = old.wait().unwrap();
    assert_eq!(ended.code(), Some(3), "{ended}");
    assert!(site.child("a").try_wait().unwrap().is_none(), "the newer one goes on");
}

/// What the older one says when it ends comes after all that the newer one has said.
#[test]
fn who_took_the_name_of_a_frozen_node_is_found_after_that_has_thawed_and_ended() {
    let mut site = Site::new();
    site.start(&["a"], &["--serve", "diag.echo"]);
    site.signal("a", "-STOP");
    let (_, mut old) = site.nodes.remove(0);
    site.start(&["a"], &["--serve", "diag.echo"]);
    let thawed = Command::new("kill").args(["-CONT", &old.id().to_string()]).status().unwrap();
    assert!(thawed.success());
    assert_eq!(old.wait().unwrap().code(), Some(3));
    // The older one may have given a last sign of life, which stands until the newer one's next.
    let is_found = |site: &Site| site.far(&["agent", "ask", "diag.echo", r#"{"text":"hi"}"#]).status.success();
    site.until("it is found", is_found);
}

#[test]
fn pools_are_scaled_over_nodes_and_keep_their_size() {
    let mut site = Site::new();
    site.start(&["a", "b"], &["--serve", "diag.echo=2"]);
    // A node that is late is left out of the sum, or fails the whole; to scale again changes nothing.
    let scaled = |site: &Site, words: &[&str], slots: u64| {
        let words = [&["pool", "scale", "diag.echo"], words].concat();
        site.until("the nodes are scaled", |site| site.answer(&words)["slots"] == slots);
    };
    scaled(&site, &["5"], 10);
    scaled(&site, &["1", "--node", "b"], 6);
    site.signal("b", "-TERM");
    site.child("b").wait().unwrap();
    site.nodes.retain(|(name, _)| name == "a");
    site.start(&["b"], &["--serve", "diag.echo=2"]);
    let slots = |site: &Site| site.answer(&["pool", "ls"])[0]["slots"] == 6;
    site.until("the node that came back takes the size that was kept", slots);
    let names_another = |site: &Site| {
        let nobody = site.far(&["pool", "scale", "no.such", "5"]);
        assert_eq!(nobody.status.code(), Some(2), "{}", told(&nobody));
        told(&nobody).contains("diag.echo")
    };
    site.until("what nobody serves is told with what somebody does", names_another);
}

#[test]
fn agents_are_asked_and_what_nobody_serves_is_told_at_once() {
    let mut site = Site::new();
    site.start(&["a"], &["--serve", "diag.echo"]);
    assert_eq!(site.json(&["agent", "ask", "diag.echo", r#"{"text":"hi"}"#])["text"], "hi");
    let asked = Instant::now();
    for words in [
        &["agent", "ask", "research.web", "{}"][..],
        &["task", "submit", "research.web", "--input", "{}"],
        &["run", "--ask", "What?", "--sources", "docs"],
    ] {
        let out = site.far(words);
        assert_eq!(out.status.code(), Some(2), "{words:?} {}", told(&out));
        assert!(told(&out).contains("diag.echo"), "{}", told(&out));
    }
    within("three that nobody serves", asked.elapsed(), Duration::from_secs(3));
    let nobody = site.far(&["node", "info", "b"]);
    assert!(told(&nobody).contains("there is no node b"), "{}", told(&nobody));
}

#[test]
fn a_node_opens_no_path_and_no_private_address_of_a_client() {
    let mut site = Site::new();
    site.start(&["a"], &["--team", "research"]);
    let input = r#"{"question":"Who?","sources":["/etc/passwd"]}"#;
    let out = site.far(&["task", "submit", "executive", "--input", input, "--wait"]);
    assert!(told(&out).contains("a node does not open paths of its clients"), "{}", told(&out));
    let address = format!("http://127.0.0.1:{}/", site.server.port());
    let out = site.far(&["run", "--ask", "Who?", "--sources", &address, "--deadline", "20s"]);
    assert!(told(&out).contains("a private address"), "{}", told(&out));
}

#[test]
fn a_broker_that_is_not_there_is_told_with_two_ways_out() {
    let site = Site::new();
    let address = site.server.url();
    site.server.kill();
    for words in [&["tree"][..], &["node", "ls"], &["agent", "ls"], &["pool", "ls"], &["task", "ls"], &["dead", "ls"]] {
        let asked = Instant::now();
        let out = site.far(words);
        within(words[0], asked.elapsed(), Duration::from_secs(2));
        assert_eq!(out.status.code(), Some(3), "{words:?} {}", told(&out));
        let port = address.rsplit(':').next().unwrap();
        for part in [port, "refused", "nats-server -js", "--broker"] {
            assert!(told(&out).contains(part), "{part}: {}", told(&out));
        }
    }
    let node = site.far(&["node", "start", "--name", "a"]);
    assert_eq!(node.status.code(), Some(3), "{}", told(&node));
}

#[test]
fn an_unprovisioned_server_names_the_command_that_helps() {
    let site = Site::new();
    let out = site.far(&["node", "ls"]);
    assert_eq!(out.status.code(), Some(3), "{}", told(&out));
    assert!(told(&out).contains("callboard provision"), "{}", told(&out));
    let made = site.json(&["provision"]);
    assert!(made["streams"].as_array().unwrap().iter().all(|stream| stream[1] == "created"), "{made}");
    let again = site.json(&["provision"]);
    assert!(again["streams"].as_array().unwrap().iter().all(|stream| stream[1] == "unchanged"), "{again}");
    assert!(site.far(&["node", "ls"]).status.success());
}

#[test]
fn a_program_of_ten_lines_is_a_whole_node() {
    let mut site = Site::new();
    site.start(&["a"], &["--serve", "diag.echo"]);
    let mut own = Command::new(programs::example("own_node"));
    own.args(["--name", "c", "--broker", &site.server.url()]).env("HOME", site.folder.path());
    site.nodes.push(("c".into(), own.spawn().unwrap()));
    std::fs::write(site.log("c"), "").unwrap();
    let there = |site: &Site| site.json(&["node", "ls"]).as_array().unwrap().len() == 2;
    site.until("the node of its own is listed", there);
    let said = site.far(&["agent", "ask", "shout.text", "\"otters float\""]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "OTTERS FLOAT\n", "{}", told(&said));
    assert!(site.far(&["node", "drain", "c"]).status.success());
    assert!(site.child("c").wait().unwrap().success());

    let mut wrong = Command::new(programs::example("own_node"));
    let out = wrong.args(["--nmae", "c"]).output().unwrap();
    assert!(!out.status.success() && told(&out).contains("there is no option --nmae"), "{}", told(&out));
}

#[test]
fn wrong_credentials_are_told_as_such_and_right_ones_work() {
    let mut site = Site::with(Config::text("authorization { user: ops, password: secret }"));
    for words in [&["node", "ls"][..], &["node", "start", "--name", "a"], &["tree"]] {
        let out = site.far(words);
        assert_eq!(out.status.code(), Some(3), "{words:?} {}", told(&out));
        assert!(told(&out).contains("does not accept these credentials"), "{}", told(&out));
    }
    let log = std::fs::File::create(site.log("a")).unwrap();
    let mut node = site.command(&["node", "start", "--name", "a", "--serve", "diag.echo"]);
    let address = site.server.url_as("ops", "secret");
    node.env("CALLBOARD_BROKER", &address).stderr(log);
    site.nodes.push(("a".into(), node.spawn().unwrap()));
    let listed = |site: &Site| {
        let out = site.command(&["node", "ls"]).env("CALLBOARD_BROKER", &address).output().unwrap();
        String::from_utf8_lossy(&out.stdout).contains("\na ")
    };
    site.until("the node is listed", listed);
    let log = std::fs::read_to_string(site.log("a")).unwrap();
    assert!(!log.contains("secret"), "{log}");
}
