//! Ten thousand tasks through a pool leave memory as it was. In a binary of its own, so that nothing else moves.

use callboard::broker::{Broker, memory, sqlite};
use callboard::{Capability, Node};

const ADD: Capability<u64, u64> = Capability::new("test.add");

/// Resident memory of this process in bytes, `None` where the system does not tell.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// So many tasks and as many asks, fifty at a time.
async fn round(node: &Node, tasks: u64) {
    for from in (0..tasks).step_by(50) {
        let mut runs = Vec::new();
        for n in from..from + 50 {
            runs.push(node.submit(ADD, n).await.expect("there is room"));
        }
        for (n, run) in (from..).zip(runs) {
            assert_eq!(run.outcome().await.expect("it is done"), n + 1);
            assert_eq!(node.ask(ADD, n).await.expect("it is answered"), n + 1);
        }
    }
}

async fn flat(name: &str, broker: Broker, warm_up: u64) {
    let service = ADD.by_fn(|_ctx, n: u64| async move { Ok(n + 1) }).workers(2).concurrency(8);
    let node = Node::over(broker).serve(service).start().await.expect("it starts");
    round(&node, warm_up).await;
    let Some(before) = resident() else { return eprintln!("not run: no /proc/self/statm here") };
    round(&node, 10_000).await;
    let growth = resident().unwrap_or(u64::MAX).saturating_sub(before);
    assert!(growth < 5 << 20, "{name}: resident memory grew by {growth} bytes");
    eprintln!("{name}: 10,000 tasks: {} KiB more", growth / 1024);
    node.shutdown().await.expect("it stops");
}

#[tokio::test]
async fn ten_thousand_tasks_leave_memory_flat() {
    let few = memory::Options { finished: 500, events: 500, changes: 500, ..memory::Options::default() };
    flat("memory", memory::open(few), 1_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = sqlite::Options { sync: sqlite::Sync::Never, ..sqlite::Options::default() };
    let store = sqlite::open(folder.path().join("store.db"), options).expect("a store");
    // Until the pages that SQLite keeps in memory, 16 MiB, are all there.
    flat("sqlite", store, 8_000).await;
}
