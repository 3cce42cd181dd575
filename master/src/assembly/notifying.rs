//! Constructs and starts what tells others of builds.

use super::Farm;
use crate::notify::{Begun, NotifyError, Surroundings, Workers};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

impl Farm {
    /// Starts the tasks that tell them.
    pub(super) fn notifying(
        &self,
        begun: Begun,
        address: SocketAddr,
        mark: &str,
        stop: &CancellationToken,
    ) -> Result<Workers, NotifyError> {
        let general = &self.settings.general;
        let public_url = self.settings.public_url.clone().unwrap_or_else(|| {
            let (scheme, port) = (general.https.scheme(), address.port());
            format!("{scheme}://{}:{port}", general.hostname)
        });
        begun.work(&Surroundings {
            builds: self.builds(),
            measured: self.measured.clone(),
            public_url,
            directory: self.directory.clone(),
            mark: mark.to_owned(),
            grace: self.settings.service.atom_kill_grace,
            stop: stop.clone(),
        })
    }
}
