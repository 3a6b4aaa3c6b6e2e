//! How much what was acknowledged survives.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The profiles of a broker on NATS, each with all that is promised by those before it. An embedded store has one that
/// its kind says: `memory`, or `durable` for a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The end of any process. A loss of power may take acknowledged writes along.
    #[default]
    CrashSafe,
    /// A loss of power too: what is acknowledged was forced to the disk before.
    Durable,
    /// The loss of a server with its disk too: three copies or more, each forced to its disk.
    Replicated,
}

impl Profile {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::CrashSafe, Self::Durable, Self::Replicated];

    /// Its name, as it is written in files and options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CrashSafe => "crash-safe",
            Self::Durable => "durable",
            Self::Replicated => "replicated",
        }
    }

    /// The profile of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == text.trim())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
