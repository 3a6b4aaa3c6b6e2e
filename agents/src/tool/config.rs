//! Which tools are configured, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use callboard_broker::code;
use callboard_broker::problem::{Problem, Problems};
use callboard_broker::subject::CapabilityName;

use super::{AnyTool, Rules, Toolbox, capability, sql};
use crate::net::Net;
use crate::service::Door;

/// A tool, or a family of them, under a name that the node gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolConfig {
    /// What it is.
    pub kind: ToolKind,
    /// Its rules; for all of a family.
    pub rules: Rules,
}

/// The kinds of tools that are built in.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind {
    /// Files below a folder: `NAME.list`, `NAME.read`, `NAME.write`.
    Files {
        /// The folder.
        root: PathBuf,
        /// Whether it may be written to.
        write: bool,
    },
    /// Pages: `NAME.get`, `NAME.post`.
    Http {
        /// Hosts; empty: any that is public.
        hosts: Vec<String>,
        /// Ports; empty: 443 and 80.
        ports: Vec<u16>,
        /// Private addresses and networks that may be opened all the same.
        private: Vec<Net>,
        /// Whether it may post.
        post: bool,
    },
    /// A SQLite database: `NAME.tables`, `NAME.query`, `NAME.execute`.
    Sql {
        /// Its file.
        file: PathBuf,
        /// Whether rows may be changed.
        write: bool,
        /// Rows of a result at most.
        rows: usize,
    },
    /// What other agents serve: `NAME`.
    Capability(CapabilityName),
}

/// The tools that are configured. `door` is what is known of a capability here.
///
/// # Errors
/// Everything that cannot be opened, and what this build has not.
pub fn open(
    tools: &BTreeMap<String, ToolConfig>,
    door: impl Fn(&CapabilityName) -> Option<Door>,
) -> Result<Toolbox, Problems> {
    let (toolbox, mut problems) = (Toolbox::new(), Problems::new());
    // Of two names that begin alike the longer one comes first, and with it its rules.
    for (name, config) in tools.iter().rev() {
        for pattern in [format!("{name}.*"), name.clone()] {
            toolbox.rule(&pattern, config.rules.clone());
        }
        let added = made(name, &config.kind, &door).and_then(|tools| {
            let add = |tool| toolbox.add(tool).map_err(|e| Problem::new(code::DUPLICATE, e.to_string()));
            tools.into_iter().try_for_each(add)
        });
        if let Err(problem) = added {
            problems.push(Problem { what: format!("tool {name}: {}", problem.what), ..problem });
        }
    }
    problems.or(toolbox)
}

type Made = Result<Vec<Arc<dyn AnyTool>>, Problem>;

fn made(name: &str, kind: &ToolKind, door: &impl Fn(&CapabilityName) -> Option<Door>) -> Made {
    match kind {
        ToolKind::Files { root, write } => files(name, root, *write),
        ToolKind::Http { hosts, ports, private, post } => http(name, (hosts, ports, private), *post),
        ToolKind::Sql { file, write, rows } => match file.is_file() {
            true => Ok(sql::tools(name, file, *write, *rows)),
            false => Err(Problem::new(code::FILE, format!("there is no file {}", file.display()))),
        },
        ToolKind::Capability(of) => {
            let tool = capability::tool(name, of.as_str(), door(of).as_ref());
            tool.map(|tool| vec![tool]).map_err(|e| Problem::new(code::NAME, e.to_string()))
        }
    }
}

#[cfg(feature = "files")]
fn files(name: &str, root: &std::path::Path, write: bool) -> Made {
    let unreadable = |e: std::io::Error| Problem::new(code::FILE, format!("{} cannot be opened: {e}", root.display()));
    super::files::tools(name, root, write).map_err(unreadable)
}

#[cfg(not(feature = "files"))]
fn files(_: &str, _: &std::path::Path, _: bool) -> Made {
    Err(Problem::new(code::NOT_ALLOWED, "this build has no tools for files").fix("build with the feature `files`"))
}

#[cfg(feature = "web")]
fn http(name: &str, (hosts, ports, private): (&[String], &[u16], &[Net]), post: bool) -> Made {
    let mut web = super::http::Web { hosts: hosts.to_vec(), ..super::http::Web::default() };
    if !ports.is_empty() {
        web.ports = ports.to_vec();
    }
    web.reach = web.reach.also(private.iter().copied());
    Ok(super::http::tools(name, web, post))
}

#[cfg(not(feature = "web"))]
fn http(_: &str, _: (&[String], &[u16], &[Net]), _: bool) -> Made {
    Err(Problem::new(code::NOT_ALLOWED, "this build has no HTTP client").fix("build with the feature `web`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Risk;

    #[test]
    fn the_rules_of_a_longer_name_are_not_those_of_the_family_that_it_looks_like() {
        let of = |risk| ToolConfig {
            kind: ToolKind::Capability(CapabilityName::parse("shop.any").unwrap()),
            rules: Rules { risk: Some(risk), ..Rules::default() },
        };
        let tools = BTreeMap::from([("shop".to_owned(), of(Risk::Normal)), ("shop.pay".to_owned(), of(Risk::High))]);
        let toolbox = open(&tools, |_| None).unwrap();
        assert_eq!(toolbox.get("shop.pay").unwrap().offer().risk, Risk::High);
        assert_eq!(toolbox.get("shop").unwrap().offer().risk, Risk::Normal);
    }
}
