//! What may be set in the environment. A variable that begins as ours do and that nobody reads is refused rather than
//! ignored, for a misspelt one that is ignored does its harm in silence.

use std::collections::HashSet;

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
/// What Kubernetes tells of every service.
const HOST_AND_PORT: [&str; 2] = ["_SERVICE_HOST", "_SERVICE_PORT"];

/// Every variable that is read.
pub fn variables() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.variable).chain(OTHERS)
}

/// Whether all of these variables are ones that somebody reads, or none of ours. None of ours are those that Kubernetes
/// sets in every pod for a service that is called `callboard` or `callboard-...`.
///
/// # Errors
/// Each that begins as ours do and is not read, with the one that was most likely meant.
pub fn check_variables(names: impl IntoIterator<Item = String>) -> Result<(), Problems> {
    let names: HashSet<String> = names.into_iter().filter(|name| name.starts_with(PREFIX)).collect();
    let mut unknown: Vec<Problem> =
        names.iter().filter(|name| !is_of_service(name, &names)).filter_map(|name| unknown(name)).collect();
    unknown.sort_by(|a, b| a.what.cmp(&b.what));
    let mut problems = Problems::new();
    problems.extend(unknown);
    problems.or(())
}

/// Whether Kubernetes has set it to tell where a service is. It tells of each service its host and its port, so what only
/// looks like it, as a `CALLBOARD_BROKER_PORT` that somebody hoped would be read, stays a mistake.
fn is_of_service(name: &str, all: &HashSet<String>) -> bool {
    let is_told = |service: &str| HOST_AND_PORT.iter().all(|end| all.contains(&format!("{service}{end}")));
    let ends = name.match_indices('_').map(|(at, _)| name.split_at(at));
    ends.filter(|(_, end)| is_end_of_service(end)).any(|(service, _)| is_told(service))
}

/// The ends that such names have: `_SERVICE_HOST`, `_SERVICE_PORT` and `_SERVICE_PORT_WEB` of a port with a name, `_PORT`,
/// and of each port `_PORT_4222_TCP` alone and with `_PROTO`, `_PORT` and `_ADDR`.
fn is_end_of_service(end: &str) -> bool {
    if HOST_AND_PORT.contains(&end) || end == "_PORT" {
        return true;
    }
    if let Some(port) = end.strip_prefix("_SERVICE_PORT_") {
        return !port.is_empty();
    }
    let mut parts = end.strip_prefix("_PORT_").unwrap_or_default().split('_');
    parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
        && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
        && parts.next().is_none_or(|of| ["PROTO", "PORT", "ADDR"].contains(&of))
        && parts.next().is_none()
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

    /// What a pod has in a namespace with the services `callboard`, with one port, and `callboard-broker`, with two.
    const OF_KUBERNETES: [&str; 19] = [
        "CALLBOARD_SERVICE_HOST",
        "CALLBOARD_SERVICE_PORT",
        "CALLBOARD_PORT",
        "CALLBOARD_PORT_8080_TCP",
        "CALLBOARD_PORT_8080_TCP_PROTO",
        "CALLBOARD_PORT_8080_TCP_PORT",
        "CALLBOARD_PORT_8080_TCP_ADDR",
        "CALLBOARD_BROKER_SERVICE_HOST",
        "CALLBOARD_BROKER_SERVICE_PORT",
        "CALLBOARD_BROKER_SERVICE_PORT_CLIENTS",
        "CALLBOARD_BROKER_SERVICE_PORT_FOR_ROUTES",
        "CALLBOARD_BROKER_PORT",
        "CALLBOARD_BROKER_PORT_4222_TCP",
        "CALLBOARD_BROKER_PORT_4222_TCP_PROTO",
        "CALLBOARD_BROKER_PORT_4222_TCP_PORT",
        "CALLBOARD_BROKER_PORT_4222_TCP_ADDR",
        "CALLBOARD_BROKER_PORT_6222_UDP",
        "CALLBOARD_BROKER_PORT_6222_SCTP_PORT",
        "KUBERNETES_SERVICE_HOST",
    ];

    /// No node started there: each of them was refused as a misspelt setting.
    #[test]
    fn what_kubernetes_sets_for_services_of_our_name_is_no_setting_and_no_mistake() {
        check_variables(OF_KUBERNETES.map(str::to_owned)).unwrap();
        let mut others =
            ["CALLBOARD_STROE", "CALLBOARD_PORT_WEB", "CALLBOARD_PORT_8080_TCP_PROT", "CALLBOARD_NATS_PORT"];
        let wrong = check_variables(OF_KUBERNETES.into_iter().chain(others).map(str::to_owned)).unwrap_err();
        let told: Vec<&str> = wrong.iter().filter_map(|problem| problem.what.split(' ').nth(3)).collect();
        others.sort_unstable();
        assert_eq!(told, others);
    }

    #[test]
    fn a_name_that_only_looks_like_that_of_a_service_is_a_mistake() {
        for alone in ["CALLBOARD_BROKER_PORT", "CALLBOARD_SERVICE_HOST", "CALLBOARD_PORT_4222_TCP"] {
            assert!(check_variables([alone.to_owned()]).is_err(), "{alone}");
        }
    }
}
