//! `diag.effect`: posts to a URL, so that what kills and faults do to effects can be counted from outside.

use callboard_agents::http::{Post, post};
use callboard_agents::{Capability, Context, Failure, Result, Service, json, payload};

/// The most posts of one task.
pub const MAX_TIMES: u32 = 1_000;

/// What `diag.effect` is told.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Posts {
    /// Where to.
    pub url: String,
    /// Sent as `Idempotency-Key` (with `-2`, `-3`, ... for further posts): a post that is in doubt is repeated with it.
    #[serde(default)]
    pub key: Option<String>,
    /// The other side does not mind repeats: a post that is in doubt is repeated without a word.
    #[serde(default)]
    pub idempotent: bool,
    /// How many posts, one after the other. Default 1, at most 1,000.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// What a post was answered with.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// The HTTP status.
    pub status: u16,
    /// The first 64 KiB of the body.
    pub body: String,
}

/// Posts to a URL: with a key as keyed effects, else, unless the other side does not mind repeats, as effects that are
/// never silently repeated.
pub const EFFECT: Capability<Posts, Vec<Posted>> =
    Capability::new("diag.effect").about("Posts to a URL as durable effects and returns what each was answered with.");

/// Serves [`EFFECT`].
pub fn effect() -> Service {
    EFFECT.by_fn(handle)
}

async fn handle(ctx: Context, request: Posts) -> Result<Vec<Posted>> {
    if request.times > MAX_TIMES {
        return Err(Failure::permanent(format!("{} posts are more than the {MAX_TIMES} of one task", request.times)));
    }
    let mut posted = Vec::new();
    for n in 1..=request.times {
        let name = format!("post {n}");
        let key = request.key.as_ref().map(|key| if n == 1 { key.clone() } else { format!("{key}-{n}") });
        let body = json!({ "task": ctx.task_id(), "run": ctx.run_id(), "attempt": ctx.attempt(), "n": n, "key": key });
        let once = async || {
            let answer = post(Post { url: request.url.clone(), key: key.clone(), body }).await?;
            Ok(Posted { status: answer.status, body: answer.body })
        };
        posted.push(match (&request.key, request.idempotent) {
            (Some(_), _) => ctx.effect_keyed(name, async |_| once().await).await?,
            (None, true) => ctx.step(name, once).await?,
            (None, false) => ctx.effect(name, once).await?,
        });
    }
    Ok(posted)
}
