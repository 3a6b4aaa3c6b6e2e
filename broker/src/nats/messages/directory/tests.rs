use super::*;

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn presence(name: &str, boot: u32, since: Millis) -> Presence {
    Presence { node: node(name), boot, since, state: NodeState::Up }
}

fn served(boot: u32, slots: u32) -> Option<Served> {
    let x = CapabilityName::parse("x").unwrap();
    Some(Served { boot, capabilities: [(x, slots)].into(), agents: vec!["clerk".into()], ..Served::default() })
}

fn x() -> Address {
    Address::Capability(CapabilityName::parse("x").unwrap())
}

fn directory(now: Instant) -> (Directory, Presence) {
    (Directory::new(node("me"), now), presence("me", 1, 100))
}

fn who(directory: &Directory) -> Vec<String> {
    let seats = directory.seats(&x()).unwrap_or_default();
    let mut names: Vec<String> = seats.iter().map(|seat| seat.node.to_string()).collect();
    names.sort();
    names
}

#[test]
fn only_a_node_that_is_there_in_that_incarnation_and_takes_work_serves() {
    let now = Instant::now();
    let (mut d, me) = directory(now);
    d.serves("a", served(7, 1), now);
    assert!(who(&d).is_empty(), "no sign of life yet");
    assert_eq!(d.beat(presence("a", 7, 1), &me, now), Told::New);
    assert_eq!(d.beat(presence("a", 7, 1), &me, now), Told::Known);
    assert_eq!(who(&d), ["a"]);
    assert!(d.seats(&Address::Agent("clerk".into())).is_some());
    assert_eq!(d.beat(presence("a", 8, 2), &me, now), Told::New);
    assert!(who(&d).is_empty(), "what an earlier incarnation served");
    d.serves("a", served(8, 1), now);
    assert_eq!(who(&d), ["a"]);
    assert_eq!(d.beat(presence("a", 7, 1), &me, now), Told::Known, "an old entry is no news");
    d.beat(Presence { state: NodeState::Draining, ..presence("a", 8, 2) }, &me, now);
    assert!(who(&d).is_empty());
    let gone = Presence { state: NodeState::Gone, ..presence("a", 8, 2) };
    assert_eq!(d.beat(gone, &me, now), Told::Gone);
    assert!(d.nodes().is_empty());
}

#[test]
fn silence_counts_only_while_we_could_have_heard() {
    let now = Instant::now();
    let (mut d, me) = directory(now);
    d.beat(presence("a", 7, 1), &me, now);
    let at = |ms| now + Duration::from_millis(ms);
    for ms in (100..2_000).step_by(100) {
        assert!(d.look(at(ms)).is_empty());
    }
    assert_eq!(d.look(at(2_000)), ["a".into()]);

    d.beat(presence("a", 7, 1), &me, at(2_000));
    d.disconnected();
    (2_100..9_000).step_by(100).for_each(|ms| assert!(d.look(at(ms)).is_empty()));
    d.connected(at(9_000));
    assert!(!d.has_heard(&node("a")), "not since then");
    (9_000..14_000).step_by(100).for_each(|ms| assert!(d.look(at(ms)).is_empty(), "grace"));
    assert_eq!(d.look(at(14_000)).len(), 1);

    d.beat(presence("a", 7, 1), &me, at(14_000));
    assert!(d.has_heard(&node("a")));
    assert!(d.look(at(60_000)).is_empty(), "this process was stopped");
    assert!(d.look(at(61_000)).is_empty());
    assert_eq!(d.look(at(62_000)).len(), 1);
}

#[test]
fn nobody_is_given_up_on_a_connection_that_holds_everything_back() {
    let now = Instant::now();
    let (mut d, me) = directory(now);
    let at = |ms| now + Duration::from_millis(ms);
    d.beat(presence("a", 7, 1), &me, now);
    d.beat(presence("me", 1, 100), &me, now);
    (100..9_000).step_by(100).for_each(|ms| assert!(d.look(at(ms)).is_empty(), "our own signs do not come back"));
    for ms in (9_000..11_000).step_by(100) {
        d.beat(presence("me", 1, 100), &me, at(ms));
        d.look(at(ms));
    }
    assert!(d.nodes().is_empty(), "ours come back and its do not");
}

#[test]
fn a_later_incarnation_of_this_node_is_told() {
    let now = Instant::now();
    let (mut d, me) = directory(now);
    assert_eq!(d.beat(presence("me", 1, 100), &me, now), Told::Known);
    assert_eq!(d.beat(presence("me", 9, 99), &me, now), Told::Known);
    assert_eq!(d.beat(presence("me", 9, 101), &me, now), Told::Successor);
}

#[test]
fn the_less_loaded_of_two_is_chosen_by_slots_and_nobody_twice() {
    let now = Instant::now();
    let (mut d, me) = directory(now);
    for (name, slots) in [("a", 4), ("b", 4), ("c", 1)] {
        d.beat(presence(name, 7, 1), &me, now);
        d.serves(name, served(7, slots), now);
    }
    let seats = d.seats(&x()).unwrap();
    let mut taken: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for _ in 0..900 {
        let seat = d.choose(&seats, &[]).unwrap();
        seat.take();
        *taken.entry(seat.node.clone()).or_default() += 1;
    }
    let (a, c) = (taken["a"], taken["c"]);
    assert!((360..=440).contains(&a) && (80..=120).contains(&c), "{taken:?}");

    let first = d.choose(&seats, &[]).unwrap();
    let second = d.choose(&seats, std::slice::from_ref(&first)).unwrap();
    let third = d.choose(&seats, &[first.clone(), second.clone()]).unwrap();
    assert!(first.node != second.node && second.node != third.node && first.node != third.node);
    assert!(d.choose(&seats, &[first, second, third]).is_none());
}

#[test]
fn a_sign_of_life_is_small() {
    let longest = Presence { boot: u32::MAX, since: 1 << 41, ..presence(&"n".repeat(80), 1, 1) };
    assert!(serde_json::to_string(&longest).unwrap().len() < 200);
}

#[test]
fn what_those_served_who_are_long_away_is_forgotten_and_what_served_nothing_is_not_kept() {
    let now = Instant::now();
    let (mut d, me) = directory(now);
    d.beat(presence("there", 7, 1), &me, now);
    for name in ["there", "again", "away"] {
        d.serves(name, served(7, 1), now);
    }
    let half = now + KEPT / 2;
    d.serves("again", served(7, 1), half);
    d.serves("left", Some(Served { boot: 7, ..Served::default() }), now);
    let kept = |d: &Directory| {
        let mut names: Vec<String> = d.served.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    d.tidy(now + KEPT - Duration::from_secs(1));
    assert_eq!(kept(&d), ["again", "away", "there"]);
    d.tidy(now + KEPT);
    assert_eq!(kept(&d), ["again", "there"], "who is there need not say it again");
    assert_eq!(who(&d), ["there"]);
    d.tidy(half + KEPT);
    assert_eq!(kept(&d), ["there"]);
    d.serves("there", Some(Served { boot: 7, ..Served::default() }), now);
    assert!(kept(&d).is_empty() && who(&d).is_empty());
}
