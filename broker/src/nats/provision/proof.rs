//! How durable this broker is, and the proof of it.
//!
//! That a server forces what it stores to its disk can be seen on its monitoring port alone, which nodes need not reach.
//! So whoever provisions looks there once, and writes down what was seen into the metadata of the stream of runs, which
//! only who may change streams can write. A node reads it at its start and compares it with where the streams are kept
//! now: a stream on a server that nothing was seen of is proved to be crash-safe and no more. Servers are known by their
//! names; one without a name of its own has another one after each start.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::monitor::{self, Witness};
use super::{Layout, in_memory, name_of};
use crate::clock::Millis;
use crate::code;
use crate::error::{Error, Result};
use crate::nats::link::Link;
use crate::nats::names;
use crate::problem::Problem;
use crate::profile::Profile;

/// Where the proof stands in the metadata of [`names::RUNS`].
pub const PROOF: &str = "callboard.proof";
/// Copies from which on the loss of a server costs nothing.
const COPIES: u64 = 3;

/// What was seen, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What was asked for and found.
    pub profile: Profile,
    /// When.
    pub at: Millis,
    /// The names of the servers that said that they sync always.
    pub servers: BTreeSet<String>,
}

/// How durable a broker is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Durability {
    /// What is proved.
    pub profile: Profile,
    /// The proof that is on record.
    pub proof: Option<Proof>,
    /// Why it is not more.
    pub why: Option<String>,
}

/// Where a stream is kept.
#[derive(Clone, Debug)]
struct Kept {
    stream: String,
    on: BTreeSet<String>,
    copies: u64,
}

/// How durable the broker is by what is on record.
///
/// # Errors
/// `Unavailable`; `Denied`.
pub async fn durability(link: &Link) -> Result<Durability> {
    let runs = info(link, names::RUNS).await?;
    let proof = runs["config"]["metadata"][PROOF].as_str().and_then(|text| serde_json::from_str(text).ok());
    match proof {
        None => Ok(judge(None, &[])),
        proof => Ok(judge(proof, &kept(link).await?)),
    }
}

/// Looks at the servers' monitoring ports and puts on record that the broker is of this profile. For crash-safe there is
/// nothing to prove, and what was on record is removed.
///
/// # Errors
/// `Config` with everything that stands against it, and nothing is put on record then; `Decode` and `Unavailable` for an
/// address at which no server tells anything; `Denied`.
pub async fn prove(link: &Link, profile: Profile, monitors: &[String]) -> Result<Durability> {
    if profile == Profile::CrashSafe {
        record(link, None).await?;
        return durability(link).await;
    }
    let mut witnesses = Vec::new();
    for address in monitors {
        witnesses.push((address.clone(), monitor::ask(address).await?));
    }
    let here = link.client.server_info();
    let against = against(profile, &witnesses, &kept(link).await?, (&here.server_name, &here.server_id));
    if !against.is_empty() {
        let mut problems = crate::problem::Problems::new();
        against.into_iter().for_each(|problem| problems.push(problem));
        return Err(Error::Config(Box::new(problems)));
    }
    let servers = witnesses.into_iter().map(|(_, witness)| witness.name).collect();
    record(link, Some(&Proof { profile, at: link.clock.now(), servers })).await?;
    durability(link).await
}

/// Refuses a broker that is not proved to be what was asked for.
pub(crate) fn demand(asked: Profile, found: &Durability, address: &str) -> Result<()> {
    if found.profile >= asked {
        return Ok(());
    }
    let what = format!("{address} is {}, and {asked} was asked for", found.profile);
    let problem = Problem::new(code::PROFILE, what).note(found.why.clone().unwrap_or_default());
    let fix = format!("callboard provision --profile {asked} --monitor http://HOST:8222");
    Err(Error::Config(Box::new(problem.fix(fix).into())))
}

async fn info(link: &Link, stream: &str) -> Result<Value> {
    link.info(stream).await?.map_err(|e| e.into_error(stream))
}

/// Where everything is kept that is to outlive a server.
async fn kept(link: &Link) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for stream in Layout::default().streams().iter().map(name_of).filter(|stream| !in_memory(stream)) {
        let info = info(link, &stream).await?;
        let cluster = &info["cluster"];
        let peers = cluster["replicas"].as_array().into_iter().flatten().map(|peer| &peer["name"]);
        let mut on: BTreeSet<String> =
            peers.chain([&cluster["leader"]]).filter_map(Value::as_str).map(str::to_owned).collect();
        if on.is_empty() {
            on.insert(link.client.server_info().server_name);
        }
        kept.push(Kept { stream, on, copies: info["config"]["num_replicas"].as_u64().unwrap_or(1) });
    }
    Ok(kept)
}

async fn record(link: &Link, proof: Option<&Proof>) -> Result<()> {
    let mut config = info(link, names::RUNS).await?["config"].take();
    let before = config["metadata"].as_object().is_some_and(|metadata| metadata.contains_key(PROOF));
    match proof {
        None if !before => return Ok(()),
        None => {
            config["metadata"].as_object_mut().map(|metadata| metadata.remove(PROOF));
        }
        Some(proof) => config["metadata"][PROOF] = json!(json!(proof).to_string()),
    }
    let said = link.api(&format!("STREAM.UPDATE.{}", names::RUNS), config).await?;
    said.map(drop).map_err(|e| e.into_error(names::RUNS))
}

/// What a proof is worth, by where the streams are kept now.
fn judge(proof: Option<Proof>, kept: &[Kept]) -> Durability {
    let unproved = |proof, why: String| Durability { profile: Profile::CrashSafe, proof, why: Some(why) };
    let Some(proof) = proof else { return unproved(None, "nothing more was proved of it".into()) };
    let strange = kept.iter().find_map(|kept| Some((&kept.stream, kept.on.difference(&proof.servers).next()?)));
    if let Some((stream, server)) = strange {
        let why = format!("{stream} is kept by the server {server}, of which nothing was proved");
        return unproved(Some(proof), why);
    }
    match kept.iter().find(|kept| kept.copies < COPIES) {
        Some(few) if proof.profile == Profile::Replicated => {
            let why = Some(format!("{} has {} of {COPIES} copies", few.stream, few.copies));
            Durability { profile: Profile::Durable, proof: Some(proof), why }
        }
        _ => Durability { profile: proof.profile, proof: Some(proof), why: None },
    }
}

/// Everything that stands against a profile. `here`: name and id of the server that this process is connected to.
fn against(profile: Profile, witnesses: &[(String, Witness)], kept: &[Kept], (name, id): (&str, &str)) -> Vec<Problem> {
    let problem = |what: String| Problem::new(code::PROFILE, what);
    let mut problems = Vec::new();
    for (address, seen) in witnesses {
        if seen.name == name && seen.id != id {
            let what = format!("{address} speaks of another server that is called {name} too");
            problems.push(problem(what).fix("the monitoring address of the servers of this broker"));
        } else if !seen.sync_always {
            let what = format!("a server syncs its disk every {} s, not always: {}", seen.sync_seconds, seen.name);
            problems.push(
                problem(what).fix("jetstream { sync_interval: always } in its configuration, then start it again"),
            );
        }
    }
    let mut unseen: BTreeMap<&str, &str> = BTreeMap::new();
    for kept in kept {
        let strange = kept.on.iter().filter(|server| witnesses.iter().all(|(_, seen)| seen.name != **server));
        unseen.extend(strange.map(|server| (server.as_str(), kept.stream.as_str())));
        if profile == Profile::Replicated && kept.copies < COPIES {
            let what = format!("{} has {} of {COPIES} copies", kept.stream, kept.copies);
            problems.push(problem(what).fix("callboard provision --replicas 3 --profile replicated, on a cluster"));
        }
    }
    for (server, stream) in unseen {
        let what = format!("{stream} is kept by a server of which no --monitor speaks: {server}");
        problems.push(
            problem(what).fix("--monitor http://HOST:8222 for each server, with `http: 8222` in its configuration"),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(on: &[&str], copies: u64) -> Vec<Kept> {
        vec![Kept { stream: names::RUNS.into(), on: on.iter().map(|one| (*one).to_owned()).collect(), copies }]
    }

    fn proof(profile: Profile, servers: &[&str]) -> Option<Proof> {
        Some(Proof { profile, at: 1, servers: servers.iter().map(|one| (*one).to_owned()).collect() })
    }

    #[test]
    fn a_proof_is_worth_what_it_says_of_where_the_streams_are() {
        use Profile::*;
        let all = ["a", "b", "c"];
        for (proof, kept, worth) in [
            (None, kept(&["a"], 1), CrashSafe),
            (proof(Durable, &["a"]), kept(&["a"], 1), Durable),
            (proof(Durable, &["a"]), kept(&["b"], 1), CrashSafe),
            (proof(Durable, &all), kept(&all, 3), Durable),
            (proof(Replicated, &all), kept(&all, 3), Replicated),
            (proof(Replicated, &all), kept(&["b"], 1), Durable),
            (proof(Replicated, &["a", "b"]), kept(&all, 3), CrashSafe),
        ] {
            let found = judge(proof.clone(), &kept);
            assert_eq!(found.profile, worth, "{proof:?} {kept:?}");
            let short = found.profile < proof.map_or(Replicated, |proof| proof.profile);
            assert_eq!(found.why.is_some(), short, "{found:?}");
        }
    }

    #[test]
    fn whatever_stands_against_a_profile_is_told_at_once() {
        let witness = |name: &str, id: &str, sync_always| {
            let seen = Witness { id: id.into(), name: name.into(), sync_always, sync_seconds: 120 };
            (format!("http://{name}:8222"), seen)
        };
        let against = |profile, witnesses: &[_], kept: &[Kept]| -> Vec<String> {
            against(profile, witnesses, kept, ("a", "ID-A")).into_iter().map(|problem| problem.what).collect()
        };
        let a = witness("a", "ID-A", true);
        assert!(against(Profile::Durable, std::slice::from_ref(&a), &kept(&["a"], 1)).is_empty());
        let few = against(Profile::Replicated, std::slice::from_ref(&a), &kept(&["a"], 1));
        assert!(few.len() == 1 && few[0].contains("1 of 3 copies"), "{few:?}");
        let found = against(Profile::Replicated, &[a, witness("b", "ID-B", false)], &kept(&["a", "b", "c"], 2));
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], "a server syncs its disk every 120 s, not always: b");
        assert!(found[2].contains("no --monitor speaks: c"), "{found:?}");
        let other = against(Profile::Durable, &[witness("a", "ID-Z", true)], &kept(&["a"], 1));
        assert!(other[0].contains("another server"), "{other:?}");
    }
}
