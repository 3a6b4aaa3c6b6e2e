//! A workflow file, read and checked.

use std::io::ErrorKind;
use std::path::Path;

use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems};
use callboard::workflow::{Graph, WorkflowDoc};

use crate::paths::nearby;

/// The largest file that is read: a workflow may have 1,000 tasks, and each a page of input.
const MAX_FILE: u64 = 4 << 20;

/// Reads a file and says all that is wrong with it. `served` are the capabilities that its tasks may name; none: any.
pub(crate) fn read(path: &Path, served: Option<&[&str]>) -> Result<(WorkflowDoc, Graph), Problems> {
    let text = text(path)?;
    let doc = WorkflowDoc::from_toml(&path.to_string_lossy(), &text, served)?;
    let graph = doc.check(served)?;
    Ok((doc, graph))
}

fn text(path: &Path) -> Result<String, Problem> {
    let shown = path.display();
    let told = |why: &str| Problem::new(code::FILE, format!("{shown} cannot be read: {why}"));
    let about = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => missing(path),
        kind => told(&kind.to_string()),
    })?;
    if !about.is_file() {
        return Err(told("it is no file").fix("give the path of a workflow file, such as flow.toml"));
    }
    if about.len() > MAX_FILE {
        return Err(told(&format!("it has more than {} MiB", MAX_FILE >> 20)));
    }
    let bytes = std::fs::read(path).map_err(|error| told(&error.kind().to_string()))?;
    String::from_utf8(bytes).map_err(|_| told("it is not UTF-8 text"))
}

/// A file that is not there, with the names that are.
fn missing(path: &Path) -> Problem {
    let problem = Problem::new(code::FILE, format!("there is no file {}", path.display()));
    problem.allowed(nearby(path, |name| name.ends_with(".toml")))
}
