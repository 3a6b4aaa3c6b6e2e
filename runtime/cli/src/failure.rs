//! Why a command could not go on: what is told, and the exit code.

use std::io;

use callboard::Error;
use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems};

use crate::exit::Exit;

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
        match error {
            Error::Config(problems) => (*problems).into(),
            error => problem_of(&error).into(),
        }
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

/// An error as it is told to a person.
pub(crate) fn problem_of(error: &Error) -> Problem {
    let known = code::find(error.code()).map_or(code::INTERNAL, |known| known.code);
    let problem = Problem::new(known, error.to_string());
    match error {
        // An error that passed through an agent names by itself what it is about.
        Error::Failed { failure, .. } if known != code::FAILED => Problem { what: failure.message.clone(), ..problem },
        Error::Busy { .. } => problem.fix("try again later, or with fewer tasks at once"),
        Error::Unavailable { .. } => problem.fix("callboard doctor"),
        Error::TooLarge { .. } => problem.fix("pass a smaller input, or the path of a file that the agent reads"),
        _ => problem,
    }
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
