//! A provider of models that always says the same, and counts how often it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server as OpenAI's is one, on this machine.
pub(crate) struct Provider {
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    pub(crate) fn saying(text: &'static str) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let count = count.clone();
                // Who hangs up is not answered.
                std::thread::spawn(move || answer(client, text, &count).ok());
            }
        });
        Provider { url, asked }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(mut client: TcpStream, text: &str, asked: &AtomicUsize) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    lines.read_exact(&mut vec![0; length])?;
    asked.fetch_add(1, Ordering::SeqCst);
    let text = serde_json::to_string(text)?;
    let chunk = "\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"mock\"";
    let piece = |choice: &str| format!("data: {{{chunk},\"choices\":[{choice}]}}\n\n");
    let words = piece(&format!("{{\"index\":0,\"delta\":{{\"content\":{text}}},\"finish_reason\":null}}"));
    let end = piece("{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close";
    write!(client, "{head}\r\n\r\n{words}{end}data: [DONE]\n\n")
}
