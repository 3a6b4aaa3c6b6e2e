//! The queue's decisions, and a random walk that compares its counts with what it handed out.

use proptest::prelude::*;

use super::*;
use crate::id::NodeName;
use crate::id::RunId;
use crate::task::{BegunBy, Priority, Serving, Version};

const LEASE: Millis = 30_000;

fn name(text: &str) -> CapabilityName {
    CapabilityName::parse(text).unwrap()
}

fn id(n: u64) -> TaskId {
    TaskId::root(&RunId::parse(&format!("t{n}")).unwrap())
}

fn item(n: u64) -> Item {
    Item {
        task: id(n),
        seq: n,
        capability: name("x"),
        priority: Priority::Normal,
        deadline: 1_000_000,
        not_before: 0,
        claims: 0,
        free: 0,
        bytes: 10,
        begun_by: BegunBy::default(),
    }
}

fn want(slots: usize, node: &str) -> Want {
    let node = NodeName::parse(node).unwrap();
    Want { capability: name("x"), slots, bulk: slots, node, declined: Vec::new(), lease: LEASE, serving: None }
}

/// Given back, at no cost if `free`.
fn back(free: bool, not_before: Millis) -> Entry {
    let reason = if free { Release::Drained } else { Release::Retry };
    Entry::Released { reason, error: None, not_before, agent: None, begun: true }
}

fn queue(items: impl IntoIterator<Item = Item>) -> Queue {
    let mut queue = Queue::new(Limits::default(), 1);
    for item in items {
        queue.enqueue(item, 0);
    }
    queue
}

fn ids(batch: &Batch) -> Vec<TaskId> {
    batch.taken.iter().map(|t| t.task.clone()).collect()
}

#[test]
fn what_is_less_urgent_has_its_turns_while_urgent_work_never_ends() {
    let of = |priority, n| Item { priority, ..item(n) };
    let mut q = queue((1..=64).map(|n| of([Priority::High, Priority::Normal, Priority::Bulk][n as usize % 3], n)));
    let taken: Vec<Priority> = (0..16)
        .map(|_| {
            let one = q.claim(&want(1, "a"), 0).taken.remove(0).task;
            q.get(&one).unwrap().item.priority
        })
        .collect();
    let count = |of: Priority| taken.iter().filter(|one| **one == of).count();
    assert_eq!([Priority::High, Priority::Normal, Priority::Bulk].map(count), [12, 3, 1], "{taken:?}");
    assert_eq!(taken[..3], [Priority::High; 3], "urgent work does not wait for its turn");
}

/// Three of four claimers take no bulk, and one of them comes whenever it would be the turn of bulk.
#[test]
fn the_turn_of_bulk_is_kept_for_a_claimer_that_takes_it() {
    let of = |priority, n| Item { priority, ..item(n) };
    let mut q = queue((1..=300).map(|n| of([Priority::High, Priority::Normal, Priority::Bulk][n as usize % 3], n)));
    let mut counts = BTreeMap::new();
    for n in 0..68 {
        let bulk = usize::from(n % 4 == 0);
        let one = q.claim(&Want { bulk, ..want(1, "a") }, 0).taken.remove(0).task;
        *counts.entry(q.get(&one).unwrap().item.priority).or_insert(0) += 1;
    }
    assert_eq!(counts[&Priority::Bulk], 4, "one of sixteen: {counts:?}");
    assert!((10..=13).contains(&counts[&Priority::Normal]), "three of sixteen: {counts:?}");
}

#[test]
fn who_takes_no_bulk_is_first_for_the_rest() {
    let mut q = queue([]);
    q.park(1, want(1, "a"), 1_000);
    q.park(2, Want { bulk: 0, ..want(1, "b") }, 1_000);
    q.enqueue(item(1), 0);
    let fed =
        |q: &mut Queue| q.feed(0).into_iter().map(|(ticket, batch)| (ticket.unwrap(), ids(&batch))).collect::<Vec<_>>();
    assert_eq!(fed(&mut q), [(2, vec![id(1)])]);
    q.park(3, Want { bulk: 0, ..want(1, "b") }, 1_000);
    q.enqueue(Item { priority: Priority::Bulk, ..item(2) }, 0);
    assert_eq!(fed(&mut q), [(1, vec![id(2)])]);
}

#[test]
fn a_priority_that_is_alone_takes_no_turns() {
    let mut q = queue((1..=40).map(|n| Item { priority: Priority::Bulk, ..item(n) }));
    q.claim(&want(15, "a"), 0);
    q.enqueue(Item { priority: Priority::High, ..item(99) }, 0);
    assert_eq!(ids(&q.claim(&want(1, "a"), 0)), [id(99)]);
}

#[test]
fn the_most_urgent_goes_first_and_among_equals_the_oldest() {
    let bulk = Item { priority: Priority::Bulk, ..item(1) };
    let high = Item { priority: Priority::High, ..item(4) };
    let mut q = queue([bulk, item(3), item(2), high]);
    assert_eq!(ids(&q.claim(&want(3, "a"), 0)), [id(4), id(2), id(3)]);
    assert_eq!(q.depth(), [(name("x"), Depth { pending: 1, in_progress: 3 })]);
}

#[test]
fn a_failed_attempt_goes_behind_what_is_ready_when_its_wait_is_over_and_what_is_handed_back_does_not() {
    let mut q = queue((1..=5).map(item));
    let first = q.claim(&want(2, "a"), 0);
    let lease = |n: usize| (first.taken[n].task.clone(), first.taken[n].held.lease);
    let ((failed, one), (drained, two)) = (lease(0), lease(1));
    assert!(q.release(&failed, one, &back(false, 10), 0) && q.release(&drained, two, &back(true, 0), 0));
    q.enqueue(item(6), 5);
    assert!(q.due(10).is_empty());
    q.enqueue(item(7), 11);
    assert_eq!(ids(&q.claim(&want(3, "a"), 11)), [2, 3, 4].map(id));
    let rest = q.claim(&want(4, "a"), 11);
    assert_eq!(ids(&rest), [5, 6, 1, 7].map(id), "behind all that were submitted by then");
    let again = rest.taken[2].clone();
    q.enqueue(item(8), 12);
    assert!(q.release(&again.task, again.held.lease, &back(true, 0), 12));
    assert_eq!(ids(&q.claim(&want(2, "a"), 12)), [1, 8].map(id), "and keeps its own place when it was begun again");
}

#[test]
fn a_failed_attempt_that_is_read_back_goes_behind_what_was_read_before_it() {
    let mut q = queue((2..=4).map(item));
    q.enqueue(Item { claims: 1, not_before: 10, ..item(1) }, 20);
    assert_eq!(ids(&q.claim(&want(9, "a"), 20)), [2, 3, 4, 1].map(id));
}

#[test]
fn a_claim_that_lapses_costs_an_attempt_and_its_number_holds_no_longer() {
    let mut q = queue([item(1)]);
    let first = q.claim(&want(1, "a"), 0).taken.remove(0);
    assert_eq!((first.held.attempt, first.again), (1, false));
    assert_eq!(q.next_wakeup(), Some(LEASE));
    assert!(q.extend(&id(1), first.held.lease, 50_000, 20_000));
    assert_eq!(q.due(LEASE), []);
    assert_eq!(q.due(50_000), [Due::Lapsed { task: id(1), lease: first.held.lease }]);
    let second = q.claim(&want(1, "b"), 50_000).taken.remove(0);
    assert_eq!((second.held.attempt, second.again), (2, true));
    assert!(!q.extend(&id(1), first.held.lease, 90_000, 50_001));
    assert!(!q.release(&id(1), first.held.lease, &back(true, 0), 50_001));
    assert!(q.held(&id(1), second.held.lease).is_some());
}

#[test]
fn a_claim_that_is_read_back_holds_as_it_did() {
    let mut before = queue([item(1)]);
    let taken = before.claim(&want(1, "a"), 0).taken.remove(0);
    let mut after = Queue::new(Limits::default(), 1);
    after.restore(Item { claims: 1, ..item(1) }, taken.held.clone(), 10);
    assert_eq!(after.depth(), before.depth());
    assert_eq!(after.held(&id(1), taken.held.lease), Some(&taken.held));
    assert!(after.claim(&want(1, "b"), 10).is_empty());
    assert!(after.next_lease() > taken.held.lease);
    assert_eq!(after.due(LEASE), [Due::Lapsed { task: id(1), lease: taken.held.lease }]);
    assert_eq!(after.claim(&want(1, "b"), LEASE).taken[0].held.attempt, 2);
}

#[test]
fn what_is_handed_back_free_costs_no_attempt_and_waits_as_long_as_it_was_told() {
    let mut q = queue([item(1)]);
    let first = q.claim(&want(1, "a"), 0).taken.remove(0);
    assert!(q.release(&id(1), first.held.lease, &back(true, 500), 10));
    assert!(q.claim(&want(1, "a"), 499).is_empty());
    assert_eq!(q.next_wakeup(), Some(500));
    assert_eq!(q.due(500), []);
    let second = q.claim(&want(1, "a"), 500).taken.remove(0);
    assert_eq!((second.held.attempt, second.again), (1, true));
}

#[test]
fn a_parked_claimer_is_fed_by_what_comes_and_in_turn() {
    let mut q = queue([]);
    q.park(7, want(2, "a"), 1_000);
    q.park(8, want(2, "b"), 1_000);
    assert!(q.feed(0).is_empty());
    for n in 1..=3 {
        q.enqueue(item(n), 10);
    }
    let fed = q.feed(10);
    assert_eq!(
        fed.iter().map(|(t, b)| (t.unwrap(), ids(b))).collect::<Vec<_>>(),
        [(7, vec![id(1), id(2)]), (8, vec![id(3)])]
    );
    assert!(!q.unpark(7));
    assert_eq!(q.due(1_000), []);
}

#[test]
fn a_wait_that_is_over_is_told_and_forgotten() {
    let mut q = queue([]);
    q.park(7, want(1, "a"), 1_000);
    q.park(8, want(1, "a"), 2_000);
    assert_eq!(q.next_wakeup(), Some(1_000));
    assert_eq!(q.due(1_000), [Due::Waited(7, Batch::default())]);
    assert!(q.unpark(8));
    assert_eq!((q.next_wakeup(), q.lanes.len()), (None, 0));
}

#[test]
fn what_has_passed_its_deadline_leaves_claimed_or_not() {
    let mut q = queue([Item { deadline: 100, ..item(1) }, Item { deadline: 100, ..item(2) }]);
    let lease = q.claim(&want(1, "a"), 0).taken[0].held.lease;
    let due = q.due(100);
    let left: Vec<_> = due
        .iter()
        .map(|d| match d {
            Due::Expired(place) => (place.item.task.clone(), place.held.as_ref().map(|h| h.lease)),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(left, [(id(1), Some(lease)), (id(2), None)]);
    assert!(q.is_empty() && q.lanes.is_empty());
}

#[test]
fn a_task_that_was_claimed_too_often_is_given_up_and_the_next_one_is_handed_out() {
    let passed_on = Item { claims: MAX_HANDOUTS, free: MAX_HANDOUTS, ..item(2) };
    let drained = Item { claims: MAX_CLAIMS, free: 1, ..item(3) };
    let mut q = queue([Item { claims: MAX_CLAIMS, ..item(1) }, passed_on, drained]);
    let batch = q.claim(&want(1, "a"), 0);
    assert_eq!(ids(&batch), [id(3)], "what was handed back at no cost is no attempt");
    let spent: Vec<_> = batch.spent.iter().map(|(place, why)| (place.item.task.clone(), why.clone())).collect();
    assert_eq!(spent, [(id(1), Spent::TooManyClaims), (id(2), Spent::TooManyClaims)]);
}

#[test]
fn a_declined_task_goes_to_others_and_back_only_when_none_is_left() {
    let declined = Want { declined: vec![id(1)], ..want(1, "a") };
    let mut q = queue([item(1), item(2)]);
    assert_eq!(ids(&q.claim(&declined, 0)), [id(2)]);
    assert!(q.claim(&declined, 0).is_empty());

    q.park(1, declined.clone(), 10);
    q.park(2, want(1, "b"), 10);
    let fed = q.feed(0);
    assert_eq!(fed.iter().map(|(t, b)| (t.unwrap(), ids(b))).collect::<Vec<_>>(), [(2, vec![id(1)])]);
    let lease = fed[0].1.taken[0].held.lease;

    // While b works it could take the task later: a does not get it, however long it waits.
    q.enqueue(item(3), 5);
    let declined_all = Want { declined: vec![id(1), id(3)], ..declined };
    assert!(q.unpark(1));
    q.park(3, declined_all.clone(), 10);
    assert_eq!(q.due(10), [Due::Waited(3, Batch::default())]);
    // Once b is gone, a is the last who can say no.
    assert!(q.release(&id(1), lease, &back(true, 0), 11));
    q.park(4, declined_all, 20);
    assert!(q.feed(15).is_empty());
    let due = q.due(20);
    let [Due::Waited(4, batch)] = &due[..] else { panic!("{due:?}") };
    assert_eq!(ids(batch), [id(1)]);
}

#[test]
fn a_task_that_every_node_has_declined_comes_back_to_the_first_that_has_waited() {
    let declined = |node| Want { declined: vec![id(1)], ..want(1, node) };
    let mut q = queue([item(1)]);
    q.park(1, declined("a"), 10);
    q.park(2, want(1, "b"), 20);
    assert_eq!(q.feed(0).len(), 1);
    assert!(q.release(&id(1), 1, &back(true, 0), 1));
    q.park(3, declined("b"), 20);
    assert!(q.feed(1).is_empty());
    let due = q.due(10);
    let [Due::Waited(1, batch)] = &due[..] else { panic!("{due:?}") };
    assert_eq!(ids(batch), [id(1)], "b waits too, but not for this");
}

#[test]
fn what_waits_for_several_is_woken_by_the_first_and_by_no_other() {
    let mut q = queue([item(1), item(2)]);
    let leases = q.claim(&want(2, "a"), 0).taken;
    let aside = |q: &mut Queue, at: usize, on: &[u64]| {
        let on: Vec<TaskId> = on.iter().map(|n| id(*n)).collect();
        assert!(q.lay_aside(&id(at as u64 + 1), leases[at].held.lease, &on, 1));
    };
    aside(&mut q, 0, &[11, 12, 11]);
    aside(&mut q, 1, &[12, 13]);
    q.ended(&id(14), 2);
    assert!(q.claim(&want(2, "a"), 2).is_empty());
    q.ended(&id(11), 3);
    let again = q.claim(&want(2, "a"), 3).taken;
    assert_eq!(again.iter().map(|t| (&t.task, t.held.attempt)).collect::<Vec<_>>(), [(&id(1), 1)]);
    // It waits for something else now, so the end of the other one is no affair of its.
    assert!(q.lay_aside(&id(1), again[0].held.lease, &[id(13)], 4));
    q.ended(&id(12), 5);
    assert_eq!(ids(&q.claim(&want(2, "a"), 5)), [id(2)]);
    q.ended(&id(13), 6);
    assert_eq!(ids(&q.claim(&want(2, "a"), 6)), [id(1)]);
    assert!([1, 2].into_iter().all(|n| q.remove(&id(n)).is_some()));
    assert!(q.joins.is_empty(), "{:?}", q.joins);
}

#[test]
fn room_is_counted_in_tasks_and_bytes() {
    let mut q = Queue::new(Limits { tasks: 2, bytes: 25 }, 1);
    assert!(q.has_room(2, 25) && !q.has_room(3, 0) && !q.has_room(1, 26));
    q.enqueue(item(1), 0);
    assert!(q.has_room(1, 15) && !q.has_room(1, 16) && !q.has_room(2, 0));
    q.remove(&id(1));
    assert!(q.has_room(2, 25));
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue(u64, Millis),
    Claim(usize),
    Park(u64),
    Release(usize, bool, Millis),
    Extend(usize),
    Remove(u64),
    Pass(Millis),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..40_u64, 1..90_000_u64).prop_map(|(n, d)| Step::Enqueue(n, d)),
        (1..4_usize).prop_map(Step::Claim),
        (0..20_000_u64).prop_map(Step::Park),
        (0..8_usize, any::<bool>(), 0..9_000_u64).prop_map(|(i, f, d)| Step::Release(i, f, d)),
        (0..8_usize).prop_map(Step::Extend),
        (0..40_u64).prop_map(Step::Remove),
        (1..40_000_u64).prop_map(Step::Pass),
    ]
}

fn of(version: &str, node: &str) -> Want {
    Want { serving: Some(Serving::pinned(Version::parse(version).unwrap())), ..want(1, node) }
}

#[test]
fn a_version_is_missed_only_while_nobody_works_on_it_and_then_for_a_while() {
    let hour = 3_600_000;
    let mut q = queue([1, 2].map(|n| Item { deadline: Millis::MAX, ..item(n) }));
    let leases = [1, 2].map(|_| q.claim(&of("1", "old"), 0).taken.remove(0).held.lease);
    let gone = |q: &mut Queue, now| -> Vec<TaskId> {
        let due = q.due(now).into_iter();
        due.filter_map(|due| if let Due::Unserved(place, _) = due { Some(place.item.task) } else { None }).collect()
    };
    assert!(q.release(&id(1), leases[0], &back(true, 0), 0) && q.extend(&id(2), leases[1], 3 * hour, 0));
    assert!(q.claim(&of("2", "new"), 0).taken.is_empty());
    assert_eq!(gone(&mut q, 2 * hour), [], "one of that version is at work");
    assert!(q.release(&id(2), leases[1], &back(true, 0), 2 * hour));
    assert!(q.claim(&of("2", "new"), 2 * hour).taken.is_empty());
    assert_eq!(gone(&mut q, 3 * hour - 1), []);
    assert!(q.next_wakeup().is_some_and(|at| at > 3 * hour - 1 && at <= 3 * hour + hour / 8), "it is looked again");
    assert_eq!(gone(&mut q, 3 * hour + hour / 8), [id(1), id(2)]);
    assert!(q.is_empty() && q.next_wakeup().is_none(), "nothing is left to look at");
}

proptest! {
    /// No task is ever held twice, none is lost, counts agree with the places, and nothing that is due stays undone.
    #[test]
    fn whatever_happens_each_task_is_in_one_place(steps in prop::collection::vec(step(), 1..120)) {
        let (mut q, mut now, mut tickets) = (Queue::new(Limits::default(), 1), 0, 100);
        let mut holding: Vec<Taken> = Vec::new();
        let mut inside: BTreeSet<TaskId> = BTreeSet::new();
        for step in steps {
            let mut batches = Vec::new();
            match step {
                Step::Enqueue(n, d) => {
                    inside.insert(id(n));
                    q.enqueue(Item { deadline: now + d, ..item(n) }, now);
                }
                Step::Claim(n) => batches.push(q.claim(&want(n, "a"), now)),
                Step::Park(d) => {
                    tickets += 1;
                    q.park(tickets, want(1, "b"), now + d);
                }
                Step::Release(i, free, delay) if i < holding.len() => {
                    let t = holding.remove(i);
                    prop_assert!(q.release(&t.task, t.held.lease, &back(free, now + delay), now));
                }
                Step::Extend(i) if i < holding.len() => {
                    prop_assert!(q.extend(&holding[i].task, holding[i].held.lease, now + LEASE, now));
                }
                Step::Remove(n) => {
                    prop_assert_eq!(q.remove(&id(n)).is_some(), inside.remove(&id(n)));
                    holding.retain(|t| t.task != id(n));
                }
                Step::Pass(d) => now += d,
                Step::Release(..) | Step::Extend(..) => {}
            }
            for due in q.due(now) {
                match due {
                    Due::Expired(place) => {
                        prop_assert!(inside.remove(&place.item.task));
                        holding.retain(|t| t.task != place.item.task);
                    }
                    Due::Lapsed { task, lease } => holding.retain(|t| (&t.task, t.held.lease) != (&task, lease)),
                    Due::Waited(_, batch) => batches.push(batch),
                    Due::Unserved(..) => prop_assert!(false, "no version claims"),
                }
            }
            batches.extend(q.feed(now).into_iter().map(|(_, batch)| batch));
            for batch in batches {
                batch.spent.iter().for_each(|(place, _)| { inside.remove(&place.item.task); });
                for taken in batch.taken {
                    prop_assert!(holding.iter().all(|t| t.task != taken.task), "held twice");
                    holding.push(taken);
                }
            }
            let depth = q.depth().first().map(|(_, d)| *d).unwrap_or_default();
            prop_assert_eq!(depth.in_progress, holding.len() as u64);
            prop_assert_eq!(depth.pending as usize, inside.len() - holding.len());
            prop_assert_eq!(q.len(), inside.len());
            prop_assert!(q.next_wakeup().is_none_or(|at| at > now), "something due was left undone");
            prop_assert_eq!(q.alarms.len(), inside.len());
        }
    }
}
