//! Metrics of calls of language models: never what was said.

use std::sync::OnceLock;

use callboard_agents::llm::{Attempted, ModelCall, ModelName};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::names::{self, Metric};

/// Bounds of what tokens are counted in, as the conventions want them: powers of 4, from 1 to 67,108,864.
const TOKEN_BOUNDS: u32 = 14;

static METERS: OnceLock<Meters> = OnceLock::new();

struct Meters {
    duration: Histogram<f64>,
    first: Histogram<f64>,
    tokens: Histogram<u64>,
    cost: Counter<u64>,
}

/// From now on it is counted. The first meter in a process stays.
pub(super) fn install(meter: &Meter) {
    METERS.get_or_init(|| Meters {
        duration: super::meters::histogram(meter, names::MODEL_DURATION),
        first: super::meters::histogram(meter, names::MODEL_FIRST),
        tokens: tokens(meter, names::MODEL_TOKENS),
        cost: super::meters::counter(meter, names::MODEL_COST),
    });
}

/// A call has ended.
pub(crate) fn modelled(node: &str, call: &ModelCall<'_>) {
    let Some(meters) = METERS.get() else { return };
    let provider = match &call.attempted {
        Attempted::Answered { model, .. } => model.provider(),
        Attempted::Failed { .. } => call.asked.provider(),
    };
    let mut of = vec![
        KeyValue::new(names::OPERATION, names::CHAT),
        KeyValue::new(names::PROVIDER, provider.to_owned()),
        KeyValue::new(names::REQUEST_MODEL, call.asked.name().to_owned()),
        KeyValue::new(names::ROLE, call.role.to_owned()),
        KeyValue::new(names::NODE, node.to_owned()),
    ];
    if let Some(first) = call.first {
        meters.first.record(first.as_secs_f64(), &of);
    }
    match &call.attempted {
        Attempted::Failed { code } => of.push(KeyValue::new(names::ERROR, (*code).to_owned())),
        Attempted::Answered { model, usage, cost_micros } => {
            of.push(answered(model));
            for (kind, count) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
                let of: Vec<_> = of.iter().cloned().chain([KeyValue::new(names::TOKEN_TYPE, kind)]).collect();
                meters.tokens.record(count, &of);
            }
            meters.cost.add(*cost_micros, &of);
        }
    }
    meters.duration.record(call.took.as_secs_f64(), &of);
}

fn answered(model: &ModelName) -> KeyValue {
    KeyValue::new(names::RESPONSE_MODEL, model.name().to_owned())
}

fn tokens(meter: &Meter, of: Metric) -> Histogram<u64> {
    let bounds = (0..TOKEN_BOUNDS).map(|n| f64::from(4u32.pow(n))).collect();
    meter.u64_histogram(of.name).with_unit(of.unit).with_description(of.about).with_boundaries(bounds).build()
}
