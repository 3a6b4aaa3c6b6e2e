//! A plan by a model, and what of it can be carried out.

use crate::extract::split;
use crate::llm::RoleModel;
use crate::team::prompts::{datum, optional, request};
use crate::team::words::telling;
use crate::{Context, Result, payload};

/// The most questions that a model may make of what was asked.
pub const MAX_QUESTIONS: usize = 6;
/// The longest of them, in letters.
const LONG: usize = 300;
/// The most sources that a model is told the names of.
const SOURCES: usize = 50;

/// What a model plans.
#[payload]
#[derive(Debug, Default)]
pub(in crate::team) struct Questions {
    pub(in crate::team) questions: Vec<String>,
}

/// The questions to research: those of the model where it is of use, else those that were asked.
pub(super) async fn questions(
    ctx: &Context,
    model: &RoleModel,
    asked: &str,
    sources: &[String],
) -> Result<Vec<String>> {
    let names: String = sources.iter().take(SOURCES).map(|name| format!("{}\n", datum(name))).collect();
    let work = format!("Asked: {}\nDocuments:\n<data>\n{names}</data>", datum(asked));
    let planned = model.named("plan").extract(request(model, "planner", &work)).await;
    let planned: Option<Questions> = optional(ctx, "planned without the model", planned)?;
    let usable = planned.map(|planned| usable(asked, planned.questions)).unwrap_or_default();
    Ok(if usable.is_empty() { split(asked) } else { usable })
}

/// Those that can be researched: not empty, not too long, once each, and about something that was asked for.
pub(in crate::team) fn usable(asked: &str, questions: Vec<String>) -> Vec<String> {
    let wanted = telling(asked);
    let mut usable: Vec<String> = Vec::new();
    for question in questions {
        let question = question.split_whitespace().collect::<Vec<_>>().join(" ");
        let fits = (1..=LONG).contains(&question.chars().count()) && !question.contains(char::is_control);
        let is_about = wanted.is_empty() || !wanted.is_disjoint(&telling(&question));
        if fits && is_about && !usable.contains(&question) && usable.len() < MAX_QUESTIONS {
            usable.push(question);
        }
    }
    usable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_researched_or_was_not_asked_for_is_not_planned() {
        let questions =
            ["When was  the mill built?", "", "Who is the pope?", "When was the mill built?", &"mill ".repeat(99)];
        let usable = usable("When was the mill built, and by whom?", questions.map(str::to_owned).to_vec());
        assert_eq!(usable, ["When was the mill built?"]);
        let many = (0..20).map(|n| format!("mill {n}?")).collect();
        assert_eq!(super::usable("the mill", many).len(), MAX_QUESTIONS);
    }
}
