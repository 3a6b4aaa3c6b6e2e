//! The numbers of pieces as text: short where they follow a pattern, which those of a list that grows do.
//!
//! Between two commas stands a number, `7`; or a row of them, `7-19`, also in strides, `7-19+3`; or a row with one and the
//! same number between its members, `7-19+3/5`: the pieces of a list, and the comma between them.

use crate::payload::MAX_PAYLOAD;

/// A row with at least so many members is written as one.
const ROW: usize = 3;

/// The numbers as text.
pub(super) fn write(numbers: &[u64]) -> String {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < numbers.len() {
        let rest = &numbers[at..];
        let (plain, between) = (row(rest, 1), row(rest, 2));
        let (step, members) = if between > plain.max(ROW - 1) { (2, between) } else { (1, plain) };
        if members < ROW {
            parts.push(rest[0].to_string());
            at += 1;
            continue;
        }
        let (first, last, stride) = (rest[0], rest[(members - 1) * step], rest[step] - rest[0]);
        let stride = if stride == 1 { String::new() } else { format!("+{stride}") };
        let separator = if step == 2 { format!("/{}", rest[1]) } else { String::new() };
        parts.push(format!("{first}-{last}{stride}{separator}"));
        at += (members - 1) * step + 1;
    }
    parts.join(",")
}

/// How many of these, each `step` after the other, are a row; what stands between them is the same.
fn row(numbers: &[u64], step: usize) -> usize {
    let Some(stride) = numbers.get(step).and_then(|next| next.checked_sub(numbers[0])).filter(|stride| *stride > 0)
    else {
        return 1;
    };
    let goes_on = |n: usize| {
        let (here, next) = (numbers[(n - 1) * step], numbers.get(n * step));
        let same = step == 1 || numbers.get((n - 1) * step + 1) == numbers.get(1);
        same && next.is_some_and(|next| *next == here + stride)
    };
    1 + (1..numbers.len()).take_while(|n| goes_on(*n)).count()
}

/// The numbers that a text names; none when it is no such text. No value has more pieces than bytes.
pub(super) fn read(text: &str) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (row, separator) = part.split_once('/').map_or((part, None), |(row, sep)| (row, Some(sep)));
        let (row, stride) = row.split_once('+').map_or((row, "1"), |(row, stride)| (row, stride));
        let (first, last) = row.split_once('-').unwrap_or((row, row));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        let (stride, separator) = (stride.parse::<u64>().ok()?, separator.map(str::parse::<u64>).transpose().ok()?);
        let members = last.checked_sub(first)?.checked_div(stride)?;
        if members >= MAX_PAYLOAD as u64 || numbers.len() > MAX_PAYLOAD {
            return None;
        }
        for member in 0..=members {
            numbers.extend(separator.filter(|_| member > 0));
            numbers.push(first + member * stride);
        }
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_that_grows_is_a_short_text() {
        for (numbers, text) in [
            (vec![7], "7"),
            (vec![7, 8], "7,8"),
            (vec![7, 8, 9, 3], "7-9,3"),
            (vec![1, 2, 3, 5, 3, 8, 3, 11, 4], "1,2-11+3/3,4"),
            (vec![2, 4, 6], "2-6+2"),
            (vec![5, 5, 5, 5], "5,5,5,5"),
        ] {
            assert_eq!(read(&write(&numbers)).unwrap(), numbers, "{text}");
            assert!(write(&numbers).len() <= text.len() + 3, "{} and not {text}", write(&numbers));
        }
        let grown: Vec<u64> = (0..100).flat_map(|n| [10 + 3 * n, 9]).collect();
        assert_eq!(write(&grown), "10-307+3/9,9");
        for bad in ["", "x", "5-3", "1-99999999999", "1,,2", "1-3+0", "1/", "1-9/x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(numbers in prop::collection::vec(0..20_u64, 1..60)) {
            prop_assert_eq!(read(&write(&numbers)).unwrap(), numbers);
        }
    }
}
