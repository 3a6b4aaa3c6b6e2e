//! Versions of agents: which of them began a task, and which may go on with it.
//!
//! The records of a log are answers to what one version of a handler asked. Another version may ask for something else,
//! so a task stays with the version that began it, unless the one that takes it over says that it can read older logs.
//! The version is written with each claim, as an optional field: whoever does not know it reads the log as before.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Entry, Record, Release};
use crate::subject::BadName;

/// How long a task waits for somebody who serves the version that began it, unless the agent says so: 1 h.
pub const VERSION_WAIT: Duration = Duration::from_secs(3_600);
/// The longest name of a version.
const MAX: usize = 40;

/// The version of an agent, such as `2` or `2026.11.3`. Cheap to clone.
///
/// Versions are ordered part by part, the parts being what dots separate: numbers by their value and before words, words
/// by their letters. So `9` is older than `10`, and `1.2` older than `1.2.1`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// Checks the name: 1 to 40 letters, digits, `.`, `_`, `+` and `-`.
    ///
    /// # Errors
    /// [`BadName`] for another.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        if (1..=MAX).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(BadName::new("version", name, "1 to 40 letters, digits, `.`, `_`, `+` and `-`"))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        fn part(text: &str) -> (bool, usize, &str) {
            let digits = text.trim_start_matches('0');
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if is_number { (false, digits.len(), digits) } else { (true, 0, text) }
        }
        let parts = self.0.split('.').map(part).cmp(other.0.split('.').map(part));
        // `1.0` and `1.00` are of the same age and two names all the same.
        parts.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What a worker serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Its version.
    pub version: Version,
    /// Whether it goes on with what older versions began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub migrates: bool,
    /// How long a task that it may not take waits for somebody who may, before it is given up. Default [`VERSION_WAIT`].
    #[serde(skip, default = "wait")]
    pub wait: Duration,
}

fn wait() -> Duration {
    VERSION_WAIT
}

impl Serving {
    /// This version, and only what it began itself.
    pub fn pinned(version: Version) -> Self {
        Self { version, migrates: false, wait: VERSION_WAIT }
    }

    /// Whether it may go on with what this version began.
    pub fn takes(&self, begun_by: &Version) -> bool {
        self.version == *begun_by || self.migrates && *begun_by < self.version
    }
}

/// Whether a worker may go on with a task. What nobody began, or somebody without a version, everybody may; what a version
/// began, nobody may who has none.
pub fn may_take(serving: Option<&Serving>, begun_by: Option<&Version>) -> bool {
    begun_by.is_none_or(|version| serving.is_some_and(|serving| serving.takes(version)))
}

/// Which version a task stays with, as its log tells it record by record: that of the last claim under which a handler
/// began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BegunBy {
    sure: Option<Version>,
    /// That of the newest claim, of which it is not known yet whether a handler began under it.
    newest: Option<Version>,
}

impl BegunBy {
    /// What a whole log says.
    pub fn of(log: &[Record]) -> Self {
        let mut begun = Self::default();
        log.iter().for_each(|record| begun.add(&record.entry));
        begun
    }

    /// One more record.
    pub fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Claimed { version, .. } => self.claimed(version.as_ref()),
            Entry::Released { reason: Release::Declined, .. } | Entry::Released { begun: false, .. } => {
                self.not_begun()
            }
            _ => self.settle(),
        }
    }

    /// It was claimed.
    pub fn claimed(&mut self, by: Option<&Version>) {
        self.settle();
        self.newest = by.cloned();
    }

    /// It was given back before a handler began.
    pub fn not_begun(&mut self) {
        self.newest = None;
    }

    /// The claim is over; when nobody says otherwise a handler had begun.
    pub fn settle(&mut self) {
        if let Some(newest) = self.newest.take() {
            self.sure = Some(newest);
        }
    }

    /// The version; none when nobody with one has begun.
    pub fn version(&self) -> Option<&Version> {
        self.newest.as_ref().or(self.sure.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeName;

    fn version(name: &str) -> Version {
        Version::parse(name).unwrap()
    }

    #[test]
    fn versions_are_ordered_as_people_count_them() {
        let sorted = ["0.9", "1", "1.2", "1.2.1", "1.10", "1.10-rc", "2", "02", "10", "2026.11.3", "a", "b.1"];
        for (older, newer) in sorted.iter().zip(&sorted[1..]) {
            let (a, b) = (version(older), version(newer));
            let same_age = (*older, *newer) == ("2", "02");
            assert!(a < b || same_age && a != b, "{older} {newer}");
        }
        assert_eq!(version("1.0").cmp(&version("1.0")), Ordering::Equal);
        let long = "x".repeat(41);
        for bad in ["", " 1", "1/2", "ä", &long] {
            assert!(Version::parse(bad).unwrap_err().to_string().contains("is not a version"), "{bad}");
        }
    }

    #[test]
    fn a_worker_takes_its_own_and_older_ones_only_when_it_says_so() {
        let (one, two) = (version("1"), version("2"));
        let pinned = Serving::pinned(two.clone());
        let migrates = Serving { migrates: true, ..pinned.clone() };
        assert!(pinned.takes(&two) && !pinned.takes(&one));
        assert!(migrates.takes(&two) && migrates.takes(&one) && !migrates.takes(&version("3")));
        assert!(may_take(None, None) && may_take(Some(&pinned), None) && !may_take(None, Some(&one)));
    }

    fn claimed(by: Option<&str>) -> Entry {
        Entry::Claimed { attempt: 1, node: NodeName::parse("n").unwrap(), version: by.map(version) }
    }

    fn released(reason: Release, begun: bool) -> Entry {
        Entry::Released { reason, error: None, not_before: 0, agent: None, begun }
    }

    #[test]
    fn a_task_stays_with_the_last_version_under_which_a_handler_began() {
        let by = |entries: &[Entry]| {
            let mut begun = BegunBy::default();
            entries.iter().for_each(|entry| begun.add(entry));
            begun.version().map(ToString::to_string)
        };
        let step = Entry::Undone { name: "x".into() };
        let (drained, declined) = (Release::Drained, Release::Declined);
        assert_eq!(by(&[claimed(None)]), None);
        assert_eq!(by(&[claimed(Some("1"))]).as_deref(), Some("1"));
        assert_eq!(by(&[claimed(Some("1")), released(drained, true)]).as_deref(), Some("1"));
        assert_eq!(by(&[claimed(Some("1")), released(drained, false)]), None, "no handler began");
        assert_eq!(by(&[claimed(Some("1")), released(declined, true)]), None, "nor when it was declined");
        let crashed = [claimed(Some("1")), claimed(Some("2")), released(declined, true)];
        assert_eq!(by(&crashed).as_deref(), Some("1"), "of what died it is not known, so it is taken to have begun");
        let migrated = [claimed(Some("1")), step, released(drained, true), claimed(Some("2"))];
        assert_eq!(by(&migrated).as_deref(), Some("2"));
    }

    #[test]
    fn a_record_of_a_release_that_does_not_know_versions_is_read_as_before() {
        let old = r#"{"claimed":{"attempt":2,"node":"n"}}"#;
        let Entry::Claimed { version, .. } = serde_json::from_str(old).unwrap() else { panic!("{old}") };
        assert_eq!((version, serde_json::to_string(&claimed(None)).unwrap()), (None, old.replace('2', "1")));
        let old = r#"{"released":{"reason":"drained","not_before":0}}"#;
        let entry: Entry = serde_json::from_str(old).unwrap();
        assert_eq!(entry, released(Release::Drained, true));
        assert_eq!(serde_json::to_string(&entry).unwrap(), old);
    }
}
