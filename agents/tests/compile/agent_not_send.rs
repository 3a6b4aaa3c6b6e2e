use std::rc::Rc;

use callboard_agents::{Agent, Capability, Context, Result};

const SHOUT: Capability<String, String> = Capability::new("text.shout");

struct Sharer;

impl Agent<String, String> for Sharer {
    async fn handle(&self, ctx: Context, text: String) -> Result<String> {
        let shared = Rc::new(text);
        let loud = ctx.ask(SHOUT, shared.to_string()).await?;
        Ok(format!("{shared} {loud}"))
    }
}

fn main() {}
