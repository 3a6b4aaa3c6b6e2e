//! What may be set in the environment. A variable that begins as ours do and that nobody reads is refused rather than
//! ignored, for a misspelt one that is ignored does its harm in silence.

use callboard_broker::code;
use callboard_broker::problem::{Problem, Problems, closest};

use super::SETTINGS;

/// What may be set beside the settings of a node. The command line reads them; one environment is for all programs.
const OTHERS: [&str; 6] = [
    "CALLBOARD_CONFIG",
    "CALLBOARD_HTTP_KEY",
    "CALLBOARD_HTTP_KEY_FILE",
    "CALLBOARD_LOG_FORMAT",
    "CALLBOARD_PERSON",
    "CALLBOARD_RECORD",
];
/// How long this repository's own tests go on and where they find data: of no meaning here, and no mistake either, for
/// the programs that they start inherit them.
const OF_TESTS: [&str; 6] =
    ["CALLBOARD_CALLS", "CALLBOARD_FLIPS", "CALLBOARD_R3", "CALLBOARD_ROUNDS", "CALLBOARD_STRICT", "CALLBOARD_XQUAD"];
const PREFIX: &str = "CALLBOARD_";

/// Every variable that is read.
pub fn variables() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.variable).chain(OTHERS)
}

/// Whether all of these variables are ones that somebody reads, or none of ours.
///
/// # Errors
/// Each that begins as ours do and is not read, with the one that was most likely meant.
pub fn check_variables(names: impl IntoIterator<Item = String>) -> Result<(), Problems> {
    let mut problems = Problems::new();
    problems.extend(names.into_iter().filter_map(|name| unknown(&name)));
    problems.or(())
}

fn unknown(name: &str) -> Option<Problem> {
    let known: Vec<&str> = variables().collect();
    if !name.starts_with(PREFIX) || known.contains(&name) || OF_TESTS.contains(&name) {
        return None;
    }
    let problem = Problem::new(code::UNKNOWN_KEY, format!("the environment variable {name} is not a setting"));
    let problem = match closest(name, &known) {
        Some(meant) => problem.fix(format!("name it {meant}, or unset {name}")),
        None => problem.fix(format!("unset {name}")),
    };
    Some(problem.allowed_near(name, &known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_refused_with_the_one_that_was_meant() {
        let problem = unknown("CALLBOARD_STROE").unwrap();
        assert_eq!(problem.fix.as_deref(), Some("name it CALLBOARD_STORE, or unset CALLBOARD_STROE"));
        let others = ["CALLBOARD_STORE", "CALLBOARD_CONFIG", "CALLBOARD_STRICT", "PATH"];
        assert!(check_variables(others.map(str::to_owned)).is_ok());
    }
}
