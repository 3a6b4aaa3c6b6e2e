//! A contract and its agents, without a mistake: the attribute needs neither serde nor schemars in scope.

use callboard_agents::{Agent, Capability, Context, EventKind, Result, Service, StateKey, Topic, payload};

/// What is to be said shorter.
#[payload(crate = callboard_agents)]
#[derive(Clone, Debug)]
struct Doc {
    text: String,
    #[serde(default)]
    pages: Option<u32>,
}

const SUMMARIZE: Capability<Doc, String> = Capability::new("text.summarize").about("says it shorter").version(2);
const SHOUT: Capability<String, String> = Capability::new("text.shout");
const DONE: EventKind<u32> = EventKind::new("text.summarized");
const PLAN: StateKey<Vec<String>> = StateKey::run("plan").version(2);
const NEWS: Topic<String> = Topic::new("news");

struct Writer;

impl Agent<Doc, String> for Writer {
    async fn handle(&self, ctx: Context, doc: Doc) -> Result<String> {
        let loud = ctx.ask(SHOUT, doc.text).await?;
        ctx.state(PLAN).update(|plan| plan.push(loud.clone())).await?;
        ctx.emit(DONE, doc.pages.unwrap_or(1)).await?;
        let all = ctx.delegate_all(SHOUT, ["a".to_owned(), "b".to_owned()]).at_most(2).await?;
        ctx.step("join", async || Ok(all.join(" "))).await?;
        Ok(loud)
    }
}

async fn shout(_ctx: Context, text: String) -> Result<String> {
    Ok(text.to_uppercase())
}

pub(crate) fn main() {
    let _: [Service; 4] = [
        SUMMARIZE.by(Writer).workers(2).hears(NEWS, |_ctx, _text| async move { Ok(()) }),
        SHOUT.by_fn(shout),
        SHOUT.by_fn(|_ctx, text| async move { Ok(text.to_uppercase()) }).queue(64),
        SUMMARIZE.by_fresh(|| async { Ok(Writer) }),
    ];
}
