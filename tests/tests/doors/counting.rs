//! What a run has used is counted from its logs, on a store whose logs never come.

use std::sync::Arc;
use std::time::Duration;

use callboard::broker::error::Result as Answer;
use callboard::broker::id::TaskId;
use callboard::broker::subject::CapabilityName;
use callboard::broker::task::{Entry, Outcome, Record, Task};
use callboard::broker::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Tasks, Until,
};
use callboard::broker::{BoxFuture, Broker};
use callboard::door::Desk;
use callboard::http::{Options, Server};
use callboard::{Node, diag};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::callers::{PATIENCE, echo, post, read};

/// A store whose logs never come, and who is told when one is asked for.
struct Mute(Arc<dyn Tasks>, Arc<Notify>);

impl Tasks for Mute {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Answer<Submitted>>> {
        self.0.submit(tasks)
    }
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Answer<Vec<Lease>>> {
        self.0.claim(claim)
    }
    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Answer<()>>> {
        self.0.extend(fences)
    }
    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Answer<Fence>> {
        self.0.append(fence, entries, children)
    }
    fn release(&self, back: GiveBack) -> BoxFuture<'_, Answer<()>> {
        self.0.release(back)
    }
    fn park(&self, park: Park) -> BoxFuture<'_, Answer<()>> {
        self.0.park(park)
    }
    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Answer<Recorded>>> {
        self.0.finish(turns)
    }
    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Answer<Recorded>> {
        self.0.conclude(outcome)
    }
    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Answer<Vec<TaskId>>> {
        self.0.cancel(task, by)
    }
    fn retry(&self, task: TaskId) -> BoxFuture<'_, Answer<TaskId>> {
        self.0.retry(task)
    }
    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Answer<Vec<Outcome>>> {
        self.0.wait(tasks, until, wait)
    }
    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Answer<Vec<Option<TaskView>>>> {
        self.0.get(tasks)
    }
    fn log(&self, _: TaskId) -> BoxFuture<'_, Answer<Vec<Record>>> {
        self.1.notify_one();
        Box::pin(std::future::pending())
    }
    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Answer<Vec<TaskView>>> {
        self.0.list(filter)
    }
    fn depth(&self) -> BoxFuture<'_, Answer<Vec<(CapabilityName, Depth)>>> {
        self.0.depth()
    }
}

/// A door with one place, over such a store.
async fn door() -> (Node, Arc<Server>, Arc<Notify>) {
    let (node, asked) = (Node::embedded().serve(diag::echo()).start().await.unwrap(), Arc::new(Notify::new()));
    let tasks = Arc::new(Mute(node.broker().tasks.clone(), asked.clone()));
    let doors = Desk::of(&node, &[diag::ECHO.id()]).unwrap().public();
    let desk = Desk::over(Broker { tasks, ..node.broker().clone() }, "test", doors);
    let farewell = Duration::from_millis(100);
    let options = Options { at_once: 1, farewell, ..Options::new(([127, 0, 0, 1], 0).into()) };
    (node, Arc::new(Server::open(desk, options).await.unwrap()), asked)
}

async fn ask(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(post(&echo(0, false)).as_bytes()).await.unwrap();
    stream
}

async fn until(asked: &Notify) {
    tokio::time::timeout(PATIENCE, asked.notified()).await.expect("what was used is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_long_for_its_count_and_keeps_its_place_meanwhile() {
    let (_node, server, asked) = door().await;
    let answer = ask(&server).await;
    until(&asked).await;
    let refused = read(ask(&server).await).await;
    assert_eq!(refused.status, 429, "counting is work: {refused:?}");
    let answer = read(answer).await;
    assert_eq!((answer.status, &answer.json()["usage"]["total_tokens"]), (200, &0.into()), "{answer:?}");
    assert_eq!(read(ask(&server).await).await.status, 200, "its place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_does_not_wait_for_a_count() {
    let (_node, server, asked) = door().await;
    let answer = ask(&server).await;
    until(&asked).await;
    let answer = tokio::spawn(read(answer));
    server.leave().await;
    assert_eq!(answer.await.unwrap().status, 200);
}
