//! One write: applied, in conflict or unknown.
//!
//! The server compares the sequence of the key's newest message with the one that the writer expects. When no answer
//! comes, the write is repeated as it was: what expects a version can be stored only once, and what expects none carries
//! an id by which the server drops the second one. A conflict after a doubt is resolved by who wrote what follows the
//! expected version.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use super::{StateRoom, document};
use crate::error::{Error, Result};
use crate::nats::js::{Raw, Refusal};
use crate::nats::names;
use crate::nats::once::store_once;
use crate::state::{Expect, Put, Scope, StateEntry, Write};

/// How often a write is tried against others that come between.
const TRIES: usize = 64;
/// The wait for a replica that has not heard of what the leader met: 0.64 s in all.
const PAUSE: Duration = Duration::from_millis(10);
/// What the server's limit of a message leaves for headers and the subject.
const HEADROOM: usize = 4_096;
/// State of a run up to this size stands in its message, for every tool: 32 KiB.
const INLINE: usize = 32 << 10;

/// A write on its way.
struct Pending {
    subject: String,
    writer: String,
    body: Bytes,
    deletes: bool,
}

impl Pending {
    async fn new(room: &StateRoom, write: &Write) -> Result<Self> {
        if let Some(value) = &write.value {
            value.json()?;
        }
        let writer = uuid::Uuid::now_v7().simple().to_string();
        let document = document::Document {
            value: write.value.as_ref(),
            updated_by: &write.by,
            updated_at: room.link.clock.now(),
            task: write.task.as_ref(),
            record: write.task.as_ref().map(|by| by.record).filter(|record| *record > 0),
            writer: &writer,
        };
        let text = serde_json::to_string(&document).map_err(|e| Error::decode(format!("{}: {e}", write.key)))?;
        let body: Bytes = match (write.key.scope(), &write.task) {
            // What an agent keeps of its own run goes with the run.
            (Scope::Run(run), Some(_)) => room.link.pack_in(&run, text, &writer, INLINE).await?,
            _ => text.into(),
        };
        let limit = room.link.client.server_info().max_payload.saturating_sub(HEADROOM);
        if body.len() > limit {
            return Err(Error::TooLarge { what: format!("{}", write.key).into(), size: body.len(), limit });
        }
        let (subject, deletes) = (names::state(write.key.as_str()), write.value.is_none());
        Ok(Self { subject, writer, body, deletes })
    }

    /// `expected`: the sequence of the key's newest message; none: whatever is there.
    fn headers(&self, expected: Option<u64>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match expected {
            Some(expected) => headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string().as_str()),
            None => headers.insert("Nats-Msg-Id", self.writer.as_str()),
        }
        if self.deletes {
            headers.insert("KV-Operation", "DEL");
        }
        headers
    }
}

impl StateRoom {
    pub(super) async fn write(&self, write: &Write) -> Result<Put> {
        let pending = Pending::new(self, write).await?;
        let mut expected = match write.expect {
            Expect::Version(version) => Some(version),
            Expect::Any if pending.deletes => Some(0),
            Expect::Any => None,
        };
        // Deleting what is not there leaves no change, so a delete looks first.
        let mut looks = pending.deletes;
        let mut in_doubt = false;
        for _ in 0..TRIES {
            if looks {
                let current = self.newest(&pending.subject).await?;
                let standing = current.as_ref().and_then(document::entry);
                match verdict(write, standing) {
                    Verdict::Refused(put) => return Ok(put),
                    Verdict::Goes => expected = Some(current.map_or(0, |raw| raw.seq)),
                }
            }
            let headers = pending.headers(expected);
            let sent = store_once(&self.link, &pending.subject, &headers, &pending.body).await;
            in_doubt |= sent.repeated;
            match sent.answer {
                Ok(stored) => return Ok(self.applied(stored.seq)),
                Err(Refusal::Conflict) => looks = true,
                Err(Refusal::Unknown(error)) => {
                    tracing::warn!(key = %write.key, error = %error, "whether a write was stored is not known");
                    return Ok(Put::Unknown);
                }
                // It tells of this message only, and an earlier one may have been stored.
                Err(refusal) if in_doubt => {
                    let error = refusal.into_error("shared state");
                    tracing::warn!(key = %write.key, %error, "whether a write was stored is not known");
                    return Ok(Put::Unknown);
                }
                Err(refusal) => return Err(refusal.into_error("shared state")),
            }
            if in_doubt {
                match self.after(&pending, expected.unwrap_or(0)).await {
                    Ok(After::This(seq)) => return Ok(self.applied(seq)),
                    Ok(After::Another) => in_doubt = false,
                    Ok(After::Nothing) => {
                        looks = false;
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(_) => return Ok(Put::Unknown),
                }
            }
        }
        if in_doubt {
            return Ok(Put::Unknown);
        }
        Err(Error::Busy { to: format!("{}", write.key).into(), retry_after: Duration::from_millis(100) })
    }

    fn applied(&self, seq: u64) -> Put {
        self.seen.note_state(seq);
        Put::Applied(seq)
    }

    /// What follows the version that a write in doubt expected.
    async fn after(&self, pending: &Pending, expected: u64) -> Result<After> {
        let next = self.link.page(names::STATE, &pending.subject, expected + 1, 1).await?;
        Ok(match next.first() {
            Some(raw) if document::read(raw).writer == pending.writer => After::This(raw.seq),
            Some(_) => After::Another,
            None => After::Nothing,
        })
    }

    /// The newest message of a key, as the leader has it.
    async fn newest(&self, subject: &str) -> Result<Option<Raw>> {
        for _ in 0..TRIES {
            let (seq, _) = self.link.newest(names::STATE, subject).await?;
            if seq == 0 {
                return Ok(None);
            }
            // A replica may not have it yet, and somebody may have purged it.
            if let Some(raw) = self.link.at(names::STATE, seq).await? {
                return Ok(Some(raw));
            }
        }
        Err(Error::unavailable(format!("{}: its replicas are behind its leader", names::STATE)))
    }
}

/// What follows a version.
enum After {
    /// The write itself, at this sequence: it was stored.
    This(u64),
    /// Another write: this one can never be stored.
    Another,
    /// Nothing that this replica knows of.
    Nothing,
}

enum Verdict {
    /// Goes ahead against what is there.
    Goes,
    Refused(Put),
}

/// What becomes of a write where `standing` is.
fn verdict(write: &Write, standing: Option<StateEntry>) -> Verdict {
    let version = standing.as_ref().map_or(0, |entry| entry.version);
    match write.expect {
        Expect::Version(expected) if expected != version => Verdict::Refused(Put::Conflict(standing)),
        _ if write.value.is_none() && standing.is_none() => Verdict::Refused(Put::Applied(0)),
        _ => Verdict::Goes,
    }
}
