//! What the compiler tells a user who made a mistake, and that it says nothing to one who made none.
//!
//! Each file of `compile/` but one is a small contract with one mistake, and the text beside it is what the pinned compiler
//! says. After a change of compiler, `TRYBUILD=overwrite` writes the texts anew, to be read before they are committed.

/// Built with this test and not by `trybuild`, which then has nothing to build: a mistake is found by a check.
#[path = "compile/right.rs"]
mod right;

#[test]
fn what_is_right_compiles() {
    right::main();
}

#[test]
fn a_mistake_is_told_where_it_was_made_and_in_our_words() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile/missing_payload.rs");
    cases.compile_fail("tests/compile/wrong_agent.rs");
    cases.compile_fail("tests/compile/bad_name.rs");
    cases.compile_fail("tests/compile/wrong_request.rs");
    cases.compile_fail("tests/compile/agent_not_send.rs");
    cases.compile_fail("tests/compile/bad_argument.rs");
}
