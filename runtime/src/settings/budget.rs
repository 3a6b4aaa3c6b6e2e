//! A budget as people write it: `[budget]` in a file, `tasks=100,cost=1.5,wall=10m` on a command line.

use std::fmt;
use std::str::FromStr;

use callboard_broker::budget::{Budget, MAX_HOPS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Table;
use crate::period::Period;

/// The largest number of anything that is counted.
const MAX: u64 = 1_000_000_000_000;
/// The most levels, exchanges and repeats.
const MAX_SHAPE: u64 = 10_000;
/// The highest cost.
const MAX_COST: f64 = 1_000_000_000.0;
/// What a command line may say.
const KEYS: &str = "tasks, steps, tokens, cost, wall, depth, hops, ping_pong, repeats, width";

/// What a run may use over all of its tasks. What is not set is not limited, but for `depth`, `hops`, `ping_pong`, `repeats`
/// and `width`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetDoc {
    /// Tasks below the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Steps of all tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Tokens, as agents charge them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Cost, as agents charge it, in whatever it is paid in; counted in millionths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Time from the submission until everything has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall: Option<Period>,
    /// Levels of tasks below the root, default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// How many asks may hang on one another, at most 32, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hops: Option<u32>,
    /// How often two capabilities may hand on to each other in turn, there and back, default 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_pong: Option<u32>,
    /// How often a task may get the same answer to the same call in a row, default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// How many children of one task are queued or at work at a time, default 100: the weight of a run against others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
}

impl BudgetDoc {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As the runtime counts it.
    pub fn budget(&self) -> Budget {
        Budget {
            depth: self.depth,
            hops: self.hops,
            ping_pong: self.ping_pong,
            repeats: self.repeats,
            width: self.width,
            tasks: self.tasks,
            steps: self.steps,
            tokens: self.tokens,
            // A cost below nothing leaves nothing.
            cost_micros: self.cost.map(|cost| (cost.min(MAX_COST) * 1e6).round() as u64),
            wall_ms: self.wall.map(Period::millis),
            until: None,
        }
    }

    /// Reads a `[budget]`.
    pub(crate) fn of_table(mut table: Table<'_>) -> Self {
        let mut shape = |key| table.number(key, 0..=MAX_SHAPE).and_then(|n| u32::try_from(n).ok());
        let (depth, ping_pong, repeats) = (shape("depth"), shape("ping_pong"), shape("repeats"));
        let hops = table.number("hops", 0..=u64::from(MAX_HOPS)).and_then(|n| u32::try_from(n).ok());
        let width = table.number("width", 1..=MAX_SHAPE).and_then(|n| u32::try_from(n).ok());
        let doc = Self {
            width,
            depth,
            hops,
            ping_pong,
            repeats,
            tasks: table.number("tasks", 0..=MAX),
            steps: table.number("steps", 0..=MAX),
            tokens: table.number("tokens", 0..=MAX),
            cost: table.decimal("cost", MAX_COST),
            wall: table.period("wall"),
        };
        table.close();
        doc
    }
}

/// Parts such as `tasks=100`, with commas between.
impl FromStr for BudgetDoc {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut doc = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("\"{part}\" is no limit such as tasks=100"));
            };
            let (key, value) = (key.trim(), value.trim());
            let number = |most| whole(key, value, most);
            let shape = || number(MAX_SHAPE).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
            match key {
                "tasks" => doc.tasks = Some(number(MAX)?),
                "steps" => doc.steps = Some(number(MAX)?),
                "tokens" => doc.tokens = Some(number(MAX)?),
                "cost" => doc.cost = Some(cost(value)?),
                "wall" => {
                    doc.wall = Some(value.parse().map_err(|why| format!("wall is a duration such as 10m: {why}"))?)
                }
                "depth" => doc.depth = Some(shape()?),
                "hops" => doc.hops = u32::try_from(number(u64::from(MAX_HOPS))?).ok(),
                "ping_pong" => doc.ping_pong = Some(shape()?),
                "repeats" => doc.repeats = Some(shape()?),
                "width" if value.trim_start_matches('0').is_empty() => {
                    return Err(format!("width is a whole number from 1 to {MAX_SHAPE}, not \"{value}\""));
                }
                "width" => doc.width = Some(shape()?),
                other => return Err(format!("a budget has no \"{other}\": it can be {KEYS}")),
            }
        }
        Ok(doc)
    }
}

impl fmt::Display for BudgetDoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |n: Option<u32>| n.map(|n| n.to_string());
        let counted = |n: Option<u64>| n.map(|n| n.to_string());
        let parts = [
            ("tasks", counted(self.tasks)),
            ("steps", counted(self.steps)),
            ("tokens", counted(self.tokens)),
            ("cost", self.cost.map(|cost| cost.to_string())),
            ("wall", self.wall.map(|wall| wall.to_string())),
            ("depth", shape(self.depth)),
            ("hops", shape(self.hops)),
            ("ping_pong", shape(self.ping_pong)),
            ("repeats", shape(self.repeats)),
            ("width", shape(self.width)),
        ];
        let set = parts.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        f.write_str(&set.collect::<Vec<_>>().join(","))
    }
}

fn whole(key: &str, value: &str, most: u64) -> Result<u64, String> {
    let read = value.replace('_', "").parse().ok().filter(|n| *n <= most);
    read.ok_or_else(|| format!("{key} is a whole number from 0 to {most}, not \"{value}\""))
}

fn cost(value: &str) -> Result<f64, String> {
    let read = value.parse().ok().filter(|cost: &f64| (0.0..=MAX_COST).contains(cost));
    read.ok_or_else(|| format!("cost is a number from 0 to {MAX_COST}, not \"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_reads_as_it_is_written() {
        let text = "tasks=100,steps=500,tokens=20000,cost=1.5,wall=10m,depth=4,hops=5,ping_pong=3,repeats=9,width=7";
        let doc: BudgetDoc = text.parse().unwrap();
        assert_eq!(doc.to_string(), text);
        let budget = doc.budget();
        assert_eq!((budget.tasks, budget.steps, budget.tokens), (Some(100), Some(500), Some(20_000)));
        assert_eq!((budget.cost_micros, budget.wall_ms, budget.until), (Some(1_500_000), Some(600_000), None));
        assert_eq!((budget.depth, budget.ping_pong, budget.repeats), (Some(4), Some(3), Some(9)));
        assert_eq!((budget.hops(), budget.width()), (5, 7));
        assert!("".parse::<BudgetDoc>().unwrap().is_empty() && BudgetDoc::default().budget().is_default());
    }

    #[test]
    fn what_is_no_budget_is_told_with_what_it_can_be() {
        for (text, why) in [
            ("tasks", "tasks=100"),
            ("taks=1", "tasks, steps"),
            ("tasks=-1", "whole number from 0"),
            ("tasks=1.5", "whole number from 0"),
            ("cost=-1", "from 0 to"),
            ("cost=NaN", "from 0 to"),
            ("wall=10", "duration such as 10m"),
            ("depth=10001", "from 0 to 10000"),
            ("hops=33", "from 0 to 32"),
            ("width=0", "from 1 to 10000"),
        ] {
            let said = text.parse::<BudgetDoc>().unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
