//! The SSH port: users push code to their apps and fetch it, by their SSH keys. Two programs of git can be run, for the
//! repository of an app, and nothing else: no shell, no forwarding, no files.
//!
//! The protocol is russh's. Here is who may come in, how many, and for how long.

mod channel;
mod connections;
mod cut;
mod handler;
mod host_key;

pub(crate) use host_key::HostKeyError;
pub(crate) use host_key::host_key;

use crate::push::Pushes;
use connections::Connections;
use cut::Cut;
use handler::Visitor;
use russh::keys::PrivateKey;
use russh::server::{Config, run_stream};
use russh::{MethodKind, MethodSet, Preferred, SshId, kex};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long somebody may take to show a key.
const TO_LOG_IN: Duration = Duration::from_secs(30);

/// How long a connection may stay without a program of git.
const IDLE: Duration = Duration::from_secs(60);

/// How often a client that says nothing is asked whether it is there. One that never answers is gone after four times.
const ARE_YOU_THERE: Duration = Duration::from_secs(30);

/// How long a client may take nothing of what it is sent.
const STUCK: Duration = Duration::from_secs(300);

/// How long a wrong key takes. An unknown key tells nothing about others, so it need not be long: clients try all keys
/// that they have.
const REFUSAL: Duration = Duration::from_millis(100);

/// How keys are agreed on: what costs the master little, for strangers ask for it. With groups of prime numbers, one
/// connection would take a processor for a second.
const KEY_EXCHANGES: [kex::Name; 6] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// How long connections may take to end after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Lets users in until `stop`, and returns when nothing of them is left.
pub(crate) async fn serve(
    listener: TcpListener,
    key: PrivateKey,
    pushes: Pushes,
    stop: CancellationToken,
) {
    let config = Arc::new(config(key));
    let connections = Connections::default();
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "an SSH connection could not be accepted");
                // No files are left; connections that end give some back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = connections.place(address.ip()) else {
            tracing::debug!(%address, "an SSH connection is refused: there are too many");
            continue;
        };
        let talk = talk(
            (stream, address),
            Arc::clone(&config),
            pushes.clone(),
            (place, stop.child_token()),
        );
        tasks.spawn(talk);
    }
    tasks.close();
    tokio::time::timeout(DRAIN, tasks.wait()).await.ok();
}

async fn talk(
    (stream, address): (TcpStream, SocketAddr),
    config: Arc<Config>,
    pushes: Pushes,
    (place, end): (connections::ConnectionPlace, CancellationToken),
) {
    let end_with_this = end.clone().drop_guard();
    stream.set_nodelay(true).ok();
    let visitor = Visitor::new(pushes, place, end.clone());
    let (logged_in, idle) = (visitor.logged_in(), visitor.idle());
    let stream = Cut::new(stream, end.clone());
    let watched = async {
        if tokio::time::timeout(TO_LOG_IN, logged_in.notified())
            .await
            .is_ok()
        {
            idle.until_long(IDLE).await;
        }
    };
    let session = async {
        // What is wrong with a stranger's bytes is told to nobody but the curious.
        match run_stream(config, stream, visitor).await {
            Ok(session) => {
                if let Err(error) = session.await {
                    tracing::debug!(%address, %error, "an SSH connection has ended");
                }
            }
            Err(error) => tracing::debug!(%address, %error, "an SSH connection has ended"),
        }
    };
    tokio::pin!(session);
    tokio::select! {
        () = watched => end.cancel(),
        () = end.cancelled() => {}
        () = &mut session => return,
    }
    // Its stream is cut, so it ends soon.
    tokio::time::timeout(DRAIN, session).await.ok();
    drop(end_with_this);
}

fn config(key: PrivateKey) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-ClusterRunner")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REFUSAL,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 6,
        keys: vec![key],
        inactivity_timeout: Some(STUCK),
        keepalive_interval: Some(ARE_YOU_THERE),
        keepalive_max: 4,
        // What one client has on the way is in memory.
        window_size: 1 << 20,
        maximum_packet_size: 32 << 10,
        channel_buffer_size: 16,
        preferred: Preferred {
            kex: Cow::Borrowed(&KEY_EXCHANGES),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    }
}
