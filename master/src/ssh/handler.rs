//! Who comes in, and with how many channels. What is asked for through a channel is the business of `channel`.

use super::channel;
use super::connections::ConnectionPlace;
use crate::coordinator::asked_from;
use crate::push::Pushes;
use clusterrunner_core::access::UserCaller;
use russh::keys::{Algorithm, PublicKey, PublicKeyBase64 as _};
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How many channels one connection may have open at a time; git needs one.
const MOST_CHANNELS: usize = 8;

/// One connection, and who is at its other end.
pub(super) struct Visitor {
    pushes: Pushes,
    place: ConnectionPlace,
    user: Option<UserCaller>,
    logged_in: Arc<Notify>,
    idle: Idle,
    /// Cuts the connection.
    end: CancellationToken,
}

/// Whether nothing goes on through a connection. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    channels: AtomicUsize,
    changed: Notify,
}

/// A channel that is open, until it is dropped.
#[derive(Debug)]
pub(super) struct Open(Idle);

impl Idle {
    /// Waits until no channel was open for so long.
    pub(super) async fn until_long(&self, long: Duration) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.channels.load(Ordering::Acquire) > 0 {
                changed.await;
            } else if tokio::time::timeout(long, changed).await.is_err() {
                return;
            }
        }
    }

    fn open(&self) -> Option<Open> {
        let more = |open: usize| (open < MOST_CHANNELS).then_some(open + 1);
        let channels = &self.0.channels;
        let opened = channels.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        opened.ok()?;
        self.0.changed.notify_one();
        Some(Open(self.clone()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let state = &self.0.0;
        state.channels.fetch_sub(1, Ordering::AcqRel);
        state.changed.notify_one();
    }
}

impl Visitor {
    /// A stranger. `end` cuts the connection.
    pub(super) fn new(pushes: Pushes, place: ConnectionPlace, end: CancellationToken) -> Self {
        Self {
            pushes,
            place,
            user: None,
            logged_in: Arc::default(),
            idle: Idle::default(),
            end,
        }
    }

    /// Tells when somebody has logged in.
    pub(super) fn logged_in(&self) -> Arc<Notify> {
        Arc::clone(&self.logged_in)
    }

    /// Tells when nothing goes on.
    pub(super) fn idle(&self) -> Idle {
        self.idle.clone()
    }

    async fn owner_of(&self, key: &PublicKey) -> Option<UserCaller> {
        let owner = self.pushes.owner_of(key.public_key_base64()).await;
        owner.ok().flatten()
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        // SHA-1 proves nothing any more.
        if matches!(offer.algorithm, Algorithm::Rsa { hash: None }) {
            return Ok(Auth::reject());
        }
        match self.owner_of(offer.public_key).await {
            Some(_) => Ok(Auth::Accept),
            None => Ok(Auth::reject()),
        }
    }

    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        self.user = self.owner_of(key.public_key).await;
        if self.user.is_none() {
            return Ok(Auth::reject());
        }
        self.place.is_known();
        self.logged_in.notify_one();
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let (Some(user), Some(open)) = (self.user, self.idle.open()) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let (pushes, end) = (self.pushes.clone(), self.end.clone());
        let talk = channel::Talk::new(channel, pushes, user);
        let talk = asked_from(Some(self.place.address()), async move {
            let _open = open;
            tokio::select! {
                () = end.cancelled() => {}
                () = talk.until_end() => {}
            }
        });
        tokio::spawn(talk);
        reply.accept().await;
        Ok(())
    }

    // Requests are answered here, one after the other. A client takes a late answer for that to its next request, and
    // most want no answer to the variables that they send along.

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        variable: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match channel::protocol_in(variable, value) {
            Some(_) => session.channel_success(channel),
            None => session.channel_failure(channel),
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    // russh answers a request for an agent by itself: no.
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_connection_is_idle_while_no_channel_is_open() {
        let idle = Idle::default();
        let mut all: Vec<Open> = std::iter::from_fn(|| idle.open()).collect();
        assert_eq!(all.len(), MOST_CHANNELS);
        all.truncate(1);
        assert_eq!(idle.until_long(Duration::ZERO).now_or_never(), None);
        all.clear();
        idle.until_long(Duration::ZERO).await;
    }
}
