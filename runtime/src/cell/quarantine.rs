//! Suspects of a node run with nothing beside them that could die with them, and be blamed for it.
//!
//! A task whose process died is a [suspect]. The first that a pump of this node claims closes the node to new tasks: what
//! comes beside it is handed back, what is at work is brought to its end, and what only waits for other tasks is parked.
//! Then the suspect runs, or as many as may run together, and when they have ended, or had the node for themselves long
//! enough, the node is open again. So when the process dies meanwhile its claims are those of the company and no others:
//! that is all that whoever counts them has to know. Messages are answered as ever, because the suspect may ask.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::id::TaskId;
use callboard_broker::suspect::{Company, Suspicion};
use tokio::sync::watch;
use tokio::time::Instant;

use super::heart::Heart;
use super::load::Load;
use super::quit::{Quit, Quits};

/// How long what is at work may take to end before the suspect is left for later.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How much later that is.
const LATER: Duration = Duration::from_secs(20);
/// How long a handler may only wait for tasks before it is parked, while a suspect waits for it to go.
const PARK_SOON: Duration = Duration::from_millis(250);

/// Who has the node for themselves, if anybody has.
#[derive(Debug)]
pub(crate) struct Quarantine(watch::Sender<Trial>);

#[derive(Debug, Default)]
struct Trial {
    /// Which one it is.
    number: u64,
    company: Company,
    /// Members that have not ended.
    left: usize,
    /// Since when nothing runs beside them.
    began: Option<Instant>,
    /// How many tasks are worth claiming, as far as the last claim can tell.
    worth: Option<usize>,
}

impl Trial {
    /// Until when nothing is begun beside the company; none: it has not begun itself.
    fn until(&self) -> Option<Instant> {
        self.began.map(|began| began + self.company.trial())
    }

    fn is_closed(&self) -> bool {
        self.left > 0 && self.until().is_none_or(|until| Instant::now() < until)
    }
}

/// What becomes of a task that was claimed.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It runs as ever.
    Free,
    /// It runs as a suspect.
    Suspect(Member),
    /// It may not run now.
    Back,
}

/// A suspect of the company, until it is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    quarantine: Arc<Quarantine>,
    trial: u64,
}

impl Quarantine {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Trial::default())))
    }

    /// What becomes of tasks that were claimed together, of which some may be suspects. Who stands before them in the queue
    /// goes before them: suspects behind others are handed back, and close nothing.
    pub(crate) fn admit(self: &Arc<Self>, claimed: &[Option<Suspicion>]) -> Vec<Admission> {
        let mut admissions = Vec::with_capacity(claimed.len());
        self.0.send_if_modified(|trial| {
            let was_open = !trial.is_closed();
            if was_open {
                if claimed.first().is_none_or(Option::is_none) {
                    trial.worth = None;
                    let admitted = |one: &Option<_>| if one.is_none() { Admission::Free } else { Admission::Back };
                    admissions.extend(claimed.iter().map(admitted));
                    return false;
                }
                *trial = Trial { number: trial.number + 1, ..Trial::default() };
            }
            for suspicion in claimed {
                let admitted = suspicion.is_some_and(|one| trial.began.is_none() && trial.company.admit(one));
                trial.left += usize::from(admitted);
                let member = || Member { quarantine: self.clone(), trial: trial.number };
                admissions.push(if admitted { Admission::Suspect(member()) } else { Admission::Back });
            }
            // What is handed back is claimed again as soon as it is open; more than may run would only be passed around.
            trial.worth = trial.company.most();
            was_open
        });
        admissions
    }

    /// How many of so many tasks are worth claiming.
    pub(crate) fn worth(&self, slots: usize) -> usize {
        self.0.borrow().worth.map_or(slots, |worth| worth.min(slots))
    }

    /// Resolves when tasks may be begun.
    pub(crate) async fn until_open(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let until = {
                let trial = changes.borrow_and_update();
                if !trial.is_closed() {
                    return;
                }
                trial.until()
            };
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The sender is ours.
                _ = changes.changed() => {}
                () = over => {}
            }
        }
    }

    /// Resolves when none may be begun any more.
    pub(crate) async fn until_closed(&self) {
        // The sender is ours.
        let _ = self.0.subscribe().wait_for(Trial::is_closed).await;
    }

    /// Resolves with what a handler waits for that has had nothing else open for `long`; sooner while suspects wait for
    /// all others to go, and for suspects themselves, who then are none any more.
    pub(crate) async fn until_parkable(&self, load: &Load, long: Duration) -> Vec<TaskId> {
        let soon = async {
            loop {
                self.until_closed().await;
                tokio::select! {
                    biased;
                    on = load.until_parkable(PARK_SOON) => return on,
                    () = self.until_open() => {}
                }
            }
        };
        tokio::select! {
            biased;
            on = load.until_parkable(long) => on,
            on = soon => on,
        }
    }
}

impl Member {
    /// Waits until the node holds nothing but the company, and the trial begins.
    ///
    /// # Errors
    /// When that takes too long, or the cell quits: how much later to try again.
    pub(crate) async fn until_alone(&self, heart: &Heart, quits: &Quits) -> Result<(), Duration> {
        tokio::select! {
            biased;
            () = quits.until(Quit::Finish) => Err(Duration::ZERO),
            alone = tokio::time::timeout(PATIENCE, self.alone(heart)) => alone.map_err(|_| LATER),
        }
    }

    async fn alone(&self, heart: &Heart) {
        let (mut held, mut changes) = (heart.watch(), self.quarantine.0.subscribe());
        loop {
            let now_held = *held.borrow_and_update();
            let is_there = {
                let trial = changes.borrow_and_update();
                trial.number != self.trial || trial.began.is_some() || now_held <= trial.left
            };
            if is_there {
                break;
            }
            tokio::select! {
                biased;
                // Both senders outlive this.
                _ = held.changed() => {}
                _ = changes.changed() => {}
            }
        }
        self.quarantine.0.send_if_modified(|trial| {
            let begins = trial.number == self.trial && trial.began.is_none();
            if begins {
                trial.began = Some(Instant::now());
                tracing::info!(tasks = trial.left, "suspects run with nothing beside them");
            }
            begins
        });
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.quarantine.0.send_if_modified(|trial| {
            let is_ours = trial.number == self.trial;
            trial.left -= usize::from(is_ours);
            is_ours
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::quit::Teller;
    use super::*;

    fn suspect(company: usize) -> Option<Suspicion> {
        Some(Suspicion { company, trial: Duration::from_secs(10) })
    }

    fn words(admissions: &[Admission]) -> String {
        let letter = |one: &Admission| match one {
            Admission::Free => 'f',
            Admission::Suspect(_) => 's',
            Admission::Back => 'b',
        };
        admissions.iter().map(letter).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_suspect_closes_the_node_and_the_last_opens_it() {
        let (quarantine, heart) = (Quarantine::new(), Heart::default());
        let (node, cell) = (Teller::default(), Teller::default());
        let quits = Quits { node: node.told(), cell: cell.told() };
        assert_eq!(words(&quarantine.admit(&[None, None])), "ff");
        assert_eq!(words(&quarantine.admit(&[None, suspect(1), None])), "fbf", "they stand before it");
        let first = quarantine.admit(&[suspect(2), None, suspect(3), suspect(9)]);
        assert_eq!((words(&first), quarantine.worth(8)), ("sbsb".into(), 2));
        assert_eq!(words(&quarantine.admit(&[None])), "b");
        quarantine.until_closed().await;
        let mut members = first.into_iter().filter_map(|one| match one {
            Admission::Suspect(member) => Some(member),
            _ => None,
        });
        let (one, two) = (members.next().unwrap(), members.next().unwrap());
        one.until_alone(&heart, &quits).await.unwrap();
        drop(one);
        assert_eq!(words(&quarantine.admit(&[suspect(9)])), "b", "the trial has begun");
        drop(two);
        quarantine.until_open().await;
        assert_eq!((words(&quarantine.admit(&[None])), quarantine.worth(8)), ("f".into(), 8));
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_longer_than_its_trial_has_others_beside_it_again() {
        let (quarantine, heart) = (Quarantine::new(), Heart::default());
        let (node, cell) = (Teller::default(), Teller::default());
        let quits = Quits { node: node.told(), cell: cell.told() };
        let Some(Admission::Suspect(long)) = quarantine.admit(&[suspect(1)]).pop() else { panic!() };
        long.until_alone(&heart, &quits).await.unwrap();
        let began = Instant::now();
        quarantine.until_open().await;
        assert_eq!(began.elapsed().as_secs(), 10);
        let Some(Admission::Suspect(_next)) = quarantine.admit(&[suspect(1)]).pop() else { panic!() };
        drop(long);
        assert_eq!(words(&quarantine.admit(&[None])), "b", "the end of one that is over opens no other");
    }
}
