//! The program `clusterrunner-slave`.

use clap::Parser;
use clusterrunner_common::daemon::CommonOptions;
use clusterrunner_common::process::guardian::{GUARD, guard};
use clusterrunner_common::text::printable::plain_lines;
use clusterrunner_slave::{
    BUILD_TEMPLATE, FETCH_PROJECT, SlaveOptions, build_template, fetch_project, run,
};
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
    match std::env::args_os().nth(1) {
        Some(first) if first == FETCH_PROJECT => return fetch_project(),
        Some(first) if first == BUILD_TEMPLATE => return build_template(),
        Some(first) if first == GUARD => return guard(),
        Some(_) | None => {}
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
