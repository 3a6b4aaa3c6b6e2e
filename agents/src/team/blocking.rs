//! Work that would hold up others: files, and ranking over many documents.

/// Runs `work` on a thread of its own. A panic in it is a panic of whoever waits.
///
/// # Cancellation
/// What has begun goes on when nobody waits any more, and its result is dropped.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // The process is shutting down: whoever waits is about to be dropped.
        Err(_) => std::future::pending().await,
    }
}
