//! Tricks to reach what must not be reached, each against a server that counts who comes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard_broker::code;
use serde_json::{Value, json};

use super::{Web, fitting, tools};
use crate::reach::{Names, Reach};
use crate::testing::World;
use crate::tool::{Output, Rules, Toolbox, WhenTainted};
use crate::{Error, Result};

/// Spellings of places that must not be opened; `{P}` is the port of the server that counts.
const TRICKS: [&str; 78] = [
    // This machine, by name and by number.
    "http://localhost:{P}/",
    "http://LOCALHOST:{P}/",
    "http://localhost.:{P}/",
    "http://127.0.0.1:{P}/",
    "http://127.0.0.1.:{P}/",
    "http://127.1:{P}/",
    "http://127.0.1:{P}/",
    "http://127.127.127.127:{P}/",
    "http://0:{P}/",
    "http://0.0.0.0:{P}/",
    "http://2130706433:{P}/",
    "http://017700000001:{P}/",
    "http://0x7f000001:{P}/",
    "http://0x7f.0x0.0x0.0x1:{P}/",
    "http://0177.0.0.01:{P}/",
    "http://0x7f.1:{P}/",
    "http://0177.0x0.0.1:{P}/",
    "http://127.0.0.1%2f@evil.test:{P}/",
    "http://[::1]:{P}/",
    "http://[::]:{P}/",
    "http://[0:0:0:0:0:0:0:1]:{P}/",
    "http://[::ffff:127.0.0.1]:{P}/",
    "http://[::ffff:7f00:1]:{P}/",
    "http://[::127.0.0.1]:{P}/",
    "http://[64:ff9b::7f00:1]:{P}/",
    "http://[2002:7f00:1::]:{P}/",
    "http://[2001:0:7f00:1::]:{P}/",
    // Letters that are digits and dots elsewhere.
    "http://①②⑦.⓪.⓪.①:{P}/",
    "http://127。0。0。1:{P}/",
    "http://127．0．0．1:{P}/",
    "http://１２７.0.0.1:{P}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{P}/",
    "http://loc\u{ad}alhost:{P}/",
    // Other networks that are nobody's business.
    "http://10.0.0.1:{P}/",
    "http://10.255.255.255:{P}/",
    "http://172.16.0.1:{P}/",
    "http://172.31.255.255:{P}/",
    "http://192.168.0.1:{P}/",
    "http://192.168.1.1:{P}/",
    "http://100.64.0.1:{P}/",
    "http://198.18.0.1:{P}/",
    "http://192.0.0.1:{P}/",
    "http://192.0.2.1:{P}/",
    "http://224.0.0.1:{P}/",
    "http://240.0.0.1:{P}/",
    "http://255.255.255.255:{P}/",
    "http://[fc00::1]:{P}/",
    "http://[fd00::1]:{P}/",
    "http://[fe80::1]:{P}/",
    "http://[ff02::1]:{P}/",
    "http://[2001:db8::1]:{P}/",
    // Where clouds keep their keys.
    "http://169.254.169.254:{P}/latest/meta-data/",
    "http://[::ffff:169.254.169.254]:{P}/",
    "http://2852039166:{P}/",
    "http://0xa9fea9fe:{P}/",
    "http://169.254.43518:{P}/",
    "http://[fd00:ec2::254]:{P}/",
    "http://100.100.100.200:{P}/",
    // Names that stand for such places.
    "http://loop.test:{P}/",
    "http://meta.test:{P}/",
    "http://mixed.test:{P}/",
    "http://mapped.test:{P}/",
    "http://evil.test#@good.test:{P}/",
    "http://good.test@loop.test:{P}/",
    "http://good.test:x@loop.test:{P}/",
    "http://loop.test\\@good.test:{P}/",
    "http:\\\\loop.test:{P}\\",
    "http:/loop.test:{P}/",
    "http:loop.test:{P}/",
    "\thttp://loop\n.test:{P}/",
    // Other schemes and ports.
    "file:///etc/passwd",
    "ftp://127.0.0.1:{P}/",
    "gopher://127.0.0.1:{P}/_x",
    "dict://127.0.0.1:{P}/",
    "data:text/plain,x",
    "unix:/var/run/docker.sock",
    "http://good.test:22/",
    "http://good.test:6379/",
];

/// A server that counts its visitors and answers by path.
struct Server {
    port: u16,
    visits: Arc<AtomicU32>,
}

impl Server {
    fn at(address: &str) -> Self {
        Self::on(&format!("{address}:0")).expect("a free port")
    }

    fn on(address: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let (port, visits) = (listener.local_addr()?.port(), Arc::new(AtomicU32::new(0)));
        let counted = visits.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut head = vec![0; 8_192];
                    let read = stream.read(&mut head).unwrap_or_default();
                    let head = String::from_utf8_lossy(&head[..read]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    let _ = stream.write_all(&answer(&path));
                    if path == "/stall" {
                        let _ = stream.read(&mut [0]);
                    }
                });
            }
        });
        Ok(Self { port, visits })
    }

    fn visits(&self) -> u32 {
        self.visits.load(Ordering::SeqCst)
    }
}

fn answer(path: &str) -> Vec<u8> {
    if let Some(to) = path.strip_prefix("/to?") {
        return format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .into();
    }
    let body = match path {
        "/stall" => return b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec(),
        "/bomb" => {
            let packed = miniz_oxide::deflate::compress_to_vec(&vec![b'x'; 32 << 20], 9);
            let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &packed, &[0; 8]].concat();
            let head = format!("content-encoding: gzip\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", gzip.len());
            return [format!("HTTP/1.1 200 OK\r\n{head}").into_bytes(), gzip].concat();
        }
        "/large" => "y".repeat(100_000),
        "/chinese" => "水".repeat(60_000),
        "/quotes" => "\"\u{1}".repeat(60_000),
        _ => "hello".to_owned(),
    };
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What names stand for: each look gets the next answer, and the last one from then on.
#[derive(Debug, Default)]
struct Fake(Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>);

impl Fake {
    fn of(answers: &[(&'static str, &[&[&str]])]) -> Arc<Self> {
        let ips = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let all = answers.iter().map(|(name, answers)| (*name, answers.iter().rev().map(ips).collect()));
        Arc::new(Self(Mutex::new(all.collect())))
    }
}

impl Names for Fake {
    fn addresses(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let mut answers = self.0.lock().unwrap();
        let found = match answers.get_mut(host.trim_end_matches('.')) {
            Some(left) if left.len() > 1 => left.pop().unwrap(),
            Some(left) => left.last().cloned().unwrap_or_default(),
            None => host.parse().map(|ip: IpAddr| vec![ip]).unwrap_or_else(|_| vec!["127.0.0.1".parse().unwrap()]),
        };
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

fn names() -> Arc<Fake> {
    Fake::of(&[
        ("good.test", &[&["127.0.0.2"]]),
        ("loop.test", &[&["127.0.0.1"]]),
        ("meta.test", &[&["169.254.169.254"]]),
        ("mixed.test", &[&["127.0.0.2", "127.0.0.1"]]),
        ("mapped.test", &[&["::ffff:127.0.0.1"]]),
    ])
}

/// What may be opened here: what is public, and 127.0.0.2 in the place of something that is.
fn guarded(ports: &[u16], names: Arc<Fake>) -> Web {
    let reach = Reach::public().also(["127.0.0.2".parse().unwrap()]).names(names);
    Web { ports: ports.to_vec(), reach, ..Web::default() }
}

async fn get(web: Web, url: &str) -> Result<Output, Error> {
    let toolbox = Toolbox::new();
    toolbox.rule("web.*", Rules { tainted: Some(WhenTainted::Allow), ..Rules::default() });
    tools("web", web, false).into_iter().for_each(|tool| toolbox.add(tool).unwrap());
    World::new().toolbox(&toolbox).context().tools().call("web.get", json!({ "url": url })).await
}

fn code_of(done: &Result<Output, Error>) -> &str {
    match done {
        Ok(_) => "done",
        Err(Error::Failed { failure, .. }) => &failure.code,
        Err(other) => other.code(),
    }
}

#[tokio::test]
async fn no_trick_reaches_what_is_private() {
    let inside = Server::at("127.0.0.1");
    for trick in TRICKS {
        let url = trick.replace("{P}", &inside.port.to_string());
        let done = get(guarded(&[inside.port, 80, 443], names()), &url).await;
        assert_eq!(code_of(&done), code::TOOL_ADDRESS, "{url}: {done:?}");
    }
    assert_eq!(inside.visits(), 0);
}

#[tokio::test]
async fn without_the_guard_the_same_tricks_reach_it() {
    let inside = Server::at("127.0.0.1");
    let open = || Reach::public().also(["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]).names(names());
    for trick in TRICKS.iter().filter(|trick| trick.contains("127") || trick.contains("loop") || trick.contains("0x7f"))
    {
        let web = Web { ports: vec![inside.port], reach: open(), ..Web::default() };
        let _ = get(web, &trick.replace("{P}", &inside.port.to_string())).await;
    }
    assert!(inside.visits() >= 15, "the table would find a hole: {}", inside.visits());
}

#[tokio::test]
async fn each_redirect_is_judged_and_their_number_is_bounded() {
    let inside = Server::at("127.0.0.1");
    let outside = Server::at("127.0.0.2");
    let (p, q) = (inside.port, outside.port);
    let web = || Web { redirects: 3, ..guarded(&[p, q], names()) };
    let good = |path: &str| format!("http://good.test:{q}{path}");
    let done = get(web(), &good("/to?/to?/ok")).await.unwrap();
    assert!(done.text.contains("hello"), "{}", done.text);
    for location in [
        format!("http://127.0.0.1:{p}/"),
        format!("http://loop.test:{p}/"),
        format!("//127.0.0.1:{p}/"),
        format!("http://0x7f.1:{p}/"),
        format!("http://[::ffff:127.0.0.1]:{p}/"),
        "http://169.254.169.254/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("gopher://127.0.0.1:{p}/"),
        format!("http://good.test:x@127.0.0.1:{p}/"),
        format!("http://good.test:{q}/to?http://127.0.0.1:{p}/"),
        "http://good.test:22/".to_owned(),
    ] {
        let done = get(web(), &good(&format!("/to?{location}"))).await;
        assert_eq!(code_of(&done), code::TOOL_ADDRESS, "{location}: {done:?}");
    }
    let round = get(web(), &good("/to?/to?/to?/to?/ok")).await;
    assert!(round.unwrap_err().to_string().contains("more than 3 redirects"));
    assert_eq!(inside.visits(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_meaning_is_judged_each_time_it_is_used() {
    let outside = Server::at("127.0.0.2");
    // The same port on the address that must not be opened.
    let Ok(inside) = Server::on(&format!("127.0.0.1:{}", outside.port)) else { return };
    let changes = || Fake::of(&[("rebind.test", &[&["127.0.0.2"], &["127.0.0.1"]])]);
    let url = format!("http://rebind.test:{}/to?/again", outside.port);
    let done = get(guarded(&[outside.port], changes()), &url).await;
    assert_eq!(code_of(&done), code::TOOL_ADDRESS, "{done:?}");
    assert_eq!((outside.visits(), inside.visits()), (1, 0), "the first look was used, the second refused");
}

#[tokio::test]
async fn hosts_that_are_not_listed_are_not_asked() {
    let outside = Server::at("127.0.0.2");
    let web = |hosts: &[&str]| {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        Web {
            hosts,
            ..guarded(
                &[outside.port],
                Fake::of(&[("a.good.test", &[&["127.0.0.2"]]), ("good.test", &[&["127.0.0.2"]])]),
            )
        }
    };
    for (hosts, host, may) in [
        (&["good.test"][..], "good.test", true),
        (&["good.test"], "GOOD.test.", true),
        (&["good.test"], "a.good.test", false),
        (&["*.good.test"], "a.good.test", true),
        (&["*.good.test"], "good.test", false),
        (&["*.good.test"], "xgood.test", false),
        (&["good.test"], "good.test.evil.test", false),
    ] {
        let done = get(web(hosts), &format!("http://{host}:{}/", outside.port)).await;
        assert_eq!(done.is_ok(), may, "{hosts:?} {host}: {done:?}");
    }
}

#[tokio::test]
async fn pages_are_bounded_in_bytes_time_and_what_they_unpack_to() {
    let outside = Server::at("127.0.0.2");
    let web = || Web { max_page: 1 << 20, ..guarded(&[outside.port], names()) };
    let url = |path: &str| format!("http://good.test:{}{path}", outside.port);
    for path in ["/large", "/bomb", "/chinese", "/quotes"] {
        let done = get(web(), &url(path)).await.unwrap();
        // As much as there is room for, whatever a letter takes.
        let full = (64 << 10) - 6..=64 << 10;
        assert!(done.cut && full.contains(&done.text.len()), "{path}: {} bytes", done.text.len());
        let said: Value = serde_json::from_str(&done.text).expect("what is left is JSON");
        assert_eq!(said["status"], 200);
    }
    let toolbox = Toolbox::new();
    let limits = crate::tool::Limits { timeout: Some(Duration::from_millis(300)), ..Default::default() };
    toolbox.rule("web.*", Rules { tainted: Some(WhenTainted::Allow), limits, ..Rules::default() });
    tools("web", web(), false).into_iter().for_each(|tool| toolbox.add(tool).unwrap());
    let world = World::new().toolbox(&toolbox);
    let late = world.context().tools().call("web.get", json!({ "url": url("/stall") })).await;
    assert_eq!(code_of(&late), code::TOOL_FAILED, "{late:?}");
}

#[test]
fn a_text_is_cut_where_its_json_is_full_and_not_before() {
    let odd: String = (0..=0x7f_u8).map(char::from).chain("éß水\u{2028}\u{10ffff}".chars()).collect();
    for room in 0..=300 {
        let kept = fitting(&odd, room);
        let in_json = |text: &str| serde_json::to_string(text).unwrap().len() - 2;
        assert!(in_json(kept) <= room && odd.starts_with(kept), "{room}: {kept:?}");
        if let Some(next) = odd[kept.len()..].chars().next() {
            assert!(in_json(&format!("{kept}{next}")) > room, "{room}: {kept:?} and {next:?}");
        }
    }
    assert_eq!(fitting(&odd, 300), odd);
}
