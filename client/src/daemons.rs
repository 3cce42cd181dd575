//! The two daemons inside this command.

use crate::trouble::Trouble;
use clusterrunner_common::daemon::CommonOptions;
use clusterrunner_common::settings::NotifyTarget;
pub(crate) use clusterrunner_master::MasterOptions;
use clusterrunner_master::notify::PingError;
pub(crate) use clusterrunner_slave::SlaveOptions;

/// Runs a master until it is told to stop.
pub(crate) async fn run_master(
    options: MasterOptions,
    common: &CommonOptions,
) -> Result<(), Trouble> {
    let ended = Box::pin(clusterrunner_master::run(options, common)).await;
    ended.map_err(|error| trouble(&error, clusterrunner_master::is_wrong_setting(&error)))
}

/// Runs a slave until it is told to stop.
pub(crate) async fn run_slave(
    options: SlaveOptions,
    common: &CommonOptions,
) -> Result<(), Trouble> {
    let ended = Box::pin(clusterrunner_slave::run(options, common)).await;
    ended.map_err(|error| trouble(&error, clusterrunner_slave::is_wrong_setting(&error)))
}

fn trouble(error: &anyhow::Error, is_wrong_setting: bool) -> Trouble {
    match is_wrong_setting {
        true => Trouble::usage(error.to_string()),
        false => Trouble::new(error.to_string()),
    }
}

/// Whether someone who is told of builds takes what the master sends: the status of the answer.
pub(crate) async fn try_receiver(target: &NotifyTarget) -> Result<u16, PingError> {
    clusterrunner_master::notify::ping(target).await
}
