//! The wing on a NATS server: the same four contracts for many processes on many machines.
//!
//! Truth is in streams: a task is one message in a work queue and a log of records, each append of which names the
//! record that it follows; state is a bucket with its whole history; facts are derived by the server from both. What
//! goes over core subjects (messages, hints, presence) only ever saves time.
//!
//! | file | holds |
//! |---|---|
//! | `options`, `link`, `standing`, `js` | how a process joins, its connection, whether it is still taken, what it asks of JetStream |
//! | `clocks` | whether the clock of a process and the server's agree |
//! | `names` | streams and subjects |
//! | `provision` | making the streams, and proof that they are as asked |
//! | `record` | the documents of a run's log |
//! | `purge` | removing runs that ended long ago |
//! | `tasks`, `messages`, `state`, `events`, `dead` | the rooms |
//! | `peers`, `suspects` | who is gone, and going on with what they held |
//! | `seen`, `tail`, `once` | reading what was just written, following a stream, writing once |
//! | `blobs`, `large` | large bodies, and documents that are kept as such |
//! | `requests` | cancel and retry by a plain request |
//! | `service` | nodes as services: steering them, their figures, the sizes of pools |
//! | `outside` | capabilities that clients of the Synadia Agent Protocol prompt |
//! | `wing` | all of it together |

pub mod blobs;
pub mod dead;
pub mod events;
pub mod link;
pub mod names;
pub mod options;
pub mod outside;
pub mod provision;
pub mod purge;
pub mod requests;
pub mod service;
pub mod state;

pub mod messages;

mod clocks;
mod js;
mod large;
mod once;
mod peers;
mod record;
mod seen;
mod standing;
mod suspects;
mod tail;
mod tasks;
mod values;
mod wing;

pub use clocks::APART;
pub use link::{Link, Notice};
pub use options::{Credentials, Missing, Options, Tls};
pub use provision::{Asked, Durability, Layout, Made, Report};
pub use seen::Seen;
pub use wing::{Wing, connect, open};
