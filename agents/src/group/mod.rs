//! Children at work at the same time.
//!
//! A group holds its delegations and polls them itself: nothing is spawned, so dropping the group abandons its children
//! at once and no task of ours outlives the handler.

mod pool;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;

use crate::call::{Began, Reply};
use crate::host::Host;
use crate::{Capability, Context, Delegation, Payload};
use pool::{Pool, Stage};

/// How many children of a group are queued or at work at a time, unless it says so.
pub const AT_MOST: usize = 10;

/// Children of one task, of any capability with this response. They begin when the group is awaited, in the order in
/// which they were added.
///
/// Awaiting it gives all responses in order; the first failure cancels the rest.
///
/// # Cancellation
/// Dropping it cancels the children that have not ended, as for a [`Delegation`]; dropping the future of
/// [`next`](Group::next) does not.
#[must_use = "a group does nothing until it is awaited"]
pub struct Group<Res> {
    pool: Pool<Result<Res, Error>>,
    /// What each child has delegated, in the order of adding, and where.
    began: Vec<(Arc<dyn Host>, Began)>,
}

impl<Res: Payload> Group<Res> {
    /// A group without children.
    pub fn new() -> Self {
        Self { pool: Pool::new(AT_MOST), began: Vec::new() }
    }

    /// How many children are queued or at work at a time, at least 1. Default [`AT_MOST`].
    pub fn at_most(mut self, n: usize) -> Self {
        self.pool.at_most(n);
        self
    }

    /// One more child, also while others are at work.
    pub fn add(&mut self, child: Delegation<Res>) {
        let began = Began::default();
        self.began.push((child.host.clone(), began.clone()));
        self.pool.add(Box::pin(async move { Ok(child.told(began).await?.value) }));
    }

    /// The next child that ends, as they end; `None` when none is left. The loop in which a lead replans.
    pub async fn next(&mut self) -> Option<Result<Res, Error>> {
        self.pool.next().await.map(|(_, result)| result)
    }

    /// The first success; the others are cancelled.
    ///
    /// # Errors
    /// The last failure when all fail; `NotFound` when there are no children.
    pub async fn race(mut self) -> Result<Res, Error> {
        let mut last = Error::not_found("child in the group");
        while let Some(result) = self.next().await {
            match result {
                Ok(response) => return Ok(response),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// All responses and failures, in the order in which the children were added.
    pub async fn settle(mut self) -> Vec<Result<Res, Error>> {
        let mut results = Vec::new();
        while let Some(result) = self.pool.next().await {
            results.push(result);
        }
        in_order(results)
    }

    /// Starts nothing more, cancels what is at work and waits until all of that has ended. What became of the children
    /// that were not taken yet, in the order in which they were added: `Cancelled`, unless one had ended before.
    pub async fn cancel_all(mut self) -> Vec<Result<Res, Error>> {
        self.began.iter().for_each(|(_, began)| began.stop());
        let stopped = self.pool.stop(|place| stage(&self.began[place].1)).await;
        let mut results = stopped.ended;
        let not_begun = |place| (place, Err(Error::Cancelled { by: "the group, before it was begun".into() }));
        results.extend(stopped.not_begun.into_iter().map(not_begun));
        for place in stopped.cut_off {
            let (host, began) = &self.began[place];
            let mut ended = Err(Error::not_found("child in the group"));
            for child in began.children() {
                let outcome = host.outcome(child).await.and_then(Reply::of).map(|reply| reply.value);
                ended = ended.or(outcome);
            }
            results.push((place, ended));
        }
        in_order(results)
    }

    async fn all(mut self) -> Result<Vec<Res>, Error> {
        let mut responses = Vec::new();
        while let Some((place, result)) = self.pool.next().await {
            responses.push((place, result?));
        }
        Ok(in_order(responses))
    }
}

fn stage(began: &Began) -> Stage {
    match (began.is_under_way(), began.children().is_empty()) {
        (true, _) => Stage::UnderWay,
        (false, true) => Stage::NotBegun,
        (false, false) => Stage::AtWork,
    }
}

fn in_order<T>(mut results: Vec<(usize, T)>) -> Vec<T> {
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

impl<Res: Payload> IntoFuture for Group<Res> {
    type Output = Result<Vec<Res>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}

impl<Res: Payload> Default for Group<Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Res: Payload> Extend<Delegation<Res>> for Group<Res> {
    fn extend<I: IntoIterator<Item = Delegation<Res>>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.add(child));
    }
}

impl<Res> fmt::Debug for Group<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} children)", self.pool.len())
    }
}

impl Context {
    /// One child for each input, at work at the same time.
    pub fn delegate_all<Req: Payload, Res: Payload>(
        &self,
        to: Capability<Req, Res>,
        inputs: impl IntoIterator<Item = Req>,
    ) -> Group<Res> {
        let mut group = Group::new();
        group.extend(inputs.into_iter().map(|input| self.delegate(to, input)));
        group
    }

    /// An empty group, for children of different capabilities with the same response.
    pub fn group<Res: Payload>(&self) -> Group<Res> {
        Group::new()
    }
}
