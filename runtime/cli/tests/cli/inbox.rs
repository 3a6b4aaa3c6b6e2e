//! People are asked, and answer.

use crate::kit::World;

/// A release that a person has to allow.
const RELEASE: &str = r#"
name = "release"
output = "{{say.text}}"
[[task]]
id = "ask"
capability = "human.default"
input = { question = "ship version 2?", choices = ["yes", "no"], who = ["ann"] }
[[task]]
id = "say"
capability = "diag.echo"
input = { text = "answer: {{ask}}" }
"#;

fn open(world: &World) -> Vec<String> {
    let open = world.json(&["inbox", "ls"]);
    open.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Whether a question is open, as far as it can be seen.
fn is_asked(world: &World) -> bool {
    world.look(&["inbox", "ls"]).is_some_and(|open| !open.as_array().unwrap().is_empty())
}

#[test]
fn a_run_goes_on_with_the_answer_of_a_person() {
    let world = World::new();
    world.file("release.toml", RELEASE);
    let run = world.start(&["run", "release.toml", "--stay"]);
    world.until("the question", || is_asked(&world));
    let id = open(&world).remove(0);
    let shown = world.run(&["inbox", "show", &id]);
    assert!(shown.out.contains("question   ship version 2?") && shown.out.contains("yes | no"), "{}", shown.out);
    let poor = world.run(&["inbox", "answer", &id, "maybe", "--as", "ann"]);
    assert!(poor.exit == 2 && poor.err.contains("none of the answers: yes, no"), "{}", poor.err);
    let stranger = world.run(&["inbox", "answer", &id, "yes", "--as", "bob"]);
    assert!(stranger.exit != 0 && stranger.err.contains("it is for ann"), "{}", stranger.err);
    assert_eq!(world.run(&["inbox", "answer", &id, "yes", "--as", "ann"]).exit, 0);
    let did = run.end();
    assert_eq!((did.exit, did.out.as_str()), (0, "answer: yes\n"), "{}", did.err);
    let second = world.run(&["inbox", "answer", &id, "no", "--as", "ann"]);
    assert!(second.exit == 2 && second.err.contains("was answered by ann"), "{}", second.err);
    assert!(open(&world).is_empty());
}

#[test]
fn a_question_and_its_answer_outlive_every_process() {
    let world = World::new();
    world.file("release.toml", RELEASE);
    let run = world.start(&["run", "release.toml", "--stay"]);
    world.until("the question", || is_asked(&world));
    run.kill();
    let id = open(&world).remove(0);
    let answered = world.run(&["inbox", "answer", &id, "no", "--as", "ann"]);
    assert!(answered.exit == 0 && answered.err.contains("workflow resume"), "{}", answered.err);
    let did = world.run(&["workflow", "resume", "last"]);
    assert!(did.exit == 0 && did.out.contains("answer: no"), "{} {}", did.out, did.err);
}

#[test]
fn the_answer_has_to_fit_the_schema_of_its_question() {
    let world = World::new();
    let input = r#"{"question": "how many?", "schema": {"type": "integer", "minimum": 1}}"#;
    let asked = world.run(&["task", "submit", "human.default", "--run", "ask-1", "--input", input]);
    assert!(asked.exit == 0 && asked.err.contains("callboard inbox answer ask-1"), "{}", asked.err);
    let poor = world.run(&["inbox", "answer", "ask-1", "0"]);
    assert!(poor.exit == 2 && poor.err.contains("minimum"), "{}", poor.err);
    let answered = world.json(&["inbox", "answer", "ask-1", "3", "--as", "ann"]);
    assert_eq!((&answered["answer"], &answered["by"], &answered["before"]), (&3.into(), &"ann".into(), &false.into()));
}

#[test]
fn a_run_that_waits_for_nothing_but_people_ends_with_6_and_says_how_to_go_on() {
    let world = World::new();
    world.file("release.toml", RELEASE);
    let did = world.run(&["run", "release.toml", "--run", "r-1"]);
    assert_eq!((did.exit, did.out.as_str()), (6, ""), "{}", did.err);
    let asked = open(&world).remove(0);
    let ending = asked.get(asked.len() - 8..).unwrap();
    for said in ["waiting for a person: 1 question", "resume  callboard", "workflow resume r-1", "inbox show", ending] {
        assert!(did.err.contains(said), "{said}: {}", did.err);
    }
    assert_eq!(world.run(&["workflow", "resume", "r-1"]).exit, 6, "nobody has answered yet");
    assert_eq!(world.run(&["inbox", "answer", &asked, "yes", "--as", "ann"]).exit, 0);
    let did = world.run(&["workflow", "resume", "r-1"]);
    assert!(did.exit == 0 && did.out.contains("answer: yes"), "{} {}", did.out, did.err);
}

#[test]
fn a_run_is_not_left_while_another_branch_works() {
    let world = World::new();
    let slow = "[[task]]\nid = \"slow\"\ncapability = \"diag.echo\"\ninput = { text = \"x\", delay_ms = 2500 }\n";
    world.file("release.toml", format!("{RELEASE}{slow}"));
    let did = world.run(&["run", "release.toml"]);
    assert_eq!(did.exit, 6, "{}", did.err);
    assert_eq!(world.completed(), 1, "the other branch was finished first");
}

#[test]
fn a_task_of_a_workflow_waits_for_approval_and_is_done_as_edited() {
    let world = World::new();
    let flow = "name = \"w\"\n[[task]]\nid = \"say\"\ncapability = \"diag.echo\"\ninput = { text = \"hello\" }\n\
                approval = { who = [\"ann\"], within = \"1h\" }\n";
    world.file("w.toml", flow);
    assert_eq!(world.run(&["run", "w.toml"]).exit, 6);
    let id = open(&world).remove(0);
    let shown = world.run(&["inbox", "show", &id]);
    assert!(shown.out.contains("may diag.echo be given this?") && shown.out.contains("hello"), "{}", shown.out);
    let poor = world.run(&["inbox", "answer", &id, r#"{"edit": {"text": 7}}"#, "--as", "ann"]);
    assert!(poor.exit == 2, "{} {}", poor.exit, poor.err);
    assert_eq!(world.run(&["inbox", "answer", &id, r#"{"edit": {"text": "goodbye"}}"#, "--as", "ann"]).exit, 0);
    let did = world.run(&["workflow", "resume", "last"]);
    assert!(did.exit == 0 && did.out.contains("goodbye"), "{} {}", did.out, did.err);
}
