//! All that others reach the master by, until it ends.

use super::error::ServeError;
use super::further_ports::FurtherPorts;
use super::ssh_port::SshDoor;
use crate::coordinator::ClusterHandle;
use crate::http::door::door;
use crate::http::server::{self, Apis, Families};
use crate::push::Pushes;
use clusterrunner_common::auth::strangers::Strangers;
use clusterrunner_common::http::limits::ServingLimits;
use clusterrunner_common::http::tls::TlsDoor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The ports, and what passes behind them.
pub(super) struct Doors {
    /// The port of the APIs and the page.
    pub(super) listener: TcpListener,
    /// The ports that the router and Binder have for themselves.
    pub(super) further_ports: FurtherPorts,
    pub(super) ssh: SshDoor,
    pub(super) tls: Option<TlsDoor>,
    pub(super) limits: ServingLimits,
    pub(super) pushes: Pushes,
    pub(super) cluster: ClusterHandle,
    pub(super) stop: CancellationToken,
}

impl Doors {
    /// Serves the APIs; returns when the master stops and everybody has left.
    ///
    /// # Errors
    /// The socket for the hooks of pushes can not be made.
    pub(super) async fn serve(self, apis: Apis) -> Result<(), ServeError> {
        let router_port = self.further_ports.of_router();
        let hooks = self.pushes.listen().map_err(ServeError::Pushes)?;
        let strangers = Strangers::new(self.limits.unproved_requests);
        let (router, binder) = (apis.router.clone(), door(&strangers, apis.binder.clone()));
        let families = Families::new(apis, router_port, &strangers);
        let (door, stop) = ((self.tls.clone(), self.limits), self.stop);
        tokio::join!(
            Box::pin(server::serve(
                self.listener,
                families,
                door.clone(),
                stop.clone()
            )),
            Box::pin(self.further_ports.serve(router, binder, door, stop.clone())),
            Box::pin(self.pushes.clone().meet(hooks)),
            Box::pin(self.ssh.serve(self.pushes, self.cluster, stop.clone())),
            TlsDoor::keep_fresh(self.tls.as_ref(), &stop)
        );
        Ok(())
    }
}
