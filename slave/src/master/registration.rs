//! The id under which the master knows this slave, and doubts about it.

use super::retrying::Backoff;
use clusterrunner_common::ids::SlaveId;
use std::sync::Arc;
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard, watch};

/// This slave's registration with the master. All parts share it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    id: Arc<watch::Sender<Option<SlaveId>>>,
    doubt: Arc<Notify>,
    admission: Arc<RwLock<()>>,
}

impl Registration {
    pub(crate) fn new() -> Self {
        Self {
            id: Arc::new(watch::Sender::new(None)),
            doubt: Arc::new(Notify::new()),
            admission: Arc::new(RwLock::new(())),
        }
    }

    /// The id that the master gave us last.
    pub(crate) fn id(&self) -> Option<SlaveId> {
        *self.id.borrow()
    }

    /// Waits for the first id, if need be.
    pub(crate) async fn some_id(&self) -> SlaveId {
        let mut watched = self.id.subscribe();
        match watched.wait_for(Option::is_some).await.map(|id| *id) {
            Ok(Some(id)) => id,
            // The sender lives as long as `self`; if it were gone, no id would ever come.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Changes at each connect, also where the id stays the same.
    pub(crate) fn connects(&self) -> watch::Receiver<Option<SlaveId>> {
        self.id.subscribe()
    }

    /// A call found that the master may not know this slave: ask it at once.
    pub(crate) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Gives the registration up: the slave connects as a new one, with nothing but what it tells then.
    pub(crate) fn renounce(&self) {
        self.id.send_replace(None);
        self.doubt();
    }

    /// Pauses between two tries; not when the master has been heard meanwhile.
    pub(crate) async fn pause(&self, backoff: &mut Backoff) {
        tokio::select! {
            () = backoff.pause() => {}
            () = self.doubt.notified() => {}
        }
    }

    /// The master has registered this slave under this id.
    pub(crate) fn is_now(&self, id: SlaveId) {
        self.id.send_replace(Some(id));
    }

    /// Waits until a call doubts the registration.
    pub(crate) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Lets no order pass while the slave connects.
    pub(crate) async fn close(&self) -> RwLockWriteGuard<'_, ()> {
        self.admission.write().await
    }

    /// Orders of the master pass here. While we connect they wait: the first of the new
    /// registration may overtake the answer that tells us to forget those of the old one.
    pub(crate) async fn admit(&self) -> RwLockReadGuard<'_, ()> {
        self.admission.read().await
    }
}
