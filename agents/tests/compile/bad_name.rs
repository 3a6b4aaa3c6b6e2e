use callboard_agents::Capability;

const SHOUT: Capability<String, String> = Capability::new("Text Shout");

fn main() {
    let _ = SHOUT;
}
