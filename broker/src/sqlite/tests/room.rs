//! Whose state makes room in a store that holds as many entries as it may.

use super::*;
use crate::clock::Clock;
use crate::dead_letter::Reason;
use crate::error::Error;
use crate::state::Moment;

async fn put(broker: &Broker, key: &str) -> Result<Put> {
    broker.states.put(vec![Write { expect: Expect::Version(0), ..write(key, 1) }]).await.remove(0)
}

async fn keys(broker: &Broker) -> Vec<String> {
    broker.states.list(String::new()).await.unwrap().into_iter().map(|entry| entry.key.to_string()).collect()
}

/// A store whose runs leave entries was full one day, and refused every new one from then on: no workflow could go on.
#[tokio::test(start_paused = true)]
async fn the_state_of_runs_that_are_over_makes_room_and_no_other() {
    let (_dir, path) = store();
    let options = Options { keys: 4, clock: Clock::following_tokio(), inline: true, ..Options::default() };
    let broker = open(&path, options.clone()).unwrap();
    for run in ["r1", "r2"] {
        broker.tasks.submit(vec![task(run)]).await.remove(0).unwrap();
        finish(&broker, &task(run)).await;
    }
    broker.tasks.submit(vec![task("r9")]).await.remove(0).unwrap();
    let lease = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
    let outcome = Outcome::of(&lease.task, Status::Failed, None, 5);
    let failed = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: Some(Reason::Failed) };
    broker.tasks.finish(vec![failed]).await.remove(0).unwrap();
    broker.tasks.submit(vec![task("r3")]).await.remove(0).unwrap();
    for key in ["run.r9.a", "run.r3.a", "run.r2.a", "run.r1.a"] {
        put(&broker, key).await.unwrap();
    }
    assert!(matches!(put(&broker, "run.r2.a").await.unwrap(), Put::Conflict(Some(_))));
    put(&broker, "global.a").await.unwrap();
    assert_eq!(keys(&broker).await, ["global.a", "run.r1.a", "run.r3.a", "run.r9.a"]);
    let before = broker.states.at(Moment::Sequence(4), "run.r2".into()).await.unwrap();
    assert_eq!(before.len(), 1, "the past is what it was");
    assert_eq!(broker.states.history(Key::parse("run.r2.a").unwrap()).await.unwrap().len(), 2);

    // Opened anew it counts what there is.
    drop(broker);
    let broker = open(&path, options).unwrap();
    put(&broker, "team.t.a").await.unwrap();
    assert_eq!(keys(&broker).await, ["global.a", "run.r3.a", "run.r9.a", "team.t.a"]);
    let refused = put(&broker, "global.b").await.unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }) && refused.to_string().contains("at most 4 entries"), "{refused}");

    // The dead letter goes, and a second later somebody looks again.
    broker.dead.purge(None).await.unwrap();
    put(&broker, "global.b").await.unwrap_err();
    tokio::time::advance(Duration::from_secs(1)).await;
    put(&broker, "global.b").await.unwrap();
    assert_eq!(keys(&broker).await, ["global.a", "global.b", "run.r3.a", "team.t.a"]);
}

/// What is damaged is reported to whoever reads it, and keeps nobody from writing something else.
#[tokio::test]
async fn a_damaged_entry_does_not_keep_others_from_making_room() {
    let (_dir, path) = store();
    let options = Options { keys: 2, ..Options::default() };
    let broker = open(&path, options.clone()).unwrap();
    for run in ["r1", "r2"] {
        broker.tasks.submit(vec![task(run)]).await.remove(0).unwrap();
        finish(&broker, &task(run)).await;
        put(&broker, &format!("run.{run}.a")).await.unwrap();
    }
    drop(broker);
    damage(&path, "UPDATE state SET value = '7' WHERE key = 'run.r1.a'");
    let broker = open(&path, options).unwrap();
    put(&broker, "global.a").await.unwrap();
    assert!(broker.states.get(vec![Key::parse("run.r1.a").unwrap()]).await.is_err());
    assert!(broker.states.get(vec![Key::parse("run.r2.a").unwrap()]).await.unwrap()[0].is_none());
}
