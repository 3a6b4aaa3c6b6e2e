//! Traces and metrics: what a node tells an OpenTelemetry collector.
//!
//! One question is one trace over all nodes: what an agent asks or delegates carries the context of the span in which it
//! did so, on lanes and in the documents of tasks. Without the feature `otel`, and where no collector is named, a context
//! that arrives is passed on to what follows from it, and nothing else happens.
//!
//! | file | holds |
//! |---|---|
//! | `spans` | the spans of attempts and requests: their parents, ids, links and ends |
//! | `carried` | the same where nothing is traced: what came is passed on |
//! | `names` | every name that a collector sees |
//! | `ids` | ids that follow from what a span is of |
//! | `exporter`, `client` | from spans to OTLP over HTTP |
//! | `variables` | what the `OTEL_` variables ask for |
//! | `carriers` | which libraries below us tell what was said, and so are told of nowhere |
//! | `setup` | all of it started and ended |
//! | `meters`, `observe` | metrics: what is counted here, and what is read off a node |
//! | `models` | metrics of calls of language models |

mod carriers;
#[cfg(feature = "otel")]
mod client;
#[cfg(feature = "otel")]
mod exporter;
#[cfg(feature = "otel")]
mod ids;
#[cfg(feature = "otel")]
mod meters;
#[cfg(feature = "otel")]
mod models;
#[cfg(feature = "otel")]
mod names;
#[cfg(feature = "otel")]
mod observe;
#[cfg(feature = "otel")]
mod setup;
#[cfg(feature = "otel")]
mod spans;
#[cfg(feature = "otel")]
mod variables;

#[cfg(not(feature = "otel"))]
#[path = "carried.rs"]
mod spans;

pub use carriers::tells_what_was_said;
#[cfg(feature = "otel")]
pub(crate) use meters::{missed, worked};
#[cfg(feature = "otel")]
pub(crate) use models::modelled;
#[cfg(feature = "otel")]
pub use names::{METRICS, Metric};
#[cfg(feature = "otel")]
pub(crate) use observe::watch;
#[cfg(feature = "otel")]
pub(crate) use setup::Program;
#[cfg(feature = "otel")]
pub use setup::{FLUSH, Telemetry};
#[cfg(not(feature = "otel"))]
pub(crate) use spans::{Program, missed, modelled, watch, worked};
pub(crate) use spans::{attempt, ended, here, request};

/// Who has worked on what.
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "read by what is told to a collector"))]
pub(crate) struct By<'a> {
    pub(crate) node: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) capability: &'a str,
    /// `task` or `message`.
    pub(crate) kind: &'static str,
}
