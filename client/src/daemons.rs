//! The two daemons inside this command: their options and how they are run.

use crate::options::CommonOptions;
use crate::trouble::Trouble;
use clusterrunner_common::daemon::DaemonOptions;
use clusterrunner_common::logging::LogLevel;

pub(crate) use clusterrunner_master::MasterOptions;
pub(crate) use clusterrunner_slave::SlaveOptions;

/// Runs a master until it is told to stop.
pub(crate) fn run_master(options: MasterOptions, common: &CommonOptions) -> Result<(), Trouble> {
    let log_level = match (common.verbose, common.quiet) {
        (true, _) => Some(LogLevel::Debug),
        (_, true) => Some(LogLevel::Error),
        _ => None,
    };
    let daemon = DaemonOptions {
        config_file: common.config_file.clone(),
        log_level,
    };
    run(async { Box::pin(clusterrunner_master::run(options, daemon)).await })
}

/// Runs a slave until it is told to stop.
pub(crate) fn run_slave(mut options: SlaveOptions, common: &CommonOptions) -> Result<(), Trouble> {
    options.config_file = options.config_file.or_else(|| common.config_file.clone());
    options.verbose |= common.verbose;
    options.quiet |= common.quiet;
    run(async { Box::pin(clusterrunner_slave::run(options)).await })
}

fn run(daemon: impl Future<Output = anyhow::Result<()>>) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Trouble::new(format!("could not start: {error}")))?;
    runtime
        .block_on(daemon)
        .map_err(|error| Trouble::new(format!("{error:#}")))
}
