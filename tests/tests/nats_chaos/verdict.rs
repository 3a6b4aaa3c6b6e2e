//! What must hold of what the broker has stored, judged from outside.

use std::collections::{BTreeMap, BTreeSet};

use callboard_broker::clock::Millis;
use callboard_tests::nats::recorded::Record;
use callboard_tests::process::Line;

/// What was done to a node or to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT later.
    Freeze,
    /// SIGTERM.
    Drain,
    /// Its connection holds everything back for a while.
    Cut,
    /// Its connection is closed, and may be opened again at once.
    Disconnect,
    /// The broker is killed, and started again later.
    Broker,
}

/// A fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) what: What,
    /// The node; the broker has no name.
    pub(crate) node: String,
    pub(crate) at: Millis,
    /// When it was undone. For a node that was ended: when its successor was there.
    pub(crate) until: Millis,
}

impl Fault {
    /// Whether what the node held then may go on elsewhere, at this moment. A cut is silence, like a freeze, when it
    /// lasts; whoever is thawed or healed may find out a little later.
    fn excuses(&self, node: &str, at: Millis) -> bool {
        let long = !matches!(self.what, What::Cut) || self.until.saturating_sub(self.at) >= 1_000;
        let gone = matches!(self.what, What::Kill | What::Freeze | What::Cut);
        self.node == node && gone && long && self.at <= at && at <= self.until + 2_000
    }
}

/// One execution of the agent: where, and its line in the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) node: String,
    pub(crate) line: Line,
}

/// All that the judge looks at.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) accepted: BTreeSet<String>,
    pub(crate) records: Vec<Record>,
    pub(crate) executions: Vec<Execution>,
    pub(crate) faults: Vec<Fault>,
}

impl Evidence {
    fn logs(&self) -> BTreeMap<&str, Vec<&Record>> {
        let mut logs: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        self.records.iter().for_each(|record| logs.entry(&record.task).or_default().push(record));
        logs
    }

    /// Accepted tasks without an outcome.
    pub(crate) fn lost(&self) -> Vec<String> {
        let ended: BTreeSet<&str> =
            self.records.iter().filter(|record| record.is_end()).map(|record| record.task.as_str()).collect();
        self.accepted.iter().filter(|task| !ended.contains(task.as_str())).cloned().collect()
    }

    /// Tasks with more than one outcome.
    pub(crate) fn twice(&self) -> Vec<String> {
        let logs = self.logs();
        let several = |log: &&Vec<&Record>| log.iter().filter(|record| record.is_end()).count() > 1;
        logs.iter().filter(|(_, log)| several(log)).map(|(task, _)| (*task).to_owned()).collect()
    }

    /// Outcomes other than success.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = self.records.iter().filter(|record| record.is_end() && record.kind != "completed");
        failed.map(|record| format!("{} {}", record.task, record.kind)).collect()
    }

    /// Records of an attempt by somebody who was not its holder then: nobody who was replaced may write.
    pub(crate) fn stale(&self) -> Vec<String> {
        let mut found = Vec::new();
        for log in self.logs().values() {
            let mut holder: Option<&Record> = None;
            for record in log {
                if record.is_claim() {
                    holder = Some(record);
                    continue;
                }
                let of_nobody =
                    matches!(record.kind.as_str(), "submitted" | "lapsed") || record.lease == 0 && record.is_end();
                let by_holder = holder.is_some_and(|holder| {
                    holder.boot == record.boot && (!record.is_end() || record.lease == holder.seq)
                });
                if !of_nobody && !by_holder {
                    found.push(format!("{} of {} at {}", record.kind, record.task, record.seq));
                }
                if record.kind == "lapsed" || record.kind == "released" {
                    holder = None;
                }
            }
        }
        found
    }

    /// Claims that somebody ended although their holder was well.
    pub(crate) fn mistaken(&self) -> Vec<String> {
        let lapses = self.records.iter().filter(|record| record.kind == "lapsed");
        // A claim of an earlier process of that node may be found after its restart.
        let logs = self.logs();
        let earlier = |lapse: &Record, fault: &Fault| {
            let log = logs.get(lapse.task.as_str()).map_or(&[][..], Vec::as_slice);
            let claims = log.iter().filter(|one| one.is_claim() && one.at <= lapse.at);
            let held = claims.map(|claim| claim.at).max().is_some_and(|at| fault.until >= at);
            fault.what == What::Kill && fault.node == lapse.node && fault.at <= lapse.at && held
        };
        let excused = |lapse: &Record, fault: &Fault| fault.excuses(&lapse.node, lapse.at) || earlier(lapse, fault);
        let well = |lapse: &&Record| !self.faults.iter().any(|fault| excused(lapse, fault));
        let told = |lapse: &Record| format!("{} of {} by {} at {}", lapse.task, lapse.node, lapse.by, lapse.at);
        lapses.filter(well).map(told).collect()
    }

    /// Executions beyond the first of each task; and those of them that no fault of the earlier holder explains.
    pub(crate) fn extra(&self) -> (usize, Vec<String>) {
        let mut all: Vec<&Execution> = self.executions.iter().collect();
        all.sort_by_key(|execution| execution.line.at);
        let mut last: BTreeMap<&str, &Execution> = BTreeMap::new();
        let (mut extra, mut unexplained) = (0, Vec::new());
        for execution in all {
            let Some(earlier) = last.insert(&execution.line.task, execution) else { continue };
            extra += 1;
            let (before, now) = (earlier.line.at, execution.line.at);
            let gone = |fault: &Fault| matches!(fault.what, What::Kill | What::Freeze | What::Cut);
            let taken =
                |fault: &Fault| gone(fault) && fault.node == earlier.node && fault.until >= before && fault.at <= now;
            // It had claimed the task and was stopped in the moment before it began.
            let late = |fault: &Fault| {
                gone(fault) && fault.node == execution.node && fault.at <= before && fault.until + 1_000 >= now
            };
            if !self.faults.iter().any(|fault| taken(fault) || late(fault)) {
                let (task, from, to) = (&execution.line.task, &earlier.node, &execution.node);
                unexplained.push(format!("{task} on {from} at {before}, on {to} at {now}"));
            }
        }
        (extra, unexplained)
    }

    /// For each task that was held by a node when this was done to it: how long until it ran elsewhere, in ms, with what
    /// happened. A task whose holder still ended it, in its last moment or after its thaw, was not taken over.
    pub(crate) fn takeovers(&self, what: What) -> Vec<(Millis, String)> {
        let logs = self.logs();
        let mut found = Vec::new();
        for fault in self.faults.iter().filter(|fault| fault.what == what) {
            for (task, log) in &logs {
                let claim = log.iter().rfind(|record| record.is_claim() && record.at <= fault.at);
                let Some(claim) = claim.filter(|claim| claim.node == fault.node) else { continue };
                let next = log.iter().find(|record| record.seq > claim.seq && (record.is_claim() || record.is_end()));
                let Some(next) = next.filter(|next| next.is_claim() && next.at >= fault.at) else { continue };
                let ran = self.executions.iter().filter(|execution| execution.line.task == *task);
                let ran = ran.map(|execution| execution.line.at).filter(|at| *at >= next.at.saturating_sub(2)).min();
                let at = ran.unwrap_or(next.at);
                let told =
                    format!("{task} of {} at {}, {} ms later on {}", fault.node, fault.at, at - fault.at, next.node);
                found.push((at.saturating_sub(fault.at), told));
            }
        }
        found.sort();
        found
    }
}

impl Evidence {
    /// For each task how long it was stored before it first ran, in ms: one that was handed to a node that could not
    /// begin it shows here.
    pub(crate) fn starts(&self) -> Vec<(Millis, String)> {
        let mut ran: BTreeMap<&str, Millis> = BTreeMap::new();
        for Execution { line, .. } in &self.executions {
            ran.entry(&line.task).and_modify(|at| *at = line.at.min(*at)).or_insert(line.at);
        }
        let submitted = self.records.iter().filter(|record| record.kind == "submitted");
        let started = submitted.filter_map(|record| Some((record, ran.get(record.task.as_str())?)));
        let mut found: Vec<_> = started
            .map(|(record, at)| (at.saturating_sub(record.at), format!("{} stored at {}", record.task, record.at)))
            .collect();
        found.sort();
        found
    }
}

/// Of sorted figures, the one that this share of them does not exceed.
pub(crate) fn quantile(sorted: &[(Millis, String)], share: f64) -> Millis {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).map_or(0, |(figure, _)| *figure)
}

impl Evidence {
    /// All that is known of the tasks that these findings name, and what was done around them.
    pub(crate) fn about(&self, found: &[String]) -> String {
        let named: BTreeSet<&str> =
            found.iter().filter_map(|line| line.split(' ').find(|word| word.len() == 36)).collect();
        let mut lines: Vec<(Millis, String)> = Vec::new();
        for record in self.records.iter().filter(|record| named.contains(record.task.as_str())) {
            lines.push((record.at, format!("{record:?}")));
        }
        for Execution { node, line } in self.executions.iter().filter(|one| named.contains(one.line.task.as_str())) {
            lines.push((line.at, format!("{} runs on {node}, attempt {}", line.task, line.attempt)));
        }
        let (first, last) = (lines.iter().map(|line| line.0).min(), lines.iter().map(|line| line.0).max());
        let around = first.unwrap_or_default().saturating_sub(10_000)..=last.unwrap_or_default();
        let faults = self.faults.iter().filter(|fault| around.contains(&fault.at));
        lines.extend(faults.map(|fault| (fault.at, format!("{fault:?}"))));
        lines.sort();
        lines.iter().map(|(at, what)| format!("{at} {what}\n")).collect()
    }
}
