//! Telemetry of this process, started and ended.

use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use callboard_broker::id::RunId;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter as Otlp, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanExporter};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::client::Client;
use super::exporter::Named;
use super::ids::Ids;
use super::variables::Wanted;
use super::{meters, names, observe};

/// How long the end of a process waits until a collector has what was not sent yet: 2 s.
pub const FLUSH: Duration = Duration::from_secs(2);

/// The least important spans that are told.
const LEVEL: LevelFilter = LevelFilter::INFO;
/// What libraries below us say of themselves is no part of a run; and an actor of the kernel holds one span open for its
/// whole life, which would be a trace without an end. Those that tell what was said to them are silent in the log too.
const SILENT: [&str; 6] = ["ractor", "opentelemetry", "async_nats", "ureq", "rustls", "tokio"];

static RUNNING: OnceLock<Telemetry> = OnceLock::new();

/// Traces and metrics on their way out of this process. Cheap to clone.
///
/// A program that lets [`Node::from_args`](crate::Node::from_args) build its node needs none of this, unless it has a
/// subscriber of its own:
///
/// ```
/// use callboard::telemetry::{FLUSH, Telemetry};
///
/// // None unless a variable names a collector.
/// let telemetry = Telemetry::from_environment();
/// // tracing_subscriber::registry().with(fmt::layer()).with(telemetry.as_ref().map(Telemetry::layer)).init();
/// if let Some(telemetry) = &telemetry {
///     telemetry.install();
/// }
/// // Nodes run here.
/// if let Some(telemetry) = telemetry {
///     telemetry.shutdown(FLUSH);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    meters: Option<SdkMeterProvider>,
}

impl Telemetry {
    /// As the `OTEL_` variables ask for it: OTLP as `http/protobuf`, in batches, from threads of its own. None when no
    /// collector or exporter is named. What cannot be used of the variables is a warning in the log.
    pub fn from_environment() -> Option<Self> {
        let wanted = Wanted::read(|name| std::env::var(name).ok());
        let resource = resource(wanted.is_named);
        let unusable = |error| tracing::warn!(%error, "the variables of telemetry cannot be used");
        let traces = wanted.traces.then(|| Otlp::builder().with_http().with_http_client(Client::new(wanted.timeout)));
        let traces = traces.and_then(|exporter| exporter.build().map_err(unusable).ok()).map(|exporter| {
            let traces = SdkTracerProvider::builder().with_id_generator(Ids::default());
            traces.with_resource(resource.clone()).with_batch_exporter(Named(exporter)).build()
        });
        let metrics =
            wanted.metrics.then(|| MetricExporter::builder().with_http().with_http_client(Client::new(wanted.timeout)));
        let metrics = metrics.and_then(|exporter| exporter.build().map_err(unusable).ok());
        let meters = metrics.map(|exporter| {
            let reader = PeriodicReader::builder(exporter).build();
            SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build()
        });
        (traces.is_some() || meters.is_some()).then_some(Self { traces, meters })
    }

    /// To exporters of your own. A span is handed over when it ends, on the thread on which it ends; metrics are when they
    /// are [flushed](Telemetry::flush), and every 60 s.
    pub fn to(spans: impl SpanExporter + 'static, metrics: impl PushMetricExporter) -> Self {
        let traces = SdkTracerProvider::builder().with_id_generator(Ids::default()).with_resource(resource(false));
        let meters = SdkMeterProvider::builder().with_resource(resource(false)).with_periodic_exporter(metrics);
        let traces = traces.with_simple_exporter(Named(spans)).build();
        Self { traces: Some(traces), meters: Some(meters.build()) }
    }

    /// The layer that makes spans of OpenTelemetry of those of `tracing`, from level info on.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.traces.as_ref()?.tracer(names::SCOPE);
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
        let layer = layer.with_tracked_inactivity(false).with_target(false).with_level(false);
        Some(layer.with_filter(filter_fn(is_told).with_max_level_hint(LEVEL)))
    }

    /// Nodes that start in this process from now on show their metrics here. The first in a process stays.
    pub fn install(&self) {
        if RUNNING.set(self.clone()).is_ok()
            && let Some(meters) = &self.meters
        {
            let meter = meters.meter(names::SCOPE);
            meters::install(&meter);
            observe::install(&meter);
        }
    }

    /// Hands over what there is, as long as that may take.
    pub fn flush(&self) {
        // What went wrong has been told by the client.
        let _ = self.traces.as_ref().map(SdkTracerProvider::force_flush);
        let _ = self.meters.as_ref().map(SdkMeterProvider::force_flush);
    }

    /// Hands over what there is and ends, after at most so long: a collector that is away keeps no process alive.
    pub fn shutdown(&self, within: Duration) {
        let (telemetry, (done, waiting)) = (self.clone(), sync_channel(1));
        std::thread::spawn(move || {
            let _ = telemetry.traces.map(|traces| traces.shutdown_with_timeout(within));
            let _ = telemetry.meters.map(|meters| meters.shutdown());
            // Nobody waits any more: the time was up.
            let _ = done.send(());
        });
        let _ = waiting.recv_timeout(within);
    }
}

/// The telemetry of a program whose node is built from its arguments: started with the node and flushed at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program(Option<Telemetry>);

impl Program {
    /// Starts it, unless the program has done so itself.
    pub(crate) fn begin() -> Self {
        if RUNNING.get().is_some() {
            return Self(None);
        }
        let telemetry = Telemetry::from_environment();
        if let Some(telemetry) = &telemetry {
            telemetry.install();
            let subscriber = tracing_subscriber::registry().with(telemetry.layer());
            if tracing::subscriber::set_global_default(subscriber).is_err() {
                tracing::warn!("this program has a subscriber of its own, to which telemetry was not added: no traces");
            }
        }
        Self(telemetry)
    }

    /// Hands over what there is, within [`FLUSH`].
    pub(crate) async fn end(&self) {
        let Some(telemetry) = self.0.clone() else { return };
        let flushing = tokio::task::spawn_blocking(move || telemetry.flush());
        let _ = tokio::time::timeout(FLUSH, flushing).await;
    }
}

/// What makes spans that no code of this process has entered.
pub(super) fn tracer() -> Option<SdkTracer> {
    Some(RUNNING.get()?.traces.as_ref()?.tracer(names::SCOPE))
}

/// Whether a span is told: also where the log has more of them.
fn is_told(of: &Metadata<'_>) -> bool {
    let from = of.target().split("::").next().unwrap_or_default();
    let is_silent = SILENT.contains(&from) || from.starts_with("opentelemetry") || super::tells_what_was_said(of);
    *of.level() <= LEVEL && !is_silent
}

/// What all that is told from here has in common.
fn resource(is_named: bool) -> Resource {
    let resource = Resource::builder();
    let resource = if is_named { resource } else { resource.with_service_name("callboard") };
    resource
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", RunId::fresh().to_string()))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .build()
}
