//! Which MCP servers there are, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use callboard_agents::llm::Secret;
use callboard_agents::tool::Rules;

/// How long a server may take until it has said what it has, unless told otherwise: 30 s. Some are installed first.
pub const START: Duration = Duration::from_secs(30);

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub struct McpConfig {
    /// Where it is.
    pub place: McpPlace,
    /// Whether it is believed when it says that a tool only reads. Otherwise each is taken for one that writes. Default:
    /// for a process that this node starts, and that has its rights in any case.
    pub hints: bool,
    /// How long it may take to start. Default [`START`].
    pub start: Duration,
    /// The rules of all its tools.
    pub rules: Rules,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq)]
pub enum McpPlace {
    /// A process of its own, spoken to over its standard input and output.
    Process {
        /// The program and its arguments.
        command: Vec<String>,
        /// Variables of its environment, which may be keys. Of that of the node it has `PATH`, `HOME`, `LANG` and
        /// `TMPDIR` alone.
        env: BTreeMap<String, Secret>,
        /// Variables that it has of the node's environment beside those: keys, by name.
        env_from: Vec<String>,
        /// The folder that it works in. Default: that of the node.
        folder: Option<PathBuf>,
    },
    /// An address, over streamable HTTP.
    Address {
        /// The address.
        url: String,
        /// A file with the key that it wants as a bearer token.
        key_file: Option<PathBuf>,
    },
}
