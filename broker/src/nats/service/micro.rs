//! What the service of a node says of itself: pure.
//!
//! The three documents are those of the NATS micro service protocol, so that `nats micro ls`, `info` and `stats` show
//! nodes without knowing them.

use serde_json::{Value, json};

use super::{Counted, SERVICE};
use crate::clock::Millis;
use crate::id::NodeName;
use crate::nats::names;
use crate::subject::CapabilityName;

/// What can be asked about a service.
const ABOUT: [&str; 3] = ["PING", "INFO", "STATS"];
/// The group in which the members of a capability take turns.
const GROUP: &str = "q";

/// A node as a service.
pub(super) struct Service {
    node: String,
    id: String,
    started: String,
    verbs: Vec<(String, String)>,
}

impl Service {
    pub(super) fn new(node: &NodeName, boot: u32, verbs: &[String], now: Millis) -> Self {
        let verbs = verbs.iter().map(|verb| (verb.clone(), names::control(node, verb))).collect();
        Self { node: node.to_string(), id: format!("{node}-{boot:08x}"), started: rfc3339(now), verbs }
    }

    /// Where it is asked about itself: as one of all services, of this kind, and alone.
    pub(super) fn subjects(&self) -> impl Iterator<Item = String> {
        let whom = |about: &str| {
            [format!("$SRV.{about}"), format!("$SRV.{about}.{SERVICE}"), format!("$SRV.{about}.{SERVICE}.{}", self.id)]
        };
        ABOUT.into_iter().flat_map(whom)
    }

    /// The answer to a question on one of its subjects.
    pub(super) fn told(&self, subject: &str, served: &[(CapabilityName, Value)], verbs: Counted) -> Value {
        let about = subject.split('.').nth(1).unwrap_or_default();
        let mut told = json!({
            "type": format!("io.nats.micro.v1.{}_response", about.to_lowercase()),
            "name": SERVICE, "id": self.id, "version": env!("CARGO_PKG_VERSION"), "metadata": { "node": self.node },
        });
        match about {
            "INFO" => {
                told["description"] = "a node of Callboard: its control, and the capabilities that it serves".into();
                told["endpoints"] = self.endpoints(served).collect();
            }
            "STATS" => {
                told["started"] = self.started.as_str().into();
                told["endpoints"] = self.measured(served, verbs).collect();
            }
            _ => {}
        }
        told
    }

    fn endpoints(&self, served: &[(CapabilityName, Value)]) -> impl Iterator<Item = Value> {
        let endpoint = |name: &str, subject: String, serves: &str| json!({ "name": name, "subject": subject, "queue_group": GROUP, "metadata": { "serves": serves } });
        let verbs = self.verbs.iter().map(move |(verb, subject)| endpoint(verb, subject.clone(), "control"));
        let served = served.iter().map(move |(name, _)| {
            let token = name.to_token();
            endpoint(&token, names::req(name), name.as_str())
        });
        verbs.chain(served.collect::<Vec<_>>())
    }

    /// Verbs are counted together, under the first.
    fn measured(&self, served: &[(CapabilityName, Value)], verbs: Counted) -> impl Iterator<Item = Value> {
        let endpoint = |name: &str, subject: &str, counted: Counted, data: Value| {
            let mean = counted.nanos / counted.requests.max(1);
            json!({
                "name": name, "subject": subject, "queue_group": GROUP, "num_requests": counted.requests,
                "num_errors": counted.errors, "last_error": "", "processing_time": counted.nanos,
                "average_processing_time": mean, "data": data,
            })
        };
        let of_verbs = self.verbs.iter().enumerate().map(move |(at, (verb, subject))| {
            endpoint(verb, subject, if at == 0 { verbs } else { Counted::default() }, Value::Null)
        });
        let of_served = served.iter().map(move |(name, figures)| {
            let number = |field: &str| figures[field].as_u64().unwrap_or_default();
            let (done, failed) = (number("done"), number("failed"));
            let counted = Counted { requests: done + failed, errors: failed, nanos: 0 };
            endpoint(&name.to_token(), &names::req(name), counted, figures.clone())
        });
        of_verbs.chain(of_served.collect::<Vec<_>>())
    }
}

/// A time as services write it.
pub(in crate::nats) fn rfc3339(at: Millis) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000);
    let text = at.ok().and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service::new(&NodeName::parse("a").unwrap(), 7, &["info".into(), "tree".into()], 1_700_000_000_000)
    }

    #[test]
    fn it_is_asked_as_one_of_all_of_its_kind_and_alone() {
        let subjects: Vec<String> = service().subjects().collect();
        for subject in ["$SRV.PING", "$SRV.INFO.callboard-node", "$SRV.STATS.callboard-node.a-00000007"] {
            assert!(subjects.iter().any(|one| one == subject), "{subject} in {subjects:?}");
        }
        assert_eq!(subjects.len(), 9);
    }

    #[test]
    fn every_capability_is_an_endpoint_with_its_figures() {
        let served =
            [(CapabilityName::parse("research.web").unwrap(), json!({ "done": 3, "failed": 1, "waiting": 9 }))];
        let counted = Counted { requests: 4, errors: 1, nanos: 400 };
        let stats = service().told("$SRV.STATS.callboard-node", &served, counted);
        assert_eq!(stats["type"], "io.nats.micro.v1.stats_response");
        assert_eq!(stats["started"], "2023-11-14T22:13:20Z");
        let [info, _, web] = stats["endpoints"].as_array().unwrap().as_slice() else { panic!("{stats}") };
        assert_eq!((&info["subject"], &info["average_processing_time"]), (&json!("cb.v1.ctl.a.info"), &json!(100)));
        assert_eq!((&web["subject"], &web["num_requests"]), (&json!("cb.v1.req.research-web"), &json!(4)));
        assert_eq!(web["data"]["waiting"], 9);
        let info = service().told("$SRV.INFO", &served, counted);
        assert_eq!(info["endpoints"][2]["metadata"]["serves"], "research.web");
        assert_eq!(service().told("$SRV.PING", &served, counted)["metadata"]["node"], "a");
    }
}
