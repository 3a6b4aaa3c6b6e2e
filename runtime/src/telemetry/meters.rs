//! Metrics of what is counted as it happens: times, takeovers, restarts, losses.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::By;
use super::names::{self, Metric};

/// Bounds of histograms, in seconds: from 10 ms doubling, as the conventions for generative AI want it, and on to days.
const BOUNDS: usize = 24;

static METERS: OnceLock<Meters> = OnceLock::new();

struct Meters {
    duration: Histogram<f64>,
    wait: Histogram<f64>,
    takeovers: Counter<u64>,
    restarts: Counter<u64>,
    gave_up: Counter<u64>,
    missed: Counter<u64>,
}

/// From now on it is counted. The first meter in a process stays.
pub(super) fn install(meter: &Meter) {
    super::models::install(meter);
    METERS.get_or_init(|| Meters {
        duration: histogram(meter, names::DURATION),
        wait: histogram(meter, names::WAIT),
        takeovers: counter(meter, names::TAKEOVERS),
        restarts: counter(meter, names::RESTARTS),
        gave_up: counter(meter, names::GAVE_UP),
        missed: counter(meter, names::MISSED),
    });
}

/// A handler has ended: how, with which error, after how long.
pub(crate) fn worked(by: &By<'_>, how: &'static str, code: Option<&str>, took: Duration) {
    let Some(meters) = METERS.get() else { return };
    let mut of = vec![
        KeyValue::new(names::OPERATION, names::operation(by.capability)),
        KeyValue::new(names::AGENT, by.agent.to_owned()),
        KeyValue::new(names::CAPABILITY, by.capability.to_owned()),
        KeyValue::new(names::NODE, by.node.to_owned()),
        KeyValue::new(names::KIND, by.kind),
        KeyValue::new(names::OUTCOME, how),
    ];
    of.extend(code.map(|code| KeyValue::new(names::ERROR, code.to_owned())));
    meters.duration.record(took.as_secs_f64(), &of);
}

/// A task begins after it has waited so long; or it was taken over from an attempt that was lost.
pub(super) fn begun(node: &str, capability: &str, waited: Option<Duration>, is_takeover: bool) {
    let Some(meters) = METERS.get() else { return };
    let of = [KeyValue::new(names::CAPABILITY, capability.to_owned()), KeyValue::new(names::NODE, node.to_owned())];
    if let Some(waited) = waited {
        meters.wait.record(waited.as_secs_f64(), &of);
    }
    if is_takeover {
        meters.takeovers.add(1, &of);
    }
}

/// A slow reader was passed over so many broadcasts.
pub(crate) fn missed(node: &str, broadcasts: u64) {
    if let Some(meters) = METERS.get() {
        meters.missed.add(broadcasts, &[KeyValue::new(names::NODE, node.to_owned())]);
    }
}

/// A child of the tree is started again, or its supervisor gives up.
pub(super) fn restarted(node: &str, path: &str, gave_up: bool) {
    let Some(meters) = METERS.get() else { return };
    let of = [KeyValue::new(names::NODE, node.to_owned()), KeyValue::new(names::CHILD, path.to_owned())];
    if gave_up { &meters.gave_up } else { &meters.restarts }.add(1, &of);
}

pub(super) fn counter(meter: &Meter, of: Metric) -> Counter<u64> {
    meter.u64_counter(of.name).with_unit(of.unit).with_description(of.about).build()
}

pub(super) fn histogram(meter: &Meter, of: Metric) -> Histogram<f64> {
    let bounds = (0..BOUNDS).map(|n| 0.01 * 2f64.powi(n as i32)).collect();
    meter.f64_histogram(of.name).with_unit(of.unit).with_description(of.about).with_boundaries(bounds).build()
}
