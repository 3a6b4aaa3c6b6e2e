//! What a question may be, and whether an answer is one.

use callboard_broker::error::{Error, Result};
use serde_json::Value;

use super::{OnTimeout, Question, queue};

/// The most answers that a question may offer.
pub const MAX_CHOICES: usize = 100;
/// The most people that a question may name.
pub const MAX_WHO: usize = 100;

impl Question {
    /// Whether it can be asked.
    ///
    /// # Errors
    /// `Decode` with what is wrong: no words, choices that are empty or double, a default that is no choice, a queue for
    /// the escalation that is none; `TooLarge` for more than [`MAX_CHOICES`] or [`MAX_WHO`].
    pub fn check(&self) -> Result<()> {
        if self.question.trim().is_empty() {
            return Err(Error::decode("a question without words"));
        }
        let sizes = [("choices", self.choices.len(), MAX_CHOICES), ("who may answer", self.who.len(), MAX_WHO)];
        if let Some((what, size, limit)) = sizes.into_iter().find(|(_, size, limit)| size > limit) {
            return Err(Error::TooLarge { what: what.into(), size, limit });
        }
        let double = |(i, choice): (usize, &String)| choice.trim().is_empty() || self.choices[..i].contains(choice);
        if let Some(choice) = self.choices.iter().enumerate().find(|one| double(*one)).map(|(_, choice)| choice) {
            return Err(Error::decode(format!("the choice \"{choice}\" is empty or there twice")));
        }
        match &self.on_timeout {
            OnTimeout::Fail => Ok(()),
            OnTimeout::Answer(value) => self.is_choice(value),
            OnTimeout::Escalate(to) => queue(to).map(drop),
        }
    }

    /// Whether `who` may answer it.
    ///
    /// # Errors
    /// `Denied`, naming those who may.
    pub fn admits(&self, who: &str) -> Result<()> {
        if self.who.is_empty() || self.who.iter().any(|name| name == who) {
            return Ok(());
        }
        let what = format!("answer this: it is for {}", self.who.join(", "));
        Err(Error::Denied { who: who.into(), what: what.into() })
    }

    /// Whether an answer is one of the choices, when there are any.
    ///
    /// # Errors
    /// `Decode`, with the choices.
    pub fn is_choice(&self, answer: &Value) -> Result<()> {
        let known = |answer: &str| self.choices.iter().any(|choice| choice == answer);
        if self.choices.is_empty() || answer.as_str().is_some_and(known) {
            return Ok(());
        }
        Err(Error::decode(format!("{answer} is none of the answers: {}", self.choices.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::human;
    use crate::testing::World;

    #[test]
    fn a_question_that_makes_no_sense_is_refused_with_the_reason() {
        let ask = || Question::new("ship?");
        let escalated = Question { on_timeout: OnTimeout::Escalate("The Boss".into()), ..ask() };
        let defaulted = Question { on_timeout: OnTimeout::Answer("maybe".into()), ..ask().choices(["yes", "no"]) };
        for (question, why) in [
            (Question::new(" "), "without words"),
            (ask().choices(["yes", "yes"]), "there twice"),
            (ask().choices(vec!["x"; 101]), "over the limit of 100"),
            (escalated, "The Boss"),
            (defaulted, "yes, no"),
        ] {
            let refusal = question.check().unwrap_err().to_string();
            assert!(refusal.contains(why), "{refusal}");
        }
        ask().choices(["yes", "no"]).check().unwrap();
    }

    #[test]
    fn only_those_who_are_named_may_answer() {
        let question = Question::new("ship?").who(["ann"]);
        question.admits("ann").unwrap();
        assert!(question.admits("bob").unwrap_err().to_string().contains("it is for ann"));
        Question::new("ship?").admits("bob").unwrap();
    }

    #[tokio::test]
    async fn when_nobody_answers_the_declared_thing_happens() {
        let silent = || World::new().answers(human::queue("default").unwrap(), |_| Err(Error::Expired));
        let ctx = silent().context();
        assert!(matches!(ctx.human::<bool>(Question::new("ship?")).await, Err(Error::Expired)));
        let reply = ctx.human(Question::new("wait?")).or(&true).within(Duration::from_secs(5)).full().await.unwrap();
        assert_eq!((reply.value, reply.degraded.as_deref()), (true, Some("nobody answered within 5 s")));
        let ctx = silent().answers(human::queue("boss").unwrap(), |_| Ok(false.into())).context();
        assert!(!ctx.human::<bool>(Question::new("ship?")).or_escalate("boss").await.unwrap());
    }

    #[tokio::test]
    async fn the_type_that_is_asked_for_tells_people_what_an_answer_looks_like() {
        let queue = human::queue("default").unwrap();
        let world = World::new().answers(queue, |_| Ok(7.into()));
        let answer: u32 = world.context().human(Question::new("how many?")).await.unwrap();
        assert_eq!((answer, &world.asked(queue)[0]["schema"]["type"]), (7, &"integer".into()));
        let wrong = world.context().human::<bool>(Question::new("ship?")).await.unwrap_err();
        assert!(matches!(wrong, Error::Decode { .. }), "{wrong}");
    }
}
