//! Times and durations as text: RFC 3339 in UTC for dates, the shortest useful form for how long something took.

use callboard::broker::clock::Millis;

const DAY: u64 = 24 * 3600;

/// `2026-11-25T09:17:03.120Z`.
pub(crate) fn date(at: Millis) -> String {
    let (seconds, ms) = (at / 1000, at % 1000);
    let (days, clock) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The time of day of a [`date`]: `09:17:03`.
pub(crate) fn clock(date: &str) -> &str {
    date.get(11..19).unwrap_or("-")
}

/// Reads what [`date`] writes, with or without a fraction and with any offset. A date alone is its first moment in UTC.
pub(crate) fn parse_date(text: &str) -> Option<Millis> {
    let number = |part: &str, digits: usize| {
        (part.len() == digits && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u64>().ok()).flatten()
    };
    let day = text.get(..10)?;
    let mut parts = day.split('-');
    let (year, month) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?);
    let date = days(year, month, number(parts.next()?, 2)?)? * DAY * 1000;
    if text.len() == 10 {
        return Some(date);
    }
    let rest = text.get(10..)?.strip_prefix(['T', 't', ' '])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = number(parts.next()?, 2)?;
    let inside = hour < 24 && minute < 60 && second < 61 && parts.next().is_none();
    let fraction: String = fraction.chars().chain("00".chars()).take(3).collect();
    let at = date + (hour * 3600 + minute * 60 + second) * 1000 + number(&fraction, 3)?;
    inside.then(|| shift(at, zone)).flatten()
}

/// How long something took: `7 ms`, `1.2 s`, `3m10s`, `2h03m`, `4d02h`.
pub(crate) fn took(ms: Millis) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..DAY => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / DAY, seconds / 3600 % 24),
    }
}

/// `3m10s ago`.
pub(crate) fn ago(at: Millis, now: Millis) -> String {
    format!("{} ago", took(now.saturating_sub(at) / 1000 * 1000)).replacen("0 ms ago", "just now", 1)
}

/// The offset of a zone taken from a local time.
fn shift(at: Millis, zone: &str) -> Option<Millis> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(at);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = (hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?) * 60_000;
    if zone.starts_with('+') { at.checked_sub(offset) } else { at.checked_add(offset) }
}

/// Days since 1970-01-01 to year, month and day; the method of Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// Year, month and day to days since 1970-01-01; none for a date that does not exist.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > length {
        return None;
    }
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * shifted + 2) / 5 + day - 1;
    (era * 146_097 + of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_reads_back_as_it_was_written() {
        for at in [0, 951_782_400_000, 1_764_062_223_120, 4_102_444_799_999] {
            assert_eq!(parse_date(&date(at)), Some(at), "{}", date(at));
        }
        assert_eq!(date(1_764_062_223_120), "2025-11-25T09:17:03.120Z");
        assert_eq!(clock(&date(1_764_062_223_120)), "09:17:03");
    }

    #[test]
    fn other_forms_of_the_same_moment_are_understood_and_wrong_ones_are_not() {
        assert_eq!(parse_date("2025-11-25T10:17:03.12+01:00"), Some(1_764_062_223_120));
        assert_eq!(parse_date("2025-11-25 09:17:03Z"), Some(1_764_062_223_000));
        assert_eq!(parse_date("2024-02-29"), Some(1_709_164_800_000));
        for wrong in ["2025-02-29", "2025-13-01", "yesterday", "2025-11-25T09:17:03", "2025-11-25T25:00:00Z", "", "ä"]
        {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_has_the_unit_that_matters() {
        let said: Vec<_> = [7, 999, 1_250, 190_000, 7_400_000, 360_000_000].map(took).into_iter().collect();
        assert_eq!(said, ["7 ms", "999 ms", "1.2 s", "3m10s", "2h03m", "4d04h"]);
        assert_eq!((ago(0, 500), ago(0, 3_200)), ("just now".into(), "3.0 s ago".into()));
    }
}
