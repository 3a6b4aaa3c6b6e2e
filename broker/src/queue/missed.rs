//! Which versions are missed: tasks stay with them, and nobody who serves them asks for any.
//!
//! That is not so at once, for a node that is upgraded goes before it comes. So it is noted when somebody was passed by
//! for the first time, forgotten when somebody comes who takes it or is at work on it, and only after a long wait are the
//! tasks given up.

use std::collections::BTreeMap;

use super::{Due, Place, Queue, Want};
use crate::clock::{Millis, millis};
use crate::id::TaskId;
use crate::subject::CapabilityName;
use crate::task::{VERSION_WAIT, Version};

/// How often, within the wait, it is looked again.
const LOOKS: u64 = 8;

/// What a lane knows of the versions that are missed in it.
#[derive(Debug, Default)]
pub(super) struct Missed {
    since: BTreeMap<Version, Millis>,
    /// How long they are waited for: what the last claimer said that was passed by.
    wait: Millis,
    /// When it is looked next.
    look: Option<Millis>,
}

impl Queue {
    /// Notes what this claimer is passed by, and what it was missed for.
    pub(super) fn note_versions(&mut self, want: &Want, now: Millis) {
        let Some(lane) = self.lanes.get_mut(&want.capability) else { return };
        let passed: Vec<Version> =
            lane.by_version().map(|(version, _)| version).filter(|v| !want.may_take(Some(v))).cloned().collect();
        lane.missed.since.retain(|version, _| !want.may_take(Some(version)));
        if passed.is_empty() {
            return;
        }
        lane.missed.wait = millis(want.serving.as_ref().map_or(VERSION_WAIT, |serving| serving.wait));
        for version in passed {
            lane.missed.since.entry(version).or_insert(now);
        }
        if lane.missed.look.is_none() {
            self.look_at(&want.capability, now);
        }
    }

    /// Gives up what waits for versions that were missed for too long.
    pub(super) fn give_up_missed(&mut self, now: Millis, due: &mut Vec<Due>) {
        while let Some((at, capability)) = self.looks.first().filter(|(at, _)| *at <= now).cloned() {
            self.looks.remove(&(at, capability.clone()));
            for (task, version) in self.too_late(&capability, now) {
                due.extend(self.remove(&task).map(|place| Due::Unserved(place, version)));
            }
            let Some(lane) = self.lanes.get_mut(&capability) else { continue };
            lane.missed.look = None;
            if !lane.missed.since.is_empty() {
                self.look_at(&capability, now);
            }
        }
    }

    fn look_at(&mut self, capability: &CapabilityName, now: Millis) {
        let Some(lane) = self.lanes.get_mut(capability) else { return };
        let at = now + (lane.missed.wait / LOOKS).max(1);
        lane.missed.look = Some(at);
        self.looks.insert((at, capability.clone()));
    }

    fn too_late(&mut self, capability: &CapabilityName, now: Millis) -> Vec<(TaskId, Version)> {
        let Some(lane) = self.lanes.get_mut(capability) else { return Vec::new() };
        let at_work = |version: &Version| {
            let holds = |place: &Place| place.held.is_some() && place.item.begun_by.version() == Some(version);
            self.places.values().any(|place| place.item.capability == *capability && holds(place))
        };
        let waits_for = |version: &Version| lane.by_version().any(|(waiting, _)| waiting == version);
        let is_asked = |version: &Version| lane.parked.iter().any(|(_, want)| want.may_take(Some(version)));
        let is_missed = |version: &Version| waits_for(version) && !is_asked(version) && !at_work(version);
        let missed: BTreeMap<Version, Millis> =
            lane.missed.since.iter().filter(|(v, _)| is_missed(v)).map(|(v, since)| (v.clone(), *since)).collect();
        let wait = lane.missed.wait;
        let mut late = Vec::new();
        for (version, tasks) in lane.by_version() {
            let Some(since) = missed.get(version) else { continue };
            let is_late = |task: &&TaskId| {
                let ready = self.places.get(*task).map_or(now, |place| place.ready);
                ready.max(*since).saturating_add(wait) <= now
            };
            late.extend(tasks.values().filter(is_late).map(|task| (task.clone(), version.clone())));
        }
        lane.missed.since = missed;
        late
    }
}
