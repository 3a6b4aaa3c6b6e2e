//! What callers hand to the writer, and how they get their answers.

use tokio::sync::oneshot;

use super::fault::Done;
use super::turn::Turn;
use crate::error::{Error, Result};

/// What a command asks of the writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Whether somebody outside of a run is told when it is done: then it has to be on the disk by then.
    pub(super) edge: bool,
    /// Whether it writes. What does not is answered even when the disk is full.
    pub(super) writes: bool,
    /// About how many bytes it writes.
    pub(super) bytes: usize,
}

impl Cost {
    /// A write of about so many bytes.
    pub(super) fn write(bytes: usize) -> Self {
        Self { edge: false, writes: true, bytes }
    }

    /// The same, at an edge or not.
    pub(super) fn at_edge(self, edge: bool) -> Self {
        Self { edge, ..self }
    }

    /// No write at all.
    pub(super) fn touch() -> Self {
        Self { edge: false, writes: false, bytes: 0 }
    }
}

/// A command on its way through the writer.
pub(super) trait Job: Send {
    /// Does it inside the open transaction. May be called again after a rollback.
    fn run(&mut self, turn: &mut Turn<'_>) -> Done<()>;

    /// Answers: with what `run` found if the commit succeeded, otherwise with the reason why not.
    fn answer(self: Box<Self>, end: Result<()>);
}

/// A command made of a closure.
struct Call<T, F> {
    work: F,
    found: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

/// Makes a command of a closure; its answer comes out of the other end.
pub(super) fn command<T, F>(work: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T>>)
where
    T: Send + 'static,
    F: FnMut(&mut Turn<'_>) -> Done<T> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Call { work, found: None, reply }), answer)
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Turn<'_>) -> Done<T> + Send,
{
    fn run(&mut self, turn: &mut Turn<'_>) -> Done<()> {
        self.found = Some((self.work)(turn)?);
        Ok(())
    }

    fn answer(self: Box<Self>, end: Result<()>) {
        let Self { found, reply, .. } = *self;
        let lost = || Error::Unknown { what: "a write to the store".into() };
        // A caller that has gone needs no answer.
        let _ = reply.send(end.and_then(|()| found.ok_or_else(lost)));
    }
}
