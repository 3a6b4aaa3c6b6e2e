//! The table `[models.cache]` of a node's file.

use callboard_agents::llm::{CacheConfig, CachePlace};

use super::Table;
use crate::period::Period;

/// The most answers that may be kept.
const MAX_ENTRIES: u64 = 10_000;

pub(super) fn cache(mut table: Table<'_>) -> CacheConfig {
    let places = [("memory", CachePlace::Memory), ("store", CachePlace::Store), ("off", CachePlace::Off)];
    let default = CacheConfig::default();
    let config = CacheConfig {
        place: table.choice("place", &places).unwrap_or(default.place),
        entries: table
            .number("entries", 1..=MAX_ENTRIES)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(default.entries),
        keep: table.period("keep").map_or(default.keep, Period::length),
        sampled: table.flag("sampled").unwrap_or(default.sampled),
        tools: table.flag("tools").unwrap_or(default.tools),
    };
    table.close();
    config
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::node::Config;

    #[test]
    fn a_cache_is_configured_and_its_mistakes_have_places() {
        let text = "[models.cache]\nplace = \"store\"\nentries = 50\nkeep = \"10m\"\nsampled = true\ntools = true\n";
        let read = Config::from_toml("node.toml", text).unwrap().models.cache;
        let keep = Duration::from_secs(600);
        assert_eq!(read, CacheConfig { place: CachePlace::Store, entries: 50, keep, sampled: true, tools: true });
        assert_eq!(Config::from_toml("node.toml", "[models.cache]\n").unwrap().models.cache, CacheConfig::default());
        let wrong = "[models.cache]\nplace = \"disk\"\nentries = 0\nkeep = 3\nhits = 1\n";
        let problems = Config::from_toml("node.toml", wrong).unwrap_err();
        let lines: Vec<usize> = problems.iter().filter_map(|problem| Some(problem.at.as_ref()?.line)).collect();
        assert_eq!(lines, [2, 3, 4, 5], "{problems}");
    }
}
