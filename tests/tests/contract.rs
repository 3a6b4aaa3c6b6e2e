//! The contract suite over the memory wing, straight and behind a bad line.

use callboard_broker::memory::{self, Options};
use callboard_broker::queue::Limits;
use callboard_broker::{BoxFuture, Broker};
use callboard_tests::contract::{Setup, Wing};

struct Memory;

impl Wing for Memory {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        let options = Options {
            clock: setup.clock,
            queue: Limits { tasks: setup.max_tasks, ..Limits::default() },
            snapshot_every: setup.snapshot_every,
            ..Options::default()
        };
        Box::pin(async move { memory::open(options) })
    }

    fn reopen(&self, _: Broker, _: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async { None })
    }
}

mod on_memory {
    callboard_tests::contract!(|| super::Memory);
}

/// Whoever keeps the contract keeps it when calls are out of order and repeated.
mod on_memory_behind_a_line {
    use callboard_broker::faulty::Faults;
    use callboard_tests::contract::Behind;

    callboard_tests::contract!(|| Behind::new(super::Memory, Faults::reordering(7)));
}
