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

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser as _};
use clusterrunner_client::exit_code::ExitCode as Code;
use clusterrunner_common::process::guardian::{GUARD, guard};
use clusterrunner_master::effects::preparer::{PREPARE_BUILD, prepare_build};
use clusterrunner_master::push::{PUSH_HOOK, push_hook};
use clusterrunner_master::store::own_repositories::{KEEP_CODE, keep_code};
use clusterrunner_master::store::working_trees::{LOOK_AT_PACK, look_at_pack};
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
        if first == LOOK_AT_PACK {
            return look_at_pack();
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
        Err(error) => return not_understood(&with_whole_usage(error)),
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

/// The same error with the usage that the help of its subcommand shows. By itself clap lists what is required and what
/// happens to be given, from the environment too, and no `[OPTIONS]`.
fn with_whole_usage(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return error;
    };
    let usage = usage.to_string();
    let mut command = Options::command();
    command.build();
    // After `Usage: clusterrunner` come the subcommands, and then the arguments.
    for word in usage.split_whitespace().skip(2) {
        let Some(subcommand) = command.find_subcommand(word) else {
            break;
        };
        command = subcommand.clone();
    }
    let usage = ContextValue::StyledStr(command.render_usage());
    error.insert(ContextKind::Usage, usage);
    error
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
