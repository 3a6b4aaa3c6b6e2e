use callboard_agents::Capability;

struct Doc;

const SUMMARIZE: Capability<Doc, String> = Capability::new("text.summarize");

fn main() {}
