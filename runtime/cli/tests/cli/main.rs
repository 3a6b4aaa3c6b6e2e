//! The command line as its users meet it: exit code, standard output and standard error of real processes.

mod beside;
mod crash;
mod errors;
mod hints;
mod inbox;
mod kit;
mod surroundings;
mod verbs;
