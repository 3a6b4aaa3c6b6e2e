//! What an offer says of itself: as a micro service of the name that all agents share, and as a heartbeat. Pure.

use serde_json::{Value, json};

use super::wire;
use crate::clock::Millis;
use crate::nats::link::Link;
use crate::nats::service::{Counted, rfc3339};
use crate::subject::CapabilityName;

/// The name under which the agents of every maker are listed.
pub const SERVICE: &str = "agents";
/// The group in which the nodes that offer the same take turns.
pub(super) const GROUP: &str = "agents";
/// What kind of agent is behind an address, its third token.
const AGENT: &str = "callboard";
/// The version of the protocol that is spoken.
const PROTOCOL: &str = "0.3";
/// What can be asked about a service.
const ABOUT: [&str; 3] = ["PING", "INFO", "STATS"];

/// A capability as callers find it.
pub(super) struct Listing {
    capability: CapabilityName,
    about: String,
    attachments: bool,
    owner: String,
    node: String,
    id: String,
    started: Millis,
    beat: u64,
    most: usize,
}

impl Listing {
    pub(super) fn new(link: &Link, offer: &super::Offer, options: &super::Options, most: usize) -> Self {
        Self {
            about: offer.about.clone(),
            attachments: offer.attachments,
            owner: options.owner.clone(),
            node: link.node.to_string(),
            id: format!("{}-{:08x}-{}", link.node, link.boot, offer.capability.to_token()),
            capability: offer.capability.clone(),
            started: link.clock.now(),
            beat: options.beat.as_secs().max(1),
            most,
        }
    }

    /// Where it is prompted, beats, or is asked how it is.
    pub(super) fn subject(&self, verb: &str) -> String {
        format!("agents.{verb}.{AGENT}.{}.{}", self.owner, self.capability.to_token())
    }

    /// Where it is asked about itself: as one of all services, as one of all agents, and alone.
    pub(super) fn subjects(&self) -> impl Iterator<Item = String> {
        let whom = |about: &str| {
            [format!("$SRV.{about}"), format!("$SRV.{about}.{SERVICE}"), format!("$SRV.{about}.{SERVICE}.{}", self.id)]
        };
        ABOUT.into_iter().flat_map(whom)
    }

    /// The answer to a question on one of those.
    pub(super) fn told(&self, subject: &str, prompts: Counted, asked: Counted) -> Value {
        let about = subject.split('.').nth(1).unwrap_or_default();
        let mut told = json!({
            "type": format!("io.nats.micro.v1.{}_response", about.to_lowercase()),
            "name": SERVICE, "id": self.id, "version": env!("CARGO_PKG_VERSION"),
            "metadata": {
                "agent": AGENT, "owner": self.owner, "protocol_version": PROTOCOL,
                "capability": self.capability, "node": self.node,
            },
        });
        let endpoint = |verb: &str| json!({ "name": verb, "subject": self.subject(verb), "queue_group": GROUP });
        match about {
            "INFO" => {
                let mut prompt = endpoint("prompt");
                prompt["metadata"] =
                    json!({ "max_payload": wire::size(self.most), "attachments_ok": self.attachments.to_string() });
                told["description"] = self.about.as_str().into();
                told["endpoints"] = json!([prompt, endpoint("status")]);
            }
            "STATS" => {
                let measured = |verb, counted: Counted| {
                    let mut one = endpoint(verb);
                    one["num_requests"] = counted.requests.into();
                    one["num_errors"] = counted.errors.into();
                    one["last_error"] = "".into();
                    one["processing_time"] = counted.nanos.into();
                    one["average_processing_time"] = (counted.nanos / counted.requests.max(1)).into();
                    one
                };
                told["started"] = rfc3339(self.started).into();
                told["endpoints"] = json!([measured("prompt", prompts), measured("status", asked)]);
            }
            _ => {}
        }
        told
    }

    /// Its sign of life, and the answer to how it is.
    pub(super) fn heartbeat(&self, now: Millis) -> Value {
        json!({
            "agent": AGENT, "owner": self.owner, "instance_id": self.id, "ts": rfc3339(now), "interval_s": self.beat,
            "protocol_version": PROTOCOL,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        Listing {
            capability: CapabilityName::parse("research.web").unwrap(),
            about: "reads the web".into(),
            attachments: true,
            owner: "acme".into(),
            node: "a".into(),
            id: "a-00000007-research-web".into(),
            started: 1_700_000_000_000,
            beat: 30,
            most: 1 << 20,
        }
    }

    #[test]
    fn it_is_listed_under_the_name_of_all_agents_with_its_address() {
        let info = listing().told("$SRV.INFO.agents", Counted::default(), Counted::default());
        assert_eq!((&info["name"], &info["metadata"]["protocol_version"]), (&json!("agents"), &json!("0.3")));
        let [prompt, status] = info["endpoints"].as_array().unwrap().as_slice() else { panic!("{info}") };
        assert_eq!(prompt["subject"], "agents.prompt.callboard.acme.research-web");
        assert_eq!(prompt["metadata"], json!({ "max_payload": "1MB", "attachments_ok": "true" }));
        assert_eq!((&status["name"], &status["queue_group"]), (&json!("status"), &json!("agents")));
        assert!(listing().subjects().any(|subject| subject == "$SRV.PING.agents.a-00000007-research-web"));
    }

    #[test]
    fn its_figures_are_those_of_its_prompts() {
        let counted = Counted { requests: 4, errors: 1, nanos: 400 };
        let stats = listing().told("$SRV.STATS", counted, Counted::default());
        let prompt = &stats["endpoints"][0];
        assert_eq!((&prompt["num_requests"], &prompt["average_processing_time"]), (&json!(4), &json!(100)));
        assert_eq!(stats["started"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_heartbeat_names_the_instance() {
        let beat = listing().heartbeat(1_700_000_000_000);
        assert_eq!((&beat["instance_id"], &beat["interval_s"]), (&json!("a-00000007-research-web"), &json!(30)));
        assert_eq!(listing().subject("hb"), "agents.hb.callboard.acme.research-web");
    }
}
