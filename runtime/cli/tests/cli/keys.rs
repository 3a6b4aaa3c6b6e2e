//! A provider's key is told to the provider and to nobody else, also when the provider repeats it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::kit::{Did, World};

const CANARY: &str = "sk-canary-7f3a9c";

/// A provider that refuses every key and says which one it was. Its address.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // Who hangs up is not answered.
            std::thread::spawn(move || refuse(client).ok());
        }
    });
    address
}

fn refuse(mut client: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => key = value.trim().to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or(0);
            }
            _ => {}
        }
    }
    lines.read_exact(&mut vec![0; length])?;
    let body = format!("{{\"error\": {{\"message\": \"Incorrect API key provided: {key}\"}}}}");
    let head = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close";
    write!(client, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A collector of spans and metrics that keeps what it is sent. Its address.
fn collecting() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let into = kept.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let into = into.clone();
            std::thread::spawn(move || collect(client, &into).ok());
        }
    });
    (address, kept)
}

fn collect(mut client: TcpStream, into: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while lines.read_line(&mut line)? > 2 {
            into.lock().unwrap().extend_from_slice(line.as_bytes());
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        into.lock().unwrap().extend(body);
        write!(client, "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")?;
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_key_is_in_no_output_log_event_task_dead_letter_span_or_store() {
    let world = World::new();
    world.file("docs/mill.md", "The old mill of Gera was built in 1843 by Braun.\n");
    world.file("key", format!("{CANARY}\n"));
    let (collector, told) = collecting();
    let run = |words: &[&str]| -> String {
        let mut command = world.command(words);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector).env("RUST_LOG", "trace");
        let did = command.env("OPENAI_API_KEY", CANARY).output().unwrap();
        let Did { out, err, .. } = Did::of(did);
        format!("{out}{err}")
    };
    let ask = ["run", "--ask", "Who built the old mill of Gera?", "--sources", "docs", "--model", "openai/mock"];
    let url = refusing();
    let mut all = vec![run(&[&ask[..], &["--model-url", &url, "--model-key-file", "key"]].concat())];
    all.push(run(&[&ask[..], &["--model-url", &url, "--json"]].concat()));
    all.push(run(&[&ask[..], &["--model-url", "http://127.0.0.1:9/v1", "--json"]].concat()));
    for words in [&["event", "replay", "--json"][..], &["task", "ls", "--json"], &["dead", "ls", "--json"]] {
        all.push(run(words));
    }
    assert!(all[0].contains("status 401") && all[0].contains("[secret]"), "{}", all[0]);
    for text in &all {
        assert!(text.len() > 2 && !text.contains(CANARY), "{text}");
    }
    let kept = std::fs::read(world.path().join("store.db")).unwrap();
    assert!(!holds(&kept, CANARY), "it is in the store");
    let told = told.lock().unwrap();
    assert!(holds(&told, "gen_ai.request.model"), "spans of the calls came: {} bytes", told.len());
    let at = told.windows(CANARY.len()).position(|window| window == CANARY.as_bytes());
    let around = at.map(|at| String::from_utf8_lossy(&told[at.saturating_sub(400)..at + 100]));
    assert!(at.is_none(), "it is in a span or a metric: {around:?}");
    assert!(!holds(&told, "Gera"), "what was asked is told only to whoever asks for it");
}
