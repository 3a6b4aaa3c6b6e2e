//! An actor as a child, written as one would outside this module: every way in which it can end is told apart.

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::tree::exit::{ExitReason, Fault};
use crate::tree::{ChildSpec, Happening, Restart, SupervisorSpec, Tree, TreeEvents};

#[derive(Clone, Copy)]
enum Fate {
    Leave,
    Fail,
    FailWithReason,
    Panic,
    FailAfterStart,
    PanicAtStart,
    SpawnTwice,
}

struct Worker(Fate);

impl Actor for Worker {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        if let Fate::PanicAtStart = self.0 {
            panic!("no start");
        }
        Ok(myself.send_message(())?)
    }

    async fn post_start(&self, _: ActorRef<()>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        if let Fate::FailAfterStart = self.0 { Err("too late".into()) } else { Ok(()) }
    }

    async fn handle(&self, myself: ActorRef<()>, (): (), (): &mut ()) -> Result<(), ActorProcessingErr> {
        match self.0 {
            Fate::Fail => Err(std::io::Error::other("disk on fire").into()),
            Fate::FailWithReason => Err(ExitReason::Error("said so".into()).into()),
            Fate::Panic => panic!("at the disco"),
            _ => {
                myself.stop(None);
                Ok(())
            }
        }
    }
}

async fn fate(fate: Fate) -> (Result<Tree, Fault>, TreeEvents) {
    let child = ChildSpec::actor("a", move |ctx| async move {
        ctx.spawn(Worker(fate), ()).await?;
        if let Fate::SpawnTwice = fate {
            ctx.spawn(Worker(fate), ()).await?;
        }
        Ok(())
    });
    let builder = Tree::builder(SupervisorSpec::new("root", [child.restart(Restart::Temporary)]).unwrap());
    let events = builder.events();
    (builder.start().await.map_err(Fault::from), events)
}

async fn exit(how: Fate) -> ExitReason {
    let (tree, mut events) = fate(how).await;
    let _tree = tree.expect("it starts");
    loop {
        if let Happening::Exited { reason } = events.next().await.expect("it ends").what {
            return reason;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_to_end_has_its_reason() {
    assert_eq!(exit(Fate::Leave).await, ExitReason::Normal);
    assert_eq!(exit(Fate::Fail).await, ExitReason::Error("disk on fire".into()));
    assert_eq!(exit(Fate::FailWithReason).await, ExitReason::Error("said so".into()));
    assert_eq!(exit(Fate::Panic).await, ExitReason::Panic("at the disco".into()));
    assert_eq!(exit(Fate::FailAfterStart).await, ExitReason::Error("too late".into()));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_panics_or_seats_two_is_a_failed_start() {
    let text = |tree: Result<Tree, Fault>| tree.expect_err("it does not start").to_string();
    assert_eq!(text(fate(Fate::PanicAtStart).await.0), "root was not started: start failed: a: panic: no start");
    let (twice, _) = fate(Fate::SpawnTwice).await;
    assert!(text(twice).contains("a child is one actor"));
}
