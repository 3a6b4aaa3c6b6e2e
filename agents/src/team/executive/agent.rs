use callboard_broker::{code, event};

use super::brief::brief;
pub use super::plan::MAX_REVISIONS;
use super::plan::Plan;
use super::planned::questions;
use crate::extract::split;
use crate::team::content::quote_instead;
use crate::team::problem::passed_on;
use crate::team::prompts::note;
use crate::team::words::plural;
use crate::team::{
    Brief, CONTENT, Checked, EXECUTIVE, Engine, Findings, Inquiry, Notes, OneOrMany, QA, RESEARCH, Review, Revision,
    WRITER,
};
use crate::{Agent, Context, EventKind, Failure, Grant, Result, Service};

/// A plan was changed because a result asked for it.
pub const REVISED: EventKind<Revision> = EventKind::new(event::PLAN_REVISED);

/// Plans, delegates, replans and puts the brief together: `executive`.
#[derive(Clone, Copy, Debug)]
pub struct Executive;

impl Executive {
    /// `executive`, which may delegate to its three leads and to nobody else.
    pub fn service() -> Service {
        let leads = [RESEARCH.name(), CONTENT.name(), QA.name()].map(|name| Grant::Capability(name.into()));
        EXECUTIVE.by(Self).concurrency(4).may([Grant::OwnRun].into_iter().chain(leads))
    }
}

impl Agent<Inquiry, Brief> for Executive {
    async fn handle(&self, ctx: Context, inquiry: Inquiry) -> Result<Brief> {
        let model = ctx.model(EXECUTIVE.name());
        let mut plan = Plan::new(match &model {
            Some(model) if !split(&inquiry.question).is_empty() => {
                questions(&ctx, model, &inquiry.question, &inquiry.sources).await?
            }
            _ => split(&inquiry.question),
        });
        if plan.questions() == 0 {
            return Err(Failure::permanent("the question is empty").code(code::BAD_VALUE));
        }
        loop {
            ctx.progress(0.1, format!("{} to research", plan.newest().count()));
            research(&ctx, &inquiry, &mut plan).await?;
            if revised(&ctx, &mut plan).await? {
                continue;
            }
            let found = plan.found();
            // Nothing to write about: that is the answer.
            if found.iter().all(|findings| findings.claims.is_empty()) {
                return Ok(brief(ctx.run_id(), &inquiry, &plan, Checked::default()));
            }
            ctx.progress(0.5, "research done");
            let checked = write(&ctx, &inquiry, found, plan.revisions).await?;
            plan.wish(&checked.replan);
            if !revised(&ctx, &mut plan).await? {
                ctx.progress(1.0, "checked");
                let mut checked = quoted(checked, &plan.found());
                model.iter().for_each(|model| note(&mut checked.draft.models, model.used()));
                return Ok(brief(ctx.run_id(), &inquiry, &plan, checked));
            }
        }
    }
}

/// Has the newest steps of the plan researched at the same time. One that fails is a problem of the brief, unless all do.
async fn research(ctx: &Context, inquiry: &Inquiry, plan: &mut Plan) -> Result<()> {
    let mut group = ctx.group();
    let mut steps = Vec::new();
    for (at, step) in plan.newest() {
        let part = Inquiry { question: step.question.clone(), sources: inquiry.sources.clone() };
        group.add(ctx.delegate(RESEARCH, part).key(step.key.as_str()).describe(step.question.as_str()));
        steps.push(at);
    }
    let mut results = group.settle().await;
    if plan.found().is_empty() && results.iter().all(Result::is_err) {
        return results.swap_remove(0).map(drop).map_err(passed_on);
    }
    steps.into_iter().zip(results).for_each(|(step, result)| plan.take(step, result));
    Ok(())
}

/// Has what was found written up and checked.
async fn write(ctx: &Context, inquiry: &Inquiry, found: Vec<Findings>, revision: u32) -> Result<Checked> {
    let key = |stage: &str| if revision == 0 { stage.to_owned() } else { format!("{stage}-{revision}") };
    let notes = Notes { question: inquiry.question.clone(), notes: OneOrMany::Many(found) };
    let content = ctx.delegate(CONTENT, notes).key(key("content")).describe("findings into a text");
    let draft = content.await.map_err(passed_on)?;
    ctx.progress(0.8, "written");
    let review = Review { draft, sources: inquiry.sources.clone() };
    let qa = ctx.delegate(QA, review).key(key("qa")).describe("the text against its sources");
    qa.await.map_err(passed_on)
}

/// What a model wrote, with quotations where nothing of it stands.
fn quoted(mut checked: Checked, found: &[Findings]) -> Checked {
    if checked.draft.engine == Engine::Model {
        let questions = quote_instead(&mut checked.draft, found);
        if questions > 0 {
            let remark = format!("{} quoted, for nothing that was written stands", plural(questions, "question"));
            checked.draft.remarks.insert(WRITER.name().to_owned(), remark);
        }
    }
    checked
}

/// Whether the plan was changed. The fact is published once, however often the task is begun.
async fn revised(ctx: &Context, plan: &mut Plan) -> Result<bool> {
    let Some(revision) = plan.revise() else { return Ok(false) };
    let step = format!("revision-{}", revision.revision);
    ctx.step(step, async || Ok(ctx.emit(REVISED, revision).await?)).await?;
    Ok(true)
}
