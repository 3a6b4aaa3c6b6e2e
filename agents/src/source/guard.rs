//! Reading what may be made to break its reader.
//!
//! Readers of PDFs and web pages panic on some broken files and take for ever on others. So they work on a thread of
//! their own, which is waited for only so long; a panic ends that thread, and the file is skipped. A thread that nobody
//! waits for any more cannot be ended, but it keeps its place, so that there is never more than a few of them.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// What is in such files may be nested deeper than a usual stack can follow.
pub(super) const STACK: usize = 16 << 20;
/// How many of one kind are read at the same time; more wait.
const AT_ONCE: usize = 4;

/// The places of those who read one kind of document.
pub(super) struct Readers {
    at_work: Mutex<usize>,
    left: Condvar,
}

impl Readers {
    pub(super) const fn new() -> Self {
        Self { at_work: Mutex::new(0), left: Condvar::new() }
    }

    /// A place to read at, if one is free within `limit`.
    ///
    /// # Errors
    /// When none was, as a phrase.
    pub(super) fn place(&'static self, what: &str, limit: Duration) -> Result<Place, String> {
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.left.wait_timeout_while(at_work, limit, |at_work| *at_work >= AT_ONCE);
        let (mut at_work, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *at_work >= AT_ONCE {
            return Err(format!("{what} not read: {AT_ONCE} others were being read for {} s", limit.as_secs()));
        }
        *at_work += 1;
        Ok(Place(self))
    }
}

/// A place of a reader, free again when this is dropped.
pub(super) struct Place(&'static Readers);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_one();
    }
}

/// What `read` gives, if it gives it within `limit`. What takes longer goes on in its thread, and at its place, until it
/// ends by itself.
///
/// # Errors
/// That of `read`; otherwise `broken` when it panicked and what took too long, as a phrase.
pub(super) fn guarded<T: Send + 'static>(
    place: Place,
    what: &str,
    limit: Duration,
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (send, receive) = sync_channel(1);
    let work = move || {
        let read = read();
        drop(place);
        // Nobody waits any more if the limit has passed.
        drop(send.send(read));
    };
    let thread = Builder::new().name(format!("read {what}")).stack_size(STACK);
    thread.spawn(work).map_err(|error| format!("no thread to read it: {}", error.kind()))?;
    receive.recv_timeout(limit).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => Err(format!("{what} not read within {} s", limit.as_secs())),
        // The thread ended without an answer: it panicked.
        RecvTimeoutError::Disconnected => Err(format!("broken {what}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn read<T: Send + 'static>(
        readers: &'static Readers,
        limit: Duration,
        read: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        guarded(readers.place("page", limit)?, "page", limit, read)
    }

    #[test]
    fn panics_and_long_work_end_as_errors() {
        static READERS: Readers = Readers::new();
        assert_eq!(read(&READERS, LIMIT, || Ok(1)), Ok(1));
        assert_eq!(read(&READERS, LIMIT, || Err::<(), _>("no text".to_owned())), Err("no text".to_owned()));
        let panics = || -> Result<(), String> { panic!("a bad font") };
        assert_eq!(read(&READERS, LIMIT, panics), Err("broken page".to_owned()));
        let (end, wait) = sync_channel::<()>(0);
        let stuck = read(&READERS, Duration::ZERO, move || wait.recv().map_err(|_| String::new()));
        assert_eq!(stuck, Err("page not read within 0 s".to_owned()));
        drop(end);
    }

    #[test]
    fn who_is_given_up_keeps_its_place_until_it_ends() {
        static READERS: Readers = Readers::new();
        let stuck = |_| {
            let (begin, begun) = sync_channel(1);
            let (end, wait) = sync_channel::<()>(0);
            let given_up =
                read(&READERS, Duration::ZERO, move || begin.send(()).map(|()| wait.recv()).map_err(|_| String::new()));
            assert_eq!(given_up, Err("page not read within 0 s".to_owned()));
            begun.recv().expect("it reads");
            end
        };
        let mut ends: Vec<_> = (0..AT_ONCE).map(stuck).collect();
        let refused = "page not read: 4 others were being read for 0 s";
        assert_eq!(read(&READERS, Duration::ZERO, || Ok(1)), Err(refused.to_owned()));
        drop(ends.pop());
        // The one place that is free now is given back also by those who panic.
        for _ in 0..3 {
            let panics = || -> Result<(), String> { panic!("a bad font") };
            assert_eq!(read(&READERS, LIMIT, panics), Err("broken page".to_owned()));
        }
        assert_eq!(read(&READERS, LIMIT, || Ok(1)), Ok(1));
    }
}
