//! What the process says by its exit code.

use std::process::ExitCode;

use callboard::broker::code;

/// The exit codes, which scripts may rely on. 6 is kept for *waiting for a person*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
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
    /// Supervision gave up, or Callboard itself has a fault.
    GaveUp = 70,
    /// Interrupted by the person or the system.
    Interrupted = 130,
}

impl Exit {
    /// The exit code that an error of this code ends with.
    pub(crate) fn of(error: &str) -> Exit {
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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
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
}
