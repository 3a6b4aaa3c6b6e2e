//! What a model adds to the research team, and what it costs: the same questions with the extractive engine and with a
//! model in each role, side by side in one run.
//!
//! `cargo run --release -p callboard-tests --bin quality_bench [QUESTIONS [MODEL URL]]`: default 10 questions. Each is two
//! of XQuAD's from different paragraphs in one breath, so that it has to be taken apart. Without a model of one's own, the
//! server of `scripts/llama-server` is started (SmolLM2, 135 million parameters); `CALLBOARD_XQUAD` is the folder of
//! `xquad.en.json`. Measured are: both parts in the plan (sub-questions), the paragraph that answers a part among the cited
//! ones (retrieval), the gold answer of a part in the text (writing), what was dropped because no source covers it, and
//! the mean time and tokens. Nothing is a gate: a small model makes it worse, a large one better.

#[allow(dead_code, reason = "the tests of answers need more of it")]
#[path = "../../tests/xquad/data.rs"]
mod data;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use callboard::llm::{ModelConfig, Models};
use callboard::team::{self, Brief, EXECUTIVE, Inquiry};
use callboard::{Error, Node};
use callboard_tests::llm::Llama;
use data::{Paragraph, Question};

/// How long a model may be silent.
const SILENCE: Duration = Duration::from_secs(600);
/// Tokens of an answer at most: what is longer says nothing about facts.
const MAX_TOKENS: u32 = 160;
/// The share of the words of a part that a sub-question has to have.
const SAME: f64 = 0.6;

/// Two questions in one, each with where its answer is.
struct Asked<'a> {
    text: String,
    parts: [(&'a Question, usize); 2],
}

#[derive(Default)]
struct Figures {
    asked: usize,
    failed: usize,
    planned: usize,
    cited: usize,
    written: usize,
    dropped: usize,
    tokens: u64,
    took: Duration,
}

impl Figures {
    fn add(&mut self, asked: &Asked<'_>, brief: &Brief) {
        for (part, paragraph) in &asked.parts {
            let file = data::file_name(*paragraph);
            self.planned += usize::from(brief.plan.iter().any(|step| is_same(&part.text, &step.question)));
            self.cited += usize::from(brief.claims.iter().any(|claim| claim.source.contains(&file)));
            self.written += usize::from(part.gold.iter().any(|gold| brief.brief.contains(gold.as_str())));
        }
        self.dropped += brief.dropped.len();
        self.tokens += brief.models.iter().map(|used| used.input_tokens + used.output_tokens).sum::<u64>();
    }

    fn print(&self, name: &str) {
        let percent = |part: usize| 100.0 * part as f64 / (2 * self.asked).max(1) as f64;
        let each = self.asked.max(1) as f64;
        println!(
            "{name:<12} {:>10.0} {:>10.0} {:>9.0} {:>9.1} {:>10.1} {:>10.0} {:>7}",
            percent(self.planned),
            percent(self.cited),
            percent(self.written),
            self.dropped as f64 / each,
            self.took.as_secs_f64() / each,
            self.tokens as f64 / each,
            self.failed
        );
    }
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Whether a sub-question asks for this part and not for all at once.
fn is_same(part: &str, step: &str) -> bool {
    let (part, step) = (words(part), words(step));
    let shared = part.intersection(&step).count() as f64;
    shared >= SAME * part.len() as f64 && step.len() < part.len() * 2
}

fn pairs(paragraphs: &[Paragraph], many: usize) -> Vec<Asked<'_>> {
    let far = paragraphs.len() / 2;
    let step = (far / many.max(1)).max(1);
    (0..many.min(far))
        .map(|n| {
            let (one, two) = (n * step, n * step + far);
            let (first, second) = (&paragraphs[one].questions[0], &paragraphs[two].questions[0]);
            Asked { text: format!("{} {}", first.text, second.text), parts: [(first, one), (second, two)] }
        })
        .collect()
}

async fn measured(models: Models, questions: &[Asked<'_>], sources: &[String]) -> Result<Figures, Error> {
    let node = Node::embedded().models(models).serve(team::research()).start().await?;
    let mut figures = Figures::default();
    for asked in questions {
        let inquiry = Inquiry { question: asked.text.clone(), sources: sources.to_vec() };
        let began = Instant::now();
        let run = node.submit(EXECUTIVE, inquiry).await?;
        match run.outcome().await {
            Ok(brief) => figures.add(asked, &brief),
            Err(error) => {
                eprintln!("{}: {error}", asked.text);
                figures.failed += 1;
            }
        }
        figures.asked += 1;
        figures.took += began.elapsed();
    }
    node.shutdown().await?;
    Ok(figures)
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let many = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(10);
    let Some(paragraphs) = data::paragraphs() else { std::process::exit(2) };
    let (folder, questions) = (data::as_files(&paragraphs), pairs(&paragraphs, many));
    let sources = vec![folder.path().to_str().expect("a Unicode path").to_owned()];
    let (_llama, name, url) = match &arguments[..] {
        [_, name, url, ..] => (None, name.clone(), url.clone()),
        _ => {
            let llama = Llama::start();
            let url = llama.url();
            (Some(llama), "openai/smollm2".to_owned(), url)
        }
    };
    let default = vec![name.parse().expect("PROVIDER/NAME")];
    let mut config = ModelConfig { default, url: Some(url), silence: Some(SILENCE), ..ModelConfig::default() };
    config.sampling.max_tokens = MAX_TOKENS;
    let model = Models::open(&config, |name| std::env::var(name).ok()).expect("the provider is known");
    println!("{} questions of two parts each; in percent of the parts, then for each question", questions.len());
    println!(
        "{:<12} {:>10} {:>10} {:>9} {:>9} {:>10} {:>10} {:>7}",
        "", "in plan", "cited", "written", "dropped", "seconds", "tokens", "failed"
    );
    for (name, models) in [("extractive", Models::none()), (&*name, model)] {
        measured(models, &questions, &sources).await.expect("an embedded node").print(name);
    }
}
