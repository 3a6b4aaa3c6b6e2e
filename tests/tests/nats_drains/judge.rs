//! What a drain must not do, judged by what the broker has stored and by what the agents have noted elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use callboard_tests::nats::recorded::Record;
use callboard_tests::process::Line;

/// All that is known. The ledgers are those of each incarnation of each node.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) accepted: BTreeSet<String>,
    pub(crate) records: Vec<Record>,
    pub(crate) executions: Vec<(String, Line)>,
}

impl Evidence {
    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.kind == kind)
    }

    /// Accepted, and not completed exactly once.
    pub(crate) fn lost_or_twice(&self) -> Vec<String> {
        let mut ends: BTreeMap<&str, usize> = self.accepted.iter().map(|task| (task.as_str(), 0)).collect();
        for record in self.of("completed") {
            *ends.entry(&record.task).or_default() += 1;
        }
        let wrong = ends.into_iter().filter(|(_, times)| *times != 1);
        wrong.map(|(task, times)| format!("{task} was completed {times} times")).collect()
    }

    /// Executions beyond the first of each task.
    pub(crate) fn extra(&self) -> Vec<String> {
        let mut ran: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        self.executions.iter().for_each(|(node, line)| ran.entry(&line.task).or_default().push(node));
        let several = ran.into_iter().filter(|(_, nodes)| nodes.len() > 1);
        several.map(|(task, nodes)| format!("{task} ran on {}", nodes.join(", "))).collect()
    }

    /// Tasks that a node gave up although it had begun them: handed back, or lapsed.
    pub(crate) fn given_up_at_work(&self) -> Vec<String> {
        let given_up = self.of("released").chain(self.of("lapsed"));
        let begun =
            |record: &&Record| self.executions.iter().any(|(_, line)| line.task == record.task && line.at < record.at);
        given_up.filter(begun).map(|record| format!("{} {} of {}", record.kind, record.reason, record.task)).collect()
    }

    /// Tasks that were handed back because of a drain, whether or not they had begun.
    pub(crate) fn drained(&self) -> usize {
        self.of("released").filter(|record| record.reason == "drained").count()
    }

    /// Everything that is wrong.
    pub(crate) fn wrong(&self) -> Vec<String> {
        [self.lost_or_twice(), self.extra(), self.given_up_at_work()].concat()
    }
}
