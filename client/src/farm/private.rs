//! Whether a farm is all on this machine and belongs to the user of the command.

use super::daemon::{Daemon, master_pid_file};
use super::local::{is_this_machine, unbracketed};
use super::own::own_master;
use super::probe::{Probe, probe};
use crate::settings::Settings;
use crate::trouble::Trouble;

/// Whether the master that answers at an address is a process of this user, and all its slaves are on this machine: what
/// a command finds in its environment here it finds there.
pub(crate) async fn is_private(address: &str, settings: &Settings) -> Result<bool, Trouble> {
    let master = Daemon::find(&master_pid_file(&settings.base_directory));
    if !master.is_some_and(|master| master.is_of_this_user()) {
        return Ok(false);
    }
    let port = own_master(&settings.base_directory).map(|own| own.port().to_string());
    if address.rsplit(':').next() != port.as_deref() {
        return Ok(false);
    }
    let Probe::Master(slaves) = probe(address, settings).await? else {
        return Ok(false);
    };
    let is_here = |url: &str| {
        let host = url.rsplit_once(':').map_or(url, |(host, _)| host);
        is_this_machine(unbracketed(host))
    };
    let mut alive = slaves.iter().filter(|slave| slave.is_alive);
    Ok(alive.all(|slave| is_here(&slave.url)))
}
