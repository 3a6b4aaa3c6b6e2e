//! Where the effects of a task stand, by its log and those of its earlier generations.
//!
//! A retry by an operator is a new generation with a log of its own; what was done in an earlier one is not done again,
//! and what is in doubt there is in doubt here. The earlier logs are read when the first effect is met, and not before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callboard_agents::host::Standing;
use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::task::{Entry, Record, Task};
use tokio::sync::OnceCell;

use crate::apart::apart;

/// How many earlier generations are read.
const MAX_GENERATIONS: usize = 1_000;

/// The effects of one task.
#[derive(Debug)]
pub(crate) struct Effects {
    base: TaskId,
    retry_of: Option<TaskId>,
    own: Mutex<Vec<Entry>>,
    all: OnceCell<Arc<HashMap<String, Told>>>,
}

/// What the logs tell of one effect.
#[derive(Debug, Default)]
struct Told {
    intents: u32,
    /// The key of the newest intent, while nothing follows it.
    open: Option<String>,
    /// Whether the other side knows a repeat by that key.
    keyed: bool,
    done: Option<Payload>,
}

impl Effects {
    pub(crate) fn new(task: &Task, log: &[Record]) -> Self {
        let own = log.iter().map(|record| &record.entry).filter(|entry| is_of_effect(entry)).cloned().collect();
        Self { base: task.base.clone(), retry_of: task.retry_of.clone(), own: Mutex::new(own), all: OnceCell::new() }
    }

    /// More records of this log.
    pub(super) fn add(&self, entries: &[Entry]) {
        let more = entries.iter().filter(|entry| is_of_effect(entry)).cloned();
        self.own().extend(more);
    }

    /// The effects that this task has left in doubt and that nothing but people can tell of, by name: each with its key
    /// and how often it was begun.
    pub(super) async fn in_doubt(&self, broker: &Broker) -> Result<Vec<(String, String, u32)>> {
        let mut own = HashMap::new();
        self.own().iter().cloned().for_each(|entry| tell(&mut own, entry));
        own.retain(|_, told: &mut Told| told.open.is_some() && !told.keyed);
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.read(broker).await?.into_iter().filter(|(name, _)| own.contains_key(name));
        let doubt = |(name, told): (String, Told)| Some((name, told.open?, told.intents));
        let mut doubts: Vec<_> = all.filter_map(doubt).collect();
        doubts.sort_unstable();
        Ok(doubts)
    }

    /// Where the effect `name` stood when this attempt began.
    pub(crate) async fn standing(self: &Arc<Self>, broker: &Broker, name: &str) -> Result<Standing> {
        let (effects, broker) = (self.clone(), broker.clone());
        let all = apart(async move {
            let read = || async { effects.read(&broker).await.map(Arc::new) };
            effects.all.get_or_try_init(read).await.cloned()
        })
        .await?;
        let fresh = || Standing::Open(format!("{}/{name}", self.base));
        Ok(all.get(name).map_or_else(fresh, |told| match (&told.done, &told.open) {
            (Some(value), _) => Standing::Done(value.clone()),
            (None, Some(key)) => Standing::InDoubt { key: key.clone(), intents: told.intents },
            (None, None) => fresh(),
        }))
    }

    async fn read(&self, broker: &Broker) -> Result<HashMap<String, Told>> {
        let mut logs = vec![self.own().clone()];
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

    fn own(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of_effect(entry: &Entry) -> bool {
    matches!(entry, Entry::Intent { .. } | Entry::Effect { .. } | Entry::Undone { .. })
}

fn tell(all: &mut HashMap<String, Told>, entry: Entry) {
    match entry {
        Entry::Intent { name, key, keyed } => {
            let told = all.entry(name).or_default();
            told.intents += 1;
            (told.open, told.keyed) = (Some(key), keyed);
        }
        Entry::Effect { name, value } => {
            let told = all.entry(name).or_default();
            (told.open, told.done) = (None, Some(value));
        }
        Entry::Undone { name } => all.entry(name).or_default().open = None,
        _ => {}
    }
}
