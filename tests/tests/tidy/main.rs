//! The house, held by a test: the walls, lengths and lists that a reviewer would otherwise look for in every change.
//!
//! Each checker is a function over text and returns what is out of shape, so the tests beside it can feed it text that
//! is: a checker that cannot fail has checked nothing. This file applies them to the tree as it stands.

mod code;
mod graph;
mod lean;
mod lists;
mod pages;
mod shape;
mod tree;

use std::collections::BTreeMap;

use tree::Tree;

/// Fails with everything that was found, one a line.
#[track_caller]
fn holds(found: Vec<String>) {
    assert!(found.is_empty(), "{} out of shape:\n{}", found.len(), found.join("\n"));
}

#[test]
fn files_and_functions_are_short() {
    let tree = Tree::read();
    let sources: Vec<_> = tree.sources().collect();
    assert!(sources.len() > 50, "the walk found {} sources only", sources.len());
    holds(sources.iter().flat_map(|(path, text)| shape::lengths(path, text)).collect());
}

#[test]
fn nothing_is_left_over_and_nothing_banned_is_called() {
    holds(Tree::read().sources().flat_map(|(path, text)| shape::words(path, text)).collect());
}

#[test]
fn no_file_names_a_machine() {
    holds(Tree::read().files.iter().flat_map(|(path, text)| shape::machine_paths(path, text)).collect());
}

#[test]
fn the_crates_depend_on_each_other_as_drawn() {
    let tree = Tree::read();
    let metadata = graph::Metadata::of_workspace();
    let picture = graph::picture(tree.text("ARCHITECTURE.md"));
    let drawn: BTreeMap<_, _> = picture.keys().map(|name| (name.clone(), metadata.ours_below(name))).collect();
    assert_eq!(drawn, picture, "left: the manifests, right: ARCHITECTURE.md");
    let missing =
        metadata.members().into_iter().filter(|name| !picture.contains_key(name) && name != "callboard-tests");
    holds(missing.map(|name| format!("{name} is not drawn in ARCHITECTURE.md")).collect());
}

#[test]
fn walls_and_licences_of_deny_toml_hold() {
    let tree = Tree::read();
    let metadata = graph::Metadata::of_workspace();
    let deny = graph::Deny::parse(tree.text("deny.toml"));
    holds(metadata.walls(&deny));
    holds(metadata.licences(&deny));
}

#[test]
fn ractor_is_as_small_as_we_need_it_and_stays_inside() {
    holds(graph::Metadata::of_workspace().features("ractor", &["tokio_runtime"]));
    let tree = Tree::read();
    holds(tree.sources().flat_map(|(path, text)| shape::leaks(path, text, "ractor")).collect());
}

#[test]
fn callboard_without_features_is_lean_and_has_no_http_client() {
    let below = lean::below("");
    assert!(lean::http(&below).is_empty(), "{:?}", lean::http(&below));
    let said = lean::figure(Tree::read().text("README.md"), "no HTTP client").expect("the README has the figure");
    assert!(below.len() <= said, "{} crates, and the README says {said}", below.len());
}

#[test]
fn a_panic_unwinds_in_every_profile() {
    holds(graph::aborting(Tree::read().text("Cargo.toml")));
}

#[test]
fn every_example_is_listed_short_and_explained() {
    let tree = Tree::read();
    let pages = tree.markdown().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
    let files: Vec<_> = tree.under("examples/").filter(|(path, _)| path.matches('/').count() == 1).collect();
    holds(lists::examples(&files, tree.text("examples/Cargo.toml"), &pages));
}

#[test]
fn every_error_code_is_listed() {
    let codes = callboard_broker::code::all();
    assert!(!codes.is_empty());
    holds(lists::codes(codes, Tree::read().text("docs/errors/README.md")));
}

#[test]
fn the_readme_begins_with_what_works() {
    let tree = Tree::read();
    holds(pages::readme(tree.text("README.md"), tree.text(".ci/run")));
}

#[test]
fn architecture_names_every_room() {
    let tree = Tree::read();
    holds(pages::rooms(&tree.rooms(), tree.text("ARCHITECTURE.md")));
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let tree = Tree::read();
    holds(tree.markdown().flat_map(|(path, text)| pages::links(path, text, |to| tree.has(to))).collect());
}
