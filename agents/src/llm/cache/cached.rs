//! A model with a cache before it.

use std::sync::Arc;

use callboard_broker::BoxFuture;

use super::flight::Turn;
use super::{Cache, CacheKey};
use crate::Updates;
use crate::llm::{Answering, Capabilities, Model, ModelError, ModelName, Piece, Prices, Request, Response};

/// A model whose answers are kept. Of many who want the same at once one asks and the others wait for its answer; when it
/// gets none, or no longer wants one, the next of them asks.
pub struct Cached {
    model: Arc<dyn Model>,
    cache: Arc<Cache>,
    prices: Arc<Prices>,
}

/// What a request is to the cache.
enum Place {
    /// Its answer is not kept.
    Outside,
    /// Its answer is there.
    Found(Response),
    /// It is to be asked for, by whoever has the turn.
    Missed(CacheKey, Turn),
}

impl Cached {
    /// This model over that cache. Prices are for what was saved.
    pub fn new(model: Arc<dyn Model>, cache: Arc<Cache>, prices: Arc<Prices>) -> Self {
        Self { model, cache, prices }
    }

    fn key(&self, request: &Request) -> Option<CacheKey> {
        self.cache.config.takes(request).then(|| CacheKey::of(&*self.model, request)).flatten()
    }

    async fn place(&self, request: &Request) -> Place {
        let Some(key) = self.key(request) else { return Place::Outside };
        let turn = self.cache.flights.turn(key).await;
        match self.cache.find(&key, &self.prices).await {
            Some(found) => Place::Found(found),
            None => {
                self.cache.missed();
                Place::Missed(key, turn)
            }
        }
    }
}

/// An answer that is there, as one that is given.
fn given(answer: Response) -> Answering {
    let text = Some(answer.text.clone()).filter(|text| !text.is_empty()).map(|text| Ok(Piece::Text(text)));
    let pieces = text.into_iter().chain([Ok(Piece::Done(answer))]);
    Answering::of(Updates::unfold(pieces, |mut pieces| async move { Some((pieces.next()?, pieces)) }))
}

/// An answer that is being given, and kept when it is whole.
struct Keeping {
    answering: Answering,
    cache: Arc<Cache>,
    key: CacheKey,
    turn: Option<Turn>,
}

impl Keeping {
    async fn next(mut self) -> Option<(Result<Piece, ModelError>, Self)> {
        let piece = self.answering.next().await?;
        if let Ok(Piece::Done(answer)) = &piece {
            self.cache.keep(self.key, answer).await;
            self.turn = None;
        }
        Some((piece, self))
    }
}

impl Model for Cached {
    fn name(&self) -> &ModelName {
        self.model.name()
    }

    fn names(&self) -> Vec<&ModelName> {
        self.model.names()
    }

    fn origin(&self) -> String {
        self.model.origin()
    }

    fn capabilities(&self) -> Capabilities {
        self.model.capabilities()
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            match self.place(request).await {
                Place::Outside => self.model.complete(request).await,
                Place::Found(answer) => Ok(answer),
                Place::Missed(key, _turn) => {
                    let answer = self.model.complete(request).await?;
                    self.cache.keep(key, &answer).await;
                    Ok(answer)
                }
            }
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(async move {
            match self.place(request).await {
                Place::Outside => self.model.stream(request).await,
                Place::Found(answer) => Ok(given(answer)),
                Place::Missed(key, turn) => {
                    let answering = self.model.stream(request).await?;
                    let keeping = Keeping { answering, cache: self.cache.clone(), key, turn: Some(turn) };
                    Ok(Answering::of(Updates::unfold(keeping, Keeping::next)))
                }
            }
        })
    }

    fn known<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Option<Response>> {
        Box::pin(async move { self.cache.find(&self.key(request)?, &self.prices).await })
    }

    fn forget<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(key) = self.key(request) {
                self.cache.forget(&key).await;
            }
        })
    }
}
