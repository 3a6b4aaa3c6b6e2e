use proptest::prelude::*;

use super::*;
use crate::payload::Payload;

fn node() -> NodeName {
    NodeName::parse("n").unwrap()
}

/// A log in letters: a digit is a death beside so many, a capital one soon after another process died (`A` beside none),
/// `c` a claim, `s` a step, `i` an intent, `d` handed back, `o` put off, `r` an attempt that failed, `p` parked.
fn log(letters: &str) -> Vec<Record> {
    let released = |reason| Entry::Released { reason, error: None, not_before: 0, agent: None, begun: true };
    let put_off = Entry::Released { reason: Release::Declined, error: None, not_before: 9, agent: None, begun: false };
    let entry = |letter: char| match letter {
        'c' => Entry::Claimed { attempt: 1, node: node(), version: None },
        's' => Entry::Step { name: "s".into(), value: Payload::null(), input: None },
        'i' => Entry::Intent { name: "e".into(), key: "k".into(), keyed: false },
        'd' => released(Release::Drained),
        'o' => put_off.clone(),
        'r' => released(Release::Retry),
        'p' => Entry::Parked { on: Vec::new() },
        'A'..='I' => Entry::Died { node: node(), beside: letter as u32 - 'A' as u32, not_before: 0, again: true },
        digit => Entry::Died { node: node(), beside: digit.to_digit(10).unwrap(), not_before: 0, again: false },
    };
    letters.chars().zip(1..).map(|(letter, n)| Record { n, at: n, entry: entry(letter) }).collect()
}

#[test]
fn a_death_counts_when_it_ran_alone_and_since_it_made_headway() {
    for (letters, counted) in [
        ("", 0),
        ("0", 1),
        ("7", 0),
        ("0c0c0", 3),
        ("0c3c0", 2),
        ("0cic0d", 2),
        ("0c0cs", 0),
        ("0c0csc0", 1),
        ("0cr", 0),
        ("0cp", 0),
        ("0cdc0", 2),
    ] {
        assert_eq!(deaths(&log(letters)).len(), counted, "{letters}");
    }
    assert_eq!(deaths(&log("0c5c0"))[1], Death { node: node(), at: 5 });
}

#[test]
fn a_suspect_is_one_until_an_attempt_has_come_to_an_end_or_only_waits() {
    for (letters, company) in [
        ("", None),
        ("cs", None),
        ("0", None),
        ("7c", None),
        ("0c0", Some(1)),
        ("A", Some(1)),
        ("Hc", Some(4)),
        ("Hcr", None),
        ("1c1", Some(1)),
        ("2c2", Some(1)),
        ("3c3", Some(1)),
        ("4c4", Some(1)),
        ("5c5", Some(3)),
        ("7c7c", Some(4)),
        ("7c7cd", Some(4)),
        ("7c7cs", Some(4)),
        ("7c5", Some(3)),
        ("5c7", Some(3)),
        ("7c7cr", None),
        ("7c7cp", None),
        ("7c7cpc3", None),
        ("7c7cpc5c5", Some(3)),
        ("7c7cocococo", Some(4)),
        ("7c7cococococo", None),
        ("7cocococococ7", Some(4)),
    ] {
        assert_eq!(suspicion(&log(letters)).map(|one| one.company), company, "{letters}");
    }
    let trials =
        ["7c7", "0c0", "0c0c0", "7c7c3", "7c7c3c1"].map(|letters| suspicion(&log(letters)).unwrap().trial / 10);
    assert_eq!(trials.map(|trial| trial.as_secs()), [1, 1, 1, 2, 4]);
}

#[test]
fn a_suspect_that_died_alone_waits_like_a_failed_attempt_and_what_died_first_or_beside_others_does_not() {
    let retry = Retry::default();
    let wait = |letters, beside| match died(&log(letters), &retry, node(), beside, false, 1_000) {
        Entry::Died { not_before, .. } => not_before,
        other => panic!("{other:?}"),
    };
    assert_eq!([wait("", 4), wait("0c0", 4)], [0, 0]);
    assert_eq!([wait("", 0), wait("0", 0), wait("0c0", 0)], [0, 2_000, 3_000]);
    assert_eq!([wait("3c3c", 0), wait("3c3c0c", 0), wait("3c3c0c0", 0)], [2_000, 2_000, 3_000], "all others go first");
    assert_eq!([wait("3cpc", 0), wait("3cp3c", 0)], [0, 2_000], "it only waited in between");
    assert_eq!([wait(&"0".repeat(MAX_DEATHS - 1), 0), wait(&"0".repeat(200), 0)], [0, 0], "it is given up");
    let patient = Retry { base_ms: 50_000, ..retry };
    let Entry::Died { not_before, .. } = died(&log("000"), &patient, node(), 0, false, 1_000) else { panic!() };
    assert_eq!(not_before, 61_000);
}

/// Tasks of which some kill their process whenever they run, in processes that run up to `slots` at a time.
struct World {
    guilty: Vec<bool>,
    logs: Vec<Vec<Record>>,
    /// Whether it was completed, or given up.
    ended: Vec<Option<bool>>,
    deaths: usize,
}

impl World {
    fn new(guilty: Vec<bool>) -> Self {
        let n = guilty.len();
        Self { guilty, logs: vec![Vec::new(); n], ended: vec![None; n], deaths: 0 }
    }

    /// Who runs together: as many as there are slots, or a company of suspects.
    fn next(&mut self, slots: usize) -> Vec<usize> {
        let mut running: Vec<usize> = Vec::new();
        for task in 0..self.logs.len() {
            if self.ended[task].is_none() && deaths(&self.logs[task]).len() >= MAX_DEATHS {
                self.ended[task] = Some(false);
            }
            if self.ended[task].is_none() && running.len() < slots {
                running.push(task);
            }
        }
        let mut company = Company::default();
        let suspicions = running.iter().map(|task| suspicion(&self.logs[*task]));
        let admitted: Vec<bool> = suspicions.map(|one| one.is_some_and(|one| company.admit(one))).collect();
        if company.members() == 0 {
            return running;
        }
        running.into_iter().zip(admitted).filter(|(_, admitted)| *admitted).map(|(task, _)| task).collect()
    }

    fn run(&mut self, slots: usize) {
        loop {
            let running = self.next(slots);
            if running.is_empty() {
                return;
            }
            let dies = running.iter().any(|task| self.guilty[*task]);
            self.deaths += usize::from(dies);
            for task in &running {
                if !dies {
                    self.ended[*task] = Some(true);
                    continue;
                }
                let log = &mut self.logs[*task];
                let entry = died(log, &Retry::default(), node(), running.len() - 1, false, 0);
                log.push(Record { n: log.len() as u64 + 1, at: 0, entry });
            }
        }
    }
}

proptest! {
    #[test]
    fn the_guilty_are_found_and_nobody_else_is_blamed(
        guilty in prop::collection::vec(prop::bool::weighted(0.2), 1..120),
        slots in 1_usize..40,
    ) {
        let many = guilty.iter().filter(|guilty| **guilty).count();
        let mut world = World::new(guilty);
        world.run(slots);
        for (task, guilty) in world.guilty.iter().enumerate() {
            prop_assert_eq!(world.ended[task], Some(!guilty), "task {}", task);
            prop_assert!(*guilty || deaths(&world.logs[task]).is_empty(), "task {} is blamed", task);
        }
        let halvings = (slots as f64).log2().ceil() as usize + 1;
        prop_assert!(world.deaths <= many * (halvings + MAX_DEATHS + FORGIVEN), "{} deaths for {}", world.deaths, many);
    }

    /// The control: whoever counts each death against all that it took along gives up innocent ones.
    #[test]
    fn counting_every_death_against_everybody_would_blame_the_innocent(slots in 12_usize..40) {
        let mut world = World::new((0..slots).map(|task| task < MAX_DEATHS).collect());
        world.run(slots);
        let blamed = |log: &Vec<Record>| log.iter().filter(|one| matches!(one.entry, Entry::Died { .. })).count();
        prop_assert!(world.logs.iter().skip(MAX_DEATHS).all(|log| deaths(log).is_empty()));
        prop_assert!(world.logs.iter().skip(MAX_DEATHS).any(|log| blamed(log) > 0));
    }
}
