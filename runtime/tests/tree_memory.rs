//! A child that crashes ten thousand times leaves memory as it was. In a binary of its own, so that nothing else moves.

use std::time::Duration;

use callboard::tree::{ChildSpec, Fault, Intensity, SupervisorSpec, Tree};

/// Resident memory of this process in bytes, `None` where the system does not tell.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

async fn starts(tree: &Tree, at_least: u64) {
    let count = || tree.info().root.find("root/a").map_or(0, |child| child.starts);
    let reached = async {
        while count() < at_least {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("it is restarted every time");
}

#[tokio::test]
async fn ten_thousand_crashes_leave_memory_flat() {
    let child = ChildSpec::task("a", |_| async {
        Ok(async {
            tokio::task::yield_now().await;
            Err::<(), Fault>("a reason of some length, so that one kept per crash would be seen".repeat(8).into())
        })
    });
    let unlimited = Intensity::new(10_000, Duration::from_millis(1)).expect("valid");
    let spec = SupervisorSpec::new("root", [child]).expect("valid").intensity(unlimited).backoff(None);
    let tree = Tree::builder(spec).start().await.expect("it starts");
    starts(&tree, 2_000).await;
    let Some(before) = resident() else { return eprintln!("not run: no /proc/self/statm here") };
    starts(&tree, 12_000).await;
    let growth = resident().unwrap_or(u64::MAX).saturating_sub(before);
    assert!(growth < 5 << 20, "resident memory grew by {growth} bytes");
    eprintln!("10,000 crashes: {} KiB more", growth / 1024);
}
