//! The master as a program of its own.

use clap::Parser;
use clusterrunner_common::daemon::DaemonOptions;
use clusterrunner_common::logging::LogLevel;
use clusterrunner_master::{MasterOptions, run};
use std::path::PathBuf;
use std::process::ExitCode;

/// Accepts builds, prepares them, and hands their work to slaves.
#[derive(Debug, Parser)]
#[command(name = "clusterrunner-master", version)]
struct Options {
    #[command(flatten)]
    master: MasterOptions,
    /// Read the settings from this file [default: clusterrunner.conf in the base directory]
    #[arg(short, long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Log more
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Log errors only
    #[arg(short, long)]
    quiet: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let log_level = match (options.verbose, options.quiet) {
        (true, _) => Some(LogLevel::Debug),
        (_, true) => Some(LogLevel::Error),
        _ => None,
    };
    let daemon = DaemonOptions {
        config_file: options.config_file,
        log_level,
    };
    match run(options.master, daemon).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
