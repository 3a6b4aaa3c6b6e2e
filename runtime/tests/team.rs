//! The research team end to end on a node: a question and real files in, a cited brief out.

use std::path::Path;
use std::sync::Arc;

use callboard::broker::clock::Clock;
use callboard::broker::id::RunId;
use callboard::broker::memory;
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use callboard::team::executive::REVISED;
use callboard::team::{
    self, Brief, CONTENT, DATABASE, Draft, EXECUTIVE, Findings, Inquiry, Library, Notes, Replan, Team, research_team,
};
use callboard::{Class, Error, Node, Supervisor};
use tokio::sync::Notify;

fn inquiry(question: &str, folder: &Path) -> Inquiry {
    Inquiry { question: question.into(), sources: vec![folder.to_str().expect("a Unicode path").into()] }
}

async fn ask(node: &Node, question: &str, folder: &Path) -> Result<Brief, Error> {
    node.submit(EXECUTIVE, inquiry(question, folder)).await?.outcome().await
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mill = "# The mill\n\nThe old mill of Gera was built in 1843. It burnt down in 1901.\n";
    std::fs::write(folder.path().join("mill.md"), mill).unwrap();
    std::fs::write(folder.path().join("school.txt"), "The new school was opened by Ada Braun in 1911.\n").unwrap();
    folder
}

#[tokio::test]
async fn a_question_becomes_a_brief_that_cites_its_source() {
    let node = Node::embedded().serve(team::research()).start().await.unwrap();
    let folder = folder();
    let brief = ask(&node, "When was the old mill of Gera built?", folder.path()).await.unwrap();
    assert_eq!(brief.claims[0].quote, "The old mill of Gera was built in 1843.");
    assert!(brief.brief.starts_with("The old mill of Gera was built in 1843. [1]"), "{}", brief.brief);
    assert_eq!((brief.claims[0].source.as_str(), brief.claims[0].locator.as_str()), ("mill.md", "line 3"));
    assert!(brief.coverage > 0.9 && brief.not_found.is_empty() && brief.dropped.is_empty(), "{brief:?}");
    let done = tasks(&node, &brief.run).await;
    let expected = [
        "content.editor",
        "content.lead",
        "content.writer",
        "executive",
        "qa.fact",
        "qa.lead",
        "qa.style",
        "research.database",
        "research.lead",
    ];
    assert_eq!(done, expected);
    node.shutdown().await.unwrap();
}

/// The capabilities of the tasks of a run, all of them completed at the first attempt.
async fn tasks(node: &Node, run: &str) -> Vec<String> {
    let filter = TaskFilter { run: Some(RunId::parse(run).unwrap()), ..TaskFilter::default() };
    let views = node.broker().tasks.list(filter).await.unwrap();
    assert!(views.iter().all(|view| view.status == Status::Completed && view.attempt == 1), "{views:?}");
    let mut capabilities: Vec<String> = views.iter().map(|view| view.task.capability.to_string()).collect();
    capabilities.sort();
    capabilities
}

#[tokio::test]
async fn two_questions_are_two_research_tasks() {
    let node = Node::embedded().serve(team::research()).start().await.unwrap();
    let brief = ask(&node, "When was the old mill built? Who opened the new school?", folder().path()).await.unwrap();
    let done = tasks(&node, &brief.run).await;
    let of = |capability: &str| done.iter().filter(|done| *done == capability).count();
    assert_eq!((of("research.lead"), of("research.database"), of("content.writer")), (2, 2, 1));
    let quotes: Vec<&str> = brief.claims.iter().map(|claim| claim.quote.as_str()).collect();
    assert_eq!(
        quotes[..2],
        ["The old mill of Gera was built in 1843.", "The new school was opened by Ada Braun in 1911."]
    );
}

#[tokio::test]
async fn a_worker_that_asks_for_another_plan_gets_one() {
    let scripted = DATABASE.by_fn(async |_, inquiry: Inquiry| {
        let replan = match inquiry.question.as_str() {
            "Who was it?" => Replan::because("it is not said who", vec!["Who opened the new school?".into()]),
            _ => Replan::default(),
        };
        Ok(Findings { question: inquiry.question, replan, ..Findings::default() })
    });
    let lead = Supervisor::new("research").child(team::research::Lead::service()).child(scripted);
    let top = Supervisor::new("executive").child(team::executive::Executive::service()).child(lead);
    let node = Node::embedded().serve(top).start().await.unwrap();
    let mut events = node.events().await.unwrap();
    let brief = ask(&node, "Who was it?", folder().path()).await.unwrap();
    assert_eq!((brief.revisions, brief.plan[1].question.as_str()), (1, "Who opened the new school?"));
    let revised = loop {
        let event = events.next().await.unwrap().unwrap();
        if let Some(revised) = event.get(REVISED) {
            break revised.unwrap();
        }
    };
    assert_eq!((revised.reason.as_str(), revised.tasks.len()), ("it is not said who", 1));
}

#[tokio::test]
async fn what_no_source_covers_is_said_to_be_missing() {
    let node = Node::embedded().serve(team::research()).start().await.unwrap();
    let brief = ask(&node, "Which zeppelin crossed Antarctica?", folder().path()).await.unwrap();
    assert_eq!((brief.brief.as_str(), brief.coverage), ("The sources say nothing about this.", 0.0));
    assert_eq!(brief.not_found, ["zeppelin", "crossed", "antarctica"]);
}

#[tokio::test]
async fn documents_that_contradict_each_other_are_both_quoted_and_listed() {
    let node = Node::embedded().serve(team::research()).start().await.unwrap();
    let folder = folder();
    let other = "The old mill of Gera was built in 1844, says the parish.";
    std::fs::write(folder.path().join("parish.txt"), other).unwrap();
    let brief = ask(&node, "When was the old mill of Gera built?", folder.path()).await.unwrap();
    assert_eq!((brief.disagreements.len(), brief.disagreements[0].about.as_str()), (1, "1844 or 1843"));
    assert_eq!(brief.disagreements[0].claims, [1, 2]);
}

#[tokio::test]
async fn sources_that_cannot_be_read_are_refused_with_a_code_at_the_first_attempt() {
    let node = Node::embedded().serve(team::research()).start().await.unwrap();
    let empty = tempfile::tempdir().unwrap();
    for (path, code) in [(empty.path().join("nosuch"), "CB0301"), (empty.path().to_owned(), "CB0302")] {
        let error = ask(&node, "Who?", &path).await.unwrap_err();
        assert_eq!((error.code(), error.class()), (code, Class::Permanent), "{error}");
    }
}

/// The executive and the research of the team; who writes is stuck, and says when it has begun.
fn stuck_at_writing(begun: Arc<Notify>) -> Supervisor {
    let Team { executive, branches } = research_team(&Library::default());
    let research = branches.into_iter().next().expect("research comes first");
    let research =
        research.workers.into_iter().fold(Supervisor::new("research").child(research.lead), Supervisor::child);
    let stuck = CONTENT.by_fn(move |_, _: Notes| {
        begun.notify_one();
        std::future::pending::<callboard::Result<Draft>>()
    });
    Supervisor::new("executive").child(executive).child(research).child(stuck)
}

/// Time is paused, so that waiting for the claims of the node that is gone costs nothing.
#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_off_goes_on_with_what_is_missing() {
    let (folder, begun) = (folder(), Arc::new(Notify::new()));
    let broker = memory::open(memory::Options { clock: Clock::following_tokio(), ..memory::Options::default() });
    let first = Node::over(broker.clone()).name("one").serve(stuck_at_writing(begun.clone())).start().await.unwrap();
    first.submit(EXECUTIVE, inquiry("When was the old mill built?", folder.path())).run("cut-off").await.unwrap();
    begun.notified().await;
    drop(first);
    let second = Node::over(broker).name("two").serve(team::research()).start().await.unwrap();
    let brief: Brief = second.attach(EXECUTIVE, "cut-off").unwrap().outcome().await.unwrap();
    assert_eq!(brief.claims[0].quote, "The old mill of Gera was built in 1843.");
    let filter = TaskFilter { run: Some(RunId::parse("cut-off").unwrap()), ..TaskFilter::default() };
    for view in second.broker().tasks.list(filter).await.unwrap() {
        let done_by_one = view.task.capability.as_str().starts_with("research.");
        let node = view.outcome.and_then(|outcome| outcome.node).map(|node| node.to_string());
        assert_eq!(node.as_deref(), Some(if done_by_one { "one" } else { "two" }), "{}", view.task.capability);
    }
    second.shutdown().await.unwrap();
}
