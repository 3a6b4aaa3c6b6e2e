//! What is wrong with a source, as a failure of whoever had to read it.

use callboard_broker::code;

use crate::source::SourceError;
use crate::{Error, Failure};

/// Another try reads the same, so it is permanent, except that an address may answer later.
pub(super) fn failure(error: &SourceError) -> Failure {
    let may_pass = match error {
        SourceError::Fetch { status, .. } => status.is_none_or(|status| status >= 500 || status == 429),
        _ => false,
    };
    let failure = if may_pass { Failure::transient } else { Failure::permanent };
    failure(error.to_string()).code(code_of(error))
}

/// What a member could not do, as the failure of who delegated it. The member has used up its attempts, so to begin
/// again with its parent would only multiply them.
pub(super) fn passed_on(error: Error) -> Failure {
    match &error {
        Error::Failed { failure, .. } if failure.class.is_retried() => {
            let known = code::find(&failure.code).map_or(code::FAILED, |known| known.code);
            Failure::permanent(error.to_string()).code(known)
        }
        _ => error.into(),
    }
}

/// The only document that was skipped decides, so that a single broken file is called by its name.
fn code_of(error: &SourceError) -> &'static str {
    match error {
        SourceError::Nothing { skipped: 1, first: Some(first), .. } => skipped(first),
        SourceError::NoneNamed | SourceError::Nothing { .. } => code::EMPTY_SOURCES,
        SourceError::Missing { .. } => code::NO_SOURCE,
        SourceError::Unreadable { .. } => code::UNREADABLE,
        SourceError::Elsewhere { .. } => code::UNSUPPORTED,
        SourceError::Fetch { status: Some(_), .. } => code::HTTP_STATUS,
        SourceError::Fetch { .. } => code::HTTP_UNREACHABLE,
    }
}

/// What stands in the reasons for which documents are skipped.
const REASONS: &[(&str, &str)] = &[
    ("this build has no", code::UNSUPPORTED),
    ("this program has no", code::UNSUPPORTED),
    ("larger than", code::SOURCE_TOO_LARGE),
    ("PDF", code::BROKEN_PDF),
    ("database", code::BROKEN_DATABASE),
    ("not text", code::BINARY),
    ("not UTF-8", code::BINARY),
    ("not readable", code::UNREADABLE),
];

fn skipped(reason: &str) -> &'static str {
    let known = REASONS.iter().find(|(words, _)| reason.contains(words));
    known.map_or(code::EMPTY_SOURCES, |(_, code)| code)
}

/// In a few words, for the list of what was skipped.
pub(super) fn phrase(error: &SourceError) -> String {
    match error {
        SourceError::NoneNamed => "no source named".into(),
        SourceError::Missing { .. } => "no such file or folder".into(),
        SourceError::Unreadable { why, .. } => format!("not readable: {why}"),
        SourceError::Elsewhere { .. } => "a path of a client, which a node does not open".into(),
        SourceError::Fetch { why, .. } => why.clone(),
        SourceError::Nothing { first: Some(first), .. } => format!("nothing to read in it: {first}"),
        SourceError::Nothing { .. } => "nothing to read in it".into(),
    }
}
