//! Constructs what tends the pools.

use super::{Farm, ServeError};
use crate::pools::{PoolsTender, Surroundings};
use crate::read::slave_keys::SlaveKeys;
use clusterrunner_common::logs::event_log::EventLog;
use std::net::SocketAddr;

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
            master: (self.settings.general.hostname.clone(), address.port()),
            directory,
        };
        Ok(PoolsTender::new(&self.settings.pools, &surroundings))
    }
}
