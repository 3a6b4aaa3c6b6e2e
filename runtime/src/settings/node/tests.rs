//! The file of a node: what it may say, and what is said about mistakes in it.

use super::*;

#[test]
fn a_whole_file_is_read() {
    let text = r#"
        name = "a"
        serve = { "diag.echo" = 4 }
        teams = ["research"]
        public = ["executive"]
        owner = "acme"

        [broker]
        address = "nats://one:4222,tls://two:4222"
        creds = "a.creds"
        tls = true
        provision = false

        [limits]
        drain = "20s"
        restarts = 5

        [budget]
        tasks = 100
        cost = 2
        wall = "1h"
    "#;
    let config = Config::from_toml("node.toml", text).unwrap();
    assert_eq!(config.broker.servers, ["nats://one:4222", "tls://two:4222"]);
    assert_eq!((config.broker.tls, config.broker.provision), (true, Some(false)));
    assert_eq!((config.public[0].as_str(), config.owner.as_deref()), ("executive", Some("acme")));
    assert_eq!(config.limits.drain.unwrap().to_string(), "20s");
    assert_eq!(config.budget.to_string(), "tasks=100,cost=2,wall=1h");
    assert_eq!(config.serve.values().collect::<Vec<_>>(), [&4]);
    assert!(!format!("{:?}", config.broker).contains("password"));
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_is_allowed() {
    let text = "name = \"a b\"\nserve = { \"diag.echo\" = 0 }\nteams = [\"reserch\"]\nteems = []\nowner = \"A.b\"\n\
        [broker]\naddress = \"http://x\"\ntls = \"true\"\n[limits]\nqueue = \"many\"\n";
    let problems = Config::from_toml("node.toml", text).unwrap_err();
    let told: Vec<_> = problems.iter().map(|p| (p.code, p.at.as_ref().unwrap().line)).collect();
    let expected = [
        (code::NOT_ALLOWED, 1),
        (code::RANGE, 2),
        (code::NOT_ALLOWED, 3),
        (code::UNKNOWN_KEY, 4),
        (code::NOT_ALLOWED, 5),
        (code::NOT_ALLOWED, 7),
        (code::WRONG_TYPE, 8),
        (code::WRONG_TYPE, 10),
    ];
    assert_eq!(told, expected, "{problems}");
    assert!(problems.to_string().contains("research"), "{problems}");
}

#[test]
fn the_environment_stands_over_the_file_and_its_mistakes_are_told() {
    let file = "store = \"x.db\"\nteams = [\"research\"]\n[limits]\nqueue = 7\n";
    let file = Config::from_toml("node.toml", file).unwrap();
    let config = file.clone().over(|name| (name == "CALLBOARD_QUEUE").then(|| "9".into())).unwrap();
    assert_eq!((config.limits.queue, config.store.is_some()), (Some(9), true));
    let config = file.clone().over(|name| (name == "CALLBOARD_STORE").then(|| "memory".into())).unwrap();
    assert_eq!(config.store, None);
    let wrong = file.over(|name| (name == "CALLBOARD_QUEUE").then(|| "lots".into())).unwrap_err();
    assert!(wrong.to_string().contains("CALLBOARD_QUEUE"), "{wrong}");
}

/// It made a store of that name, where the option and the variable mean none.
#[test]
fn a_file_does_not_take_memory_for_a_path() {
    let wrong = Config::from_toml("node.toml", "store = \"memory\"\n").unwrap_err();
    let problem = wrong.iter().next().unwrap();
    assert_eq!((problem.code, problem.at.as_ref().unwrap().line), (code::NOT_ALLOWED, 1));
    assert!(problem.fix.as_ref().unwrap().contains("--store memory"), "{wrong}");
    let path = Config::from_toml("node.toml", "store = \"./memory\"\n").unwrap();
    assert_eq!(path.store.as_deref(), Some(std::path::Path::new("./memory")));
    let typed = Config::default().over(|name| (name == "CALLBOARD_STORE").then(|| "./memory".into())).unwrap();
    assert_eq!(typed.store, path.store);
}

#[test]
fn one_file_is_not_for_a_broker_and_a_store() {
    let both = "store = \"x.db\"\n[broker]\naddress = \"nats://x\"\n";
    assert!(Config::from_toml("node.toml", both).is_err());
}

#[test]
fn a_file_without_a_task_of_which_nothing_else_is_a_workflows_is_that_of_a_node() {
    let of_node = ["name = \"a\"\n", "[budget]\ntasks = 9\n", "name = \"a\"\n[budget]\ncost = 1\n", "owner = \"a\""];
    assert!(of_node.into_iter().all(Config::is_meant));
    let task = "[[task]]\nid = \"a\"\n";
    for flow in ["", "name = \"a\"\noutput = \"x\"\n", task, &format!("name = \"a\"\n[budget]\ntasks = 1\n{task}")] {
        assert!(!Config::is_meant(flow), "{flow}");
    }
}

#[test]
fn no_two_settings_share_a_name() {
    for name in [|s: &Setting| s.key, |s: &Setting| s.variable, |s: &Setting| s.flag] {
        let names: std::collections::BTreeSet<_> = SETTINGS.iter().map(name).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }
}

#[test]
fn the_reference_names_every_setting_under_all_its_names() {
    let page = include_str!("../../../../docs/reference/node.md");
    for Setting { key, variable, flag, .. } in SETTINGS {
        let row = format!("| `{key}` | `{variable}` | `--{flag}` |");
        assert!(page.contains(&row), "docs/reference/node.md lacks {row}");
    }
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    Config::from_toml("node.toml", example).unwrap();
    // Every key of the file stands in the example, if only as a comment.
    for key in SETTINGS.iter().filter_map(|setting| setting.key.rsplit('.').next()) {
        let is_it = |line: &str| line.starts_with(&format!("{key} =")) || line == format!("[{key}]");
        let set = |line: &str| is_it(line.trim_start_matches("# "));
        assert!(key == "password" || example.lines().any(set), "the example lacks {key}");
    }
}
