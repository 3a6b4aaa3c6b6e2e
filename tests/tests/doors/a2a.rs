//! The Agent2Agent project's own client, unmodified, talks to a team.

use std::process::Command;

use callboard_tests::process::Child;
use callboard_tests::python;

use crate::kit::{Door, KEY};

#[test]
fn the_projects_own_client_reads_cards_streams_and_takes_tasks_back() {
    let door = Door::on_a_store(&[]);
    let script = python::script("tests/python/a2a_door.py");
    let client = Child::start(Command::new(python::interpreter()).arg(script).args([&door.url, KEY]));
    door.says(client, &["cards", "whole", "stream", "file", "tasks"]);
    door.close();
}
