//! Reading what may be made to break its reader.
//!
//! Readers of PDFs and web pages panic on some broken files and take for ever on others. So they work on a thread of
//! their own, which is waited for only so long; a panic ends that thread, and the file is skipped.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::Builder;
use std::time::Duration;

/// What is in such files may be nested deeper than a usual stack can follow.
const STACK: usize = 16 << 20;

/// What `read` gives, if it gives it within `limit`. What takes longer goes on in its thread until it ends by itself.
///
/// # Errors
/// That of `read`; otherwise `broken` when it panicked and what took too long, as a phrase.
pub(super) fn guarded<T: Send + 'static>(
    what: &str,
    limit: Duration,
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (send, receive) = sync_channel(1);
    // Nobody waits any more if the limit has passed.
    let work = move || drop(send.send(read()));
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

    #[test]
    fn panics_and_long_work_end_as_errors() {
        let limit = Duration::from_secs(60);
        assert_eq!(guarded("PDF", limit, || Ok(1)), Ok(1));
        assert_eq!(guarded("PDF", limit, || Err::<(), _>("no text".to_owned())), Err("no text".to_owned()));
        assert_eq!(
            guarded("PDF", limit, || -> Result<(), String> { panic!("a bad font") }),
            Err("broken PDF".to_owned())
        );
        let (end, wait) = sync_channel::<()>(0);
        let stuck = guarded("page", Duration::ZERO, move || wait.recv().map_err(|_| String::new()));
        assert_eq!(stuck, Err("page not read within 0 s".to_owned()));
        drop(end);
    }
}
