//! The test kit: what the test targets of this package, and no product code, share.
