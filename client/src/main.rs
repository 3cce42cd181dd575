//! The `clusterrunner` command.
//!
//! Reads the command line, starts what it names and turns its end into an exit code. What the
//! subcommands do is in [`command`], what the daemons do in their own crates.
//!
//! A room uses only rooms above it in this list; `tests/cluster/house.rs` reads the imports.

mod output;

mod trouble;

mod daemons;

mod options;

mod settings;

mod farm;

mod command;

use clap::Parser as _;
use clap::error::ErrorKind;
use clusterrunner_client::exit_code::ExitCode as Code;
use clusterrunner_common::process::guardian::{GUARD, guard};
use clusterrunner_master::effects::preparer::{PREPARE_BUILD, prepare_build};
use clusterrunner_master::push::{PUSH_HOOK, push_hook};
use clusterrunner_master::store::own_repositories::{KEEP_CODE, keep_code};
use options::Options;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = clusterrunner_common::process::first::stand_in() {
        return code;
    }
    clusterrunner_common::process::umask::close_to_others();
    // What a daemon starts, and not for users, so it is no part of the command line.
    if let Some(first) = std::env::args_os().nth(1) {
        if first == PREPARE_BUILD {
            return prepare_build();
        }
        if first == KEEP_CODE {
            return keep_code();
        }
        if first == PUSH_HOOK {
            return push_hook();
        }
        if first == GUARD {
            return guard();
        }
        if let Some(be) = clusterrunner_slave::hidden(&first) {
            return be();
        }
    }
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return not_understood(&error),
    };
    output::set_volume(options.common.quiet, options.common.verbose);
    match command::run(options) {
        // What was asked for was not seen.
        Ok(Code::Success) if output::has_failed() => Code::Trouble.into(),
        Ok(code) => code.into(),
        Err(trouble) => {
            trouble.show();
            trouble.code.into()
        }
    }
}

/// Shows help that was asked for, or what is wrong with the command line.
fn not_understood(error: &clap::Error) -> ExitCode {
    // There is nowhere else to say that nothing can be printed.
    error.print().ok();
    if error.kind() == ErrorKind::InvalidSubcommand {
        output::complain("`clusterrunner help` lists the subcommands");
    }
    match error.use_stderr() {
        true => Code::Usage.into(),
        false => Code::Success.into(),
    }
}
