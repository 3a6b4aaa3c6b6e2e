//! A stateful agent whose process is killed, or frozen, while it is at work.

use std::time::Duration;

use callboard::{Capability, Context, Result, Service, Stateful, StatefulAgent, payload, stateful};

/// What comes into a till.
#[payload]
#[derive(Clone, Debug)]
pub struct Payment {
    /// Whose till.
    pub customer: String,
    /// What is added to it.
    pub cents: u64,
    /// How long that takes a slow till, in milliseconds.
    pub ms: u64,
}

/// Adds to a customer's till; how much is in it now.
pub const PAY: Capability<Payment, u64> = Capability::new("till.pay");

struct Till {
    slow: bool,
    says: fn(&str),
}

impl Stateful for Till {
    type State = u64;
}

impl StatefulAgent<Payment, u64> for Till {
    async fn handle(&self, _ctx: Context, total: &mut u64, paid: Payment) -> Result<u64> {
        (self.says)("at_work");
        if self.slow {
            tokio::time::sleep(Duration::from_millis(paid.ms)).await;
        }
        *total += paid.cents;
        (self.says)("done");
        Ok(*total)
    }
}

/// A till that takes its time if it is `slow`, and `says` when it is `at_work` and when it is `done`.
pub fn till(slow: bool, says: fn(&str)) -> Service {
    stateful(Till { slow, says }).on_key(PAY, |paid| paid.customer.clone()).service().concurrency(4)
}
