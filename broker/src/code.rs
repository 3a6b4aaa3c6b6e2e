//! The codes of all errors that a person may see, and the page that each of them has.
//!
//! A page is one Markdown file of `docs/errors/`: it is documentation, it is in the binary, and it is what
//! `callboard explain CB0004` prints. The numbers are by area and never change their meaning; a code that is no longer
//! used is not given away again.
//!
//! | numbers | area |
//! |---|---|
//! | `CB00xx` | messages, tasks, calls, supervision |
//! | `CB01xx` | configuration and workflow files |
//! | `CB02xx` | the store |
//! | `CB03xx` | sources and documents |
//! | `CB04xx` | the command line |
//! | `CB05xx` | faults of Callboard itself |
//! | `CB06xx` | language models |
//! | `CB07xx` | tools |
//! | `CB08xx` | what stands round language models, and doors |

/// A code with its title and its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Such as `CB0004`.
    pub code: &'static str,
    /// What it means in one line; the page's first line has it too.
    pub title: &'static str,
    /// The page, in Markdown.
    pub page: &'static str,
}

/// All codes in the order of their numbers.
pub fn all() -> &'static [Code] {
    ALL
}

/// The code of that name, whatever the case of its letters; the digits alone are enough.
pub fn find(name: &str) -> Option<&'static Code> {
    let digits = name.trim().trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let letters = &name.trim()[..name.trim().len() - digits.len()];
    let ours = letters.is_empty() || letters.eq_ignore_ascii_case("cb");
    ALL.iter().find(|known| ours && known.code[2..] == *digits)
}

/// One constant and one row for each code; its comment is its title.
macro_rules! codes {
    ($(#[doc = $title:literal] $name:ident = $code:literal;)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*
        const ALL: &[Code] = &[$(Code {
            code: $code,
            title: $title.trim_ascii(),
            page: include_str!(concat!("../../docs/errors/", $code, ".md")),
        }),*];
    };
}

codes! {
    /// the queue is full
    BUSY = "CB0001";
    /// no answer by the deadline
    DEADLINE = "CB0002";
    /// there is no such recipient
    NO_RECIPIENT = "CB0003";
    /// the broker or the store cannot be reached
    UNREACHABLE = "CB0004";
    /// the agent crashed while it worked on the request
    CRASHED = "CB0005";
    /// the agent answered with a failure
    FAILED = "CB0006";
    /// it was cancelled
    CANCELLED = "CB0007";
    /// the state entry has changed in the meantime
    CONFLICT = "CB0008";
    /// it is not known whether the write was done
    UNKNOWN = "CB0009";
    /// the message was not delivered
    UNDELIVERED = "CB0010";
    /// a second attempt asked for something else under the same key
    DIVERGED = "CB0011";
    /// another attempt has taken over the task
    REPLACED = "CB0012";
    /// the reader fell behind and missed something
    LAGGED = "CB0013";
    /// it expired before anyone took it
    EXPIRED = "CB0014";
    /// this agent may not do that
    DENIED = "CB0015";
    /// the content does not fit its type
    DECODE = "CB0016";
    /// the content is larger than its limit
    TOO_LARGE = "CB0017";
    /// nothing serves this capability
    UNSERVED = "CB0024";
    /// no agent was available for the task
    NO_AGENT = "CB0030";
    /// an agent keeps restarting
    RESTARTING = "CB0031";
    /// supervision gave up
    GAVE_UP = "CB0032";
    /// the task failed too often
    ATTEMPTS = "CB0033";
    /// the call would close a loop
    LOOP = "CB0034";
    /// a budget is used up
    EXHAUSTED = "CB0035";
    /// nobody serves the version that began the task
    VERSION = "CB0036";
    /// the task took its process down
    DEADLY = "CB0037";
    /// people did not approve it
    REJECTED = "CB0040";

    /// the file is not valid TOML
    SYNTAX = "CB0100";
    /// the value is not one of the allowed ones
    NOT_ALLOWED = "CB0102";
    /// the key is unknown
    UNKNOWN_KEY = "CB0103";
    /// the value has the wrong type
    WRONG_TYPE = "CB0104";
    /// a key is missing
    MISSING_KEY = "CB0105";
    /// the duration cannot be read
    DURATION = "CB0106";
    /// the number is outside its range
    RANGE = "CB0107";
    /// the name has a form that is not allowed
    NAME = "CB0108";
    /// the file cannot be read
    FILE = "CB0109";
    /// the workflow has no task
    NO_TASKS = "CB0110";
    /// the id is used twice
    DUPLICATE = "CB0111";
    /// a task depends on one that does not exist
    UNKNOWN_DEPENDENCY = "CB0112";
    /// the tasks wait for each other in a circle
    CYCLE = "CB0113";
    /// the workflow names a capability that nothing serves
    UNKNOWN_CAPABILITY = "CB0114";
    /// the template cannot be read
    TEMPLATE = "CB0115";
    /// the template refers to something that does not exist
    REFERENCE = "CB0116";
    /// the referenced output has no such field
    NO_FIELD = "CB0117";
    /// an input of the workflow is missing
    MISSING_INPUT = "CB0118";
    /// the workflow has no such input
    UNKNOWN_INPUT = "CB0119";
    /// the workflow cannot go on
    STUCK = "CB0120";

    /// the store is of a newer version
    NEWER_STORE = "CB0201";
    /// the store is damaged
    CORRUPT_STORE = "CB0202";
    /// the disk is full
    DISK_FULL = "CB0203";
    /// the store cannot be written
    NOT_WRITABLE = "CB0204";
    /// another process owns the store
    OWNED = "CB0205";
    /// the file is not a store of Callboard
    NOT_A_STORE = "CB0206";
    /// the broker is not proved to be as durable as was asked
    PROFILE = "CB0207";

    /// the source does not exist
    NO_SOURCE = "CB0301";
    /// the sources hold nothing to read
    EMPTY_SOURCES = "CB0302";
    /// the source may not be read
    UNREADABLE = "CB0303";
    /// the file is not text
    BINARY = "CB0304";
    /// the PDF is broken
    BROKEN_PDF = "CB0305";
    /// the address answered with an error
    HTTP_STATUS = "CB0306";
    /// the address cannot be reached
    HTTP_UNREACHABLE = "CB0307";
    /// this kind of source cannot be read here
    UNSUPPORTED = "CB0308";
    /// the source is larger than its limit
    SOURCE_TOO_LARGE = "CB0309";
    /// the database cannot be read
    BROKEN_DATABASE = "CB0310";

    /// there is no such command
    UNKNOWN_VERB = "CB0401";
    /// there is no such option
    UNKNOWN_OPTION = "CB0402";
    /// the value of an option cannot be used
    BAD_VALUE = "CB0403";
    /// an argument is missing
    MISSING_ARGUMENT = "CB0404";
    /// there is no run or task with this id
    UNKNOWN_ID = "CB0405";
    /// several ids end like this
    AMBIGUOUS_ID = "CB0406";
    /// nothing has been run yet
    NOTHING_YET = "CB0407";
    /// there is no such page
    NO_PAGE = "CB0408";
    /// the text is not valid JSON
    BAD_JSON = "CB0409";
    /// the state key has a form that is not allowed
    BAD_KEY = "CB0410";
    /// the task is not in a status that allows this
    WRONG_STATUS = "CB0411";
    /// this destroys something and wants a yes
    CONFIRM = "CB0412";
    /// there is no such dead letter
    NO_DEAD_LETTER = "CB0413";

    /// Callboard itself has a fault
    INTERNAL = "CB0500";

    /// the model answered with an error
    MODEL_FAILED = "CB0601";
    /// the provider of the model wants fewer requests
    MODEL_LIMITED = "CB0602";
    /// the model cannot be reached
    MODEL_AWAY = "CB0603";
    /// the answer of the model broke off
    MODEL_BROKE = "CB0604";
    /// the answer of the model has not the form that was asked for
    MODEL_FORM = "CB0605";
    /// the provider of the model wants a key
    MODEL_KEY = "CB0606";

    /// the agent was not granted this tool
    TOOL_DENIED = "CB0701";
    /// there is no such tool
    TOOL_UNKNOWN = "CB0702";
    /// the arguments do not fit the tool
    TOOL_ARGUMENTS = "CB0703";
    /// what the request knows may not reach this tool
    TOOL_TAINTED = "CB0704";
    /// a limit of the tool is reached
    TOOL_LIMIT = "CB0705";
    /// the model asked for tools without end
    TOOL_TURNS = "CB0706";
    /// the tool failed
    TOOL_FAILED = "CB0707";
    /// the address is not one that the tool may open
    TOOL_ADDRESS = "CB0708";
    /// the path is not one that the tool may open
    TOOL_PATH = "CB0709";
    /// the statement is not one that the tool may run
    TOOL_STATEMENT = "CB0710";
    /// the MCP server is not there
    MCP_AWAY = "CB0711";

    /// the provider of the model is left alone for a while
    MODEL_RESTING = "CB0801";
    /// there was no place under the rate limit of the model in time
    MODEL_NO_PLACE = "CB0802";
    /// the task names a model that its node does not allow
    MODEL_NOT_ALLOWED = "CB0803";

    /// a door that others reach has no key
    OPEN_DOOR = "CB0821";
    /// the address cannot be listened on
    LISTEN = "CB0822";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_every_page_has_its_title_and_ends_in_a_command() {
        assert!(ALL.is_sorted_by(|a, b| a.code < b.code));
        for Code { code, title, page } in ALL {
            assert!(page.starts_with(&format!("# {code}: {title}\n\n")), "{code}: the first line is not the title");
            for heading in ["\n## Causes\n", "\n## Cures\n"] {
                assert!(page.contains(heading), "{code}: lacks {heading:?}");
            }
            let body = page.strip_suffix("\n```\n").and_then(|page| page.rsplit_once("\n\n```sh\n"));
            let command = body.map(|(_, command)| command).unwrap_or_else(|| panic!("{code}: ends in no command"));
            assert!(command.starts_with("callboard ") && !command.contains('\n'), "{code}: {command}");
            assert!(page.lines().all(|line| line.chars().count() <= 80), "{code}: wider than 80 columns");
        }
    }

    #[test]
    fn every_page_belongs_to_a_code() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = name == "README.md" || name.strip_suffix(".md").is_some_and(|code| find(code).is_some());
            assert!(known, "{name} is the page of no code");
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_written() {
        assert_eq!(find("cb0004").unwrap().code, UNREACHABLE);
        assert_eq!(find("0004").unwrap().code, UNREACHABLE);
        assert_eq!(find("XB0004"), None);
        assert_eq!(find(""), None);
        assert_eq!(find("é"), None);
    }
}
