//! Addresses that may be opened, and a resolver that knows no others.
//!
//! A node that fetches for somebody else must not be a way into the network that it stands in. Names are judged by what
//! they resolve to, at the moment of the connection and for each redirect, so that no name can mean one thing when it is
//! looked at and another when it is used: the connection is made to the very addresses that were checked. One that must not
//! be opened among several refuses all of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::net::Net;

/// What a name stands for, where it is not the system that says so.
pub trait Names: fmt::Debug + Send + Sync + 'static {
    /// All addresses of a host.
    ///
    /// # Errors
    /// When it has none.
    fn addresses(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>>;
}

/// What may be opened: what anybody could reach, and what was named beside.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    also: Vec<Net>,
    names: Option<Arc<dyn Names>>,
}

/// Why a connection was not made.
#[derive(Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Reach {
    /// Only public addresses.
    pub fn public() -> Self {
        Self::default()
    }

    /// These too, also when they are private.
    #[must_use]
    pub fn also(mut self, nets: impl IntoIterator<Item = Net>) -> Self {
        self.also.extend(nets);
        self
    }

    /// With names that somebody else than the system resolves.
    #[must_use]
    pub fn names(self, names: Arc<dyn Names>) -> Self {
        Self { names: Some(names), ..self }
    }

    /// Whether an address may be opened.
    pub fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.also.iter().any(|net| net.holds(address))
    }
}

impl Resolver for Reach {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut allowed = self.empty();
        let mut refused = false;
        let mut take = |address: SocketAddr| {
            refused |= !self.allows(address.ip());
            // As many as there is place for; the rest was looked at too.
            if allowed.len() < 16 {
                allowed.push(address);
            }
        };
        match &self.names {
            Some(names) => {
                let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
                names.addresses(host, port)?.into_iter().for_each(&mut take);
            }
            None => DefaultResolver::default().resolve(uri, config, timeout)?.iter().copied().for_each(&mut take),
        }
        match (refused, allowed.is_empty()) {
            (true, _) => {
                let why = "a private address, which a node does not open for a client";
                Err(Error::Other(Box::new(Refused(why.to_owned()))))
            }
            (false, true) => Err(Error::HostNotFound),
            (false, false) => Ok(allowed),
        }
    }
}

/// Whether an address belongs to nobody's private network, machine or link.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_reserved = a == 0 || a >= 240 || (a, b, c) == (192, 0, 0) || a == 198 && (18..20).contains(&b);
    !(is_shared
        || is_reserved
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

/// Only what is given out for the whole world, and there what leads back into the older kind by that kind's rules.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Tunnels whose far end is hidden, and examples.
        [0x2001, 0 | 0xdb8, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_some_can_reach_is_not_public() {
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::7f00:1",
        ];
        for address in private {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "172.32.0.1", "100.128.0.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_network_holds_what_begins_like_it_in_either_spelling() {
        let net = |text: &str| text.parse::<Net>().unwrap();
        let reach = Reach::public().also([net("10.1.0.0/16"), net("127.0.0.1"), net("fd00::/8")]);
        for (address, may) in [
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(reach.allows(address.parse().unwrap()), may, "{address}");
        }
        assert!(Reach::public().also([net("0.0.0.0/0")]).allows("10.0.0.1".parse().unwrap()));
    }
}
