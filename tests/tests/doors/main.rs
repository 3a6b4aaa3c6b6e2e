//! The doors of `callboard serve` and `callboard mcp`: the vendors' own clients, and callers that come too often, stay too
//! long, send too much or go.
#![cfg(unix)]

mod a2a;
mod callers;
mod counting;
mod kit;
mod mcp;
mod openai;
