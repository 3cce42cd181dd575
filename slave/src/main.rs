//! The program `clusterrunner-slave`.

use clap::Parser;
use clusterrunner_common::daemon::CommonOptions;
use clusterrunner_common::process::guardian::{GUARD, guard};
use clusterrunner_common::text::printable::plain_lines;
use clusterrunner_slave::{SlaveOptions, hidden, run};
use std::process::ExitCode;

/// Sets builds up and runs their atoms, for the master of a ClusterRunner farm.
#[derive(Debug, Parser)]
#[command(name = "clusterrunner-slave", version)]
struct CommandLine {
    #[command(flatten)]
    options: SlaveOptions,
    #[command(flatten)]
    common: CommonOptions,
}

fn main() -> ExitCode {
    if let Some(code) = clusterrunner_common::process::first::stand_in() {
        return code;
    }
    clusterrunner_common::process::umask::close_to_others();
    // Not for users, so it is no part of the command line.
    if let Some(first) = std::env::args_os().nth(1) {
        if first == GUARD {
            return guard();
        }
        if let Some(be) = hidden(&first) {
            return be();
        }
    }
    let command_line = CommandLine::parse();
    clusterrunner_common::process::allocator::limit_malloc_arenas();
    serve(command_line)
}

#[tokio::main]
async fn serve(CommandLine { options, common }: CommandLine) -> ExitCode {
    match Box::pin(run(options, &common)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", plain_lines(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}
