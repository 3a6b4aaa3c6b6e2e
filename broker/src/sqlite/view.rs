//! What any process can do with a store beside whoever writes it: look, wait, follow.
//!
//! Each room adds its own looks. The process that writes moves the marks and delivers the outcomes itself; any other
//! looks at the file's version for that (see `attach`).

use super::marks::Mover;
use super::readers::Readers;
use super::tasks::Waiters;
use crate::clock::Clock;

/// See the module. Cheap to clone; does not keep the store open.
#[derive(Clone)]
pub(super) struct View {
    pub(super) readers: Readers,
    pub(super) mover: Mover,
    pub(super) waiters: Waiters,
    pub(super) clock: Clock,
}
