//! How a process joins a broker on NATS.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::id::NodeName;
use crate::profile::Profile;

/// The address that a server listens on unless told otherwise.
pub const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";
/// How long the first connection may take, for all addresses together: 2 s.
pub const CONNECT: Duration = Duration::from_secs(2);
/// How long one request to the server may take: 5 s.
pub const REQUEST: Duration = Duration::from_secs(5);
/// Messages that one subscription holds before more are dropped: 65,536.
pub const SUBSCRIPTION: usize = 65_536;
/// How often the server is asked whether it is there: 2 s. A frozen server is given up after three.
pub const PING: Duration = Duration::from_secs(2);

/// Who this process is to the server.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an NKEY.
    Nkey(String),
    /// A credentials file: a JWT and the seed that belongs to it.
    File(PathBuf),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Password { .. } => "a password",
            Self::Token(_) => "a token",
            Self::Nkey(_) => "an nkey",
            Self::File(_) => "a credentials file",
        })
    }
}

/// How the connection is encrypted.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether a connection without it is refused. On by itself for `tls://` addresses.
    pub required: bool,
    /// Certificates of authorities that are trusted beside the system's, as a PEM file.
    pub ca: Option<PathBuf>,
    /// This process's own certificate and key, as PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What happens when the broker's streams are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// They are made, if this process may; else as for `Refuse`.
    Provision,
    /// `Unavailable`, with the command that makes them.
    Refuse,
}

/// How a process joins a broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of servers of one cluster. Default: [`DEFAULT_SERVER`].
    pub servers: Vec<String>,
    /// The name of this process on the wire.
    pub node: NodeName,
    /// Who it is to the server.
    pub credentials: Credentials,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// Whether this process does work. One that only submits and looks leaves housekeeping to those that do.
    pub works: bool,
    /// What happens when the broker's streams are not there. Default: they are made.
    pub missing: Missing,
    /// How its streams are made, when it makes them.
    pub layout: super::Layout,
    /// The least that must be proved of how durable the broker is. Default: nothing beyond `crash-safe`.
    pub profile: Profile,
    /// The wall clock.
    pub clock: Clock,
}

impl Options {
    /// A node of that name at the default address, with all defaults.
    pub fn new(node: NodeName) -> Self {
        Self {
            servers: vec![DEFAULT_SERVER.into()],
            node,
            credentials: Credentials::None,
            tls: Tls::default(),
            works: true,
            missing: Missing::Provision,
            layout: super::Layout::default(),
            profile: Profile::default(),
            clock: Clock::system(),
        }
    }
}
