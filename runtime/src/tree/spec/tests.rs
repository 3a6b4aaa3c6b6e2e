use super::*;

fn worker(id: &str) -> ChildSpec {
    ChildSpec::actor(id, |_| async { Ok(()) })
}

fn refusal(children: impl IntoIterator<Item = ChildSpec>) -> String {
    SupervisorSpec::new("root", children).unwrap_err().to_string()
}

#[test]
fn refusals_are_sentences() {
    assert_eq!(refusal([worker("a"), worker("a")]), "supervisor root has two children called a");
    for id in ["", "a/b", "ä", &"x".repeat(MAX_ID + 1)] {
        assert!(refusal([worker(id)]).contains("must be 1 to 80 characters"), "{id}");
    }
    let infinite = worker("a").shutdown(Shutdown::Infinity);
    assert_eq!(refusal([infinite]), "child a is a worker, so its shutdown needs an end, not infinity");
    let hasty = worker("a").shutdown(Shutdown::Timeout(Duration::ZERO));
    assert_eq!(refusal([hasty]), "child a has a shutdown timeout of zero; say brutal_kill instead");
    let hasty = worker("a").start_timeout(Duration::ZERO);
    assert_eq!(refusal([hasty]), "child a has a start timeout of zero, so it could never start");
    let root = SupervisorSpec::new("root", []).unwrap();
    assert!(root.clone().max_failed_starts(0).is_err());
    assert!(root.kill_wait(Duration::ZERO).is_err());
}

#[test]
fn a_supervisor_may_take_as_long_to_start_as_all_below_it() {
    let slow = |id| worker(id).start_timeout(Duration::from_secs(60));
    let lead = ChildSpec::supervisor(SupervisorSpec::new("lead", [slow("a"), slow("b")]).unwrap());
    assert_eq!(lead.start_timeout, Duration::from_secs(120));
    assert_eq!((lead.kind, lead.shutdown), (Kind::Supervisor, Shutdown::Infinity));
}
