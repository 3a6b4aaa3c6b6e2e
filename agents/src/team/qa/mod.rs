//! Quality: a lead, a checker of facts and a checker of style.

mod fact;
mod judge;
mod lead;
#[cfg(test)]
mod tests;

pub use fact::Fact;
pub use lead::Lead;
