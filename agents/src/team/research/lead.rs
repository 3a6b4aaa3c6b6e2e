use super::merge;
use super::reword::parts;
use crate::extract::COVERED;
use crate::llm::RoleModel;
use crate::source::{SourceError, is_url};
use crate::team::executive::{Questions, usable};
use crate::team::problem::passed_on;
use crate::team::prompts::{datum, note, optional, request};
use crate::team::{DATABASE, Findings, Inquiry, RESEARCH, Replan, WEB, problem};
use crate::{Agent, Capability, Context, Error, Grant, Result, Service};

/// The most other wordings of a question that are tried at once.
const WORDINGS: usize = 2;

/// Shares the sources out among the researchers and makes one answer of theirs: `research.lead`.
#[derive(Clone, Copy, Debug)]
pub struct Lead;

impl Lead {
    /// `research.lead`, which may delegate to its two workers and to nobody else.
    pub fn service() -> Service {
        let grants = [DATABASE.name(), WEB.name()].map(|name| Grant::Capability(name.into()));
        RESEARCH.by(Self).concurrency(4).may([Grant::OwnRun].into_iter().chain(grants))
    }
}

impl Agent<Inquiry, Findings> for Lead {
    async fn handle(&self, ctx: Context, inquiry: Inquiry) -> Result<Findings> {
        let has_urls = inquiry.sources.iter().any(|source| is_url(source));
        let has_paths = inquiry.sources.iter().any(|source| !is_url(source));
        let (local, web) =
            tokio::join!(async { if has_paths { Some(read(&ctx, DATABASE, &inquiry).await) } else { None } }, async {
                if has_urls { Some(read(&ctx, WEB, &inquiry).await) } else { None }
            },);
        // That there are pages among the files is seen only by who has looked into them.
        let pages_left = matches!(&local, Some(Ok(findings)) if findings.reading.left > 0);
        let web = if web.is_none() && pages_left { Some(read(&ctx, WEB, &inquiry).await) } else { web };
        let idle = [
            (DATABASE.name(), local.is_none(), "only URLs in the sources"),
            (WEB.name(), web.is_none(), "no page and no URL in the sources"),
        ];
        let mut found = join(local.into_iter().chain(web))?;
        for (name, _, why) in idle.into_iter().filter(|(_, idle, _)| *idle) {
            found.remarks.insert(name.into(), why.into());
        }
        found.reading.left = 0;
        if !found.replan.requires_replanning {
            found.replan = another_plan(&found);
        }
        if let Some(model) = ctx.model(RESEARCH.name())
            && found.coverage < COVERED
            && !found.replan.requires_replanning
        {
            found.replan = reworded(&ctx, &model, &found).await?;
            note(&mut found.models, model.used());
        }
        let remark = format!("{:.0} % of the question covered", found.coverage * 100.0);
        ctx.progress(1.0, &remark);
        found.remarks.insert(RESEARCH.name().into(), remark);
        Ok(found)
    }
}

async fn read(ctx: &Context, who: Capability<Inquiry, Findings>, inquiry: &Inquiry) -> Result<Findings, Error> {
    ctx.delegate(who, inquiry.clone()).key(who.name()).describe(inquiry.question.as_str()).await
}

/// All that was found; who failed is a problem of the whole, unless all did.
fn join(results: impl Iterator<Item = Result<Findings, Error>>) -> Result<Findings> {
    let (mut found, mut failed): (Option<Findings>, Vec<Error>) = (None, Vec::new());
    for result in results {
        match (result, found.take()) {
            (Ok(more), Some(findings)) => found = Some(merge(findings, more)),
            (Ok(more), None) => found = Some(more),
            (Err(error), before) => {
                failed.push(error);
                found = before;
            }
        }
    }
    match (found, failed.into_iter()) {
        (Some(mut found), failed) => {
            found.problems.extend(failed.map(|error| error.to_string()));
            Ok(found)
        }
        (None, mut failed) => Err(failed.next().map_or_else(|| problem::failure(&SourceError::NoneNamed), passed_on)),
    }
}

/// Asks for a question to be taken apart when no paragraph covers it as a whole and its parts can stand alone.
fn another_plan(found: &Findings) -> Replan {
    let instead = parts(&found.question);
    if found.coverage >= COVERED || instead.is_empty() {
        return Replan::default();
    }
    Replan::because("no paragraph covers the question as a whole, and its parts can be asked alone", instead)
}

/// Asks a model for other words when those of the question find hardly anything.
async fn reworded(ctx: &Context, model: &RoleModel, found: &Findings) -> Result<Replan> {
    let missing: Vec<String> = found.not_found.iter().map(|term| datum(term)).collect();
    let work = format!("<data>\nQuestion: {}\nNot found: {}\n</data>", datum(&found.question), missing.join(", "));
    let asked = request(model, "researcher", &work);
    let answer =
        optional(ctx, "researched without the model", model.named("reword").extract::<Questions>(asked).await)?;
    // Other words are what is wanted, so they need not be those of the question.
    let wordings = usable("", answer.unwrap_or_default().questions);
    let fresh: Vec<String> = wordings.into_iter().filter(|one| *one != found.question).take(WORDINGS).collect();
    if fresh.is_empty() {
        return Ok(Replan::default());
    }
    Ok(Replan::because("the sources cover little of the question, and there are other words for it", fresh))
}
