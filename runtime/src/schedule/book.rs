//! Adding, listing, pausing and removing schedules.

use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, StateEntry, Write};

use super::{MAX_SCHEDULES, PREFIX, Schedule, named};

/// How often a change that others were quicker with is tried.
const TRIES: usize = 16;

/// The schedules of a broker. Cheap to make.
#[derive(Clone, Debug)]
pub struct Schedules {
    broker: Broker,
    by: String,
}

/// Whether a schedule was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It counts from now.
    New,
    /// The same was there already, and is left as it is.
    Known,
}

impl Schedules {
    /// The schedules of a broker; `by` is in whose name they are changed.
    pub fn of(broker: &Broker, by: impl Into<String>) -> Self {
        Self { broker: broker.clone(), by: by.into() }
    }

    /// Adds one, whose first tick is the next from now.
    ///
    /// # Errors
    /// `Decode` for a name or a time that is none, or one that never comes; `Conflict` when another of this name is
    /// there; `Busy` beyond [`MAX_SCHEDULES`].
    pub async fn add(&self, schedule: Schedule) -> Result<Added> {
        named(&schedule.name)?;
        let now = self.broker.clock.now();
        schedule.when.check()?;
        let schedule = schedule.begun(now);
        if schedule.next.is_none() {
            return Err(Error::decode(format!("the time of schedule {} never comes", schedule.name)));
        }
        let key = key(&schedule.name)?;
        let there = self.broker.states.list(PREFIX.into()).await?;
        if there.len() >= MAX_SCHEDULES && !there.iter().any(|entry| entry.key == key) {
            let retry_after = std::time::Duration::from_secs(60);
            return Err(Error::Busy {
                to: format!("schedules, of which there are {MAX_SCHEDULES}").into(),
                retry_after,
            });
        }
        match self.put(&key, 0, Some(&schedule)).await? {
            Put::Applied(_) => Ok(Added::New),
            Put::Conflict(Some(entry)) if is_same(&entry, &schedule) => Ok(Added::Known),
            other => other.into_version(&key, Expect::Version(0)).map(|_| Added::New),
        }
    }

    /// All of them, by name. An entry that is no schedule is left out.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<Schedule>> {
        Ok(entries(&self.broker).await?.into_iter().map(|(schedule, _)| schedule).collect())
    }

    /// Lets it rest: nothing is submitted until it is resumed.
    ///
    /// # Errors
    /// `NotFound`; what the store says.
    pub async fn pause(&self, name: &str) -> Result<Schedule> {
        self.change(name, |schedule| {
            schedule.paused = true;
            Ok(())
        })
        .await
    }

    /// Goes on with the next tick from now. What passed while it rested is not made up for.
    ///
    /// # Errors
    /// `NotFound`; `Decode` for a time of which this build knows nothing; what the store says.
    pub async fn resume(&self, name: &str) -> Result<Schedule> {
        let now = self.broker.clock.now();
        self.change(name, |schedule| {
            if schedule.paused {
                schedule.when.check()?;
                let passed = schedule.when.up_to(now).filter(|_| schedule.last.is_none() && schedule.fired == 0);
                schedule.paused = false;
                // A single time that passed while it rested is due now: otherwise it would never come.
                schedule.next = schedule.when.after(now).or(passed);
            }
            Ok(())
        })
        .await
    }

    /// Removes it; whether it was there. Tasks that it has submitted stand.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let key = key(name)?;
        for _ in 0..TRIES {
            let Some(entry) = self.broker.states.get(vec![key.clone()]).await?.pop().flatten() else {
                return Ok(false);
            };
            if let Put::Applied(_) = self.put(&key, entry.version, None).await? {
                return Ok(true);
            }
        }
        Err(busy(name))
    }

    async fn change(&self, name: &str, how: impl Fn(&mut Schedule) -> Result<()>) -> Result<Schedule> {
        let key = key(name)?;
        for _ in 0..TRIES {
            let entry = self.broker.states.get(vec![key.clone()]).await?.pop().flatten();
            let entry = entry.ok_or_else(|| Error::not_found(format!("schedule {name}")))?;
            let mut schedule: Schedule = entry.value.read()?;
            how(&mut schedule)?;
            if let Put::Applied(_) = self.put(&key, entry.version, Some(&schedule)).await? {
                return Ok(schedule);
            }
        }
        Err(busy(name))
    }

    pub(super) async fn put(&self, key: &Key, version: u64, schedule: Option<&Schedule>) -> Result<Put> {
        let value = match schedule {
            Some(schedule) => Some(Payload::from(
                serde_json::to_value(schedule)
                    .map_err(|e| Error::decode(format!("schedule {}: {e}", schedule.name)))?,
            )),
            None => None,
        };
        let write =
            Write { key: key.clone(), expect: Expect::Version(version), value, by: self.by.clone(), task: None };
        let put = self.broker.states.put(vec![write]).await.pop();
        put.unwrap_or_else(|| Err(Error::unavailable("the store gave no answer")))
    }
}

/// All schedules with their entries, by name.
pub(super) async fn entries(broker: &Broker) -> Result<Vec<(Schedule, StateEntry)>> {
    let read = |entry: StateEntry| match entry.value.read::<Schedule>() {
        Ok(schedule) if key(&schedule.name).is_ok_and(|key| key == entry.key) => Some((schedule, entry)),
        _ => {
            tracing::debug!(key = %entry.key, "this is no schedule");
            None
        }
    };
    let mut all: Vec<_> = broker.states.list(PREFIX.into()).await?.into_iter().filter_map(read).collect();
    all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    Ok(all)
}

fn is_same(entry: &StateEntry, schedule: &Schedule) -> bool {
    entry.value.read::<Schedule>().is_ok_and(|there| {
        // When it counts from is when it was added, and no part of what was asked for.
        let when = there.when.clone();
        let asked = Schedule { when: schedule.when.counted_as(&when), ..schedule.clone() };
        there.is_same(&asked)
    })
}

fn key(name: &str) -> Result<Key> {
    named(name)?;
    Key::parse(&format!("{PREFIX}.{name}")).map_err(|bad| Error::decode(bad.to_string()))
}

fn busy(name: &str) -> Error {
    Error::unavailable(format!("others change schedule {name} all the time"))
}
