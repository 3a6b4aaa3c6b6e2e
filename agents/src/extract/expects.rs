//! The kind of answer that a question expects, and whether a sentence holds one.

use std::collections::HashSet;

use super::token::Token;

/// The kind of thing that answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expects {
    /// Who and where: a name.
    Name,
    /// When: a date.
    Time,
    /// How many: a number.
    Number,
    /// Why: a reason.
    Reason,
    /// Anything.
    Other,
}

impl Expects {
    /// Told by the first question word and its noun.
    pub(crate) fn of(question: &[Token]) -> Expects {
        for (at, token) in question.iter().enumerate() {
            let next = question.get(at + 1).map_or("", |token| token.word.as_str());
            return match (token.word.as_str(), next) {
                ("who" | "whom" | "whose" | "where", _) => Expects::Name,
                ("when", _) => Expects::Time,
                ("what" | "which", "year" | "years" | "date" | "century" | "decade" | "day" | "month") => Expects::Time,
                ("what" | "which", "city" | "country" | "state" | "place" | "region" | "company" | "team") => {
                    Expects::Name
                }
                ("how", "many" | "much" | "long" | "old" | "far" | "large" | "big" | "tall" | "often" | "fast") => {
                    Expects::Number
                }
                ("what" | "which", "percentage" | "percent" | "number" | "proportion") => Expects::Number,
                ("why", _) => Expects::Reason,
                ("what" | "which" | "how", _) => Expects::Other,
                _ => continue,
            };
        }
        Expects::Other
    }

    /// Whether a sentence holds such a thing that is not already in the question.
    pub(crate) fn met(self, sentence: &[Token], question: &[Token]) -> bool {
        let asked: HashSet<&str> = question.iter().map(|token| token.word.as_str()).collect();
        let mut fresh = sentence.iter().enumerate().filter(|(_, token)| !asked.contains(token.word.as_str()));
        match self {
            // The first word of a sentence has a capital whatever it is.
            Expects::Name => fresh.any(|(at, token)| at > 0 && token.capital && !token.is_function()),
            Expects::Time => fresh.any(|(_, token)| is_time(token)),
            Expects::Number => fresh.any(|(_, token)| token.digit || is_number_word(&token.word)),
            Expects::Reason => fresh.any(|(_, token)| REASONS.contains(&token.word.as_str())),
            Expects::Other => false,
        }
    }
}

fn is_time(token: &Token) -> bool {
    let year = token.word.len() == 4 && token.word.parse::<u16>().is_ok_and(|year| (1000..2100).contains(&year));
    year || TIMES.contains(&token.word.as_str()) || token.digit && token.word.ends_with(['s', 'h'])
}

/// Whether a lowercase word is a number.
pub(crate) fn is_number_word(word: &str) -> bool {
    NUMBERS.contains(&word)
}

const TIMES: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "century",
    "centuries",
    "today",
    "bc",
    "ad",
    "bce",
    "ce",
    "spring",
    "summer",
    "autumn",
    "winter",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
const NUMBERS: &[&str] = &[
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
    "hundred",
    "thousand",
    "million",
    "billion",
    "half",
    "dozen",
    "twice",
    "zero",
];
const REASONS: &[&str] = &[
    "because",
    "due",
    "since",
    "reason",
    "reasons",
    "cause",
    "caused",
    "causes",
    "order",
    "result",
    "therefore",
    "so",
    "to",
];

#[cfg(test)]
mod tests {
    use super::super::token::tokens;
    use super::*;

    #[test]
    fn the_first_question_word_tells_the_kind_of_answer() {
        let kinds = [
            ("In what year did it end?", Expects::Time),
            ("How many are there?", Expects::Number),
            ("Who did it and when?", Expects::Name),
            ("Name the river", Expects::Other),
        ];
        for (text, kind) in kinds {
            assert_eq!(Expects::of(&tokens(text)), kind, "{text}");
        }
    }

    #[test]
    fn what_the_question_says_itself_is_no_answer() {
        let asked = tokens("Who met Ada in 1843?");
        assert!(!Expects::Name.met(&tokens("There was Ada."), &asked));
        assert!(Expects::Name.met(&tokens("There was Babbage."), &asked));
        assert!(!Expects::Time.met(&tokens("It was 1843."), &asked));
        assert!(Expects::Time.met(&tokens("It was in May."), &asked));
    }
}
