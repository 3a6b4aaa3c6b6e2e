//! One connection to the server, and what it says about itself.
//!
//! A node has one connection. What the server refuses to let it publish is not told to the caller but to the
//! connection, later and as text; so every request listens for the refusal of its own subject and fails at once instead
//! of waiting for an answer that cannot come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, ServerError};
use bytes::Bytes;
use tokio::sync::broadcast;

use super::options::{CONNECT, Credentials, Options, PING, REQUEST, SUBSCRIPTION};
use super::standing::Standing;
use super::values::Pieces;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::NodeName;

/// How many notices a listener may fall behind. The deadline of whatever it waits for is the net below.
const NOTICES: usize = 1_024;
/// The longest wait between two tries to connect again.
const RECONNECT_MAX: Duration = Duration::from_secs(4);
/// A wait that no process lives to see the end of.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What happened to the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is there, for the first time or again.
    Connected,
    /// It is lost and will be sought.
    Disconnected,
    /// The server will go and has asked its clients to go elsewhere.
    LameDuck,
    /// A publish on this subject was refused.
    PublishDenied(String),
    /// A subscription to this subject was refused.
    SubscribeDenied(String),
    /// Messages of a subscription were dropped; how many is told by gaps, not by this.
    SlowConsumer,
    /// It is over: the credentials are no longer good ([`Link::over`]), or it was closed.
    Closed(String),
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// The client, for plain publishing and subscribing.
    pub client: Client,
    /// The name of this process on the wire.
    pub node: NodeName,
    /// This incarnation of it: random, so that a successor of the same name can be told apart.
    pub boot: u32,
    /// The wall clock.
    pub clock: Clock,
    /// Where it is connected to, for people.
    pub address: String,
    notices: broadcast::Sender<Notice>,
    standing: Arc<Standing>,
    /// Pieces of documents that are known to be stored.
    pub(super) pieces: Pieces,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// `Unavailable` with address and cause within [`CONNECT`]; `Denied` when the server does not accept the
    /// credentials; `Config` for a credentials file or certificate that cannot be used.
    pub async fn connect(options: &Options) -> Result<Self> {
        let (notices, _) = broadcast::channel(NOTICES);
        let standing = Arc::new(Standing::default());
        let address = options.servers.iter().map(|server| plain(server)).collect::<Vec<_>>().join(",");
        // Where a program has two, none is chosen by itself. What the program has chosen already stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connecting = async {
            let connect = describe(options, notices.clone(), standing.clone()).await?;
            connect.connect(&options.servers).await.map_err(|e| unreachable(&address, &e))
        };
        let late = || Error::unavailable(format!("{address}: no answer within {} s", CONNECT.as_secs()));
        let client = tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(late()))?;
        let (node, clock) = (options.node.clone(), options.clock.clone());
        let pieces = Pieces::default();
        Ok(Self { client, node, boot: fresh_boot(), clock, address, notices, standing, pieces })
    }

    /// What happens to the connection from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Whether the server still takes this process.
    ///
    /// # Errors
    /// `Denied` once it has refused the credentials of a process that was connected before.
    pub fn check(&self) -> Result<()> {
        if self.standing.is_over() { Err(self.refused()) } else { Ok(()) }
    }

    /// Whether the connection was lost, and has been back for less than so long: others may still be on their way.
    pub(crate) fn is_just_back(&self, within: Duration) -> bool {
        self.standing.is_just_back(within)
    }

    /// Resolves with what [`check`](Self::check) says then, once it is final: nothing tries to connect any more.
    pub async fn over(&self) -> Error {
        self.standing.over().await;
        self.refused()
    }

    fn refused(&self) -> Error {
        let what = format!("connect to {} any more: its credentials are no longer accepted", self.address);
        Error::Denied { who: "this process".into(), what: what.into() }
    }

    /// Sends a request and waits for its first answer, at most [`REQUEST`].
    ///
    /// # Errors
    /// `NoRecipient` when nobody listens; `Denied` when this process may not publish there, or not connect any more;
    /// `Unavailable`.
    pub async fn request(&self, subject: &str, headers: Option<HeaderMap>, body: Bytes) -> Result<async_nats::Message> {
        self.check()?;
        let mut notices = self.notices();
        let request = async_nats::Request::new().payload(body).timeout(Some(REQUEST));
        let request = match headers {
            Some(headers) => request.headers(headers),
            None => request,
        };
        tokio::select! {
            answer = self.client.send_request(subject.to_owned(), request) => answer.map_err(|e| match e.kind() {
                async_nats::RequestErrorKind::NoResponders => Error::NoRecipient { to: subject.into() },
                _ => Error::unavailable(format!("{}: {subject}: {e}", self.address)),
            }),
            denied = until_denied(&mut notices, subject) => Err(denied),
            over = self.over() => Err(over),
        }
    }

    /// Does what a process does first on a connection, unless the server lets it hear no answers: then it would wait for
    /// one, and say that the server gave none. The client listens for answers from its first request on.
    ///
    /// # Errors
    /// `Denied` then; else those of `first`.
    pub async fn heard<T>(&self, first: impl Future<Output = Result<T>>) -> Result<T> {
        let (mut notices, inbox) = (self.notices(), inbox(&self.node));
        tokio::select! {
            done = first => done,
            () = until_deaf(&mut notices, &inbox) => {
                let what = format!("hear answers under the name {}, which is not that of its user", self.node);
                Err(Error::Denied { who: "this process".into(), what: what.into() })
            }
        }
    }

    /// Publishes without waiting for anything.
    ///
    /// # Errors
    /// `Unavailable` when the connection is closed; `Denied` when this process may not connect any more.
    pub async fn publish(&self, subject: String, body: Bytes) -> Result<()> {
        self.check()?;
        self.client.publish(subject, body).await.map_err(|e| Error::unavailable(format!("{}: {e}", self.address)))
    }

    /// The same, of what the server is to remove from its stream after so long, in whole seconds.
    pub(crate) async fn publish_for(&self, subject: String, life: Duration, body: Bytes) -> Result<()> {
        self.check()?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-TTL", format!("{}s", life.as_secs()).as_str());
        let published = self.client.publish_with_headers(subject, headers, body).await;
        published.map_err(|e| Error::unavailable(format!("{}: {e}", self.address)))
    }
}

/// Resolves once the server has refused a publish on `subject`.
pub(crate) async fn until_denied(notices: &mut broadcast::Receiver<Notice>, subject: &str) -> Error {
    loop {
        match notices.recv().await {
            Ok(Notice::PublishDenied(denied)) if denied == subject => {
                return Error::Denied { who: "this process".into(), what: format!("publish on {subject}").into() };
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Resolves once the server has refused to let answers through to this inbox.
async fn until_deaf(notices: &mut broadcast::Receiver<Notice>, inbox: &str) {
    loop {
        match notices.recv().await {
            Ok(Notice::SubscribeDenied(denied)) if denied.split('.').next() == Some(inbox) => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Where answers to a process of this name come in.
fn inbox(node: &NodeName) -> String {
    format!("_INBOX_{node}")
}

async fn describe(
    options: &Options,
    notices: broadcast::Sender<Notice>,
    standing: Arc<Standing>,
) -> Result<ConnectOptions> {
    let connect = ConnectOptions::new()
        .name(format!("callboard {}", options.node))
        .custom_inbox_prefix(inbox(&options.node))
        .ping_interval(PING)
        .connection_timeout(CONNECT)
        .request_timeout(Some(REQUEST))
        .subscription_capacity(SUBSCRIPTION)
        .reconnect_delay_callback(delays(standing.clone()))
        .event_callback(move |event| {
            let told = standing.hear(&event).or_else(|| notice(event)).map(|notice| notices.send(notice));
            async move { drop(told) }
        });
    let connect = with_tls(connect, options);
    let unusable = |what: &str, e: std::io::Error| Error::decode(format!("{what}: {e}"));
    match &options.credentials {
        Credentials::None => Ok(match options.servers.iter().find_map(|server| in_address(server)) {
            Some((user, password)) => connect.user_and_password(user.to_owned(), password.to_owned()),
            None => connect,
        }),
        Credentials::Password { user, password } => Ok(connect.user_and_password(user.clone(), password.clone())),
        Credentials::Token(token) => Ok(connect.token(token.clone())),
        Credentials::Nkey(seed) => Ok(connect.nkey(seed.clone())),
        Credentials::File(path) => {
            let name = path.display().to_string();
            connect.credentials_file(path).await.map_err(|e| unusable(&name, e))
        }
    }
}

fn with_tls(connect: ConnectOptions, options: &Options) -> ConnectOptions {
    let required = options.tls.required || options.servers.iter().any(|server| server.starts_with("tls://"));
    let connect = connect.require_tls(required);
    let connect = match &options.tls.ca {
        Some(ca) => connect.add_root_certificates(ca.clone()),
        None => connect,
    };
    match &options.tls.identity {
        Some((certificate, key)) => connect.add_client_certificate(certificate.clone(), key.clone()),
        None => connect,
    }
}

/// The first connection is made at once, and none any more when it is over.
fn delays(standing: Arc<Standing>) -> impl Fn(usize) -> Duration + Send + Sync + 'static {
    let first = AtomicBool::new(true);
    move |attempts| match first.swap(false, Ordering::Relaxed) {
        true => Duration::ZERO,
        // The client cannot be told to stop trying, only to wait.
        false if standing.is_over() => FOREVER,
        false => reconnect_delay(attempts),
    }
}

/// Doubling from 50 ms, each with full jitter above 10 ms, so that a fleet does not come back in one moment.
fn reconnect_delay(attempts: usize) -> Duration {
    let exponent = u32::try_from(attempts.min(8)).unwrap_or(8);
    let most = Duration::from_millis(50 << exponent).min(RECONNECT_MAX);
    Duration::from_millis(10) + most.mul_f64(f64::from(fresh_boot()) / f64::from(u32::MAX))
}

fn notice(event: Event) -> Option<Notice> {
    match event {
        Event::Connected => Some(Notice::Connected),
        Event::Disconnected => Some(Notice::Disconnected),
        Event::LameDuckMode => Some(Notice::LameDuck),
        Event::SlowConsumer(_) => Some(Notice::SlowConsumer),
        Event::Closed => Some(Notice::Closed("the connection was closed".into())),
        Event::ServerError(ServerError::Other(text)) => violation(&text),
        _ => None,
    }
}

/// The server's words: `Permissions Violation for Publish to "subject"`.
fn violation(text: &str) -> Option<Notice> {
    let lower = text.to_lowercase();
    let subject = text.split('"').nth(1)?.to_owned();
    if lower.contains("permissions violation for publish") {
        return Some(Notice::PublishDenied(subject));
    }
    lower.contains("permissions violation for subscription").then_some(Notice::SubscribeDenied(subject))
}

/// The user and the password in an address: the client itself passes over them.
fn in_address(server: &str) -> Option<(&str, &str)> {
    let (credentials, _) = server.split_once("://")?.1.rsplit_once('@')?;
    Some(credentials.split_once(':').unwrap_or((credentials, "")))
}

/// An address without the password that may stand in it: it is shown, and told to others.
fn plain(server: &str) -> String {
    match server.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
        None => server.to_owned(),
    }
}

fn unreachable(address: &str, error: &async_nats::ConnectError) -> Error {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Error::Denied { who: "this process".into(), what: format!("connect to {address}").into() }
        }
        ConnectErrorKind::ServerParse => {
            Error::decode(format!("\"{address}\" is not the address of a server: {cause}"))
        }
        _ => Error::unavailable(format!("{address}: {cause}")),
    }
}

/// Random enough to tell incarnations apart: the tail of a random identifier.
pub(super) fn fresh_boot() -> u32 {
    let bytes = uuid::Uuid::now_v7().into_bytes();
    u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_subject() {
        let told = violation("Permissions Violation for Publish to \"cb.v1.lane.b.a\"");
        assert_eq!(told, Some(Notice::PublishDenied("cb.v1.lane.b.a".into())));
        let told = violation("Permissions Violation for Subscription to \"cb.v1.ctl.>\"");
        assert_eq!(told, Some(Notice::SubscribeDenied("cb.v1.ctl.>".into())));
        assert_eq!(violation("maximum connections exceeded"), None);
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(plain("nats://ops:a@b@host:4222"), "nats://host:4222");
        assert_eq!(plain("tls://host"), "tls://host");
        assert_eq!(in_address("nats://ops:a@b@host:4222"), Some(("ops", "a@b")));
        assert_eq!(in_address("nats://host:4222"), None);
    }

    #[test]
    fn tries_to_connect_again_are_spread_and_bounded() {
        for attempts in 0..40 {
            assert!(reconnect_delay(attempts) <= RECONNECT_MAX + Duration::from_millis(10));
        }
        let spread: std::collections::BTreeSet<Duration> = (0..50).map(|_| reconnect_delay(6)).collect();
        assert!(spread.len() > 25, "jitter: {spread:?}");
    }
}
