//! The outside door on a real server: the vendor's own client, and callers that come too often, stay too long or go.
#![cfg(unix)]

mod callers;
mod door;
mod vendor;
