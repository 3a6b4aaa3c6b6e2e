//! A length of time as people write it: a whole number and a unit, `500ms`, `30s`, `5m`, `24h`, `7d`.
//!
//! One number and one unit, so that there is one way to write each length and nothing to guess.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time that reads and writes as text, in whole milliseconds. Nothing is longer than [`Period::LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

/// The units with their milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Period {
    /// 3,660 days: ten years, and far from where times in milliseconds could overflow.
    pub const LONGEST: Duration = Duration::from_secs(3_660 * 86_400);

    /// That long, rounded up to a whole millisecond and cut at [`Period::LONGEST`].
    pub fn new(length: Duration) -> Self {
        let millis = length.min(Self::LONGEST).as_nanos().div_ceil(1_000_000);
        Period(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// The length.
    pub fn length(self) -> Duration {
        self.0
    }

    /// The length in milliseconds.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// No time at all.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for Period {
    fn from(length: Duration) -> Self {
        Period::new(length)
    }
}

/// Why a text is no length of time; reads as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPeriod {
    /// What the text most likely meant, when that can be told.
    pub meant: Option<String>,
    why: &'static str,
}

impl fmt::Display for NotAPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for NotAPeriod {}

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = (&text[..end], text[end..].trim_start());
        let fail = |why, meant: Option<String>| Err(NotAPeriod { why, meant });
        if digits.is_empty() {
            return fail("it begins with a whole number", None);
        }
        if unit.is_empty() {
            return fail("it lacks a unit", Some(format!("{digits}s")));
        }
        let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return fail("it is one whole number and one unit", guess(digits, unit));
        };
        match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*millis)).map(Duration::from_millis) {
            Some(length) if length <= Self::LONGEST => Ok(Period(length)),
            _ => fail("it is longer than 3660 days", None),
        }
    }
}

/// `30 seconds`, `5min` and the like; not for fractions and sums, where a guess could be wrong.
fn guess(digits: &str, unit: &str) -> Option<String> {
    let letters = unit.chars().all(char::is_alphabetic);
    let unit = unit.to_lowercase();
    let short = match unit.as_str() {
        "millis" | "milliseconds" | "millisecond" | "msec" | "ms" => "ms",
        _ => UNITS.iter().map(|(name, _)| *name).find(|name| name.len() == 1 && unit.starts_with(name))?,
    };
    letters.then(|| format!("{digits}{short}"))
}

impl fmt::Display for Period {
    /// In the longest unit that takes it without a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.millis();
        let fits = |(_, unit): &&(&str, u64)| millis >= *unit && millis.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("s", 1_000));
        write!(f, "{}{name}", millis / unit)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|why| de::Error::custom(format!("\"{text}\" is no duration such as \"30s\": {why}")))
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "description": "A length of time: 500ms, 30s, 5m, 24h, 7d.",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_number_and_one_unit_and_nothing_else() {
        let length = |text: &str| text.parse::<Period>().map(Period::millis);
        assert_eq!(length("500ms"), Ok(500));
        assert_eq!(length(" 24 h "), Ok(86_400_000));
        assert_eq!(length("7d"), Ok(604_800_000));
        for bad in ["", "s", "30", "1.5s", "-1s", "1h30m", "30S", "99999999999999999999s", "4000d", "30 sec"] {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_meant_is_offered_when_it_can_be_told() {
        let meant = |text: &str| text.parse::<Period>().unwrap_err().meant;
        assert_eq!(meant("30").as_deref(), Some("30s"));
        assert_eq!(meant("30 seconds").as_deref(), Some("30s"));
        assert_eq!(meant("5min").as_deref(), Some("5m"));
        assert_eq!(meant("250 millis").as_deref(), Some("250ms"));
        assert_eq!(meant("1h30m"), None);
        assert_eq!(meant("1.5s"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0u64..=3_660 * 86_400_000) {
            let period = Period::new(Duration::from_millis(millis));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }
    }
}
