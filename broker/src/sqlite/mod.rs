//! The SQLite wing: one file that a person can open.
