//! What the whole team makes of the extractive engine's answers, over a sample of XQuAD on a node: nothing that was found
//! may be lost on the way to the brief.
//!
//! The data are found as in `xquad.rs`. Run with `--nocapture` to see the figures.

#[path = "xquad/data.rs"]
mod data;

use std::time::{Duration, Instant};

use callboard::Node;
use callboard::team::{self, Brief, EXECUTIVE, Inquiry};
use callboard_agents::extract::COVERED;
use data::Question;

/// One of so many questions is asked.
const SAMPLE: usize = 20;

#[derive(Default)]
struct Figures {
    asked: usize,
    first: usize,
    third: usize,
    cited: usize,
    covered: usize,
    dropped: usize,
    revised: usize,
    slowest: Duration,
    all: Duration,
}

impl Figures {
    fn add(&mut self, question: &Question, brief: &Brief, took: Duration) {
        let holds = |text: &str| question.gold.iter().any(|gold| text.contains(gold.as_str()));
        self.asked += 1;
        self.first += usize::from(brief.claims.iter().take(1).any(|claim| holds(&claim.quote)));
        self.third += usize::from(brief.claims.iter().take(3).any(|claim| holds(&claim.quote)));
        self.cited += usize::from(holds(&brief.brief));
        self.covered += usize::from(brief.coverage >= COVERED);
        self.dropped += brief.dropped.len();
        self.revised += usize::from(brief.revisions > 0);
        self.slowest = self.slowest.max(took);
        self.all += took;
    }

    fn percent(&self, part: usize) -> f64 {
        100.0 * part as f64 / self.asked.max(1) as f64
    }

    fn print(&self) {
        println!(
            "{} questions: gold in the first quote {:.1} %, three {:.1} %, in the text {:.1} %; coverage at least \
             {COVERED} for {:.1} %; {} claims dropped, {} plans revised; mean {:?}, slowest {:?}",
            self.asked,
            self.percent(self.first),
            self.percent(self.third),
            self.percent(self.cited),
            self.percent(self.covered),
            self.dropped,
            self.revised,
            self.all / self.asked.max(1) as u32,
            self.slowest,
        );
    }
}

/// Goal: the bars for answers hold for briefs too. Method: a sample of the questions, each a run of its own.
#[tokio::test]
async fn the_team_loses_nothing_that_the_engine_found() {
    let Some(paragraphs) = data::paragraphs() else { return };
    let folder = data::as_files(&paragraphs);
    let sources = vec![folder.path().to_str().expect("a Unicode path").to_owned()];
    let node = Node::embedded().serve(team::research()).start().await.unwrap();
    let mut figures = Figures::default();
    for question in paragraphs.iter().flat_map(|paragraph| &paragraph.questions).step_by(SAMPLE) {
        let (inquiry, began) = (Inquiry { question: question.text.clone(), sources: sources.clone() }, Instant::now());
        let brief = node.submit(EXECUTIVE, inquiry).await.unwrap().outcome().await.unwrap();
        figures.add(question, &brief, began.elapsed());
    }
    figures.print();
    let (first, third, cited) =
        (figures.percent(figures.first), figures.percent(figures.third), figures.percent(figures.cited));
    assert!(first >= 75.0 && third >= 90.0 && cited >= 90.0);
    assert_eq!(figures.dropped, 0, "what is quoted verbatim is never dropped");
    node.shutdown().await.unwrap();
}
