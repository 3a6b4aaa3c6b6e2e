//! The test kit: what the test targets of this package, and no product code, share.
//!
//! [`contract`] is the suite that every wing of the broker has to pass.

#[allow(missing_docs, reason = "the name of a check is the sentence that it checks")]
pub mod contract;
