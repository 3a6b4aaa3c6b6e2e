//! Quality: a lead, a checker of facts and a checker of style.

mod disagree;
mod fact;
mod judge;
mod lead;
mod read;
mod review;
mod style;
#[cfg(test)]
mod tests;

pub use fact::Fact;
pub use lead::{Lead, MAX_ROUNDS};
pub use style::Style;
