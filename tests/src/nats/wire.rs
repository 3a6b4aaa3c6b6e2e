//! The server's own protocol, spoken over a plain socket.
//!
//! The clients that the product uses hide what these tests are about: which publish the server has refused, and when.
//! Here every call ends with a ping, whose pong comes after anything that the server had to say about the call; so a
//! refusal is seen at once, and that there was none is seen without waiting for one.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// The longest that the server may take to answer, unless set.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
pub struct Wire {
    socket: BufReader<TcpStream>,
    info: Value,
    inbox: String,
    numbers: u64,
    inbound: VecDeque<Message>,
}

/// What came for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The subject that it was published on.
    pub subject: String,
    /// The number of the subscription, as [`Wire::subscribe`] returned it.
    pub subscription: u64,
    /// Where an answer goes, or nothing.
    pub reply: Option<String>,
    /// The headers as they were sent, or nothing. `NATS/1.0 503` says that nobody listens.
    pub headers: String,
    /// The body.
    pub payload: Vec<u8>,
}

/// Why a call came to nothing.
#[derive(Debug)]
pub enum Refused {
    /// The server said no, in these words.
    Denied(String),
    /// Nobody listens on the subject.
    Unheard,
    /// The connection is gone, or no answer came in time.
    Broken(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl Wire {
    /// Connects to `nats://[user:password@]host:port`.
    ///
    /// # Errors
    /// When nothing listens there, and when the credentials are wrong.
    pub fn connect(url: &str) -> io::Result<Self> {
        let rest = url.strip_prefix("nats://").unwrap_or(url);
        let (credentials, address) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let mut socket = BufReader::new(socket);
        let mut first = String::new();
        socket.read_line(&mut first)?;
        let info = first.strip_prefix("INFO ").and_then(|info| serde_json::from_str(info).ok());
        let info = info.ok_or_else(|| Error::other(format!("no greeting: {first:?}")))?;
        let mut wire = Self { socket, info, inbox: "_INBOX.wire".into(), numbers: 0, inbound: VecDeque::new() };
        let mut hello = json!({"verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "name": "wire", "lang": "test", "version": "1", "protocol": 1});
        if !user.is_empty() {
            hello["user"] = user.into();
            hello["pass"] = password.into();
        }
        wire.send(format!("CONNECT {hello}\r\n").as_bytes())?;
        wire.settle().map_err(|refused| match refused {
            Refused::Broken(error) => error,
            other => Error::new(io::ErrorKind::PermissionDenied, format!("{other:?}")),
        })?;
        Ok(wire)
    }

    /// What the server said of itself: `version`, `max_payload`, `jetstream`, ...
    pub fn info(&self) -> &Value {
        &self.info
    }

    /// Where requests wait for their answers, below this prefix. `_INBOX.wire` unless set.
    pub fn set_inbox(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.inbox);
    }

    /// How long anything is waited for. 10 s unless set.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.socket.get_ref().set_read_timeout(Some(patience))
    }

    /// Publishes, and returns when the server has taken it.
    ///
    /// # Errors
    /// When it may not.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) -> Result<(), Refused> {
        self.publish_with_reply(subject, "", payload)
    }

    /// Publishes and names where an answer may go, which is not waited for.
    ///
    /// # Errors
    /// When it may not.
    pub fn publish_with_reply(&mut self, subject: &str, reply: &str, payload: &[u8]) -> Result<(), Refused> {
        let mut frame = format!("PUB {subject} {reply} {}\r\n", payload.len()).into_bytes();
        frame.extend_from_slice(payload);
        frame.extend_from_slice(b"\r\n");
        self.send(&frame)?;
        self.settle()
    }

    /// Subscribes, and returns the number of the subscription when the server has taken it. A queue group follows the
    /// subject after a blank.
    ///
    /// # Errors
    /// When it may not.
    pub fn subscribe(&mut self, subject: &str) -> Result<u64, Refused> {
        self.numbers += 1;
        let number = self.numbers;
        self.send(format!("SUB {subject} {number}\r\n").as_bytes())?;
        self.settle().map(|()| number)
    }

    /// Takes a subscription back.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn unsubscribe(&mut self, subscription: u64) -> Result<(), Refused> {
        self.send(format!("UNSUB {subscription}\r\n").as_bytes())?;
        self.settle()
    }

    /// Asks and waits for one answer.
    ///
    /// # Errors
    /// When it may not ask, may not listen for the answer, or nobody is there to give one.
    pub fn request(&mut self, subject: &str, payload: &[u8]) -> Result<Message, Refused> {
        let inbox = format!("{}.{}", self.inbox, self.numbers + 1);
        let number = self.subscribe(&inbox)?;
        let sent = self.publish_with_reply(subject, &inbox, payload);
        let answer = sent.and_then(|()| {
            loop {
                let at = self.inbound.iter().position(|message| message.subscription == number);
                if let Some(message) = at.and_then(|at| self.inbound.remove(at)) {
                    break Ok(message);
                }
                self.read_one()?;
            }
        });
        self.unsubscribe(number)?;
        let answer = answer?;
        if answer.headers.starts_with("NATS/1.0 503") { Err(Refused::Unheard) } else { Ok(answer) }
    }

    /// Asks for JSON with JSON. A JetStream API error is an answer too.
    ///
    /// # Errors
    /// As [`Wire::request`].
    pub fn ask(&mut self, subject: &str, body: &Value) -> Result<Value, Refused> {
        let payload = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.request(subject, &payload)?;
        serde_json::from_slice(&answer.payload).map_err(|why| Refused::Broken(Error::other(why)))
    }

    /// The next message of any subscription.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn receive(&mut self) -> Result<Message, Refused> {
        loop {
            if let Some(message) = self.inbound.pop_front() {
                return Ok(message);
            }
            self.read_one()?;
        }
    }

    /// Reads to the pong of a ping, which comes after all that the server had to say before.
    fn settle(&mut self) -> Result<(), Refused> {
        self.send(b"PING\r\n")?;
        let mut denied = None;
        loop {
            match self.read_one() {
                Ok(true) => return denied.map_or(Ok(()), |why| Err(Refused::Denied(why))),
                Ok(false) => {}
                Err(Refused::Denied(why)) => denied = Some(why),
                Err(broken) => return Err(denied.map_or(broken, Refused::Denied)),
            }
        }
    }

    /// Reads one operation of the server; whether it was a pong.
    fn read_one(&mut self) -> Result<bool, Refused> {
        let mut line = String::new();
        if self.socket.read_line(&mut line)? == 0 {
            return Err(Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default() {
            "PONG" => return Ok(true),
            "PING" => self.send(b"PONG\r\n")?,
            "-ERR" => return Err(Refused::Denied(line[4..].trim().trim_matches('\'').to_owned())),
            "MSG" => self.take(&words.collect::<Vec<_>>(), false)?,
            "HMSG" => self.take(&words.collect::<Vec<_>>(), true)?,
            _ => {}
        }
        Ok(false)
    }

    fn take(&mut self, words: &[&str], with_headers: bool) -> io::Result<()> {
        let sizes = if with_headers { 2 } else { 1 };
        let [subject, subscription, rest @ ..] = words else { return Err(Error::other("a message without subject")) };
        let (reply, sizes) = rest.split_at(rest.len().saturating_sub(sizes));
        let size = |word: Option<&&str>| word.and_then(|word| word.parse::<usize>().ok()).unwrap_or_default();
        let head = if with_headers { size(sizes.first()) } else { 0 };
        let mut body = vec![0; size(sizes.last()) + 2];
        self.socket.read_exact(&mut body)?;
        body.truncate(body.len() - 2);
        let payload = body.split_off(head.min(body.len()));
        self.inbound.push_back(Message {
            subject: (*subject).to_owned(),
            subscription: subscription.parse().map_err(Error::other)?,
            reply: reply.first().map(|reply| (*reply).to_owned()),
            headers: String::from_utf8_lossy(&body).into_owned(),
            payload,
        });
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_mut().write_all(bytes)
    }
}
