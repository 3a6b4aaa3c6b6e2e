//! An agent of your own: a type with settings, a contract others can rely on, and everything a handler may use.
//!
//! `cargo run --quiet -p callboard-examples --example custom_agent`. What you will see:
//!
//! ```text
//! attempt 1: the archive is not ready
//! attempt 2: reading "otters" took no second request
//! [0.5] found 2 notes
//! otters: 2 notes, the longest is "they use stones as tools"
//! a task about cats: ...
//! ```

use callboard::{Agent, Capability, Context, Failure, Node, Note, Result, Said, TaskInfo, payload};

// The contract: what both sides share. It usually stands in a module or crate of its own.

/// What to summarize.
#[payload]
struct Question {
    /// One animal.
    animal: String,
}

/// What came of it.
#[payload]
struct Summary {
    /// How many notes there are.
    notes: usize,
    /// The longest one.
    longest: String,
}

const SUMMARIZE: Capability<Question, Summary> =
    Capability::new("archive.summarize").about("Counts the notes about an animal and quotes the longest.");

// The agent.

/// Answers from an archive of notes.
struct Archivist {
    notes: Vec<(&'static str, &'static str)>,
}

impl Agent<Question, Summary> for Archivist {
    async fn handle(&self, ctx: Context, question: Question) -> Result<Summary> {
        // A step is recorded: a later attempt gets its result without running it again.
        let notes: Vec<String> = ctx.step("read", async || self.read(&question.animal)).await?;
        if ctx.attempt() == 1 {
            // Transient: the task is tried again, after a wait. A permanent failure would end it.
            println!("attempt 1: the archive is not ready");
            return Err(Failure::transient("the archive is not ready"));
        }
        println!("attempt {}: reading {:?} took no second request", ctx.attempt(), question.animal);
        ctx.progress(0.5, format!("found {} notes", notes.len()));
        let longest = notes.iter().max_by_key(|note| note.len()).cloned().unwrap_or_default();
        Ok(Summary { notes: notes.len(), longest })
    }

    /// Declining costs a task no attempt; another agent may take it.
    fn can_handle(&self, task: &TaskInfo) -> bool {
        task.description.as_deref() != Some("about cats")
    }
}

impl Archivist {
    fn read(&self, animal: &str) -> Result<Vec<String>> {
        Ok(self.notes.iter().filter(|(about, _)| *about == animal).map(|(_, note)| (*note).to_owned()).collect())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let notes = vec![("otters", "they hold hands"), ("otters", "they use stones as tools"), ("cats", "they sleep")];
    let node = Node::embedded().serve(SUMMARIZE.by(Archivist { notes }).concurrency(8)).start().await?;
    let mut said = node.notes();

    let run = node.submit(SUMMARIZE, Question { animal: "otters".into() }).retry(3).await?;
    let summary = run.outcome().await?;
    if let Some(Note { what: Said::Progress { done, note }, .. }) = said.next().await {
        println!("[{done}] {note}");
    }
    println!("otters: {} notes, the longest is {:?}", summary.notes, summary.longest);

    let cats = node.submit(SUMMARIZE, Question { animal: "cats".into() }).describe("about cats").await?;
    if let Err(error) = cats.outcome().await {
        println!("a task about cats: {error}");
    }
    node.shutdown().await?;
    Ok(())
}
