//! `placement`: the placement server, and the command that operators look at a cluster with.
//!
//! Exit codes: 0 done, 1 refused (the message says why and what to do), 2 wrong usage, 3 the placement cannot be reached
//! or asks to try again.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::run()
}
