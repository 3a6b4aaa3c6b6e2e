use callboard_agents::payload;

#[payload(name = "doc")]
struct Doc;

fn main() {}
