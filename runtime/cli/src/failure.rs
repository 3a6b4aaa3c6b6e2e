//! Why a command could not go on: what is told, and the exit code.

use std::io;

use callboard::Error;
use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems};

use callboard::exit::{Exit, problems};

/// The end of a command without an answer. Without problems it is silent.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) problems: Problems,
}

impl Failure {
    /// An end that needs no words: whoever read the output has gone, or everything was said before.
    pub(crate) fn silent(exit: Exit) -> Self {
        Failure { exit, problems: Problems::new() }
    }

    /// Whether it is this and nothing else.
    pub(crate) fn is(&self, code: &str) -> bool {
        !self.problems.is_empty() && self.problems.iter().all(|problem| problem.code == code)
    }

    /// The same with another exit code.
    pub(crate) fn exit(self, exit: Exit) -> Self {
        Failure { exit, ..self }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let exit = problems.iter().next().map_or(Exit::Failed, |first| Exit::of(first.code));
        Failure { exit, problems }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Problems::from(problem).into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        problems(&error).into()
    }
}

/// What is written to standard output fails in only two ways that matter: the reader has gone, which is a success, or
/// there is no room.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::silent(Exit::Ok);
        }
        let why = error.kind();
        Problem::new(code::DISK_FULL, format!("the output cannot be written: {why}")).into()
    }
}

/// An error as it is told to a person, where there is room for one problem.
pub(crate) fn problem_of(error: &Error) -> Problem {
    let told = problems(error).into_iter().next();
    told.unwrap_or_else(|| Problem::new(code::INTERNAL, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_has_gone_is_a_success_and_a_full_disk_is_not() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(gone.exit == Exit::Ok && gone.problems.is_empty());
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(full.exit == Exit::Unreachable && !full.problems.is_empty());
    }
}
