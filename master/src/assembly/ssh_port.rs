//! The SSH port: taken at the start where the settings name one, else when there is an app.

use super::ServeError;
use crate::coordinator::ClusterHandle;
use crate::push::{NO_GIT, Pushes};
use crate::ssh::{self, host_key};
use clusterrunner_common::daemon::{ListenError, listen_for};
use clusterrunner_common::settings::{MasterSettings, SshPort};
use russh::keys::{HashAlg, PrivateKey};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The port that the command line of Deis puts into the addresses of repositories.
const USUAL: u16 = 2222;

/// The name of the file with the host key, in the data directory.
const KEY: &str = "ssh_host_ed25519_key";

/// How often it is looked whether there is an app.
const LOOK: Duration = Duration::from_millis(50);

/// The setting that names a port.
const SETTING: &str = "ssh_port";

/// What users of SSH come through.
pub(super) struct SshDoor {
    port: SshPort,
    address: IpAddr,
    key: PathBuf,
    /// Where the settings name a port.
    open: Option<(TcpListener, PrivateKey)>,
    is_settled: watch::Sender<bool>,
}

impl SshDoor {
    /// Takes the port that the settings name.
    pub(super) async fn take(
        settings: &MasterSettings,
        directory: &Path,
    ) -> Result<Self, ServeError> {
        let mut door = Self {
            port: settings.ssh_port,
            address: settings.service.bind_address,
            key: directory.join(KEY),
            open: None,
            is_settled: watch::Sender::new(settings.ssh_port != SshPort::WhenNeeded),
        };
        if let SshPort::At(port) = door.port {
            door.open = Some(door.opened(port).await?);
        }
        Ok(door)
    }

    /// Tells when it is settled whether users can come in, which may be with the first app.
    pub(super) fn is_settled(&self) -> watch::Receiver<bool> {
        self.is_settled.subscribe()
    }

    /// Lets users in until `stop`.
    pub(super) async fn serve(
        mut self,
        pushes: Pushes,
        cluster: ClusterHandle,
        stop: CancellationToken,
    ) {
        if self.port == SshPort::WhenNeeded {
            tokio::select! {
                () = stop.cancelled() => return,
                () = first_app(&cluster) => {}
            }
            match self.opened(USUAL).await {
                Ok(open) => self.open = Some(open),
                Err(error) => {
                    tracing::warn!(%error, "git push by SSH is off; by HTTP it works. {SETTING} in [master] names another port");
                }
            }
            self.is_settled.send_replace(true);
        }
        let Some((listener, key)) = self.open else {
            return;
        };
        if !pushes.has_git().await {
            tracing::warn!("{NO_GIT}");
        }
        ssh::serve(listener, key, pushes, stop).await;
    }

    async fn opened(&self, port: u16) -> Result<(TcpListener, PrivateKey), ServeError> {
        let path = self.key.clone();
        let key = tokio::task::spawn_blocking(move || host_key(&path)).await??;
        let address = SocketAddr::new(self.address, port);
        let listener: Result<TcpListener, ListenError> = listen_for(SETTING, address).await;
        let listener = listener?;
        let address = listener.local_addr().unwrap_or(address);
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256);
        tracing::info!(
            "the master listens on {address} ({SETTING}); its host key is {fingerprint}"
        );
        Ok((listener, key))
    }
}

/// Waits until there is an app. It asks now and then: to look at all that happens would cost builds time.
async fn first_app(cluster: &ClusterHandle) {
    loop {
        match cluster
            .read(|cluster| cluster.apps().next().is_some())
            .await
        {
            Ok(true) => return,
            Ok(false) => tokio::time::sleep(LOOK).await,
            // The master ends.
            Err(_) => std::future::pending().await,
        }
    }
}
