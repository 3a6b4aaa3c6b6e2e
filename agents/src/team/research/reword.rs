//! Other wordings of a question, for a plan that did not work.

use crate::team::words::is_pronoun;

/// What begins a question.
const OPENERS: &[&str] = &[
    "who", "whom", "whose", "what", "which", "when", "where", "why", "how", "did", "does", "do", "is", "are", "was",
    "were",
];

/// The questions that one sentence joins by "and", when each can stand alone; otherwise none.
pub(super) fn parts(question: &str) -> Vec<String> {
    let words: Vec<&str> = question.trim().trim_end_matches('?').split_whitespace().collect();
    let opens = |at: usize| words.get(at).is_some_and(|word| OPENERS.contains(&plain(word).as_str()));
    let joints = (1..words.len()).filter(|at| matches!(words[*at], "and" | "or") && opens(at + 1));
    let mut parts = Vec::new();
    let mut start = 0;
    for joint in joints.chain([words.len()]) {
        let part = &words[start..joint];
        // Two words beside the opener are the least that can be searched for.
        if part.len() < 4 || !opens(start) || part.iter().any(|word| is_pronoun(&plain(word))) {
            return Vec::new();
        }
        parts.push(format!("{}?", part.join(" ").trim_end_matches([',', ';'])));
        start = joint + 1;
    }
    if parts.len() > 1 { parts } else { Vec::new() }
}

/// The question in its key words: without those that no source has, and without the short ones that carry grammar.
pub(in crate::team) fn reword(question: &str, not_found: &[String]) -> String {
    let keeps = |word: &&str| {
        let plain = plain(word);
        let tells = plain.chars().count() > 3 || plain.chars().any(|c| c.is_numeric());
        (tells || word.starts_with(char::is_uppercase))
            && !OPENERS.contains(&plain.as_str())
            && !not_found.contains(&plain)
    };
    let words: Vec<&str> = question.split_whitespace().filter(keeps).collect();
    words.join(" ").trim_end_matches(['?', '.', '!']).to_owned()
}

fn plain(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_question_falls_into_parts_that_stand_alone() {
        let joined = "Who founded the town of Gera, and when was the mill in Ronneburg built?";
        assert_eq!(parts(joined), ["Who founded the town of Gera?", "when was the mill in Ronneburg built?"]);
        for whole in ["Who founded Gera and when was it built?", "Who are Tom and Jerry?", "What is red and what?", ""]
        {
            assert!(parts(whole).is_empty(), "{whole}");
        }
    }

    #[test]
    fn another_wording_leaves_out_what_no_source_has() {
        assert_eq!(reword("When did Ada leave the zeppelin works?", &["zeppelin".into()]), "Ada leave works");
    }
}
