//! Where the effects of a task stand, by its log and those of its earlier generations.
//!
//! A retry by an operator is a new generation with a log of its own; what was done in an earlier one is not done again,
//! and what is in doubt there is in doubt here. The earlier logs are read when the first effect is met, and not before.

use std::collections::HashMap;

use callboard_agents::host::Standing;
use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::task::{Entry, Record, Task};
use tokio::sync::OnceCell;

/// How many earlier generations are read.
const MAX_GENERATIONS: usize = 1_000;

/// The effects of one task.
#[derive(Debug)]
pub(super) struct Effects {
    base: TaskId,
    retry_of: Option<TaskId>,
    own: Vec<Entry>,
    all: OnceCell<HashMap<String, Told>>,
}

/// What the logs tell of one effect.
#[derive(Debug, Default)]
struct Told {
    intents: u32,
    /// The key of the newest intent, while nothing follows it.
    open: Option<String>,
    done: Option<Payload>,
}

impl Effects {
    pub(super) fn new(task: &Task, log: &[Record]) -> Self {
        let own = log.iter().map(|record| &record.entry).filter(|entry| is_of_effect(entry)).cloned().collect();
        Self { base: task.base.clone(), retry_of: task.retry_of.clone(), own, all: OnceCell::new() }
    }

    /// Where the effect `name` stood when this attempt began.
    pub(super) async fn standing(&self, broker: &Broker, name: &str) -> Result<Standing> {
        let all = self.all.get_or_try_init(|| self.read(broker)).await?;
        let fresh = || Standing::Open(format!("{}/{name}", self.base));
        Ok(all.get(name).map_or_else(fresh, |told| match (&told.done, &told.open) {
            (Some(value), _) => Standing::Done(value.clone()),
            (None, Some(key)) => Standing::InDoubt { key: key.clone(), intents: told.intents },
            (None, None) => fresh(),
        }))
    }

    async fn read(&self, broker: &Broker) -> Result<HashMap<String, Told>> {
        let mut logs = vec![self.own.clone()];
        let mut earlier = self.retry_of.clone();
        while let Some(id) = earlier.take() {
            if logs.len() > MAX_GENERATIONS {
                return Err(Error::TooLarge {
                    what: format!("the line of generations of task {}", self.base).into(),
                    size: logs.len(),
                    limit: MAX_GENERATIONS,
                });
            }
            let log = broker.tasks.log(id.clone()).await?;
            logs.push(log.into_iter().map(|record| record.entry).filter(is_of_effect).collect());
            earlier = broker.tasks.get(vec![id]).await?.pop().flatten().and_then(|view| view.task.retry_of);
        }
        let mut all = HashMap::new();
        logs.into_iter().rev().flatten().for_each(|entry| tell(&mut all, entry));
        Ok(all)
    }
}

fn is_of_effect(entry: &Entry) -> bool {
    matches!(entry, Entry::Intent { .. } | Entry::Effect { .. } | Entry::Undone { .. })
}

fn tell(all: &mut HashMap<String, Told>, entry: Entry) {
    match entry {
        Entry::Intent { name, key } => {
            let told = all.entry(name).or_default();
            told.intents += 1;
            told.open = Some(key);
        }
        Entry::Effect { name, value } => {
            let told = all.entry(name).or_default();
            (told.open, told.done) = (None, Some(value));
        }
        Entry::Undone { name } => all.entry(name).or_default().open = None,
        _ => {}
    }
}
