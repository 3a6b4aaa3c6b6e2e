//! `callboard serve`: a team, or any capability, as a model for clients of OpenAI-compatible models.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use callboard::broker::code;
use callboard::broker::problem::Problem;
use callboard::http::{AT_ONCE, Options, Server};
use callboard::llm::Secret;
use callboard::period::Period;
use clap::Args;
use serde::Serialize;

use crate::console::Console;
use crate::doors::Offered;
use crate::failure::Failure;
use crate::output::{Done, Page, Show};
use crate::signals::Signals;

/// The variable that holds a key.
const KEY: &str = "CALLBOARD_HTTP_KEY";

/// Let clients of OpenAI-compatible models use a team, or any capability, as a model.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one. Beyond this machine only with a key
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    http: String,
    /// A file with the keys of clients, one a line. CALLBOARD_HTTP_KEY holds one, too
    #[arg(long, value_name = "FILE", env = "CALLBOARD_HTTP_KEY_FILE")]
    http_key_file: Option<PathBuf>,
    #[command(flatten)]
    offered: Offered,
    /// Requests that are worked on together; one more is told to come again. Default: 64
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: Option<u16>,
    /// How long one request may take, such as 90s or 2h. Default: 9m
    #[arg(long, value_name = "TIME")]
    limit: Option<Period>,
}

/// Serves until told to stop.
pub(crate) async fn serve(of: Serve, console: &Console) -> Done {
    // From before anything is held.
    let signals = Signals::listen();
    let options = options(&of)?;
    let opened = of.offered.open(console).await?;
    let server = match Server::open(opened.desk.clone(), options).await {
        Ok(server) => server,
        Err(error) => {
            opened.close().await?;
            return Err(error.into());
        }
    };
    let page = console.out.page;
    console.out.note(&page.field("models", 7, &opened.names()));
    console.out.note(&page.field("store", 7, &opened.place()));
    let said = console.out.item(&Listens { url: format!("http://{}/v1", server.address()) });
    let ended = tokio::select! {
        () = signals.first() => said,
        failure = opened.over() => Err(failure),
    };
    console.out.note("closing: what is at work is finished, a second signal ends at once");
    server.leave().await;
    opened.close().await?;
    ended.map(|()| None)
}

fn options(of: &Serve) -> Result<Options, Failure> {
    let keys = keys(of.http_key_file.as_deref(), std::env::var(KEY).ok())?;
    let defaults = Options::new(address(&of.http)?);
    Ok(Options {
        keys,
        at_once: of.at_once.map_or(AT_ONCE, usize::from),
        limit: of.limit.map_or(defaults.limit, Period::length).max(Duration::from_secs(1)),
        ..defaults
    })
}

fn address(text: &str) -> Result<SocketAddr, Failure> {
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        let what = format!("--http: \"{text}\" is no address with a port of this machine");
        Problem::new(code::BAD_VALUE, what).fix("--http 127.0.0.1:8080").into()
    })
}

/// The keys of a file, one a line, and that of the variable. Empty lines and those that begin with `#` are none.
fn keys(file: Option<&Path>, variable: Option<String>) -> Result<Vec<Secret>, Failure> {
    let mut texts: Vec<String> = variable.into_iter().collect();
    if let Some(path) = file {
        let read = std::fs::read_to_string(path)
            .map_err(|e| Problem::new(code::FILE, format!("{} cannot be read: {}", path.display(), e.kind())))?;
        let before = texts.len();
        texts.extend(read.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
        if texts[before..].iter().all(|line| line.trim().is_empty()) {
            return Err(Problem::new(code::OPEN_DOOR, format!("{} holds no key", path.display())).into());
        }
    }
    Ok(texts.iter().map(Secret::new).filter(|key| !key.is_empty()).collect())
}

/// Where clients find it.
#[derive(Serialize)]
struct Listens {
    url: String,
}

impl Show for Listens {
    fn text(&self, _: Page) -> String {
        format!("{}\n", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_and_from_a_variable_and_an_empty_file_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, "# of the web shop\nfirst-key-of-sixteen\n\n  second-key-of-16 \n").unwrap();
        let read = keys(Some(&file), Some("third-key-of-more".into())).unwrap();
        let read: Vec<&str> = read.iter().map(Secret::expose).collect();
        assert_eq!(read, ["third-key-of-more", "first-key-of-sixteen", "second-key-of-16"]);
        assert!(keys(None, Some(String::new())).unwrap().is_empty());
        std::fs::write(&file, "# none\n\n").unwrap();
        assert!(keys(Some(&file), None).is_err());
        assert!(keys(Some(Path::new("nowhere")), None).is_err());
    }

    #[test]
    fn an_address_has_a_port() {
        assert_eq!(address("127.0.0.1:8080").unwrap().port(), 8080);
        assert!(address("localhost:0").unwrap().ip().is_loopback());
        assert!(address("8080").is_err() && address("").is_err());
    }
}
