//! The binary: the command line, the configuration, and the wiring of the rooms.
//!
//! Not in here: anything that a request does (`lido-idp`) or how it arrives (`lido-server`).
//!
//! Start with [`run::run`], which puts the server together and takes it apart again. Settings are declared
//! in `config/mod.rs`, and become something usable, or a refusal to start, in `config/checked.rs`.
//! `master_key.rs` decides whether the data and its key belong together.

mod cli;
mod clock;
mod commands;
mod config;
mod master_key;
mod playground;
mod ports;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what operators and their tools get to see of a refusal.
            eprintln!("lido: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}
