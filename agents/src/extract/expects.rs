//! The kind of answer that a question expects, and whether a sentence holds one.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::token::Token;

/// The kind of thing that answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expects {
    /// Who: a name of a person.
    Person,
    /// Where and which: a name.
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
                ("who" | "whom" | "whose", _) => Expects::Person,
                ("where", _) => Expects::Name,
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

    /// How well a sentence holds such a thing that the question does not name itself: 0, 1, or [`SURE`].
    pub(crate) fn met(self, sentence: &[Token], question: &[Token]) -> f32 {
        let asked: HashSet<&str> = question.iter().map(|token| token.word.as_str()).collect();
        let fresh: Vec<bool> = sentence.iter().map(|token| !asked.contains(token.word.as_str())).collect();
        // The first word of a sentence has a capital whatever it is.
        let name = |at: usize| at > 0 && fresh[at] && sentence[at].capital && !sentence[at].function;
        let any = |is: &dyn Fn(usize) -> bool| (0..sentence.len()).any(is);
        let grade = |met: bool, sure: bool| if sure { SURE } else { f32::from(met) };
        match self {
            Expects::Name => grade(any(&name), false),
            Expects::Person => grade(any(&name), any(&|at| at > 0 && name(at) && sentence[at - 1].capital)),
            Expects::Time => grade(any(&|at| fresh[at] && is_time(&sentence[at])), false),
            Expects::Reason => grade(any(&|at| fresh[at] && REASONS.contains(sentence[at].word.as_str())), false),
            Expects::Number => {
                let number = |at: usize| fresh[at] && is_number(&sentence[at]);
                let of_what = |at: usize| sentence[at + 1..].iter().take(3).any(|after| counts(after, question));
                grade(any(&number), any(&|at| number(at) && of_what(at)))
            }
            Expects::Other => 0.0,
        }
    }
}

/// What a sentence is worth that holds not just the kind of thing but likely the thing itself: a full name for a person, a
/// number before what is counted.
const SURE: f32 = 1.5;

/// Whether `after`, which follows a number, is what the question counts.
fn counts(after: &Token, question: &[Token]) -> bool {
    question.iter().any(|term| term.term == after.term)
}

/// Whether a token is a number in digits or in words.
pub(crate) fn is_number(token: &Token) -> bool {
    token.digit || NUMBERS.contains(token.word.as_str())
}

fn is_time(token: &Token) -> bool {
    let year = token.word.len() == 4 && token.word.parse::<u16>().is_ok_and(|year| (1000..2100).contains(&year));
    year || TIMES.contains(token.word.as_str()) || token.digit && token.word.ends_with(['s', 'h'])
}

static TIMES: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "january february march april may june july august september october november december century centuries today bc \
     ad bce ce spring summer autumn winter monday tuesday wednesday thursday friday saturday sunday"
        .split(' ')
        .collect()
});
static NUMBERS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen \
     eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half \
     dozen twice zero"
        .split(' ')
        .collect()
});
static REASONS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "because due since reason reasons cause caused causes order result therefore so to".split(' ').collect()
});

#[cfg(test)]
mod tests {
    use super::super::token::tokens;
    use super::*;

    #[test]
    fn the_first_question_word_tells_the_kind_of_answer() {
        let kinds = [
            ("In what year did it end?", Expects::Time),
            ("How many are there?", Expects::Number),
            ("Who did it and when?", Expects::Person),
            ("Where was it?", Expects::Name),
            ("Name the river", Expects::Other),
        ];
        for (text, kind) in kinds {
            assert_eq!(Expects::of(&tokens(text)), kind, "{text}");
        }
    }

    #[test]
    fn what_the_question_says_itself_is_no_answer() {
        let asked = tokens("Who met Ada in 1843?");
        assert_eq!(Expects::Person.met(&tokens("There was Ada."), &asked), 0.0);
        assert_eq!(Expects::Person.met(&tokens("There was Babbage."), &asked), 1.0);
        assert_eq!(Expects::Time.met(&tokens("It was 1843."), &asked), 0.0);
        assert_eq!(Expects::Time.met(&tokens("It was in May."), &asked), 1.0);
    }

    #[test]
    fn full_names_and_counted_things_are_worth_more() {
        assert_eq!(Expects::Person.met(&tokens("It was Charles Babbage."), &[]), SURE);
        let asked = tokens("How many universities?");
        assert_eq!(Expects::Number.met(&tokens("It has two old universities."), &asked), SURE);
        assert_eq!(Expects::Number.met(&tokens("Universities have 2 aims."), &asked), 1.0);
    }
}
