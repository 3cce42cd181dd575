//! The two daemons inside this command.

use crate::trouble::Trouble;
use clusterrunner_common::daemon::CommonOptions;
pub(crate) use clusterrunner_master::MasterOptions;
pub(crate) use clusterrunner_slave::SlaveOptions;

/// Runs a master until it is told to stop.
pub(crate) async fn run_master(
    options: MasterOptions,
    common: &CommonOptions,
) -> Result<(), Trouble> {
    let ended = Box::pin(clusterrunner_master::run(options, common)).await;
    ended.map_err(|error| Trouble::new(error.to_string()))
}

/// Runs a slave until it is told to stop.
pub(crate) async fn run_slave(
    options: SlaveOptions,
    common: &CommonOptions,
) -> Result<(), Trouble> {
    let ended = Box::pin(clusterrunner_slave::run(options, common)).await;
    ended.map_err(|error| Trouble::new(error.to_string()))
}
