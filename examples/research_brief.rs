//! The research team answers from this repository's own documents: nine durable tasks under four supervisors, no model.
//!
//! `cargo run --quiet -p callboard-examples --example research_brief`. What you will see, in the words that the documents
//! have today:
//!
//! ```text
//! We never promise exactly-once delivery, because nobody can. [1] We promise at-least-once execution and ... [2]
//!
//! [1] semantics.md, line 10
//! [2] semantics.md, line 10
//! ...
//! coverage 1.00, not found: nothing, dropped by qa.fact: 0
//!
//! content.editor    nothing to cut
//! content.lead      2 sentences
//! ...
//! ```

use std::path::Path;

use callboard::team::{self, EXECUTIVE, Inquiry};
use callboard::{Node, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let asked = std::env::args().nth(1);
    let question = asked.unwrap_or_else(|| "Why does Callboard never promise exactly-once delivery?".into());
    let inquiry = Inquiry { question, sources: vec![docs.display().to_string()] };

    let node = Node::embedded().serve(team::research()).start().await?;
    let brief = node.submit(EXECUTIVE, inquiry).await?.outcome().await?;

    println!("{}\n", brief.brief);
    for (n, claim) in brief.claims.iter().enumerate() {
        println!("[{}] {}, {}", n + 1, claim.source, claim.locator);
    }
    let missing = if brief.not_found.is_empty() { "nothing".into() } else { brief.not_found.join(", ") };
    let (coverage, dropped) = (brief.coverage, brief.dropped.len());
    println!("coverage {coverage:.2}, not found: {missing}, dropped by qa.fact: {dropped}\n");
    for (member, remark) in brief.remarks {
        println!("{member:17} {remark}");
    }
    node.shutdown().await?;
    Ok(())
}
