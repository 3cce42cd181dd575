//! The program `clusterrunner-slave`.

use clap::Parser;
use clusterrunner_common::daemon::CommonOptions;
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

#[tokio::main]
async fn main() -> ExitCode {
    let CommandLine { options, common } = CommandLine::parse();
    match Box::pin(run(options, &common)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
