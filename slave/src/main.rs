//! The program `clusterrunner-slave`.

use clap::Parser;
use clusterrunner_common::daemon::CommonOptions;
use clusterrunner_common::printable::plain_lines;
use clusterrunner_slave::{SlaveOptions, run};
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
    clusterrunner_common::umask::close_to_others();
    let command_line = CommandLine::parse();
    clusterrunner_common::allocator::keep_little();
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
