//! Where a text is cut so that two texts that have much in common have most pieces in common. Pure.
//!
//! JSON is cut where its structure says: before a comma and before a closing bracket, so that a list that grows keeps its
//! pieces; and before a list, an object or a string that is large, so that what stands around it may vary: a message is
//! the same piece alone and in a list. Long strings are cut by
//! their content, with a rolling hash, as FastCDC does (Xia et al., "FastCDC: a Fast and Efficient Content-Defined
//! Chunking Approach for Data Deduplication", USENIX ATC 2016). A text that is no JSON is cut all the same, only worse.

/// Structure is cut into pieces of at least so many bytes.
const LEAST: usize = 1 << 10;
/// From this length on a list gets its own beginning, and so does an object that has much beside it.
const LARGE: usize = 4 << 10;
/// From this length on a string gets its own beginning, and is cut by its content.
const LARGE_STRING: usize = 16 << 10;
/// Pieces of a long string are at least so long,
const CONTENT_LEAST: usize = 2 << 10;
/// at most so long,
const MOST: usize = 32 << 10;
/// and beyond the least this many bytes on average: a cut is where these bits of the hash are zero.
const MASK: u64 = 0x0000_d903_0000_0000;

/// The pieces of a text, in order. Together they are the text.
pub(crate) fn cut(text: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for at in places(text) {
        if at > from {
            pieces.push(&text[from..at]);
            from = at;
        }
    }
    if from < text.len() {
        pieces.push(&text[from..]);
    }
    pieces
}

/// What begins at a byte of JSON.
#[derive(Clone, Copy)]
enum Mark {
    /// Something large, or what follows it.
    Large,
    /// A string that is large, with its end.
    String(usize),
    /// A comma or a closing bracket.
    Between,
}

fn places(text: &[u8]) -> Vec<usize> {
    let mut places = Places { all: Vec::new(), from: 0 };
    let mut at = 0;
    for (place, mark) in marks(text) {
        if place < at {
            // Inside of what was cut by its content.
            continue;
        }
        places.within_most(place);
        match mark {
            Mark::Between if place - places.from < LEAST => {}
            Mark::Between | Mark::Large => places.cut(place),
            Mark::String(end) => {
                places.cut(place);
                by_content(text, end, &mut places);
                at = end;
            }
        }
    }
    places.within_most(text.len());
    places.all
}

/// The places so far, and where the piece begins that is not cut yet.
struct Places {
    all: Vec<usize>,
    from: usize,
}

impl Places {
    fn cut(&mut self, at: usize) {
        if at > self.from {
            self.all.push(at);
            self.from = at;
        }
    }

    /// Cuts what has become too long up to a place.
    fn within_most(&mut self, at: usize) {
        while at - self.from > MOST {
            self.cut(self.from + MOST);
        }
    }
}

/// Cuts a string, from where the piece begins to its end.
fn by_content(text: &[u8], end: usize, places: &mut Places) {
    let mut hash = 0_u64;
    for (at, byte) in text.iter().enumerate().take(end).skip(places.from) {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        let long = at - places.from;
        if long >= MOST || long >= CONTENT_LEAST && hash & MASK == 0 {
            places.cut(at);
        }
    }
}

/// The bytes at which something begins that matters, in order.
fn marks(text: &[u8]) -> Vec<(usize, Mark)> {
    let (mut marks, mut all, mut open) = (Vec::new(), Vec::<Container>::new(), Vec::<usize>::new());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                let end = end_of_string(text, at);
                if end - at >= LARGE_STRING {
                    marks.push((at, Mark::String(end)));
                }
                at = end;
                continue;
            }
            b'[' | b'{' => {
                let above = open.last().copied();
                open.push(all.len());
                all.push(Container { begin: at, end: text.len(), above, is_list: text[at] == b'[', depth: open.len() });
            }
            b']' | b'}' => {
                marks.push((at, Mark::Between));
                if let Some(closed) = open.pop() {
                    all[closed].end = at + 1;
                }
            }
            b',' => marks.push((at, Mark::Between)),
            _ => {}
        }
        at += 1;
    }
    let apart: Vec<&Container> = all.iter().filter(|one| one.is_apart(&all)).collect();
    let whole: Vec<&Container> = all.iter().filter(|one| one.is_whole(&all, &apart)).collect();
    marks.extend(apart.iter().map(|one| (one.begin, Mark::Large)));
    marks.extend(apart.iter().filter(|one| !one.is_list).map(|one| (one.end, Mark::Large)));
    marks.retain(|(at, _)| {
        let before = whole.partition_point(|one| one.begin < *at);
        before == 0 || whole[before - 1].end <= *at
    });
    marks.sort_by_key(|(at, _)| *at);
    marks
}

/// A list or an object.
struct Container {
    begin: usize,
    end: usize,
    /// The one that it is in.
    above: Option<usize>,
    is_list: bool,
    /// 1 for the outermost one.
    depth: usize,
}

impl Container {
    fn size(&self) -> usize {
        self.end - self.begin
    }

    /// Whether it is cut off from what stands before it: every large list, and an object that has much beside it, or is
    /// the large part of a document.
    fn is_apart(&self, all: &[Self]) -> bool {
        let beside = self.above.map_or(0, |above| all[above].size() - self.size());
        self.size() >= LARGE && (self.is_list || self.depth == 2 || beside >= LARGE)
    }

    /// Whether it is one piece: an object, alone or in a list, that is not too long and holds nothing that is cut off.
    fn is_whole(&self, all: &[Self], apart: &[&Self]) -> bool {
        let next = apart.partition_point(|one| one.begin <= self.begin);
        let is_empty = apart.get(next).is_none_or(|one| one.begin >= self.end);
        let is_one = !self.is_list && (self.depth == 1 || self.is_apart(all));
        is_one && is_empty && self.size() <= LARGE_STRING
    }
}

/// The byte after the string that begins at `at`.
fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// A number for each byte, as good as random: the finalizer of SplitMix64 over its square.
const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut z = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        gear[byte] = z ^ (z >> 31);
        byte += 1;
    }
    gear
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Words that do not repeat soon.
    fn words(seed: u64, bytes: usize) -> String {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut text = String::new();
        while text.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text += &format!("{:x} ", state >> 40);
        }
        text
    }

    /// The bytes of all pieces of these texts that are not the same, against those of the last text.
    fn kept(texts: &[String]) -> f64 {
        let pieces: HashSet<&[u8]> = texts.iter().flat_map(|text| cut(text.as_bytes())).collect();
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        bytes as f64 / texts.last().unwrap().len() as f64
    }

    #[test]
    fn a_list_that_grows_keeps_its_pieces() {
        let message = |n: u64| json!({ "role": "tool", "id": format!("call-{n}"), "content": words(n, 8_000) });
        let messages = |n| (0..n).map(message).collect::<Vec<Value>>();
        let plain: Vec<String> = (1..60).map(|n| json!(messages(n)).to_string()).collect();
        let inside: Vec<String> = (1..60).map(|n| json!({ "n": n, "messages": messages(n) }).to_string()).collect();
        let (plain, inside) = (kept(&plain), kept(&inside));
        assert!(plain < 1.05 && inside < 1.05, "{plain} {inside}");
    }

    #[test]
    fn a_message_is_the_same_alone_and_in_a_list() {
        let message = |n: u64| json!({ "content": words(n, 8_000), "id": format!("call-{n}"), "role": "tool" });
        let talk = json!((0..20).map(message).collect::<Vec<Value>>()).to_string();
        let mut texts: Vec<String> = (0..20).map(|n| message(n).to_string()).collect();
        texts.extend((0..20).map(|n| json!({ "task": n, "output": message(n), "at": 1_000 + n }).to_string()));
        texts.push(talk);
        let kept = kept(&texts);
        assert!(kept < 1.05, "{kept}");
    }

    #[test]
    fn a_string_that_grows_keeps_most_of_its_pieces() {
        let all = words(7, 480_000);
        let texts: Vec<String> = (1..=60).map(|n| json!({ "said": all[..n * 8_000] }).to_string()).collect();
        let kept = kept(&texts);
        assert!(kept < 1.7, "{kept}");
    }

    #[test]
    fn what_is_put_in_the_middle_leaves_the_rest_as_it_was() {
        let all = words(7, 400_000);
        let changed = format!("{}{}{}", &all[..200_000], "something else", &all[200_000..]);
        let kept = kept(&[json!(all).to_string(), json!(changed).to_string()]);
        assert!(kept < 1.2, "{kept}");
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_and_none_is_too_long(
            parts in prop::collection::vec(prop::sample::select(vec![
                "[", "]", "{", "}", ",", "\"", "\\", "\"a\":", "1", "long long text ", "\u{e4}",
            ]), 0..300),
            times in 1..400_usize,
        ) {
            let text = parts.concat().repeat(times);
            let pieces = cut(text.as_bytes());
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= MOST));
            prop_assert_eq!(pieces.concat(), text.as_bytes());
        }
    }
}
