use std::sync::Arc;

use super::disagree::disagreements;
use super::judge::judge;
use crate::extract::Claim;
use crate::source::Only;
use crate::team::{Checked, FACT, Library, Review, Shelf, problem};
use crate::{Agent, Context, Result, Service};

/// Checks each claim and each sentence against the paragraph that it cites: `qa.fact`.
#[derive(Clone, Debug)]
pub struct Fact {
    library: Library,
}

impl Fact {
    /// One that reads from this library.
    pub fn new(library: &Library) -> Self {
        Self { library: library.clone() }
    }

    /// `qa.fact`.
    pub fn service(library: &Library) -> Service {
        FACT.by(Self::new(library)).workers(2).may([])
    }

    /// The shelves that the draft cites: files first, pages only if a claim is not found in files.
    async fn shelves(&self, ctx: &Context, review: &Review) -> Result<Vec<Arc<Shelf>>> {
        let (mut shelves, mut first) = (Vec::<Arc<Shelf>>::new(), None);
        for only in [Only::Local, Only::Web] {
            let has = |claim: &Claim| shelves.iter().any(|shelf| shelf.has(&claim.source));
            if !shelves.is_empty() && review.draft.claims.iter().all(has) {
                break;
            }
            match self.library.open_from(ctx.host().blobs(), ctx.run_id(), &review.sources, only).await {
                Ok(shelf) => shelves.push(shelf),
                Err(error) => first = first.or(Some(error)),
            }
        }
        match (shelves.is_empty(), first) {
            (true, Some(error)) => Err(problem::failure(&error)),
            _ => Ok(shelves),
        }
    }
}

impl Agent<Review, Checked> for Fact {
    async fn handle(&self, ctx: Context, review: Review) -> Result<Checked> {
        let shelves = self.shelves(&ctx, &review).await?;
        let mut checked = judge(review.draft, &shelves);
        checked.disagreements = disagreements(&checked.draft.claims);
        let remark = format!("{} kept, {} dropped", checked.draft.sentences.len(), checked.dropped.len());
        ctx.progress(1.0, &remark);
        checked.draft.remarks.insert(FACT.name().to_owned(), remark);
        Ok(checked)
    }
}
