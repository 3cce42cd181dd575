//! The master as a program of its own.

use clap::Parser;
use clusterrunner_common::daemon::CommonOptions;
use clusterrunner_master::{MasterOptions, run};
use std::process::ExitCode;

/// Accepts builds, prepares them, and hands their work to slaves.
#[derive(Debug, Parser)]
#[command(name = "clusterrunner-master", version)]
struct Options {
    #[command(flatten)]
    master: MasterOptions,
    #[command(flatten)]
    common: CommonOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(options.master, &options.common).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
