//! One question is one trace over nodes that are processes, as an OTLP receiver sees it that nobody here has written
//! (`oteltap`): the spans of both nodes hang together, and an attempt that takes over from a killed node links to what
//! was lost.
#![cfg(unix)]

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callboard_tests::nats::{Port, Server};
use callboard_tests::{programs, python};
use serde_json::Value;
use tempfile::TempDir;

/// How long a process may take to get as far as it must.
const PATIENCE: Duration = Duration::from_secs(60);
const QUESTION: &str = "What is restarted when an agent fails? What is a dead letter?";

/// A server, a collector, and nodes that tell it what they do. All die with this.
struct Site {
    server: Server,
    port: Port,
    folder: TempDir,
    children: HashMap<String, Child>,
}

/// A span as it came in.
struct Span(Value);

impl Span {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    fn attribute(&self, name: &str) -> Option<&Value> {
        let all = self.0["attributes"].as_array()?;
        let value = &all.iter().find(|one| one["key"] == name)?["value"];
        value.as_object()?.values().next()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.attribute(name).is_some_and(|found| found == value)
    }
}

impl Site {
    fn new() -> Self {
        programs::callboard();
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        let mut site = Self { server, port: Port::reserve(), folder, children: HashMap::new() };
        let mut tap = Command::new(python::interpreter());
        tap.args(["-u", "-m", "oteltap", "--port", &site.port.number().to_string()]);
        site.spawn("tap", tap);
        site.until("the collector listens", |site| TcpStream::connect(("127.0.0.1", site.port.number())).is_ok());
        site
    }

    fn spawn(&mut self, name: &str, mut command: Command) {
        let (out, err) = (File::create(self.said(name, "out")).unwrap(), File::create(self.said(name, "err")).unwrap());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        self.children.insert(name.to_owned(), child);
    }

    fn said(&self, name: &str, what: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.{what}"))
    }

    /// The command line, on this server. Only nodes are told of the collector.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(programs::callboard());
        command.args(words).current_dir(programs::root()).env("CALLBOARD_BROKER", self.server.url());
        command.env("HOME", self.folder.path()).env("XDG_DATA_HOME", self.folder.path()).env_remove("RUST_LOG");
        command
    }

    fn json(&self, words: &[&str]) -> Value {
        let out = self.command(words).arg("--json").output().unwrap();
        let why = String::from_utf8_lossy(&out.stderr);
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}\n{why}"))
    }

    /// Starts a node and waits until it is listed.
    fn node(&mut self, name: &str, serves: &[&str]) {
        let mut node = self.command(&[&["node", "start", "--name", name, "--serve"], serves].concat());
        node.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", self.port.number()));
        node.env("OTEL_BSP_SCHEDULE_DELAY", "100").env("OTEL_METRIC_EXPORT_INTERVAL", "500");
        self.spawn(name, node);
        self.until(&format!("{name} is listed"), |site| {
            let out = site.command(&["node", "ls", "--json"]).output().unwrap();
            let listed: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
            listed.as_array().is_some_and(|all| all.iter().any(|one| one["node"] == name))
        });
    }

    fn signal(&self, name: &str, signal: &str) {
        let pid = self.children[name].id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Ends a node in an orderly way: what it has not told yet it tells now.
    fn end(&mut self, name: &str) {
        self.signal(name, "-TERM");
        assert!(self.children.remove(name).unwrap().wait().unwrap().success());
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let logs = self.children.keys().map(|name| std::fs::read_to_string(self.said(name, "err")).unwrap());
            assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", logs.collect::<String>());
        }
    }

    /// Each whole line that the collector has printed.
    fn told(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.said("tap", "out")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The spans of one trace so far.
    fn trace(&self, trace: &str) -> Vec<Span> {
        self.told().into_iter().filter(|one| one["traceId"] == trace).map(Span).collect()
    }

    /// The trace of a run, found by what its spans say of themselves.
    fn trace_of(&self, run: &str) -> Option<String> {
        let mut spans = self.told().into_iter().map(Span).filter(|span| span.is("callboard.run", run));
        spans.next().map(|span| span.text("traceId").to_owned())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            let _ = (child.kill(), child.wait());
        }
    }
}

/// Asserts that the spans are one tree; gives its root.
#[track_caller]
fn tree(spans: &[Span]) -> &Span {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.text("spanId")).collect();
    assert_eq!(ids.len(), spans.len(), "no span is told twice");
    let (roots, others): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.text("parentSpanId").is_empty());
    for span in others {
        assert!(ids.contains(span.text("parentSpanId")), "{} hangs below nothing", span.text("name"));
    }
    assert_eq!(roots.len(), 1, "{:?}", roots.iter().map(|span| span.text("name")).collect::<Vec<_>>());
    roots[0]
}

fn parent<'a>(spans: &'a [Span], of: &Span) -> &'a Span {
    spans.iter().find(|span| span.text("spanId") == of.text("parentSpanId")).expect("its parent is told")
}

#[test]
fn one_question_is_one_trace_over_two_nodes() {
    let mut site = Site::new();
    let far = ["research.web", "research.database", "content.writer", "content.editor", "qa.fact", "qa.style"];
    site.node("workers", &far);
    site.node("leads", &["executive", "research.lead", "content.lead", "qa.lead"]);
    let docs = site.folder.path().join("docs");
    std::fs::create_dir(&docs).unwrap();
    for name in ["dead-letters.md", "tree.md"] {
        std::fs::copy(programs::root().join("docs/topics").join(name), docs.join(name)).unwrap();
    }
    let answer = site.json(&["run", "--ask", QUESTION, "--sources", docs.to_str().unwrap()]);
    let run = answer["run"].as_str().expect("a run").to_owned();
    site.until("metrics are told", |site| {
        let told = site.told();
        ["gen_ai.invoke_agent.duration", "callboard.lane.frames", "callboard.agent.slots"]
            .iter()
            .all(|name| told.iter().any(|one| one["name"] == *name))
    });
    site.end("leads");
    site.end("workers");

    let trace = site.trace_of(&run).expect("the run was told");
    let spans = site.trace(&trace);
    let root = tree(&spans);
    assert_eq!(root.text("name"), "invoke_agent executive");
    assert!(spans.iter().all(|span| span.is("callboard.run", &run)), "nothing else is in it");
    let nodes: BTreeSet<_> = spans.iter().filter_map(|span| span.attribute("callboard.node")?.as_str()).collect();
    assert_eq!(nodes, BTreeSet::from(["leads", "workers"]));
    // Who works below whom, across the nodes.
    for (worker, lead) in
        [("research.database", "research.lead"), ("content.writer", "content.lead"), ("qa.fact", "qa.lead")]
    {
        let worked: Vec<_> = spans.iter().filter(|span| span.is("callboard.capability", worker)).collect();
        assert!(!worked.is_empty(), "{worker} was at work");
        for span in worked {
            assert!(parent(&spans, span).is("callboard.capability", lead), "{worker} hangs below {lead}");
            assert!(span.is("callboard.node", "workers") && parent(&spans, span).is("callboard.node", "leads"));
        }
    }
}

#[test]
fn who_takes_over_from_a_killed_node_links_to_what_was_lost() {
    let mut site = Site::new();
    let flow = site.folder.path().join("flow.toml");
    let text = "name = \"two\"\n[[task]]\nid = \"short\"\ncapability = \"diag.echo\"\ninput = { text = \"a\" }\n\
        [[task]]\nid = \"long\"\ncapability = \"diag.echo\"\n\
        input = { text = \"{{short.text}}\", delay_ms = 15000 }\n";
    std::fs::write(&flow, text).unwrap();
    site.node("first", &["diag.echo"]);
    let run = site.command(&["run", flow.to_str().unwrap(), "--json", "--run", "flow"]);
    site.spawn("client", run);
    let ended = |site: &Site| site.told().into_iter().map(Span).any(|span| span.is("callboard.run", "flow"));
    site.until("the short task is done and told", ended);
    let at_work = |site: &Site| {
        let words = ["task", "ls", "--run", "flow", "--capability", "diag.echo", "--json"];
        let tasks: Value = serde_json::from_slice(&site.command(&words).output().unwrap().stdout).unwrap_or_default();
        let is = |status: &str| tasks.as_array().into_iter().flatten().any(|task| task["status"] == status);
        is("completed") && is("in_progress")
    };
    site.until("the long task is at work", at_work);
    // Before the other node starts, which takes as long as the machine needs: the long task must not end meanwhile.
    site.signal("first", "-KILL");
    site.node("second", &["diag.echo"]);
    let done = site.children.remove("client").unwrap().wait().unwrap();
    assert!(done.success(), "{}", std::fs::read_to_string(site.said("client", "err")).unwrap());
    site.end("second");
    let counted = site.told().into_iter().rfind(|one| one["name"] == "callboard.task.takeovers");
    let points = counted.expect("takeovers are counted")["sum"]["dataPoints"].as_array().unwrap().len();
    assert_eq!(points, 2, "the workflow and the long task");

    let spans = site.trace(&site.trace_of("flow").unwrap());
    let of = |outcome: &str| {
        let is_it = |span: &&Span| span.is("callboard.capability", "workflow") && span.is("callboard.outcome", outcome);
        let all = || spans.iter().map(|span| span.0.to_string()).collect::<Vec<_>>().join("\n");
        spans.iter().find(is_it).unwrap_or_else(|| panic!("no workflow is {outcome}:\n{}", all()))
    };
    let (lost, completed) = (of("lost"), of("completed"));
    // A suspect that only waits is parked at once, so the attempt that took over need not be the one that ended it.
    let took_over = |span: &&Span| {
        span.is("callboard.capability", "workflow") && span.attribute("callboard.takeover") == Some(&Value::Bool(true))
    };
    let took_over = spans.iter().find(took_over).unwrap_or(completed);
    assert_eq!((lost.text("name"), took_over.text("name")), ("invoke_workflow two", "invoke_workflow two"));
    assert!(took_over.is("callboard.node", "second"));
    assert_eq!(took_over.attribute("callboard.takeover"), Some(&Value::Bool(true)));
    assert_eq!(took_over.0["links"].as_array().unwrap().len(), 1);
    assert_eq!(took_over.0["links"][0]["spanId"], lost.0["spanId"]);
    // The node that died had told of the short task, and named its own attempt as the parent: that id is the one.
    let short = spans.iter().find(|span| span.is("callboard.node", "first")).expect("told before the node died");
    assert_eq!(short.text("parentSpanId"), lost.text("spanId"));
    // Both attempts of the workflow are roots of one trace, for nobody was traced who submitted it; all else hangs on.
    let ids: BTreeSet<_> = spans.iter().map(|span| span.text("spanId")).collect();
    assert_eq!(ids.len(), spans.len(), "no span is told twice");
    for span in spans.iter().filter(|span| span.text("name") == "invoke_agent diag.echo") {
        assert!(ids.contains(span.text("parentSpanId")), "{:?}", span.0);
    }
}

/// One collector is not there, the other takes connections and never answers.
#[test]
fn a_collector_that_is_away_delays_no_work_and_says_nothing_unasked() {
    let (closed, silent) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let run = |port: u16, more: &[&str]| {
        let mut command = Command::new(programs::callboard());
        command.args(["--store", "memory", "task", "submit", "diag.echo", "--wait", "--json"]).args(more);
        command.args(["--input", "{\"text\":\"x\"}"]).env_remove("RUST_LOG");
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
        let begun = Instant::now();
        let out = command.output().unwrap();
        assert!(out.status.success());
        let took: Value = serde_json::from_slice(&out.stdout).expect("nothing but the answer");
        (took, begun.elapsed(), String::from_utf8(out.stderr).unwrap())
    };
    for port in [closed.number(), silent.local_addr().unwrap().port()] {
        let (_, took, said) = run(port, &[]);
        // Two seconds for the flush; the rest is a machine that has other things to do.
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert!(!said.to_lowercase().contains("telemetry") && !said.contains("WARN"), "{said}");
    }
    let (.., said) = run(closed.number(), &["-v"]);
    let warnings = said.lines().filter(|line| line.contains("telemetry is not taken")).count();
    assert_eq!(warnings, 2, "one for traces, one for metrics:\n{said}");
}
