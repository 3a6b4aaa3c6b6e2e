//! What a process says by its exit code: the command line, and every program that is a node.
//!
//! A program gives its end to [`Ended`], which `main` may return: what went wrong is told on standard error as the
//! command line tells it, and the process ends with the code that scripts and service managers know from there.
//!
//! ```no_run
//! use callboard::exit::Ended;
//! use callboard::{Error, Node};
//!
//! async fn serve() -> Result<(), Error> {
//!     Node::from_args()?.start().await?.until_stopped().await
//! }
//!
//! #[tokio::main]
//! async fn main() -> Ended {
//!     serve().await.into()
//! }
//! ```

use std::io::Write;
use std::process::{ExitCode, Termination};

use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::problem::{Problem, Problems};

/// The exit codes, which scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Finished, and failed.
    Failed = 1,
    /// What was typed or configured cannot be used.
    Usage = 2,
    /// The store or the broker cannot be reached or used.
    Unreachable = 3,
    /// Not done by its deadline.
    Deadline = 4,
    /// Finished with less than was asked for, and `--strict` was given.
    Degraded = 5,
    /// Nothing but people is waited for; it can be resumed, before they answer or after.
    Waiting = 6,
    /// Supervision gave up, or Callboard itself has a fault.
    GaveUp = 70,
    /// Interrupted by the person or the system.
    Interrupted = 130,
}

impl Exit {
    /// The exit code that an error of this code ends with.
    pub fn of(error: &str) -> Exit {
        match error {
            code::DEADLINE | code::EXPIRED => Exit::Deadline,
            code::UNREACHABLE => Exit::Unreachable,
            code::UNSERVED => Exit::Usage,
            code::GAVE_UP => Exit::GaveUp,
            _ => match error.get(..4) {
                Some("CB01" | "CB03" | "CB04") => Exit::Usage,
                Some("CB02") => Exit::Unreachable,
                Some("CB05") => Exit::GaveUp,
                _ => Exit::Failed,
            },
        }
    }

    /// The exit code of a node that did not start, or ended, with this error. What a broker denies to a node (to join
    /// it, to keep its name) makes that broker unusable; a name that is none was typed or configured; `Cancelled` is a
    /// drain that was cut short.
    pub fn of_node(error: &Error) -> Exit {
        match error {
            Error::Denied { .. } => Exit::Unreachable,
            Error::Decode { .. } => Exit::Usage,
            Error::Cancelled { .. } => Exit::Interrupted,
            other => Exit::of(other.code()),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error as it is told to a person.
pub fn problems(error: &Error) -> Problems {
    let known = code::find(error.code()).map_or(code::INTERNAL, |known| known.code);
    let problem = Problem::new(known, error.to_string());
    let problem = match error {
        Error::Config(problems) => return (**problems).clone(),
        // An error that passed through an agent names by itself what it is about.
        Error::Failed { failure, .. } if known != code::FAILED => Problem { what: failure.message.clone(), ..problem },
        Error::Busy { .. } => problem.fix("try again later, or with fewer tasks at once"),
        Error::Unavailable { .. } => problem.fix("callboard doctor"),
        Error::TooLarge { .. } => problem.fix("pass a smaller input, or the path of a file that the agent reads"),
        Error::GaveUp { counts, .. } => problem.note(format!("failures: {counts}")).fix("callboard explain tree"),
        _ => problem,
    };
    problem.into()
}

/// The end of a program that is a node. Returned from `main` it tells what went wrong and sets the exit code.
#[derive(Debug)]
#[must_use = "a process ends with it when `main` returns it"]
pub struct Ended(Result<()>);

impl Ended {
    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        self.0.as_ref().map_or_else(Exit::of_node, |()| Exit::Ok)
    }
}

impl From<Result<()>> for Ended {
    fn from(ended: Result<()>) -> Self {
        Self(ended)
    }
}

impl Termination for Ended {
    fn report(self) -> ExitCode {
        if let Err(error) = &self.0 {
            // Nobody who listens is no reason for another exit code.
            let _ = writeln!(std::io::stderr(), "{}", problems(error));
        }
        self.exit().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_ends_in_the_exit_of_its_area() {
        for (error, exit) in [
            (code::FAILED, Exit::Failed),
            (code::CONFLICT, Exit::Failed),
            (code::DEADLINE, Exit::Deadline),
            (code::SYNTAX, Exit::Usage),
            (code::UNSERVED, Exit::Usage),
            (code::CORRUPT_STORE, Exit::Unreachable),
            (code::NO_SOURCE, Exit::Usage),
            (code::AMBIGUOUS_ID, Exit::Usage),
            (code::INTERNAL, Exit::GaveUp),
            (code::GAVE_UP, Exit::GaveUp),
        ] {
            assert_eq!(Exit::of(error), exit, "{error}");
        }
    }

    #[test]
    fn a_node_exits_by_why_it_ended() {
        let typed = Problem::new(code::UNKNOWN_OPTION, "there is no option --nmae");
        for (error, exit) in [
            (Error::Config(Box::new(typed.into())), Exit::Usage),
            (Error::decode("\"a b\" is no name"), Exit::Usage),
            (Error::unavailable("nobody answers"), Exit::Unreachable),
            (Error::Denied { who: "this process".into(), what: "join".into() }, Exit::Unreachable),
            (Error::Cancelled { by: "a second signal".into() }, Exit::Interrupted),
            (Error::GaveUp { reason: "it failed".into(), counts: "root 4 in 60s".into() }, Exit::GaveUp),
        ] {
            assert_eq!(Ended::from(Err(error.clone())).exit(), exit, "{error}");
        }
        assert_eq!(Ended::from(Ok(())).exit(), Exit::Ok);
    }
}
