//! Asks, notifications and broadcasts.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::dead_letter::{DeadLetter, Reason};
use callboard_broker::error::{Error, Result};
use callboard_broker::messages::{ALL, Address, BACKLOG, Broadcast, Inbox, Message, MessageCounts};
use callboard_broker::payload::Payload;
use serde_json::json;
use tokio::task::JoinHandle;

use super::bench::{Bench, message};

const LONG: Duration = Duration::from_secs(3_600);

fn agent(name: &str) -> Address {
    Address::Agent(name.into())
}

fn serve(b: &Bench, name: &str, limit: usize) -> Arc<dyn Inbox> {
    b.broker.messages.serve(agent(name), limit)
}

/// An ask in a task of its own, already on its way.
async fn ask(b: &Bench, message: Message) -> JoinHandle<Result<Payload>> {
    let messages = b.broker.messages.clone();
    let asking = tokio::spawn(async move { messages.ask(message).await });
    b.settle().await;
    asking
}

async fn tell(b: &Bench, message: Message) -> Result<()> {
    b.broker.messages.tell(vec![message]).await.remove(0)
}

async fn dead(b: &Bench) -> Vec<DeadLetter> {
    b.settle().await;
    b.broker.dead.list(0, 1_000).await.unwrap()
}

pub async fn an_ask_ends_in_an_answer_or_a_rejection(b: Bench) {
    let inbox = serve(&b, "clerk", 10);
    assert!(b.broker.messages.is_served(&agent("clerk")));
    let asking = ask(&b, message("clerk", "question", LONG)).await;
    let incoming = inbox.next().await;
    assert_eq!((&*incoming.message.from, incoming.message.body.value().unwrap()), ("asker", json!("question")));
    incoming.reply.unwrap().send(Ok(json!("answer").into()));
    assert_eq!(asking.await.unwrap().unwrap(), json!("answer").into());

    let asking = ask(&b, message("clerk", "question", LONG)).await;
    let no = Error::Denied { who: "clerk".into(), what: "say".into() };
    inbox.next().await.reply.unwrap().send(Err(no));
    assert!(matches!(asking.await.unwrap(), Err(Error::Denied { .. })), "a rejection comes as it is");
    let counts = MessageCounts { accepted: 2, answered: 2, late: 0, dead: 0 };
    assert_eq!(b.broker.messages.counts(), counts);
}

pub async fn nobody_there_is_an_error_and_a_dead_letter(b: Bench) {
    let (before, messages) = (b.now(), &b.broker.messages);
    let asked = messages.ask(message("nobody", "question", LONG)).await;
    assert!(matches!(asked, Err(Error::NoRecipient { .. })), "{asked:?}");
    let pool = Message { to: Address::Capability(super::bench::capability("x.y")), ..message("", "note", LONG) };
    assert!(matches!(tell(&b, pool).await, Err(Error::NoRecipient { .. })));
    assert_eq!(b.now(), before, "at once");
    let letters = dead(&b).await;
    let told: Vec<_> = letters.iter().map(|l| (l.reason, l.capability.as_str(), l.to.as_str())).collect();
    assert_eq!(told, [(Reason::NoRecipient, "agent", "nobody"), (Reason::NoRecipient, "x.y", "x.y")]);
    assert_eq!((letters[0].from.as_str(), &letters[0].body), ("asker", &json!("question").into()));
    assert_eq!((messages.counts().accepted, messages.counts().dead), (0, 2));
}

pub async fn waiting_and_running_count_together(b: Bench) {
    let inbox = serve(&b, "clerk", 12);
    let mut asking = Vec::new();
    for n in 0..20 {
        asking.push(ask(&b, message("clerk", n, LONG)).await);
    }
    let mut running = Vec::new();
    for _ in 0..5 {
        running.push(inbox.next().await);
    }
    let busy: Vec<_> = asking.extract_if(.., |asking| asking.is_finished()).collect();
    assert_eq!(busy.len(), 8, "refused at once");
    for refused in busy {
        let Err(Error::Busy { retry_after, .. }) = refused.await.unwrap() else { panic!("busy was expected") };
        assert!(!retry_after.is_zero());
    }
    let fill = inbox.fill();
    assert_eq!((fill.waiting, fill.held, fill.limit, fill.refused), (7, 12, 12, 8));
    assert!(matches!(tell(&b, message("clerk", "note", LONG)).await, Err(Error::Busy { .. })));
    assert!(dead(&b).await.is_empty(), "busy is no dead letter: its sender decides");

    // A place is free when its message is done with, not when it is taken.
    running.pop();
    assert_eq!((inbox.fill().held, inbox.fill().waiting), (11, 7));
    tell(&b, message("clerk", "note", LONG)).await.unwrap();
    assert_eq!((inbox.fill().held, inbox.fill().waiting), (12, 8));
}

pub async fn a_deadline_ends_an_ask_queued_or_running(b: Bench) {
    let inbox = serve(&b, "clerk", 10);
    let running = ask(&b, message("clerk", "running", Duration::from_secs(30))).await;
    let queued = ask(&b, message("clerk", "queued", Duration::from_secs(30))).await;
    let taken = inbox.next().await;
    b.pass(Duration::from_millis(29_990)).await;
    assert!(!running.is_finished() && !queued.is_finished());
    b.pass(Duration::from_millis(10)).await;
    for asking in [running, queued] {
        let answer = asking.await.unwrap();
        assert!(matches!(answer, Err(Error::Deadline { limit, .. }) if limit.as_secs() == 30), "{answer:?}");
    }
    let reply = taken.reply.unwrap();
    assert!(!reply.is_wanted());
    reply.unwanted().await;
    reply.send(Ok(Payload::null()));
    let letters = dead(&b).await;
    assert_eq!(
        letters.iter().map(|l| (l.reason, &l.body)).collect::<Vec<_>>(),
        [(Reason::Expired, &json!("queued").into())]
    );
    assert_eq!(b.broker.messages.counts(), MessageCounts { accepted: 2, answered: 0, late: 1, dead: 1 });
    assert_eq!(inbox.fill().waiting, 0);
}

pub async fn a_recipient_that_vanishes_is_a_crash_at_once(b: Bench) {
    let inbox = serve(&b, "clerk", 10);
    let asking = ask(&b, message("clerk", "question", LONG)).await;
    let before = b.now();
    drop(inbox.next().await);
    let answer = asking.await.unwrap();
    assert!(matches!(answer, Err(Error::Crashed { .. })), "{answer:?}");
    assert_eq!((b.now(), inbox.fill().held), (before, 0));
}

pub async fn a_dropped_ask_is_not_begun_or_seen_to_be_gone(b: Bench) {
    let inbox = serve(&b, "clerk", 10);
    let running = ask(&b, message("clerk", "running", LONG)).await;
    let taken = inbox.next().await;
    let queued = ask(&b, message("clerk", "queued", LONG)).await;
    tell(&b, message("clerk", "note", LONG)).await.unwrap();
    let reply = taken.reply.unwrap();
    assert!(reply.is_wanted());
    queued.abort();
    running.abort();
    b.settle().await;
    reply.unwanted().await;
    assert!(!reply.is_wanted());
    assert_eq!(inbox.next().await.message.body, json!("note").into(), "what nobody wants is passed over");
    reply.send(Ok(Payload::null()));
    assert_eq!(b.broker.messages.counts(), MessageCounts { accepted: 3, answered: 0, late: 1, dead: 0 });
    assert_eq!(inbox.fill().waiting, 0);
}

pub async fn a_notification_that_waits_too_long_is_never_handled(b: Bench) {
    let inbox = serve(&b, "clerk", 2);
    let told = vec![message("clerk", "short", Duration::from_secs(5)), message("clerk", "long", LONG)];
    assert!(b.broker.messages.tell(told).await.iter().all(Result::is_ok));
    b.pass(Duration::from_secs(5)).await;
    // Its place is free although nobody has looked into the queue since.
    tell(&b, message("clerk", "next", LONG)).await.unwrap();
    assert_eq!(inbox.next().await.message.body, json!("long").into());
    assert_eq!(inbox.next().await.message.body, json!("next").into());
    let past = tell(&b, message("clerk", "past", Duration::ZERO)).await;
    assert!(matches!(past, Err(Error::Expired)), "{past:?}");
    let letters = dead(&b).await;
    let bodies: Vec<_> = letters.iter().map(|l| (l.reason, l.body.value().unwrap())).collect();
    assert_eq!(bodies, [(Reason::Expired, json!("short")), (Reason::Expired, json!("past"))]);
}

pub async fn what_cannot_be_read_is_kept(b: Bench) {
    let inbox = serve(&b, "clerk", 1);
    let asking = ask(&b, message("clerk", "gibberish", LONG)).await;
    inbox.next().await.refuse(Reason::Undecodable, "a number was expected");
    assert!(matches!(asking.await.unwrap(), Err(Error::Decode { .. })));
    let letters = dead(&b).await;
    assert_eq!((letters[0].reason, &letters[0].body), (Reason::Undecodable, &json!("gibberish").into()));
    assert_eq!(letters[0].error.as_deref(), Some("a number was expected"));
    assert_eq!((inbox.fill().held, b.broker.messages.counts().dead), (0, 1));
}

pub async fn a_closed_queue_answers_what_waited_in_it(b: Bench) {
    let inbox = serve(&b, "clerk", 10);
    let running = ask(&b, message("clerk", "running", LONG)).await;
    let taken = inbox.next().await;
    let queued = ask(&b, message("clerk", "queued", LONG)).await;
    tell(&b, message("clerk", "note", LONG)).await.unwrap();
    b.broker.messages.close(&agent("clerk"));
    assert!(!b.broker.messages.is_served(&agent("clerk")));
    assert!(matches!(queued.await.unwrap(), Err(Error::Undelivered { .. })));
    taken.reply.unwrap().send(Ok(json!("still").into()));
    assert_eq!(running.await.unwrap().unwrap(), json!("still").into(), "what runs may end");
    assert_eq!(dead(&b).await.iter().map(|l| l.reason).collect::<Vec<_>>(), [Reason::NoRecipient]);
    assert!(matches!(tell(&b, message("clerk", "late", LONG)).await, Err(Error::NoRecipient { .. })));
}

pub async fn the_last_to_leave_closes_the_queue(b: Bench) {
    let inboxes = (serve(&b, "clerk", 10), serve(&b, "clerk", 10));
    b.broker.messages.close(&agent("clerk"));
    let asking = ask(&b, message("clerk", "question", LONG)).await;
    inboxes.1.next().await.reply.unwrap().send(Ok(json!("answer").into()));
    assert_eq!(asking.await.unwrap().unwrap(), json!("answer").into());
    b.broker.messages.close(&agent("clerk"));
    assert!(!b.broker.messages.is_served(&agent("clerk")));
    b.broker.messages.close(&agent("clerk"));
    serve(&b, "clerk", 10);
    assert!(b.broker.messages.is_served(&agent("clerk")), "once too often counts for nothing");
}

pub async fn a_queue_outlives_who_serves_it(b: Bench) {
    let (first, second) = (serve(&b, "clerk", 2), serve(&b, "clerk", 99));
    assert_eq!(second.fill().limit, 2, "the first to open decides");
    tell(&b, message("clerk", 1, LONG)).await.unwrap();
    tell(&b, message("clerk", 2, LONG)).await.unwrap();
    let taken = (first.next().await.message.body, second.next().await.message.body);
    assert_eq!(taken, (json!(1).into(), json!(2).into()), "handles take turns");
    drop((first, second));
    tell(&b, message("clerk", 3, LONG)).await.unwrap();
    assert_eq!(serve(&b, "clerk", 2).next().await.message.body, json!(3).into());
}

pub async fn everybody_gets_their_own_answer(b: Bench) {
    const ASKS: u64 = 500;
    let inbox = serve(&b, "clerk", 1_000);
    let mut asking = Vec::new();
    for n in 0..ASKS {
        let (messages, message) = (b.broker.messages.clone(), message("clerk", n, LONG));
        asking.push((n, tokio::spawn(async move { messages.ask(message).await })));
    }
    let mut taken = Vec::new();
    for _ in 0..ASKS {
        taken.push(inbox.next().await);
    }
    // In an order that has nothing to do with the order of the asks; 263 and 500 have no common divisor.
    for n in 0..500 {
        let incoming = &mut taken[n * 263 % 500];
        let asked: u64 = incoming.message.body.read().unwrap();
        incoming.reply.take().unwrap().send(Ok(Payload::of(asked + 1_000)));
    }
    for (n, asking) in asking {
        assert_eq!(asking.await.unwrap().unwrap().read::<u64>().unwrap(), n + 1_000);
    }
    let counts = MessageCounts { accepted: ASKS, answered: ASKS, late: 0, dead: 0 };
    assert_eq!(b.broker.messages.counts(), counts);
}

async fn say(b: &Bench, topic: &str, from: &str, body: impl Into<serde_json::Value>) {
    let said = Broadcast { topic: topic.into(), from: from.into(), body: body.into().into() };
    b.broker.messages.broadcast(said).await.unwrap();
}

pub async fn a_broadcast_reaches_all_but_its_sender(b: Bench) {
    let messages = &b.broker.messages;
    say(&b, "news", "anna", "before").await;
    let (mut anna, mut bert) = (messages.subscribe("news", "anna"), messages.subscribe("news", "bert"));
    let (mut cleo, mut dora) = (messages.subscribe("sport", "cleo"), messages.subscribe(ALL, "dora"));
    let mut bert_too = messages.subscribe("sport", "bert");
    say(&b, "news", "anna", "news").await;
    say(&b, ALL, "anna", "to all").await;
    say(&b, "news", "bert", "reply").await;
    say(&b, "sport", "anna", "goal").await;
    let read = async |who: &mut Box<dyn callboard_broker::messages::Subscription>| {
        let said = who.next().await.unwrap();
        (said.from.to_string(), said.body.value().unwrap())
    };
    assert_eq!(read(&mut bert).await, ("anna".into(), json!("news")), "from now on, and not what was before");
    assert_eq!(read(&mut bert).await, ("anna".into(), json!("to all")));
    assert_eq!(read(&mut anna).await, ("bert".into(), json!("reply")), "nobody hears themselves");
    assert_eq!(read(&mut cleo).await, ("anna".into(), json!("to all")));
    assert_eq!(read(&mut cleo).await, ("anna".into(), json!("goal")));
    assert_eq!(read(&mut dora).await, ("anna".into(), json!("to all")));
    assert_eq!(read(&mut bert_too).await, ("anna".into(), json!("goal")), "to all reached bert once already");
    let bad = Broadcast { topic: "a.*".into(), from: "anna".into(), body: Payload::null() };
    assert!(matches!(messages.broadcast(bad).await, Err(Error::Decode { .. })));
    assert!(dead(&b).await.is_empty(), "unheard, a broadcast leaves nothing behind");
}

pub async fn a_subscriber_that_falls_behind_is_told_once(b: Bench) {
    let mut reader = b.broker.messages.subscribe("news", "reader");
    let beyond = 7;
    for n in 0..BACKLOG + beyond {
        say(&b, "news", "writer", n).await;
    }
    assert!(matches!(reader.next().await, Err(Error::Lagged { missed }) if missed == beyond as u64));
    for n in beyond..BACKLOG + beyond {
        assert_eq!(reader.next().await.unwrap().body, json!(n).into());
    }
    say(&b, "news", "writer", "on").await;
    assert_eq!(reader.next().await.unwrap().body, json!("on").into());
}

pub async fn consume_gives_up_after_its_time(b: Bench) {
    let inbox = serve(&b, "clerk", 10);
    let waiting = tokio::spawn(async move { inbox.consume(Duration::from_secs(30)).await.is_none() });
    b.pass(Duration::from_millis(29_990)).await;
    assert!(!waiting.is_finished());
    b.pass(Duration::from_millis(10)).await;
    assert!(waiting.await.unwrap());
    tell(&b, message("clerk", "note", LONG)).await.unwrap();
    assert!(
        serve(&b, "clerk", 10).consume(Duration::from_secs(30)).await.is_some(),
        "a wait that is over takes nothing"
    );
}
