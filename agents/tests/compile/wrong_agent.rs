use callboard_agents::{Agent, Capability, Context, Result};

const COUNT: Capability<String, u32> = Capability::new("text.count");

struct Shouter;

impl Agent<String, String> for Shouter {
    async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
        Ok(text.to_uppercase())
    }
}

fn main() {
    COUNT.by(Shouter);
}
