//! The program `clusterrunner-slave`.

use clap::Parser;
use clusterrunner_slave::{SlaveOptions, run};
use std::process::ExitCode;

/// Sets builds up and runs their atoms, for the master of a ClusterRunner farm.
#[derive(Debug, Parser)]
#[command(name = "clusterrunner-slave", version)]
struct CommandLine {
    #[command(flatten)]
    options: SlaveOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    let CommandLine { options } = CommandLine::parse();
    match Box::pin(run(options)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clusterrunner-slave: {error:#}");
            ExitCode::FAILURE
        }
    }
}
