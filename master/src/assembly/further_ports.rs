//! Ports beside that of all the APIs: for a part of them each.

use crate::http::door::Door;
use crate::http::{binder, server};
use crate::router::Router;
use clusterrunner_common::daemon::{ListenError, listen_for};
use clusterrunner_common::http::limits::ServingLimits;
use clusterrunner_common::http::tls::TlsDoor;
use clusterrunner_common::settings::MasterSettings;
use futures_util::future::join_all;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The ports, taken.
pub(super) struct FurtherPorts {
    /// For requests to instances alone.
    router: Option<TcpListener>,
    /// For the Binder API alone.
    binder: Vec<TcpListener>,
}

impl FurtherPorts {
    /// Takes those that the settings name.
    pub(super) async fn take(settings: &MasterSettings) -> Result<Self, ListenError> {
        let mut ports = Self {
            router: None,
            binder: Vec::new(),
        };
        if let Some(port) = settings.router_port {
            ports.router = Some(taken(settings, "router_port", port).await?);
        }
        for port in &settings.binder.ports {
            let listener = taken(settings, "binder_ports", *port).await?;
            ports.binder.push(listener);
        }
        Ok(ports)
    }

    /// The port for requests to instances, if there is one of its own.
    pub(super) fn of_router(&self) -> Option<u16> {
        let address = self.router.as_ref()?.local_addr();
        address.ok().map(|address| address.port())
    }

    /// Serves on all of them until `stop`.
    pub(super) async fn serve(
        self,
        router: Router,
        binder: Door<binder::Router>,
        door: (Option<TlsDoor>, ServingLimits),
        stop: CancellationToken,
    ) {
        let routing = async {
            if let Some(listener) = self.router {
                server::serve(listener, router, door.clone(), stop.clone()).await;
            }
        };
        let each = self.binder.into_iter();
        let each = each
            .map(|listener| server::serve(listener, binder.clone(), door.clone(), stop.clone()));
        tokio::join!(routing, join_all(each));
    }
}

async fn taken(
    settings: &MasterSettings,
    setting: &'static str,
    port: u16,
) -> Result<TcpListener, ListenError> {
    let address = SocketAddr::new(settings.service.bind_address, port);
    let listener = listen_for(setting, address).await?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!("the master listens on {address} ({setting})");
    Ok(listener)
}
