//! An answer while it is being given.

use super::{ModelError, ModelName, Request, Response, Took};
use crate::Updates;

/// The longest answer that is read to its end, in bytes: 4 MiB. One that goes on breaks off there.
pub const MAX_ANSWER: usize = 4 << 20;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// More words.
    Text(String),
    /// The whole of it; nothing comes after.
    Done(Response),
}

/// An answer whose first piece is there.
#[must_use = "an answer goes on only while it is read"]
#[derive(Debug)]
pub struct Answering {
    pieces: Updates<Result<Piece, ModelError>>,
    /// Who gives it, and how many tokens it was told, once that is known.
    by: Option<(ModelName, u64)>,
    /// What others took that were asked before.
    others: Vec<Took>,
}

impl Answering {
    /// These pieces. They end with [`Piece::Done`] or an error; an end without either is an error.
    pub fn of(pieces: Updates<Result<Piece, ModelError>>) -> Self {
        Self { pieces, by: None, others: Vec::new() }
    }

    /// Given by this model, unless it is known already by whom.
    pub(super) fn by(mut self, model: &ModelName, request: &Request) -> Self {
        self.by.get_or_insert_with(|| (model.clone(), request.estimate()));
        self
    }

    /// After these took something and gave none.
    pub(super) fn after(mut self, others: Vec<Took>) -> Self {
        self.others.splice(..0, others);
        self
    }

    /// The next piece; none after the last.
    pub async fn next(&mut self) -> Option<Result<Piece, ModelError>> {
        self.pieces.next().await
    }

    /// Reads it to its end. `each` gets the words as they come.
    ///
    /// # Errors
    /// What broke it off, with what there was until then: also that it was longer than [`MAX_ANSWER`].
    pub async fn whole(mut self, each: impl FnMut(&str) + Send) -> Result<Response, ModelError> {
        let (by, others) = (self.by.take(), std::mem::take(&mut self.others));
        match self.read(each).await {
            Ok(mut response) => {
                response.others.splice(..0, others);
                Ok(response)
            }
            Err(error) => {
                let counted = match by {
                    Some((model, said)) => error.counted(&model, said),
                    None => error,
                };
                Err(counted.after(others))
            }
        }
    }

    async fn read(mut self, mut each: impl FnMut(&str) + Send) -> Result<Response, ModelError> {
        let mut said = String::new();
        while let Some(piece) = self.next().await {
            match piece {
                Ok(Piece::Text(more)) if said.len() + more.len() > MAX_ANSWER => {
                    return Err(ModelError::broke_off(format!("the answer is longer than {MAX_ANSWER} bytes"), said));
                }
                Ok(Piece::Text(more)) => {
                    each(&more);
                    said.push_str(&more);
                }
                Ok(Piece::Done(response)) => return Ok(response),
                Err(error) if error.partial.is_none() && !said.is_empty() => {
                    return Err(ModelError { partial: Some(said), ..error });
                }
                Err(error) => return Err(error),
            }
        }
        Err(ModelError::broke_off("the answer ended before it was whole", said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_without_end_breaks_off() {
        let endless = Updates::unfold((), async |()| Some((Ok(Piece::Text("x".repeat(1 << 20))), ())));
        let mut heard = 0;
        let error = Answering::of(endless).whole(|more| heard += more.len()).await.unwrap_err();
        assert_eq!((heard, error.partial.map(|said| said.len())), (MAX_ANSWER, Some(MAX_ANSWER)));
    }
}
