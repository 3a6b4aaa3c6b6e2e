//! Where what a request knows comes from, beside what it was asked.

use std::sync::{Arc, Mutex, PoisonError};

/// Origins that are told apart; of more, only that there are more.
pub const MAX_ORIGINS: usize = 32;
/// The longest name of an origin that is kept whole, in bytes.
const MAX_NAME: usize = 120;

/// The origins of what came into a request since its start: tools, documents, other agents, shared state. It only grows.
/// Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Taint(Arc<Mutex<Vec<String>>>);

impl Taint {
    /// Something of this origin came in.
    pub fn add(&self, origin: &str) {
        let origin = &origin[..origin.floor_char_boundary(MAX_NAME)];
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.iter().any(|known| known == origin) {
            return;
        }
        match origins.len() {
            n if n < MAX_ORIGINS => origins.push(origin.to_owned()),
            MAX_ORIGINS => origins.push("others".to_owned()),
            _ => {}
        }
    }

    /// All of them, in the order in which they came.
    pub fn origins(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_bounded_and_more_are_not_forgotten() {
        let taint = Taint::default();
        (0..100).for_each(|n| taint.add(&format!("tool t{n}")));
        taint.add("tool t0");
        let origins = taint.origins();
        assert_eq!((origins.len(), origins.last().unwrap().as_str()), (MAX_ORIGINS + 1, "others"));
        let long = Taint::default();
        long.add(&"é".repeat(200));
        assert_eq!(long.origins()[0].len(), MAX_NAME);
    }
}
