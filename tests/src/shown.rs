//! What a page or an example says that its reader will see, against what is printed.

/// What stands for any number of lines, and within a line for any text.
const ANYTHING: &str = "...";

/// The lines of the `text` block in the head of an example.
pub fn of_example(source: &str) -> Vec<&str> {
    let head = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head = head.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let block = head.skip_while(|line| !line.starts_with("```text")).skip(1);
    block.take_while(|line| !line.starts_with("```")).collect()
}

/// Why `printed` is not what was shown; none when it is. Blanks at the ends of lines do not count.
pub fn differs(shown: &[&str], printed: &str) -> Option<String> {
    let shown: Vec<&str> = shown.iter().map(|line| line.trim_end()).collect();
    let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    if all_fit(&shown, &lines) {
        return None;
    }
    let fits = |known: &usize| all_fit(&[&shown[..*known], &[ANYTHING]].concat(), &lines);
    let known = (0..shown.len()).rev().find(fits).unwrap_or(0);
    let next = shown.get(known).copied().unwrap_or("nothing more");
    Some(format!("after {known} lines that fit, this does not: {next}\n--- printed:\n{printed}"))
}

fn all_fit(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&ANYTHING, rest)) => (0..=printed.len()).any(|skip| all_fit(rest, &printed[skip..])),
        Some((line, rest)) => {
            let (first, more) = (printed.first(), printed.get(1..).unwrap_or_default());
            first.is_some_and(|first| fits(line, first)) && all_fit(rest, more)
        }
    }
}

fn fits(shown: &str, printed: &str) -> bool {
    match shown.split_once(ANYTHING) {
        None => shown == printed,
        Some((head, tail)) => printed.strip_prefix(head).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| fits(tail, &rest[at..]))
        }),
    }
}

#[test]
fn what_differs_is_told_and_what_is_left_open_is_not() {
    let printed = "run 17 took 3 ms\none\ntwo\nend\n";
    assert_eq!(differs(&["run ... took ... ms", "...", "end"], printed), None);
    assert_eq!(differs(&["...", "one", "two", "end"], printed), None);
    for wrong in [&["run ... took ... s", "...", "end"][..], &["...", "one", "end"], &["..."; 0], &["...", "two"]] {
        assert!(differs(wrong, printed).is_some(), "{wrong:?}");
    }
    let told = differs(&["run ...", "one", "three"], printed).unwrap();
    assert!(told.starts_with("after 2 lines that fit, this does not: three"), "{told}");
}

#[test]
fn the_head_of_an_example_says_what_to_expect() {
    let source = "//! Says hello.\n//!\n//! ```text\n//! hello\n//!   world\n//! ```\n//! More.\nfn main() {}\n";
    assert_eq!(of_example(source), ["hello", "  world"]);
    assert_eq!(of_example("//! Says hello.\nfn main() {}\n"), [""; 0]);
}
