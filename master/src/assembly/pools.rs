//! Constructs what tends the pools.

use super::{Farm, ServeError};
use crate::pools::{PoolsTender, Surroundings};
use crate::read::slave_keys::SlaveKeys;
use clusterrunner_common::logs::event_log::EventLog;
use std::net::{IpAddr, SocketAddr};

impl Farm {
    /// What tends the pools of the settings.
    pub(super) fn pools_tender(
        &self,
        (slave_keys, events): (SlaveKeys, EventLog),
        address: SocketAddr,
    ) -> Result<PoolsTender, ServeError> {
        let directory = self.directory.join("pools");
        if !self.settings.pools.is_empty() {
            std::fs::create_dir_all(&directory).map_err(ServeError::Directory)?;
        }
        let surroundings = Surroundings {
            cluster: self.cluster.clone(),
            slave_keys,
            events,
            seen: self.pools.clone(),
            master: (self.reached_at(address), address.port()),
            directory,
        };
        Ok(PoolsTender::new(&self.settings.pools, &surroundings))
    }

    /// The host by which slaves reach the master: the one address that it listens on, or its name where it listens on all, or
    /// where a certificate must fit.
    fn reached_at(&self, address: SocketAddr) -> String {
        let general = &self.settings.general;
        match address.ip() {
            ip if ip.is_unspecified() || general.https.is_on() => general.hostname.clone(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }
    }
}
