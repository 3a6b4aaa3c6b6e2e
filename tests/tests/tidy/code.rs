//! Source text without its comments and literals, so that counting braces and looking for words is not fooled by them.

/// The same text, line for line, with blanks in the place of comments and of what strings and characters hold.
pub(crate) fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while at < chars.len() {
        let end = literal(&chars, at).unwrap_or(at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        }
        while at < end.min(chars.len()) {
            out.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends, if one does.
fn literal(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    let word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => Some(at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(at + block_comment(rest)),
        ['"', ..] => Some(at + string(rest)),
        ['r', '"' | '#', ..] if !word_before => raw_string(rest).map(|length| at + length),
        ['b' | 'c', 'r', '"' | '#', ..] if !word_before => raw_string(&rest[1..]).map(|length| at + 1 + length),
        ['\'', '\\', _, tail @ ..] => Some(at + 4 + tail.iter().position(|c| *c == '\'').unwrap_or(tail.len())),
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    let open = 1 + hashes;
    // `r#name` is an identifier.
    (rest.get(open) == Some(&'"')).then(|| {
        let closed = |at: usize| rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        (open + 1..rest.len()).find(|at| closed(*at)).map_or(rest.len(), |at| at + 1 + hashes)
    })
}

/// A function: its name, the line of its `fn` (from 1), and how many lines it has from there to its last brace.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// The functions with a body, also nested ones.
pub(crate) fn functions(bare: &str) -> Vec<Function> {
    let starts = bare.match_indices("fn ").filter(|(at, _)| {
        let before = bare[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    });
    starts.filter_map(|(at, _)| function(bare, at)).collect()
}

fn function(bare: &str, at: usize) -> Option<Function> {
    let name: String = bare[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let (mut brackets, mut braces) = (0i32, 0i32);
    for (offset, c) in bare[at..].char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    let line = bare[..at].matches('\n').count() + 1;
                    return Some(Function { name, line, lines: bare[at..at + offset].matches('\n').count() + 1 });
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn comments_and_literals_are_blanked_and_lines_kept() {
    let text = "a /* { /* } */ */ b // {\nlet s = \"\\\"{\"; let c = '{'; let q = '\\''; let r = r#\"}\"{\"#; let l: &'static str;\nb\"{\" r#type";
    let bare = bare(text);
    assert!(!bare.contains(['{', '}', '"']), "{bare}");
    assert_eq!(bare.matches('\n').count(), text.matches('\n').count());
    assert!(bare.contains("&'static str") && bare.contains("r#type"), "{bare}");
}

#[test]
fn functions_are_measured_from_their_fn_to_their_brace() {
    let text = "trait T {\n    fn no_body(&self, x: [u8; 4]);\n}\nasync fn long(a: [u8; 2]) {\n    if a {\n        fn inner() {}\n    }\n}\n";
    let found = functions(&bare(text));
    let expect = |name: &str, line, lines| Function { name: name.into(), line, lines };
    assert_eq!(found, [expect("long", 4, 5), expect("inner", 6, 1)]);
}
