//! How many connections a daemon has open, and which one goes where there are too many.
//!
//! Connections take descriptors, and what runs builds needs descriptors too. So connections get a part of
//! them only, and where that is used up the connection that has been idle longest makes room for a new one.

use crate::lock::lock;
use crate::process::open_files;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The most connections of a daemon, however many descriptors it may have: each may hold 64 KiB (a head, and
/// a piece of an answer), so all together half a GiB at the very worst. A thousand slaves have six each.
const MOST_CONNECTIONS: usize = 8192;

/// The fewest, so that a daemon can be asked at all.
const FEWEST_CONNECTIONS: usize = 16;

/// While all connections are busy, how long to wait before looking for an idle one again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a connection is doing, as told by the two that stand around it: the service that answers its requests
/// and the stream under it.
#[derive(Debug)]
pub(super) struct Activity {
    /// Requests that were begun and whose answers are not yet made to the end: one or none.
    requests: AtomicU64,
    /// Whether something waits to be sent.
    pub(super) is_sending: AtomicBool,
    /// A number that grows with each connection that becomes idle.
    idle_since: AtomicU64,
    became_idle: Arc<AtomicU64>,
    /// How many bytes came after the last head in the same read.
    pub(super) after_head: AtomicU64,
    /// How many bytes of the body of the last request are still to be read from the stream.
    pub(super) body_left: AtomicU64,
    /// Whether it goes on in another protocol after a request: what is read is no HTTP then, and it never makes room.
    pub(super) is_taken_over: AtomicBool,
    /// Told when this connection has to make room.
    close: Notify,
}

impl Activity {
    fn new(became_idle: &Arc<AtomicU64>) -> Self {
        Self {
            requests: AtomicU64::new(0),
            is_sending: AtomicBool::new(false),
            idle_since: AtomicU64::new(became_idle.fetch_add(1, Ordering::Relaxed)),
            became_idle: Arc::clone(became_idle),
            after_head: AtomicU64::new(0),
            body_left: AtomicU64::new(0),
            is_taken_over: AtomicBool::new(false),
            close: Notify::new(),
        }
    }

    /// One of no set of connections.
    #[cfg(test)]
    pub(super) fn alone() -> Arc<Self> {
        Arc::new(Self::new(&Arc::default()))
    }

    /// Waits until the connection has to make room.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// A request has begun; it is under way until the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.requests.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Since when nothing happens on the connection.
    fn idle_since(&self) -> Option<u64> {
        let is_busy = self.requests.load(Ordering::Relaxed) > 0
            || self.is_sending.load(Ordering::Relaxed)
            || self.is_taken_over.load(Ordering::Relaxed);
        (!is_busy).then(|| self.idle_since.load(Ordering::Relaxed))
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl UnderWay {
    /// The connection goes on in another protocol.
    pub(super) fn take_over(&self) {
        self.0.is_taken_over.store(true, Ordering::Relaxed);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = self.0.became_idle.fetch_add(1, Ordering::Relaxed);
        self.0.idle_since.store(now, Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of a daemon.
#[derive(Debug)]
pub(super) struct Connections {
    room: Arc<Semaphore>,
    most: usize,
    became_idle: Arc<AtomicU64>,
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Activity>>>,
    /// Whether the log knows that there are too many.
    is_told: AtomicBool,
}

/// A connection that has its place until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    connections: Arc<Connections>,
    number: u64,
    pub(super) activity: Arc<Activity>,
    _room: OwnedSemaphorePermit,
}

impl Connections {
    /// As many as half of the descriptors that this process may have: the other half is for its files, its
    /// commands and its own calls.
    pub(super) fn of_this_process() -> Arc<Self> {
        let descriptors = open_files::limit().unwrap_or(usize::MAX);
        Self::at_most((descriptors / 2).clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS))
    }

    pub(super) fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(most)),
            most,
            became_idle: Arc::default(),
            next: AtomicU64::new(0),
            open: Mutex::default(),
            is_told: AtomicBool::new(false),
        })
    }

    /// Waits for a place, for which the connection that has been idle longest may have to go.
    pub(super) async fn admit(self: &Arc<Self>) -> Admitted {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            if self.room.available_permits() > self.most / 2 {
                self.is_told.store(false, Ordering::Relaxed);
            }
            return self.admitted(room);
        }
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                connections = self.most,
                "connection limit reached: closing idle connections for new ones"
            );
        }
        loop {
            self.close_longest_idle();
            let room = Arc::clone(&self.room).acquire_owned();
            match tokio::time::timeout(LOOK_AGAIN, room).await {
                Ok(Ok(room)) => return self.admitted(room),
                // It is never closed; were it, there would be no place to wait for.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => {}
            }
        }
    }

    fn admitted(self: &Arc<Self>, room: OwnedSemaphorePermit) -> Admitted {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::new(&self.became_idle));
        self.open().insert(number, Arc::clone(&activity));
        Admitted {
            connections: Arc::clone(self),
            number,
            activity,
            _room: room,
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Activity>>> {
        lock(&self.open)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn number(&self) -> usize {
        self.open().len()
    }

    fn close_longest_idle(&self) {
        let open = self.open();
        let idle = open.values().filter_map(|activity| {
            let since = activity.idle_since()?;
            Some((since, activity))
        });
        if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
            longest.close.notify_one();
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.open().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the connection was told to close.
    async fn is_closed(admitted: &Admitted) -> bool {
        let told = tokio::time::timeout(2 * LOOK_AGAIN, admitted.activity.closed());
        told.await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_makes_room_and_a_busy_one_does_not() {
        let connections = Connections::at_most(3);
        let busy = connections.admit().await;
        let _answer = busy.activity.begin();
        let (idle_again, idle) = (connections.admit().await, connections.admit().await);
        drop(idle_again.activity.begin());
        let waiting = {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move { connections.admit().await })
        };
        assert!(is_closed(&idle).await);
        assert!(!is_closed(&busy).await && !is_closed(&idle_again).await);
        drop(idle);
        let new = waiting.await.unwrap();
        assert_eq!(connections.number(), 3);
        drop((new, busy, idle_again));
        assert_eq!(connections.number(), 0);
    }

    #[tokio::test]
    async fn where_all_are_busy_a_new_one_waits_for_the_first_that_is_not() {
        let connections = Connections::at_most(1);
        let busy = connections.admit().await;
        let answer = busy.activity.begin();
        let waiting = tokio::time::timeout(3 * LOOK_AGAIN, connections.admit());
        assert!(waiting.await.is_err());
        drop(answer);
        let ends = async {
            busy.activity.closed().await;
            drop(busy);
        };
        let (_new, ()) = tokio::join!(connections.admit(), ends);
    }
}
