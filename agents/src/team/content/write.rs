//! From claims to sentences by a model: what it is asked, and what is made of its answer.

use std::ops::Range;

use super::compose::compose;
use super::edit::united;
use crate::extract::Claim;
use crate::llm::{ModelUse, RoleModel};
use crate::team::prompts::{datum, quotations, request};
use crate::team::{Draft, Dropped, Engine, Findings, Sentence};
use crate::{Error, payload};

/// The most sentences that are taken of an answer; those with equal words count once.
const SENTENCES: usize = 8;
/// The longest of them, in letters. What is longer is not taken at all: a part of it is not what the model said.
const LONG: usize = 600;

/// What a model answers to one question.
#[payload]
#[derive(Debug, Default)]
struct Written {
    sentences: Vec<WrittenSentence>,
}

/// One sentence, and the numbers of the quotations that it rests on.
#[payload]
#[derive(Debug)]
struct WrittenSentence {
    text: String,
    #[serde(default)]
    cites: Vec<usize>,
}

/// The draft with the model's sentences in the place of quotations: one call for each question that anything was found
/// for. Nothing of it is believed; that is for `qa.fact`.
pub(super) async fn write(model: &RoleModel, question: String, notes: Vec<Findings>) -> Result<Draft, Error> {
    let questions: Vec<String> = notes.iter().map(|findings| findings.question.clone()).collect();
    let own: Vec<Vec<String>> = notes.iter().map(quotes).collect();
    let mut draft = compose(question, notes);
    let mut taken = Taken::default();
    for (answers, question) in questions.iter().enumerate() {
        let numbers: Vec<usize> =
            (1..=draft.claims.len()).filter(|number| own[answers].contains(&draft.claims[number - 1].quote)).collect();
        if numbers.is_empty() {
            continue;
        }
        let claims = numbers.iter().map(|number| (*number, &draft.claims[number - 1]));
        let work = format!("Question: {}\n{}", datum(question), quotations(claims));
        let asked = request(model, "writer", &work);
        let written: Written = model.named(format!("write-{}", answers + 1)).extract(asked).await?;
        taken.add(written, answers, 1..draft.claims.len() + 1);
    }
    draft.dropped = taken.beyond.into_iter().map(|(one, why)| dropped(one, why, &draft.claims)).collect();
    draft.sentences = taken.sentences;
    draft.engine = Engine::Model;
    draft.models = vec![model.used()].into_iter().filter(|used: &ModelUse| used.calls > 0).collect();
    Ok(draft)
}

fn quotes(findings: &Findings) -> Vec<String> {
    findings.claims.iter().map(|claim| claim.quote.clone()).collect()
}

/// What is taken of answers, and what was written beyond that, with the bound that it is beyond.
#[derive(Debug, Default)]
struct Taken {
    sentences: Vec<Sentence>,
    beyond: Vec<(Sentence, String)>,
}

impl Taken {
    /// Adds an answer. A sentence that cites what is not there goes on without: it will be told why it fell.
    fn add(&mut self, written: Written, answers: usize, known: Range<usize>) {
        let sentence = |one: WrittenSentence| {
            let mut cites: Vec<usize> = one.cites.into_iter().filter(|number| known.contains(number)).collect();
            cites.dedup();
            // Small models put the numbers into the text as well.
            Sentence { text: without_marks(&one.text), cites, answers }
        };
        let said = written.sentences.into_iter().map(sentence).filter(|one| !one.text.is_empty()).collect();
        let mut places = SENTENCES;
        for sentence in united(said) {
            let letters = sentence.text.chars().count();
            if letters > LONG {
                self.beyond.push((sentence, format!("it has {letters} letters, and at most {LONG} are taken")));
            } else if places == 0 {
                let why = format!("it is not among the first {SENTENCES} sentences, which are all that is taken");
                self.beyond.push((sentence, why));
            } else {
                places -= 1;
                self.sentences.push(sentence);
            }
        }
    }
}

/// A sentence that is not taken, with the place of what it cites first.
fn dropped(sentence: Sentence, why: String, claims: &[Claim]) -> Dropped {
    let cited = sentence.cites.first().and_then(|number| claims.get(number - 1)).cloned();
    let (source, locator, quote, score) =
        cited.map_or_else(Default::default, |claim| (claim.source, claim.locator, claim.quote, claim.score));
    Dropped { claim: Claim { text: sentence.text, source, locator, quote, score }, why }
}

/// Without numbers in square brackets and what is no letter to print, on one line.
fn without_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        out.push_str(&rest[..start]);
        let inside = rest[start + 1..]
            .split_once(']')
            .filter(|(number, _)| number.chars().all(|c| c.is_ascii_digit() || c == ',' || c == ' '));
        match inside {
            Some((_, after)) => rest = after,
            None => {
                out.push('[');
                rest = &rest[start + 1..];
            }
        }
    }
    out.push_str(rest);
    let words: Vec<&str> =
        out.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ").replace(" .", ".").replace(" ,", ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_out_of_the_text_and_numbers_that_are_not_there_out_of_its_citations() {
        let sentence = |text: &str, cites: &[usize]| WrittenSentence { text: text.into(), cites: cites.to_vec() };
        let written = Written {
            sentences: vec![sentence("It was\nbuilt [1], [2] in 1843 [1].", &[1, 9]), sentence(" [3] ", &[3])],
        };
        let mut taken = Taken::default();
        taken.add(written, 2, 1..4);
        assert_eq!(taken.sentences, [Sentence { text: "It was built, in 1843.".into(), cites: vec![1], answers: 2 }]);
        assert_eq!(without_marks("a[b] [c"), "a[b] [c");
    }
    #[test]
    fn what_is_beyond_the_bounds_is_listed_with_the_bound_and_what_is_said_again_takes_no_place() {
        let sentence = |text: String| WrittenSentence { text, cites: vec![1] };
        let long = format!("The mill {}burnt.", "and the barn ".repeat(50));
        let said = [long.clone(), "Floor 1 burnt.".into(), "floor 1 burnt".into()].into_iter();
        let sentences = said.chain((2..=10).map(|n| format!("Floor {n} burnt."))).map(sentence).collect();
        let mut taken = Taken::default();
        taken.add(Written { sentences }, 0, 1..2);
        assert_eq!(taken.sentences.len(), SENTENCES);
        assert_eq!(taken.sentences[7].text, "Floor 8 burnt.");
        let beyond: Vec<&str> = taken.beyond.iter().map(|(one, _)| one.text.as_str()).collect();
        assert_eq!(beyond, [&long, "Floor 9 burnt.", "Floor 10 burnt."]);
        assert!(taken.beyond[0].1.contains("at most 600") && taken.beyond[1].1.contains("first 8 sentences"));
    }
}
