//! Under which key a task delegates a child.

use std::collections::HashMap;

use callboard_broker::error::{Error, Result};

use crate::host::Order;

/// The keys of the children of one attempt. Pure: the same calls give the same keys, in whatever order different ones
/// come.
#[derive(Debug, Default)]
pub struct ChildKeys {
    twins: HashMap<String, u32>,
}

impl ChildKeys {
    /// The key that the caller chose, or one made of capability, hash of the input and how many identical calls came
    /// before in this attempt.
    pub fn key(&mut self, order: &Order) -> Result<String> {
        let key = self.next(order)?;
        if order.key.is_none() {
            *self.twins.entry(work(order)?).or_default() += 1;
        }
        Ok(key)
    }

    /// The key that this order would get now.
    ///
    /// # Errors
    /// `Decode` for a chosen key that only questions about effects in doubt have.
    pub fn next(&self, order: &Order) -> Result<String> {
        if let Some(key) = &order.key {
            if is_of_doubt(key) && !order.is_about_doubt {
                let why = "is kept for questions about effects in doubt: choose another key";
                return Err(Error::decode(format!("key {key:?} of a child begins with {DOUBT:?}, which {why}")));
            }
            return Ok(key.clone());
        }
        let work = work(order)?;
        Ok(match self.twins.get(&work) {
            None => work,
            Some(before) => format!("{work}:{}", before + 1),
        })
    }
}

/// What the keys of questions about effects in doubt begin with.
const DOUBT: &str = "doubt:";

/// The key of a question about an effect in doubt: which effect, how often it was begun, how often it was asked.
#[must_use]
pub fn of_doubt(effect: &str, intents: u32, ask: u32) -> String {
    format!("{DOUBT}{effect}:{intents}:{ask}")
}

/// Whether a key is one of those.
#[must_use]
pub fn is_of_doubt(key: &str) -> bool {
    key.starts_with(DOUBT)
}

fn work(order: &Order) -> Result<String> {
    Ok(format!("{}:{}", order.capability, order.input.content_hash()?))
}

#[cfg(test)]
mod tests {
    use callboard_broker::payload::Payload as Body;
    use callboard_broker::subject::CapabilityName;

    use super::*;

    fn order(input: &str) -> Order {
        Order::new(CapabilityName::parse("text.count").unwrap(), Body::of(input.to_owned()))
    }

    #[test]
    fn the_order_of_different_calls_does_not_matter_and_twins_stay_apart() {
        let keys = |inputs: &[&str]| {
            let mut keys = ChildKeys::default();
            let mut made: Vec<_> = inputs.iter().map(|i| keys.key(&order(i)).unwrap()).collect();
            made.sort();
            made
        };
        let made = keys(&["a", "b", "a"]);
        assert_eq!(made, keys(&["a", "a", "b"]));
        assert_eq!(made.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    }

    #[test]
    fn a_key_of_the_callers_own_is_taken_as_it_is() {
        let order = Order { key: Some("mine".into()), ..order("a") };
        assert_eq!(ChildKeys::default().key(&order).unwrap(), "mine");
    }

    #[test]
    fn what_only_questions_about_doubts_may_have_is_refused_to_others() {
        let forged = Order { key: Some(of_doubt("pay", 1, 1)), ..order("a") };
        assert!(!forged.is_about_doubt, "it would be free of any budget");
        let refused = ChildKeys::default().key(&forged).unwrap_err().to_string();
        assert!(refused.contains("doubt:pay:1:1") && refused.contains("choose another key"), "{refused}");
        let real = Order { is_about_doubt: true, ..forged };
        assert_eq!(ChildKeys::default().key(&real).unwrap(), "doubt:pay:1:1");
    }
}
