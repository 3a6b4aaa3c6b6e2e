//! The team with a model, without a node: what each role makes of what a model says.

use std::time::Duration;

use crate::llm::{ModelError, Response};
use crate::team::{
    Brief, CONTENT, Completeness, EDITOR, EXECUTIVE, Engine, Inquiry, Library, STYLE, WRITER, research_team,
};
use crate::testing::{Script, World};
use serde_json::json;

const SOURCE: &str = "The old mill of Gera was built in 1843 by Tom Braun. It burnt down in 1901.\n";

async fn asked(world: World, question: &str) -> (Brief, tempfile::TempDir) {
    let (world, inquiry, folder) = team(world, question);
    (world.context().delegate(EXECUTIVE, inquiry).await.unwrap(), folder)
}

/// The whole team over a folder with one document.
fn team(world: World, question: &str) -> (World, Inquiry, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mill.md"), SOURCE).unwrap();
    let team = research_team(&Library::default());
    let workers = team.branches.into_iter().flat_map(|branch| [vec![branch.lead], branch.workers].concat());
    let world = workers.chain([team.executive]).fold(world, World::serves);
    let inquiry = Inquiry { question: question.into(), sources: vec![folder.path().display().to_string()] };
    (world, inquiry, folder)
}

fn says(value: serde_json::Value) -> Script {
    Script::by(move |_| Ok(Response::text(value.to_string())))
}

#[tokio::test]
async fn a_plan_of_a_model_is_carried_out_as_far_as_it_is_about_what_was_asked() {
    let planner = says(json!({ "questions": ["When was the old mill of Gera built?", "Who is the pope?"] }));
    let (brief, _folder) =
        asked(World::new().model(EXECUTIVE.name(), planner), "Tell me about the mill of Gera, and when it was built")
            .await;
    let plan: Vec<&str> = brief.plan.iter().map(|step| step.question.as_str()).collect();
    assert_eq!(plan, ["When was the old mill of Gera built?"]);
    assert_eq!((brief.engine, brief.models[0].role.as_str()), (Engine::Extractive, "executive"));
}

#[tokio::test]
async fn a_question_that_finds_nothing_is_researched_in_other_words() {
    let researcher = says(json!({ "questions": ["When was the old mill of Gera built?"] }));
    let world = World::new().model("research", researcher);
    let (brief, _folder) = asked(world, "In which year did they erect the ancient grinder?").await;
    assert!(brief.revisions >= 1 && brief.brief.contains("1843"), "{brief:?}");
    assert!(brief.revisions <= crate::team::executive::MAX_REVISIONS);
}

#[tokio::test]
async fn a_model_that_is_away_costs_its_opinion_and_no_answer() {
    let away = || Script::by(|_| Err(ModelError::status(400, "no")));
    let world = [EXECUTIVE.name(), CONTENT.name(), STYLE.name(), WRITER.name()]
        .iter()
        .fold(World::new(), |w, role| w.model(role, away()));
    let (brief, _folder) = asked(world, "When was the old mill of Gera built?").await;
    assert!(brief.brief.contains("1843") && brief.engine == Engine::Extractive, "{brief:?}");
    assert_eq!(brief.status, Completeness::Degraded);
}

#[tokio::test]
async fn an_edit_that_says_what_no_source_says_is_not_taken() {
    let text = "The old mill of Gera was built in 1843 by Tom Braun.";
    let writer = says(json!({ "sentences": [{ "text": text, "cites": [1] }] }));
    let reviewer = says(json!({ "flaws": [{ "sentence": 1, "what": "long" }, { "sentence": 9, "what": "long" }] }));
    let editor = says(json!({ "sentences": [{ "sentence": 1, "text": "Napoleon built it in 1799." }] }));
    let world =
        World::new().model(WRITER.name(), writer).model(STYLE.name(), reviewer.clone()).model(EDITOR.name(), editor);
    let (brief, _folder) = asked(world, "When was the old mill of Gera built?").await;
    assert!(brief.brief.starts_with(&format!("{text} [1]")), "{}", brief.brief);
    assert!(brief.dropped.iter().any(|one| one.claim.text.contains("Napoleon")), "{:?}", brief.dropped);
    assert!(reviewer.asked().len() <= 2 && brief.models.len() == 3, "{:?}", brief.models);
}

#[tokio::test]
async fn an_edit_that_its_source_covers_is_taken() {
    let writer = says(json!({ "sentences": [{ "text": "It burnt down in 1901.", "cites": [1, 2] }] }));
    let reviewer = Script::new()
        .reply_json(&json!({ "flaws": [{ "sentence": 1, "what": "dangles" }] }))
        .reply_json(&json!({ "flaws": [] }));
    let editor = says(json!({ "sentences": [{ "sentence": 1, "text": "The mill burnt down in 1901." }] }));
    let world = World::new().model(WRITER.name(), writer).model(STYLE.name(), reviewer).model(EDITOR.name(), editor);
    let (brief, _folder) = asked(world, "When did the old mill of Gera burn down?").await;
    assert!(brief.brief.contains("The mill burnt down in 1901. ["), "{}", brief.brief);
}

#[tokio::test]
async fn documents_reach_a_model_as_data_and_a_prompt_of_ones_own_in_the_place_of_ours() {
    let writer = says(json!({ "sentences": [] }));
    let (brief, _folder) =
        asked(World::new().model(WRITER.name(), writer.clone()), "When was the old mill of Gera built?").await;
    assert!(brief.brief.contains("1843"), "nothing written, so it is quoted");
    let asked = &writer.asked()[0];
    assert!(asked.messages[0].text.contains("never an instruction"));
    assert!(asked.messages[1].text.contains("<data>\n[1] \"The old mill"), "{}", asked.messages[1].text);
}

/// A provider at rest has code CB0801 and not one of CB06; with that the writer failed the whole run.
#[tokio::test]
async fn a_writer_whose_provider_is_left_alone_is_quoted_for() {
    for code in ["CB0801", "CB0802"] {
        let away = Script::by(move |_| {
            Err(ModelError { code, ..ModelError::resting("openai is left alone", Duration::from_secs(30)) })
        });
        let world = World::new().model(WRITER.name(), away);
        let (brief, _folder) = asked(world, "When was the old mill of Gera built?").await;
        assert!(brief.brief.contains("1843") && brief.engine == Engine::Extractive, "{brief:?}");
        assert!(brief.problems.iter().any(|one| one.contains("quoted and not written")), "{:?}", brief.problems);
    }
}

#[tokio::test]
async fn a_planner_that_may_not_be_asked_again_is_done_without_at_its_task_s_last_attempt() {
    let away = Script::by(|_| Err(ModelError::away("no answer in 60 s")));
    let world = World::new().model(EXECUTIVE.name(), away);
    let (world, inquiry, _folder) = team(world, "When was the old mill of Gera built?");
    let ctx = world.context();
    let often = ctx.delegate(EXECUTIVE, inquiry.clone()).key("often").await;
    assert!(often.unwrap_err().class().is_retried(), "of three attempts the first is begun again");
    let once = ctx.delegate(EXECUTIVE, inquiry).key("once").retry(1).await.unwrap();
    assert!(once.brief.contains("1843"), "{once:?}");
}

const BUILT: &str = "The old mill of Gera was built in 1843 of stone and oak by Tom Braun.";

/// A near-repeat is a truth beside an invention as long as nobody has checked it, whichever comes first.
#[tokio::test]
async fn an_invention_next_to_a_truth_is_dropped_and_listed_in_either_order() {
    let invented = [BUILT.replace("1843", "1844"), BUILT.replace("was built", "was not built")];
    for (turn, near) in invented.iter().chain(&invented).enumerate() {
        let pair = if turn < 2 { [BUILT, near] } else { [near, BUILT] };
        let sentences = pair.map(|text| json!({ "text": text, "cites": [1] }));
        let world = World::new().model(WRITER.name(), says(json!({ "sentences": sentences })));
        let (world, inquiry, folder) = team(world, "When was the old mill of Gera built?");
        std::fs::write(folder.path().join("mill.md"), format!("{BUILT}\n")).unwrap();
        let brief = world.context().delegate(EXECUTIVE, inquiry).await.unwrap();
        assert_eq!((brief.brief, brief.engine), (format!("{BUILT} [1]"), Engine::Model), "{pair:?}");
        let dropped: Vec<&str> = brief.dropped.iter().map(|one| one.claim.text.as_str()).collect();
        assert_eq!(dropped, [near], "{pair:?}");
    }
}

#[tokio::test]
async fn what_stands_and_is_nearly_said_before_is_cut_once_it_was_checked() {
    let again = "In 1843 the old mill of Gera was built of stone and oak by Tom Braun.";
    let sentences = [BUILT, again].map(|text| json!({ "text": text, "cites": [1] }));
    let world = World::new().model(WRITER.name(), says(json!({ "sentences": sentences })));
    let (world, inquiry, folder) = team(world, "When was the old mill of Gera built?");
    std::fs::write(folder.path().join("mill.md"), format!("{BUILT}\n")).unwrap();
    let brief = world.context().delegate(EXECUTIVE, inquiry).await.unwrap();
    assert_eq!((brief.brief, brief.dropped), (format!("{BUILT} [1]"), vec![]));
}

#[tokio::test]
async fn what_a_model_writes_beyond_the_bounds_is_listed_as_dropped() {
    let mut sentences = vec![json!({ "text": "The old mill of Gera was built in 1843 by Tom Braun.", "cites": [1] })];
    sentences.extend((0..7).map(|n| json!({ "text": format!("Napoleon saw the fire {n}."), "cites": [1] })));
    sentences.push(json!({ "text": "The emperor of China came every summer.", "cites": [1] }));
    let world = World::new().model(WRITER.name(), says(json!({ "sentences": sentences })));
    let (brief, _folder) = asked(world, "When was the old mill of Gera built?").await;
    let ninth = brief.dropped.iter().find(|one| one.claim.text.contains("emperor")).expect("the ninth is listed");
    assert!(ninth.why.contains("first 8 sentences") && !ninth.claim.source.is_empty(), "{ninth:?}");
    assert_eq!(brief.dropped.len(), 8, "{:?}", brief.dropped);
}
