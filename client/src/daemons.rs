//! The two daemons inside this command: their options and how they are run.

use crate::options::CommonOptions;
use crate::trouble::Trouble;
use clap::Args;

/// Options of `clusterrunner master`.
#[derive(Args, Debug)]
pub(crate) struct MasterOptions {}

/// Options of `clusterrunner slave`.
#[derive(Args, Debug)]
pub(crate) struct SlaveOptions {}

/// Runs a master until it is told to stop.
pub(crate) fn run_master(_options: MasterOptions, _common: &CommonOptions) -> Result<(), Trouble> {
    Err(Trouble::new("this program was built without the master"))
}

/// Runs a slave until it is told to stop.
pub(crate) fn run_slave(_options: SlaveOptions, _common: &CommonOptions) -> Result<(), Trouble> {
    Err(Trouble::new("this program was built without the slave"))
}
