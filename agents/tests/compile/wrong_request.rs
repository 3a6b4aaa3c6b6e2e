use callboard_agents::{Capability, Context, Result};

const SHOUT: Capability<String, String> = Capability::new("text.shout");

async fn loud(ctx: Context) -> Result<String> {
    Ok(ctx.ask(SHOUT, 7).await?)
}

fn main() {
    let _ = loud;
}
