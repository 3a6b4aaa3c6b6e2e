use crate::extract::Options;
use crate::source::Only;
use crate::team::blocking::blocking;
use crate::team::words::plural;
use crate::team::{DATABASE, Findings, Inquiry, Library, Remarks, WEB, problem};
use crate::{Agent, Context, Result, Service};

/// Quotes what the documents of one kind say to a question: `research.web` and `research.database`.
#[derive(Clone, Debug)]
pub struct Reader {
    library: Library,
    only: Only,
}

impl Reader {
    /// One that reads documents of this kind from this library.
    pub fn new(library: &Library, only: Only) -> Self {
        Self { library: library.clone(), only }
    }

    /// `research.web`: HTML files and URLs.
    pub fn web(library: &Library) -> Service {
        WEB.by(Self::new(library, Only::Web)).workers(2).may([])
    }

    /// `research.database`: everything else.
    pub fn database(library: &Library) -> Service {
        DATABASE.by(Self::new(library, Only::Local)).workers(2).may([])
    }

    fn name(&self) -> &'static str {
        if self.only == Only::Web { WEB.name() } else { DATABASE.name() }
    }
}

impl Agent<Inquiry, Findings> for Reader {
    async fn handle(&self, ctx: Context, inquiry: Inquiry) -> Result<Findings> {
        let Inquiry { question, sources } = inquiry;
        let opened = self.library.open_from(ctx.host().blobs(), ctx.run_id(), &sources, self.only).await;
        let shelf = opened.map_err(|error| problem::failure(&error))?;
        let (searched, asked) = (shelf.clone(), question.clone());
        let answer = blocking(move || searched.index.answer(&asked, &Options::default())).await;
        let files: std::collections::HashSet<&str> = answer.claims.iter().map(|claim| claim.source.as_str()).collect();
        let remark = match (answer.claims.len(), files.len()) {
            (0, _) => format!("nothing in {} files", shelf.reading.documents),
            (quotes, files) => format!("{} from {}", plural(quotes, "quote"), plural(files, "file")),
        };
        ctx.progress(1.0, &remark);
        Ok(Findings {
            question,
            claims: answer.claims,
            coverage: answer.coverage,
            not_found: answer.not_found,
            reading: shelf.reading.clone(),
            remarks: Remarks::from([(self.name().to_owned(), remark)]),
            ..Findings::default()
        })
    }
}
