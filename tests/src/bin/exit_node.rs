//! A node that ends by itself or is told to, as a program whose `main` returns [`Ended`].
//!
//! Takes the options of a node. `EXIT_NODE=broken`: its agent has itself rebuilt at each request and is asked again and
//! again. Its tree then is the node, `agents`, `lead` (one restart a minute) and the pool `broken`. `EXIT_NODE=busy`: it
//! works on something that does not end within its shutdown time. Says `ready` when it serves, a busy one when it is at work.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use callboard::exit::Ended;
use callboard::{Capability, Error, Failure, Node, Service, Supervisor};
use tokio::sync::Notify;

const TASK: Capability<(), ()> = Capability::new("test.task");
/// Until an agent has come up again there is nobody to ask.
const AGAIN: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(600);

fn broken() -> Supervisor {
    let broken = TASK.by_fn(|_ctx, ()| async { Err(Failure::fatal("the disk is on fire")) });
    Supervisor::new("lead").intensity(1, Duration::from_secs(60)).child(broken.named("broken"))
}

fn busy(begun: &Arc<Notify>) -> Service {
    let begun = begun.clone();
    let busy = TASK.by_fn(move |_ctx, ()| {
        let begun = begun.clone();
        async move {
            begun.notify_one();
            tokio::time::sleep(LONG).await;
            Ok(())
        }
    });
    busy.shutdown(LONG)
}

async fn serve() -> Result<(), Error> {
    let how = std::env::var("EXIT_NODE").unwrap_or_default();
    let (node, begun) = (Node::from_args()?, Arc::new(Notify::new()));
    let node = match how.as_str() {
        "broken" => node.serve(broken()),
        "busy" => node.serve(busy(&begun)),
        _ => node,
    };
    let node = node.start().await?;
    if how == "busy" {
        node.submit(TASK, ()).await?;
        // Before its task is claimed it has nothing to drain.
        begun.notified().await;
    }
    // From here on it can be told to stop.
    let stopped = node.clone().until_stopped();
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "ready");
    let asking = async {
        if how != "broken" {
            return std::future::pending().await;
        }
        loop {
            let _ = node.ask(TASK, ()).await;
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        ended = stopped => ended,
        ended = asking => ended,
    }
}

#[tokio::main]
async fn main() -> Ended {
    serve().await.into()
}
