//! The command line of Callboard: a thin shell over the crate `callboard`, and the only part that prints.
//!
//! A command turns its arguments into a value; what of it is shown, and how, is decided in one place ([`output`]). So
//! `--json`, the width of the terminal, a closed pipe and the exit code are nobody else's concern.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`], [`app`] | what may be typed, and from there to an exit code |
//! | [`commands`] | one module for each noun |
//! | [`complaint`], [`failure`] | what a person is told when something cannot go on |
//! | [`output`], [`console`], [`log`] | what is shown, and where |
//! | [`store`], [`services`] | the store and the node over it |
//! | [`nodes`] | a broker, and the nodes on it |
//! | `doors` | what strangers are offered |
//! | [`work`], [`follow`], [`signals`] | a run until it ends, and how far it is |
//! | [`ids`], [`paths`] | which run, task or file is meant |
//! | [`telemetry`] | traces and metrics of this process |
//! | [`views`], [`figures`] | how tasks and runs are told |

mod app;
mod args;
mod commands;
mod complaint;
mod console;
#[cfg(any(feature = "http", feature = "mcp"))]
mod doors;
mod failure;
mod figures;
mod follow;
mod ids;
mod log;
mod models;
mod nodes;
mod output;
mod paths;
mod people;
#[cfg(test)]
mod reference;
mod services;
mod signals;
mod store;
mod telemetry;
mod views;
mod work;

fn main() -> std::process::ExitCode {
    // Before anything is printed or read: this may be a process that another one started to read a PDF.
    #[cfg(feature = "pdf")]
    if let Some(read) = callboard::source::read_apart() {
        return read;
    }
    app::main().into()
}
