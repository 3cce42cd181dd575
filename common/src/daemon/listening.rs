//! Taking a port to listen on.

use crate::process::ports::{Holder, free_port};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// The port could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address}: {reason}{}", cure(self))]
pub struct ListenError {
    address: SocketAddr,
    reason: io::Error,
    holder: Option<Holder>,
    /// What a user sets to choose another port.
    setting: &'static str,
}

fn cure(error: &ListenError) -> String {
    let (holder, address, setting) = (error.holder.as_ref(), error.address, error.setting);
    match error.reason.kind() {
        io::ErrorKind::AddrInUse => {
            let who = holder.map_or(
                "Another program has this port".to_owned(),
                Holder::to_string,
            );
            let stop = match holder {
                Some(holder) if !holder.is_clusterrunner() => "",
                _ => "stop it (`clusterrunner stop`), or ",
            };
            let such_as = match free_port(address.ip(), address.port()) {
                Some(free) => format!("; {free} is free"),
                None => String::new(),
            };
            format!(". {who}: {stop}choose another port with {setting}{such_as}")
        }
        io::ErrorKind::AddrNotAvailable => {
            ". This machine has no such address: see bind_address".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!(". Ports below 1024 are for root: choose another one with {setting}")
        }
        _ => String::new(),
    }
}

/// How long a port on which another program listens may take to become free: a child of a daemon that was just killed
/// has its sockets until it has become another program. `deploy` watches a daemon for a second only.
const PORT_PATIENCE: Duration = Duration::from_millis(300);

/// How long it may take where its holder is about to go: a daemon of ours that ends, or a connection.
const LONG_PATIENCE: Duration = Duration::from_secs(3);

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(30);

/// Takes the port of `--port`. See [`listen_for`].
///
/// # Errors
/// It is taken, or not this machine's.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    listen_for("--port", address).await
}

/// Takes a port to listen on, also where closed connections of a listener before still have it (`SO_REUSEADDR`).
/// `setting` is what a user sets to choose another port.
///
/// # Errors
/// It is taken, or not this machine's.
pub async fn listen_for(
    setting: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ListenError> {
    let bind = |address| bind(setting, address);
    let holder = match bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(ListenError { reason, .. }) if reason.kind() == io::ErrorKind::AddrInUse => {
            Holder::of(address)
        }
        Err(error) => return Err(error),
    };
    let patience = match &holder {
        Some(holder) if holder.may_go() => {
            tracing::warn!(
                "{address} is in use, trying again for {} s. {holder}",
                LONG_PATIENCE.as_secs()
            );
            LONG_PATIENCE
        }
        _ => PORT_PATIENCE,
    };
    let retry = async {
        loop {
            match bind(address).await {
                Err(error) if error.reason.kind() == io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(PAUSE).await;
                }
                bound => return bound,
            }
        }
    };
    match tokio::time::timeout(patience, retry).await {
        Ok(bound) => bound,
        Err(_) => Err(ListenError {
            address,
            reason: io::ErrorKind::AddrInUse.into(),
            holder: Holder::of(address).or(holder),
            setting,
        }),
    }
}

/// One try. `TcpListener::bind` sets `SO_REUSEADDR`.
async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|reason| ListenError {
        address,
        reason,
        holder: None,
        setting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_may_become_free_in_a_moment() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = listen(loopback).await.unwrap();
        let taken = first.local_addr().unwrap();
        let (second, ()) = tokio::join!(listen(taken), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert_eq!(second.unwrap().local_addr().unwrap(), taken);
    }

    #[tokio::test]
    async fn who_has_the_port_is_said_and_a_free_one_offered() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = listen(loopback).await.unwrap();
        let taken = first.local_addr().unwrap();
        let error = listen(taken).await.unwrap_err().to_string();
        let who = format!("Process {} (", std::process::id());
        assert!(error.contains(&who), "{error}");
        let cure = ") listens there: choose another port with --port; ";
        let (_, free) = error.split_once(cure).unwrap();
        let free = free.strip_suffix(" is free").unwrap();
        listen(SocketAddr::new(taken.ip(), free.parse().unwrap()))
            .await
            .unwrap();
    }
}
