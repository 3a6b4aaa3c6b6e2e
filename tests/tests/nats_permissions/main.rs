//! The configurations in `deploy/nats`, used as they are: what each role may do, and that nothing else gets through.
//!
//! The goal is that a reader of the table in `table.txt` knows everything that a role can do. So each role tries each
//! subject of it in three ways, and the other way round each permission in the files has a row. A refusal comes before
//! the pong of a ping that was sent behind the call, so that something was *not* refused is seen as quickly.
#![cfg(unix)]

mod people;
mod prompts;
mod roles;
mod secured;
mod table;
mod told;
mod units;
mod wing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use callboard_broker::error::Error;
use callboard_broker::id::NodeName;
use callboard_broker::nats::{Credentials, Link, Options};
use callboard_tests::bounds::within;
use callboard_tests::nats::{Config, Refused, Server, Wire};
use callboard_tests::programs::root;

use table::{ROLES, Row, covers, doors, granted, read};

/// The longest that a caller may wait to hear that it may not. Of a hundred tries one may be slower, because the machine
/// may be busy with other tests.
const AT_ONCE: Duration = Duration::from_millis(100);

fn deployed(file: &str) -> PathBuf {
    root().join("deploy/nats").join(file)
}

/// The passwords that the accounts expect: `secret-NAME` for everybody.
fn with_passwords(config: Config) -> Config {
    let users = ROLES.iter().chain(&["system"]);
    users.fold(config, |config, user| {
        config.variable(&format!("CB_PASSWORD_{}", user.to_uppercase()), format!("secret-{user}"))
    })
}

/// A server with the deployed limits and accounts, without encryption, so that the bare protocol can be spoken.
fn server() -> Server {
    let config = Config::file(&deployed("limits.conf")).and_file(&deployed("accounts.conf"));
    Server::with(with_passwords(config))
}

fn wire(server: &Server, user: &str) -> Wire {
    let mut wire = Wire::connect(&server.url_as(user, &format!("secret-{user}"))).expect("the user may connect");
    wire.set_inbox(&format!("_INBOX_{user}"));
    wire
}

async fn link(server: &Server, user: &str) -> Link {
    Link::connect(&options(server, user)).await.expect("the user may connect")
}

fn options(server: &Server, user: &str) -> Options {
    let mut options = Options::new(NodeName::parse(user).expect("a name"));
    options.servers = vec![server.url()];
    options.credentials = Credentials::Password { user: user.into(), password: format!("secret-{user}") };
    options
}

fn table() -> Vec<Row> {
    read(include_str!("table.txt"))
}

/// The time that 99 of 100 stay under, and the longest.
fn slow(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() * 99 / 100], times[times.len() - 1])
}

/// Whether it was taken, and after how long that was known.
fn taken(call: Result<(), Refused>, since: Instant) -> (bool, Duration) {
    match call {
        Ok(()) => (true, since.elapsed()),
        Err(Refused::Denied(why)) if why.contains("ermissions") => (false, since.elapsed()),
        Err(other) => panic!("neither taken nor refused: {other:?}"),
    }
}

#[test]
fn each_role_may_do_what_the_table_says_and_nothing_else() {
    let server = server();
    let (mut refused, mut times, mut wrong) = (0, Vec::new(), Vec::new());
    for user in ROLES {
        let mut wire = wire(&server, user);
        let inbox = format!("_INBOX_{user}.answer");
        for row in table() {
            let mut check = |way: &str, may: bool, since: Instant, call: Result<(), Refused>| {
                let (was, after) = taken(call, since);
                refused += usize::from(!was);
                times.push(after);
                if was != may {
                    wrong.push(format!("{user} {way} {}: taken {was}, the table says {may}", row.subject));
                }
            };
            let (may_publish, may_subscribe) = (row.publish.contains(user), row.subscribe.contains(user));
            // A subscription with a queue group has no counterpart among publishers.
            if !row.subject.contains(' ') {
                let since = Instant::now();
                check("publishes", may_publish, since, wire.publish(&row.subject, b""));
                let since = Instant::now();
                check("requests", may_publish, since, wire.publish_with_reply(&row.subject, &inbox, b""));
            }
            let since = Instant::now();
            let subscribed = wire.subscribe(&row.subject);
            let number = subscribed.as_ref().ok().copied();
            check("subscribes to", may_subscribe, since, subscribed.map(drop));
            if let Some(number) = number {
                wire.unsubscribe(number).expect("a connection");
            }
        }
    }
    let tried = times.len();
    let (most, slowest) = slow(times);
    println!("{tried} tries, {refused} refused; answers: 99 % within {most:?}, slowest {slowest:?}");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > tried / 2 && tried - refused > 300, "the table is one-sided: {refused} of {tried} refused");
    within("a refusal", most, AT_ONCE);
}

/// A server without accounts refuses nothing, and the checker above sees that.
#[test]
fn a_server_that_refuses_nothing_is_found_out() {
    let server = Server::with(Config::file(&deployed("single.conf")));
    let mut wire = server.wire();
    let refused = table().into_iter().filter(|row| row.publish.is_empty() && !row.subject.contains([' ', '*', '>']));
    let subjects: Vec<String> = refused.map(|row| row.subject).collect();
    assert!(subjects.len() > 10);
    assert!(subjects.iter().all(|subject| taken(wire.publish(subject, b""), Instant::now()).0));
}

#[test]
fn each_permission_in_the_files_is_in_the_table() {
    let rows = table();
    let mut missing = Vec::new();
    for user in ROLES {
        let [publish, subscribe] = granted(&role(user));
        assert!(!publish.is_empty() && !subscribe.is_empty());
        // A node has the same lines for each of its capabilities; two of them stand for all.
        let alike = |pattern: &str| pattern.contains("CB_TASKS.cap-") || pattern.starts_with("cb.v1.req.");
        let seen = |pattern: &str, who: fn(&Row) -> &BTreeSet<&'static str>| {
            (user.len() == 1 && alike(pattern))
                || rows.iter().any(|row| who(row).contains(user) && covers(pattern, &row.subject))
        };
        missing.extend(publish.iter().filter(|p| !seen(p, |row| &row.publish)).map(|p| format!("{user} publish {p}")));
        missing.extend(
            subscribe.iter().filter(|p| !seen(p, |row| &row.subscribe)).map(|p| format!("{user} subscribe {p}")),
        );
    }
    assert!(missing.is_empty(), "{} are granted and in no row:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn the_doors_of_an_account_are_what_its_user_may_do() {
    for user in &ROLES[2..] {
        let text = role(user);
        let [publish, mut subscribe] = granted(&text);
        subscribe.retain(|subject| !subject.starts_with("_INBOX"));
        assert_eq!(doors(&text), [publish, subscribe], "{user}");
    }
}

fn role(user: &str) -> String {
    std::fs::read_to_string(deployed(&format!("roles/{user}.conf"))).expect("a role")
}

/// The same refusals as a caller of the product sees them: an error of its own request, and at once.
#[tokio::test]
async fn a_caller_hears_at_once_that_it_may_not() {
    let server = server();
    let mut times = Vec::new();
    for user in ROLES {
        let link = link(&server, user).await;
        let plain = |row: &Row| !row.publish.contains(user) && !row.subject.contains([' ', '*', '>']);
        for row in table().into_iter().filter(plain) {
            let since = Instant::now();
            let answer = link.request(&row.subject, None, Vec::new().into()).await;
            times.push(since.elapsed());
            assert!(matches!(answer, Err(Error::Denied { .. })), "{user} {}: {answer:?}", row.subject);
        }
    }
    let asked = times.len();
    let (most, slowest) = slow(times);
    println!("{asked} requests denied: 99 % within {most:?}, slowest {slowest:?}");
    assert!(asked > 300, "{asked}");
    within("a refusal", most, AT_ONCE);
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once() {
    let server = server();
    for (user, password) in [("client", "wrong"), ("nobody", "secret-nobody"), ("system", "secret-client")] {
        let mut options = options(&server, "client");
        options.credentials = Credentials::Password { user: user.into(), password: password.into() };
        let since = Instant::now();
        let refused = Link::connect(&options).await.map(drop);
        assert!(matches!(refused, Err(Error::Denied { .. })), "{user}: {refused:?}");
        within("wrong credentials", since.elapsed(), Duration::from_millis(500));
    }
}

/// As the head of accounts.conf says. The pair is the one of the server's own documentation.
#[tokio::test]
async fn a_key_may_stand_in_the_place_of_a_password() {
    let (public, seed) = (
        "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
    );
    let users = format!("authorization {{ users: [{{ nkey: \"{public}\", permissions: $MAY_A }}] }}");
    let server = Server::with(Config::file(&deployed("roles/a.conf")).and(&users));
    let mut options = options(&server, "a");
    options.credentials = Credentials::Nkey(seed.into());
    let link = Link::connect(&options).await.expect("the key is known");
    let answer = link.request("cb.v1.lane.b.client", None, Vec::new().into()).await;
    assert!(matches!(answer, Err(Error::Denied { .. })), "{answer:?}");
    let other = "SUAGMJH5XLGZKQQWAWKRZJIGMOU4HPFUYLXJMXOO5NLFEO2OOQJ5LPRDPM";
    options.credentials = Credentials::Nkey(other.into());
    assert!(Link::connect(&options).await.is_err());
}
