//! `callboard completions`: what a shell needs to complete commands and options.

use clap::Args;
use clap_complete::Shell;

use crate::args;

/// Print a completion script for a shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

/// The script.
pub(crate) fn script(of: &Completions) -> String {
    let mut script = Vec::new();
    clap_complete::generate(of.shell, &mut args::description(), "callboard", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
