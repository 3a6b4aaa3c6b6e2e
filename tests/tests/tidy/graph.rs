//! Who depends on whom: the manifests against the picture in ARCHITECTURE.md, and against deny.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use callboard_tests::programs::cargo;
use serde_json::Value;

/// What `cargo metadata` says.
pub(crate) struct Metadata(Value);

impl Metadata {
    /// Of the workspace on this platform, without asking a registry: what others need may never have been fetched.
    pub(crate) fn of_workspace() -> Self {
        let cargo = cargo()
            .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &platform()])
            .output()
            .expect("cargo runs");
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        Self(serde_json::from_slice(&cargo.stdout).expect("JSON"))
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.0["packages"].as_array().into_iter().flatten()
    }

    fn nodes(&self) -> impl Iterator<Item = &Value> {
        self.0["resolve"]["nodes"].as_array().into_iter().flatten()
    }

    fn name_of(&self, id: &Value) -> &str {
        self.packages().find(|package| package["id"] == *id).and_then(|package| package["name"].as_str()).unwrap_or("?")
    }

    /// The packages of the workspace.
    pub(crate) fn members(&self) -> BTreeSet<String> {
        let ids = self.0["workspace_members"].as_array().into_iter().flatten();
        ids.map(|id| self.name_of(id).to_owned()).collect()
    }

    /// Those of our own that a package depends on, tests and build scripts apart.
    pub(crate) fn ours_below(&self, name: &str) -> BTreeSet<String> {
        let members = self.members();
        let package = self.packages().find(|package| package["name"] == name);
        let all = package.and_then(|package| package["dependencies"].as_array()).into_iter().flatten();
        let normal = all.filter(|dependency| dependency["kind"].is_null());
        let names = normal.filter_map(|dependency| dependency["name"].as_str());
        names.filter(|name| members.contains(*name)).map(str::to_owned).collect()
    }

    /// Who depends on a crate and may not.
    pub(crate) fn walls(&self, deny: &Deny) -> Vec<String> {
        let mut found = Vec::new();
        for node in self.nodes() {
            let who = self.name_of(&node["id"]);
            for dependency in node["deps"].as_array().into_iter().flatten() {
                let on = self.name_of(&dependency["pkg"]);
                if let Some(ban) = deny.bans.iter().find(|ban| ban.name == on && !ban.wrappers.iter().any(|w| w == who))
                {
                    found.push(format!("{who} depends on {on}: {}", ban.reason));
                }
            }
        }
        found
    }

    /// Packages whose licence is not allowed.
    pub(crate) fn licences(&self, deny: &Deny) -> Vec<String> {
        let mut found = Vec::new();
        for package in self.packages() {
            let licence = package["license"].as_str().unwrap_or("none");
            if !allowed(licence, &deny.licences) {
                found.push(format!("{}: licence {licence}", package["name"]));
            }
        }
        found
    }

    /// What a crate has switched on beyond what it should.
    pub(crate) fn features(&self, of: &str, expected: &[&str]) -> Vec<String> {
        let node = self.nodes().find(|node| self.name_of(&node["id"]) == of);
        let on = node.and_then(|node| node["features"].as_array()).expect("the crate is used");
        let more = on.iter().filter_map(Value::as_str).filter(|feature| !expected.contains(feature));
        more.map(|feature| format!("{of} has its feature {feature}")).collect()
    }
}

/// The compiler's own platform.
fn platform() -> String {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(rustc.stdout).expect("text");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_owned()
}

/// The part of deny.toml that is held here.
pub(crate) struct Deny {
    bans: Vec<Ban>,
    licences: Vec<String>,
}

struct Ban {
    name: String,
    wrappers: Vec<String>,
    reason: String,
}

impl Deny {
    pub(crate) fn parse(text: &str) -> Self {
        let file: toml::Table = text.parse().expect("deny.toml is TOML");
        let texts = |value: Option<&toml::Value>| {
            let list = value.and_then(toml::Value::as_array).into_iter().flatten();
            list.filter_map(toml::Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let bans = file["bans"]["deny"].as_array().expect("bans.deny").iter().map(|ban| Ban {
            name: ban["crate"].as_str().expect("crate").to_owned(),
            wrappers: texts(ban.get("wrappers")),
            reason: ban["reason"].as_str().expect("a ban has a reason").to_owned(),
        });
        Self { bans: bans.collect(), licences: texts(file["licenses"].get("allow")) }
    }
}

/// Whether an SPDX expression is satisfied by the allowed licences: of `OR` one must be, of `AND` all.
fn allowed(expression: &str, licences: &[String]) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    let each = |part: &str| licences.iter().any(|licence| licence == part.trim());
    // Without brackets this reads `a OR b AND c` as `(a OR b) AND c`, which is never laxer than what was meant.
    expression.split(" AND ").all(|all| all.split(" OR ").any(each))
}

/// The picture: the block of the section "The crates", a line for each, `name -> what it depends on`.
pub(crate) fn picture(architecture: &str) -> BTreeMap<String, BTreeSet<String>> {
    let section = architecture.split("\n## ").find(|section| section.starts_with("The crates\n"));
    let block = section.and_then(|section| section.split("```").nth(1)).expect("a block under `## The crates`");
    let rows = block.lines().skip(1).filter(|line| !line.trim().is_empty()).map(|line| {
        let (name, below) = line.split_once("->").unwrap_or((line, ""));
        let below = below.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        (name.trim().to_owned(), below.collect())
    });
    rows.collect()
}

/// Profiles in which a panic would end the process.
pub(crate) fn aborting(manifest: &str) -> Vec<String> {
    let file: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let profiles = file.get("profile").and_then(toml::Value::as_table).into_iter().flatten();
    let bad =
        profiles.filter(|(_, settings)| settings.get("panic").is_some_and(|panic| panic.as_str() != Some("unwind")));
    bad.map(|(name, _)| format!("profile {name} does not unwind")).collect()
}

#[cfg(test)]
fn small() -> Metadata {
    let package = |name: &str, licence: &str, on: &str| serde_json::json!({ "id": name, "name": name, "license": licence, "dependencies": [{ "name": on, "kind": null }] });
    Metadata(serde_json::json!({
        "packages": [package("cli", "MIT", "lib"), package("lib", "GPL-3.0", "actors"), package("actors", "MIT/Apache-2.0", "x")],
        "workspace_members": ["cli", "lib"],
        "resolve": { "nodes": [
            { "id": "cli", "deps": [{ "pkg": "lib" }], "features": [] },
            { "id": "lib", "deps": [{ "pkg": "actors" }], "features": [] },
            { "id": "actors", "deps": [], "features": ["a", "b"] },
        ] },
    }))
}

#[test]
fn a_wall_that_is_broken_is_found() {
    let deny = |wrapper: &str| {
        let text = format!(
            "[bans]\ndeny = [{{ crate = \"actors\", wrappers = [\"{wrapper}\"], reason = \"inside\" }}]\n[licenses]\nallow = [\"MIT\"]"
        );
        Deny::parse(&text)
    };
    assert_eq!(small().walls(&deny("lib")), Vec::<String>::new());
    assert_eq!(small().walls(&deny("cli")), ["lib depends on actors: inside"]);
    assert_eq!(small().licences(&deny("lib")), ["\"lib\": licence GPL-3.0"]);
    assert_eq!(small().features("actors", &["a"]), ["actors has its feature b"]);
}

#[test]
fn the_picture_is_read_and_differs_when_it_is_wrong() {
    let page = "# A\n\n## The crates\n\nWords.\n\n```text\ncli -> lib\nlib\n```\n\n## More\n";
    let read = picture(page);
    assert_eq!(read["cli"], small().ours_below("cli"));
    assert_eq!(read["lib"], small().ours_below("lib"));
    assert_ne!(picture(&page.replace("cli -> lib", "cli"))["cli"], small().ours_below("cli"));
}

#[test]
fn licences_of_several_are_judged() {
    let ours = ["MIT".to_owned(), "ISC".to_owned()];
    for good in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(MIT OR GPL-3.0) AND ISC"] {
        assert!(allowed(good, &ours), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "none", "(MIT OR ISC) AND GPL-3.0"] {
        assert!(!allowed(bad, &ours), "{bad}");
    }
}

#[test]
fn an_aborting_profile_is_found() {
    assert_eq!(
        aborting("[profile.dev]\npanic = \"unwind\"\n[profile.tiny]\npanic = \"abort\""),
        ["profile tiny does not unwind"]
    );
}
