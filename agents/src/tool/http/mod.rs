//! Pages and services of the network as tools: `NAME.get`, and `NAME.post` where the node allows it.
//!
//! An address is judged three times: as it is written (scheme, host, port), as what its name stands for, and again for
//! each redirect. The connection is made to the very addresses that were judged. See [`crate::reach`].
//!
//! Without a list of hosts a call can carry out what a request knows, in the address itself. So it is of high risk then:
//! a request that has read something asks a person, or the node has a policy.

mod address;
mod exchange;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::code;
use serde_json::json;
use tokio::time::Instant;

use super::{AnyTool, Does, Offer, Output, Risk, Tool, ToolCtx, definition::erased};
use crate::reach::Reach;
use crate::{Failure, Result, payload};
use address::Places;
use exchange::{Exchange, Method, exchange};

/// Redirects that are followed unless told otherwise.
pub const REDIRECTS: u32 = 5;
/// How much of a page is read and unpacked, in bytes, unless told otherwise: 4 MiB.
pub const MAX_PAGE: u64 = 4 << 20;

/// What may be fetched.
#[derive(Clone, Debug)]
pub struct Web {
    /// Hosts by name, or all below one: `*.example.com`. Empty: any that is public.
    pub hosts: Vec<String>,
    /// Schemes. Default `https` and `http`.
    pub schemes: Vec<String>,
    /// Ports. Default 443 and 80.
    pub ports: Vec<u16>,
    /// Addresses that may be opened. Default: public ones.
    pub reach: Reach,
    /// Redirects that are followed, each judged like an address of its own. Default [`REDIRECTS`].
    pub redirects: u32,
    /// How much of a page is read, unpacked. Default [`MAX_PAGE`].
    pub max_page: u64,
}

impl Default for Web {
    fn default() -> Self {
        let schemes = ["https", "http"].map(str::to_owned).to_vec();
        let (hosts, ports, reach) = (Vec::new(), vec![443, 80], Reach::public());
        Self { hosts, schemes, ports, reach, redirects: REDIRECTS, max_page: MAX_PAGE }
    }
}

/// What is fetched.
#[payload]
struct Page {
    /// The address, with http:// or https://.
    url: String,
}

/// What is posted.
#[payload]
struct Letter {
    /// The address, with http:// or https://.
    url: String,
    /// The body: JSON.
    body: serde_json::Value,
}

struct Get {
    name: String,
    web: Arc<Web>,
}

struct Post {
    name: String,
    web: Arc<Web>,
}

/// `family.get`, and `family.post` if `posts`.
pub fn tools(family: &str, web: Web, posts: bool) -> Vec<Arc<dyn AnyTool>> {
    let web = Arc::new(web);
    let get = erased(Get { name: format!("{family}.get"), web: web.clone() });
    let post = posts.then(|| erased(Post { name: format!("{family}.post"), web }));
    std::iter::once(get).chain(post).collect()
}

impl Web {
    fn places(&self) -> Places<'_> {
        Places { hosts: &self.hosts, schemes: &self.schemes, ports: &self.ports, reach: &self.reach }
    }

    fn hosts(&self) -> String {
        if self.hosts.is_empty() { "any public host".into() } else { self.hosts.join(", ") }
    }

    async fn send(self: &Arc<Self>, url: &str, method: Method, of: &ToolCtx) -> Result<Output> {
        let first = self.places().judge(url).map_err(refused)?;
        let limit = of.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let what = Exchange { web: self.clone(), first, method, limit };
        let done = tokio::task::spawn_blocking(move || exchange(&what)).await;
        let answer = done.unwrap_or_else(|_| Err(Failure::transient("the runtime is stopping")))?;
        let said = |text: &str| {
            json!({ "url": answer.url, "status": answer.status, "type": answer.kind, "text": text }).to_string()
        };
        // What goes over the limit is cut from the text, so that what is left is JSON.
        let text = fitting(&answer.text, of.max_result.saturating_sub(said("").len()));
        let is_cut = answer.is_cut || text.len() < answer.text.len();
        Ok(Output { cut: is_cut, ..Output::text(said(text)) })
    }
}

impl Tool for Get {
    type Arguments = Page;

    fn offer(&self) -> Offer {
        let about = format!("Gets a page as text, from {}", self.web.hosts());
        let risk = if self.web.hosts.is_empty() { Risk::High } else { Risk::Normal };
        Offer::new::<Page>(&self.name, about, Does::Reads).risk(risk)
    }

    async fn call(&self, of: &ToolCtx, page: Page) -> Result<Output> {
        self.web.send(&page.url, Method::Get, of).await
    }
}

impl Tool for Post {
    type Arguments = Letter;

    fn offer(&self) -> Offer {
        Offer::new::<Letter>(&self.name, format!("Posts JSON to {}", self.web.hosts()), Does::Writes)
    }

    async fn call(&self, of: &ToolCtx, letter: Letter) -> Result<Output> {
        self.web.send(&letter.url, Method::Post(letter.body.to_string()), of).await
    }
}

/// The longest beginning of a text that has at most `room` bytes within quotes as JSON.
fn fitting(text: &str, room: usize) -> &str {
    let mut bytes = 0;
    for (at, letter) in text.char_indices() {
        bytes += match letter {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            _ => letter.len_utf8(),
        };
        if bytes > room {
            return &text[..at];
        }
    }
    text
}

/// An address that must not be opened: nothing was sent.
fn refused(why: String) -> Failure {
    Failure::permanent(why).code(code::TOOL_ADDRESS).not_done()
}
