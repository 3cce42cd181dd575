//! The master of this base directory, wherever it listens.

use super::daemon::{Daemon, master_pid_file};
use clusterrunner_common::disk::regular_file;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// How much is read of the file in which it notes its address.
const MAX_ADDRESS: u64 = 256;

/// The address at which this machine reaches it, if it runs and has noted one.
pub(crate) fn own_master(base: &Path) -> Option<SocketAddr> {
    let pid_file = master_pid_file(base);
    Daemon::find(&pid_file)?;
    let noted = pid_file.with_extension("address");
    let text = regular_file::read_to_string(&noted, MAX_ADDRESS).ok()?;
    let mut address: SocketAddr = text.trim().parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}
