//! One question is one trace: what an agent asks and delegates hangs below the span in which it did so, an attempt links
//! to the one before it, and nothing that is not of the run is in the trace.
//!
//! In this process, with an exporter that keeps what it gets; `telemetry_process` is the same over nodes and OTLP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use callboard::agents::testing::Script;
use callboard::broker::id::RunId;
use callboard::broker::payload::Payload as Body;
use callboard::broker::task::{Retry, Task};
use callboard::broker::tasks::Until;
use callboard::broker::trace::TraceContext;
use callboard::llm::{Chain, ModelError, Models, Price, Prices};
use callboard::telemetry::{METRICS, Telemetry};
use callboard::{Capability, Context, Failure, Node, Result, Workflow};
use callboard_tests::programs;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

const LEAD: Capability<String, String> = Capability::new("test.lead");
const WORKER: Capability<u32, u32> = Capability::new("test.worker");
const CLERK: Capability<u32, u32> = Capability::new("test.clerk");
const SLOW: Capability<u32, u32> = Capability::new("test.slow");

/// What was exported in this process, by all tests of it.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl Kept {
    fn all(&self) -> Vec<SpanData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of one run.
    fn of(&self, run: &str) -> Vec<SpanData> {
        self.all().into_iter().filter(|span| text(span, "callboard.run") == run).collect()
    }
}

impl SpanExporter for Kept {
    async fn export(&self, mut spans: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut spans);
        Ok(())
    }
}

/// A metric as it was told: its unit, the attributes of each of its points, and their sum or count.
#[derive(Clone, Debug)]
struct Told {
    unit: String,
    points: Vec<(BTreeMap<String, String>, f64)>,
}

impl Told {
    /// The values of those points that have this attribute, together.
    fn of(&self, name: &str, value: &str) -> f64 {
        self.points.iter().filter(|(of, _)| of.get(name).is_some_and(|v| v == value)).map(|(_, value)| value).sum()
    }
}

/// The metrics that were told last.
#[derive(Clone, Debug, Default)]
struct Metrics(Arc<Mutex<BTreeMap<String, Told>>>);

fn attributes<'a>(of: impl Iterator<Item = &'a KeyValue>) -> BTreeMap<String, String> {
    of.map(|one| (one.key.to_string(), one.value.to_string())).collect()
}

impl PushMetricExporter for Metrics {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut told = BTreeMap::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let points = match metric.data() {
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().map(|point| (attributes(point.attributes()), point.value() as f64)).collect()
                }
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().map(|point| (attributes(point.attributes()), point.value() as f64)).collect()
                }
                AggregatedMetrics::F64(MetricData::Histogram(all)) => {
                    all.data_points().map(|point| (attributes(point.attributes()), point.count() as f64)).collect()
                }
                AggregatedMetrics::U64(MetricData::Histogram(all)) => {
                    all.data_points().map(|point| (attributes(point.attributes()), point.count() as f64)).collect()
                }
                other => panic!("{}: {other:?}", metric.name()),
            };
            told.insert(metric.name().to_owned(), Told { unit: metric.unit().to_owned(), points });
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = told;
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _within: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// Tests of one process share what is global in it; each looks at its own run, or at its own node.
fn telemetry() -> &'static (Kept, Metrics, Telemetry) {
    static KEPT: OnceLock<(Kept, Metrics, Telemetry)> = OnceLock::new();
    KEPT.get_or_init(|| {
        let (kept, metrics) = (Kept::default(), Metrics::default());
        let telemetry = Telemetry::to(kept.clone(), metrics.clone());
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
        telemetry.install();
        (kept, metrics, telemetry)
    })
}

fn kept() -> Kept {
    telemetry().0.clone()
}

/// What is told of metrics now.
fn metrics() -> BTreeMap<String, Told> {
    let (_, metrics, telemetry) = telemetry();
    telemetry.flush();
    metrics.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The rows of the page's table that begins with this column, cell by cell.
fn table(first: &str) -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(programs::root().join("docs/operating/telemetry.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with(&format!("| {first} |"))).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn text(span: &SpanData, name: &str) -> String {
    let value = span.attributes.iter().find(|one| one.key.as_str() == name).map(|one| one.value.to_string());
    value.unwrap_or_default()
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn one<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    found[0]
}

async fn lead(ctx: Context, _question: String) -> Result<String> {
    let inner = async {
        let worked = ctx.delegate(WORKER, 20).await?;
        Ok::<u32, Failure>(worked)
    };
    let worked = inner.instrument(tracing::info_span!("thinking")).await?;
    let clerked = ctx.ask(CLERK, worked).await?;
    Ok(format!("{clerked}"))
}

async fn worker(ctx: Context, n: u32) -> Result<u32> {
    if ctx.attempt() == 1 {
        return Err(Failure::transient("not yet"));
    }
    Ok(ctx.ask(CLERK, n).await? + 1)
}

async fn clerk(_ctx: Context, n: u32) -> Result<u32> {
    if n > 1_000 { Err(Failure::permanent("too much")) } else { Ok(n * 2) }
}

async fn node() -> Node {
    let clerks = CLERK.by_fn(clerk).named("clerk");
    let node = Node::embedded().name("here").serve(LEAD.by_fn(lead).named("lead"));
    node.serve(WORKER.by_fn(worker).named("worker")).serve(clerks).start().await.unwrap()
}

#[tokio::test]
async fn one_question_is_one_trace_with_the_right_parents() {
    let kept = kept();
    let node = node().await;
    let run = node.submit(LEAD, "question".into()).await.unwrap();
    let id = run.id().to_owned();
    assert_eq!(run.outcome().await.unwrap(), "82");
    node.shutdown().await.unwrap();

    let spans = kept.of(&id);
    let lead = one(&spans, "invoke_agent lead");
    assert_eq!(lead.parent_span_id, SpanId::INVALID, "nobody was traced who submitted it");
    let trace = lead.span_context.trace_id();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace), "{spans:?}");

    let all = kept.all();
    let thinking = all.iter().find(|span| span.name == "thinking" && span.span_context.trace_id() == trace).unwrap();
    assert_eq!(thinking.parent_span_id, lead.span_context.span_id());
    let attempts = named(&spans, "invoke_agent worker");
    assert_eq!(attempts.len(), 2);
    for attempt in &attempts {
        assert_eq!(attempt.parent_span_id, thinking.span_context.span_id(), "the agent's own span delegated it");
        assert_eq!(attempt.span_kind, SpanKind::Consumer);
    }
    let clerks = named(&spans, "invoke_agent clerk");
    let parents: Vec<_> = clerks.iter().map(|span| span.parent_span_id).collect();
    assert_eq!(parents, [attempts[1].span_context.span_id(), lead.span_context.span_id()]);
    assert!(clerks.iter().all(|span| span.span_kind == SpanKind::Server));
    // Nothing of the kernel, and nothing else, is in the trace.
    assert_eq!(all.iter().filter(|span| span.span_context.trace_id() == trace).count(), 6);
}

#[tokio::test]
async fn an_attempt_links_to_the_one_before_and_says_how_it_ended() {
    let kept = kept();
    let node = node().await;
    let run = node.submit(WORKER, 4).await.unwrap();
    let id = run.id().to_owned();
    assert_eq!(run.outcome().await.unwrap(), 9);
    node.shutdown().await.unwrap();

    let spans = kept.of(&id);
    let attempts = named(&spans, "invoke_agent worker");
    let (first, second) = (attempts[0], attempts[1]);
    assert_eq!(first.span_context.trace_id(), second.span_context.trace_id());
    assert!(first.links.is_empty());
    let links: Vec<_> = second.links.iter().collect();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].span_context.span_id(), first.span_context.span_id());
    assert_eq!(links[0].span_context.trace_id(), first.span_context.trace_id());
    assert_eq!(
        (text(first, "callboard.outcome"), text(second, "callboard.outcome")),
        ("retried".into(), "completed".into())
    );
    assert_eq!((text(first, "error.type"), text(second, "error.type")), ("CB0006".into(), String::new()));
    assert!(matches!(first.status, Status::Error { .. }) && second.status == Status::Unset);
    assert_eq!((text(first, "callboard.attempt"), text(second, "callboard.attempt")), ("1".into(), "2".into()));
    assert_eq!(text(second, "callboard.takeover"), "false", "it was given back");
    assert_eq!(text(second, "gen_ai.conversation.id"), id);
    assert_eq!(text(second, "callboard.node"), "here");
}

#[tokio::test]
async fn who_submits_within_a_span_is_the_parent_of_it_all() {
    let kept = kept();
    let node = node().await;
    let asking = async {
        let run = node.submit(WORKER, 1).await.unwrap();
        let id = run.id().to_owned();
        run.outcome().await.unwrap();
        node.ask(CLERK, 2_000).await.unwrap_err();
        id
    };
    let id = asking.instrument(tracing::info_span!("the program", me = "who_submits")).await;
    node.shutdown().await.unwrap();
    let all = kept.all();
    let program = all.iter().find(|span| text(span, "me") == "who_submits").unwrap();
    for attempt in named(&kept.of(&id), "invoke_agent worker") {
        assert_eq!(attempt.parent_span_id, program.span_context.span_id());
        assert_eq!(attempt.span_context.trace_id(), program.span_context.trace_id());
    }
    let asked = all
        .iter()
        .find(|span| span.parent_span_id == program.span_context.span_id() && span.name == "invoke_agent clerk");
    let asked = asked.expect("the ask, too");
    assert_eq!((text(asked, "callboard.outcome"), text(asked, "error.type")), ("failed".into(), "CB0006".into()));
}

#[tokio::test]
async fn a_workflow_is_one_trace_and_named_after_itself() {
    let kept = kept();
    let node = node().await;
    let mut flow = Workflow::new("steps");
    let first = flow.task("a", WORKER, 1);
    let second = flow.task("b", WORKER, 2).after(&first);
    let flow = flow.output(second);
    let run = node.run(flow).await.unwrap();
    let id = run.id().to_owned();
    run.outcome().await.unwrap();
    node.shutdown().await.unwrap();
    let spans = kept.of(&id);
    let flow = one(&spans, "invoke_workflow steps");
    assert_eq!(text(flow, "gen_ai.operation.name"), "invoke_workflow");
    let workers = named(&spans, "invoke_agent worker");
    assert_eq!(workers.len(), 4);
    assert!(workers.iter().all(|span| span.parent_span_id == flow.span_context.span_id()));
}

/// Sleeps for a minute; 13 is too much for it.
async fn slow(_ctx: Context, n: u32) -> Result<u32> {
    assert_ne!(n, 13, "an unlucky number");
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(n)
}

#[tokio::test(start_paused = true)]
async fn metrics_say_what_a_node_does_and_what_goes_wrong() {
    telemetry();
    let slow = SLOW.by_fn(slow).named("slow").queue(1);
    let node = Node::embedded().name("measured").serve(slow).start().await.unwrap();
    // One at work and two that wait; one message at work, one refused; one that nobody serves; one panic.
    node.ask(SLOW, 13).await.unwrap_err();
    let first = node.submit(SLOW, 1).await.unwrap();
    for n in 2..4 {
        node.submit(SLOW, n).await.unwrap();
    }
    let asks = (node.ask(SLOW, 5).deadline(Duration::from_secs(300)), node.ask(SLOW, 6));
    let (mut asked, mut refused) = (Box::pin(asks.0.into_future()), Box::pin(asks.1.into_future()));
    tokio::select! {
        biased;
        _ = &mut asked => panic!("it waits for a slot"),
        answer = &mut refused => answer.map(drop).unwrap_err(),
    };
    node.tell(CLERK, 1).await.unwrap_err();
    // Long enough that the broker is asked again.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let now = metrics();
    let of = |name: &str, of: &str, value: &str| {
        now.get(name).unwrap_or_else(|| panic!("{name} in {:?}", now.keys())).of(of, value)
    };
    let tasks = |name: &str| of(name, "callboard.capability", "test.slow");
    assert_eq!((tasks("callboard.task.pending"), tasks("callboard.task.in_progress")), (2.0, 1.0));
    assert_eq!(tasks("callboard.task.wait"), 1.0, "one has begun");
    let agent = |name: &str| of(name, "gen_ai.agent.name", "slow");
    // The message has begun too, though it waits for the slot.
    assert_eq!((agent("callboard.agent.running"), agent("callboard.agent.slots")), (2.0, 1.0));
    assert_eq!((agent("callboard.message.waiting"), agent("callboard.message.refused")), (0.0, 1.0));
    assert_eq!(agent("callboard.agent.panics"), 1.0);
    let durations = &now["gen_ai.invoke_agent.duration"];
    assert!(durations.of("error.type", "CB0005") >= 1.0, "{durations:?}");
    assert!(now["callboard.dead_letters"].of("callboard.reason", "no_recipient") >= 1.0);

    node.kill("measured/agents/slow/#1").unwrap();
    first.outcome().await.unwrap();
    let now = metrics();
    assert_eq!(now["callboard.tree.restarts"].of("callboard.child", "measured/agents/slow/#1"), 1.0);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_call_of_a_model_is_a_span_and_four_metrics_and_what_was_said_is_in_none() {
    const CLERK: Capability<String, String> = Capability::new("test.modelled");
    async fn clerk(ctx: Context, question: String) -> Result<String> {
        let model = ctx.model("test.modelled").expect("it has one");
        Ok(model.complete(question).await.map(|answer| answer.text).unwrap_or_default())
    }
    let kept = kept();
    let script = Script::new().reply("the canary is yellow").fail(ModelError::status(429, "slow down"));
    let price = Prices(BTreeMap::from([("scripted/model".parse().unwrap(), Price { input: 1.0, output: 1.0 })]));
    let models = Models::none().role("test.modelled", Arc::new(script)).prices(price);
    let node = Node::embedded().models(models).name("modelled").serve(CLERK.by_fn(clerk)).start().await.unwrap();
    for question in ["which colour has the canary?", "and which name has the canary?"] {
        node.submit(CLERK, question.to_owned()).await.unwrap().outcome().await.unwrap();
    }
    let told = metrics();
    node.shutdown().await.unwrap();
    let all = kept.all();
    let spans = named(&all, "chat model");
    assert_eq!(spans.len(), 2);
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "scripted"),
        ("gen_ai.response.model", "model"),
        ("gen_ai.usage.output_tokens", "5"),
        ("callboard.role", "test.modelled"),
    ] {
        assert_eq!(text(spans[0], name), value, "{name}");
    }
    assert_eq!((&spans[0].span_kind, text(spans[1], "error.type")), (&SpanKind::Client, "CB0602".to_owned()));
    let parents = named(&all, "invoke_agent test.modelled");
    assert!(parents.iter().any(|parent| parent.span_context.span_id() == spans[0].parent_span_id));
    let of = |metric: &str, name: &str, value: &str| told[metric].of(name, value);
    assert_eq!(of("gen_ai.client.operation.duration", "callboard.role", "test.modelled"), 2.0);
    assert_eq!(of("gen_ai.client.operation.duration", "error.type", "CB0602"), 1.0);
    assert_eq!(of("gen_ai.client.operation.time_to_first_chunk", "gen_ai.request.model", "model"), 1.0);
    assert_eq!(of("gen_ai.client.token.usage", "gen_ai.request.model", "model"), 2.0, "input and output of one call");
    assert!(of("callboard.model.cost", "gen_ai.response.model", "model") > 5.0);
    let said = format!("{all:?}{told:?}");
    assert!(!said.contains("canary"), "what was said is in the telemetry");
}

#[tokio::test]
async fn a_call_that_another_model_answered_is_of_the_provider_that_answered() {
    const CLERK: Capability<String, String> = Capability::new("test.stoodin");
    async fn clerk(ctx: Context, question: String) -> Result<String> {
        let model = ctx.model("test.stoodin").expect("it has one");
        Ok(model.complete(question).await.map(|answer| answer.text).unwrap_or_default())
    }
    let kept = kept();
    let gone = Script::by(|_| Err(ModelError::away("gone"))).named("gone/one");
    let here = Script::new().named("here/two").reply("yes");
    let chain = Chain::new(Arc::new(gone), vec![Arc::new(here)]);
    let models = Models::none().role("test.stoodin", Arc::new(chain));
    let node = Node::embedded().models(models).name("stood-in").serve(CLERK.by_fn(clerk)).start().await.unwrap();
    node.submit(CLERK, "well?".to_owned()).await.unwrap().outcome().await.unwrap();
    let told = metrics();
    node.shutdown().await.unwrap();
    let all = kept.all();
    let span = *named(&all, "chat one").first().expect("the call is told");
    for (name, value) in [
        ("gen_ai.provider.name", "here"),
        ("gen_ai.request.model", "one"),
        ("gen_ai.response.model", "two"),
        ("gen_ai.response.finish_reasons", r#"["stop"]"#),
    ] {
        assert_eq!(text(span, name), value, "{name}");
        assert_eq!(span.attributes.iter().filter(|one| one.key.as_str() == name).count(), 1, "{name}");
    }
    assert!(span.attributes.iter().all(|one| one.key.as_str() != "answered_from"));
    assert_eq!(told["gen_ai.client.operation.duration"].of("gen_ai.provider.name", "here"), 1.0);
}

#[tokio::test]
async fn the_page_lists_what_is_told_and_nothing_else() {
    let kept = kept();
    let node = node().await;
    let mut flow = Workflow::new("steps");
    let only = flow.task("a", WORKER, 1);
    node.run(flow.output(only)).await.unwrap().outcome().await.unwrap();
    let told = metrics();
    node.shutdown().await.unwrap();

    let rows = table("metric");
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(listed, METRICS.iter().map(|metric| metric.name.to_owned()).collect());
    for metric in METRICS {
        let row = rows.iter().find(|row| quoted(&row[0]).contains(metric.name)).unwrap();
        assert_eq!(quoted(&row[2]), BTreeSet::from([metric.unit.to_owned()]), "{}", metric.name);
        let Some(told) = told.get(metric.name) else { continue };
        assert_eq!(told.unit, metric.unit);
        for name in told.points.iter().flat_map(|(of, _)| of.keys()) {
            assert!(quoted(&row[3]).contains(name), "{} has {name}", metric.name);
        }
    }
    assert!(told.keys().all(|name| listed.contains(name)), "{:?}", told.keys());

    let listed: BTreeSet<_> = table("attribute").iter().flat_map(|row| quoted(&row[0])).collect();
    let spans = kept.all();
    let ours = spans.iter().filter(|span| span.name.starts_with("invoke_"));
    let used: BTreeSet<_> = ours.flat_map(|span| &span.attributes).map(|one| one.key.to_string()).collect();
    assert_eq!(used, listed);
}

#[tokio::test]
async fn a_task_that_brings_its_trace_along_is_part_of_it() {
    let kept = kept();
    let node = node().await;
    let brought: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let unsampled: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00".parse().unwrap();
    let tasks = node.broker().tasks.clone();
    for (run, trace) in [("brought", brought), ("unsampled", unsampled)] {
        let run = RunId::parse(run).unwrap();
        let now = node.broker().clock.now();
        let retry = Retry { base_ms: 0, ..Retry::default() };
        let task = Task { retry, traceparent: Some(trace), ..Task::root(run, WORKER.id(), Body::of(3u32), now) };
        tasks.submit(vec![task.clone()]).await.remove(0).unwrap();
        let ended = tasks.wait(vec![task.id], Until::All, Duration::from_secs(60)).await.unwrap().remove(0);
        assert_eq!(ended.output.take::<u32>().unwrap(), 7, "{:?}", ended.error);
    }
    node.shutdown().await.unwrap();
    let spans = kept.of("brought");
    for attempt in named(&spans, "invoke_agent worker") {
        assert_eq!(attempt.span_context.trace_id().to_bytes(), brought.trace());
        assert_eq!(attempt.parent_span_id.to_bytes(), brought.span());
        assert!(attempt.parent_span_is_remote);
    }
    assert_eq!(spans.len(), 3, "two attempts and what the second asked");
    assert!(kept.of("unsampled").is_empty(), "who brought it records nothing, so neither do we");
}
