//! Which addresses may be opened, as they are written. Pure.
//!
//! They are read as browsers read them, so what stands in the place of a name in one of the many spellings of a number is
//! a number here too, and what is sent is the address as it was read, not as it was written.

use std::net::IpAddr;

use url::{Host, Url};

use crate::reach::Reach;

/// The longest address.
const MAX_URL: usize = 4_096;

/// What may be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    pub(super) hosts: &'a [String],
    pub(super) schemes: &'a [String],
    pub(super) ports: &'a [u16],
    pub(super) reach: &'a Reach,
}

impl Places<'_> {
    /// The address as it is to be used.
    ///
    /// # Errors
    /// Why it must not be opened, in words for whoever asked.
    pub(super) fn judge(&self, text: &str) -> Result<Url, String> {
        if text.len() > MAX_URL {
            return Err(format!("the address has {} bytes, {MAX_URL} are allowed", text.len()));
        }
        self.parsed(Url::parse(text).map_err(|e| format!("it is no address: {e}"))?)
    }

    /// The address that a redirect leads to from another.
    ///
    /// # Errors
    /// As for [`judge`](Self::judge).
    pub(super) fn follow(&self, from: &Url, location: &str) -> Result<Url, String> {
        if location.len() > MAX_URL {
            return Err(format!("a redirect to an address of {} bytes, {MAX_URL} are allowed", location.len()));
        }
        self.parsed(from.join(location).map_err(|e| format!("a redirect to what is no address: {e}"))?)
    }

    fn parsed(&self, mut url: Url) -> Result<Url, String> {
        if !self.schemes.iter().any(|scheme| scheme == url.scheme()) {
            return Err(format!("addresses begin with {}, not with {}", self.schemes.join(" or "), url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address with a user in it is not opened".into());
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.ports.contains(&port) {
            return Err(format!("port {port} is not one of {:?}", self.ports));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => self.name(name)?,
            Some(Host::Ipv4(address)) => self.number(IpAddr::V4(address))?,
            Some(Host::Ipv6(address)) => self.number(IpAddr::V6(address))?,
            None => return Err("an address has a host".into()),
        };
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| is_of(pattern, &host)) {
            return Err(format!("{host} is not one of the hosts: {}", self.hosts.join(", ")));
        }
        url.set_fragment(None);
        Ok(url)
    }

    fn name(&self, name: &str) -> Result<String, String> {
        let name = name.trim_end_matches('.').to_lowercase();
        if name.is_empty() { Err("an address has a host".into()) } else { Ok(name) }
    }

    fn number(&self, address: IpAddr) -> Result<String, String> {
        match self.reach.allows(address) {
            true => Ok(address.to_string()),
            false => Err(format!("{address} is a private address, which is not opened")),
        }
    }
}

/// Whether a host is meant: by its name, or as one below `*.example.com`.
fn is_of(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(above) => host.strip_suffix(above).is_some_and(|below| below.ends_with('.') && below.len() > 1),
        None => pattern.eq_ignore_ascii_case(host),
    }
}
