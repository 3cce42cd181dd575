//! How many connections a daemon has open, and which one goes where there are too many.
//!
//! Connections take descriptors, and what runs builds needs descriptors too. So connections get a part of
//! them only, and where that is used up a connection that is idle makes room for a new one: of the peer that has most of
//! them the one that has been idle longest. No peer gets all: what one can not have is for the others, however busy it
//! keeps its connections.

use super::limits::ServingLimits;
use super::peer::{Peer, Whose};
use crate::lock::lock;
use crate::process::open_files;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The most connections of a daemon, however many descriptors it may have: each may hold 64 KiB (a head, and
/// a piece of an answer), so all together half a GiB at the very worst. A thousand slaves have six each.
const MOST_CONNECTIONS: usize = 8192;

/// The fewest, so that a daemon can be asked at all.
const FEWEST_CONNECTIONS: usize = 16;

/// The part of all connections that one peer may have, in quarters. Behind a proxy, or on one machine, all callers of a farm
/// are one peer.
const QUARTERS_OF_PEER: usize = 3;

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
    most_of_peer: usize,
    became_idle: Arc<AtomicU64>,
    next: AtomicU64,
    open: Mutex<Open>,
    /// Whether the log knows that there are too many.
    is_told: AtomicBool,
    /// Whether it knows that a peer wants more than its part.
    is_peer_told: AtomicBool,
}

/// Those that are open, by their numbers, and how many each peer has.
#[derive(Debug, Default)]
struct Open {
    all: BTreeMap<u64, (Whose, Arc<Activity>)>,
    of_peers: HashMap<Whose, usize>,
}

impl Open {
    fn number_of(&self, whose: Whose) -> usize {
        self.of_peers.get(&whose).copied().unwrap_or_default()
    }

    /// Tells the connection of `whose`, or of whoever has most, that has been idle longest to close. Whether there is one.
    fn close_longest_idle(&self, whose: Option<Whose>) -> bool {
        let idle = self.all.values().filter_map(|(of, activity)| {
            let since = activity.idle_since()?;
            let is_meant = whose.is_none_or(|whose| whose == *of);
            is_meant.then(|| (Reverse(self.number_of(*of)), since, activity))
        });
        let longest = idle.min_by_key(|(number, since, _)| (*number, *since));
        if let Some((_, _, longest)) = longest {
            longest.close.notify_one();
        }
        longest.is_some()
    }
}

/// A connection that has its place until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    connections: Arc<Connections>,
    number: u64,
    whose: Whose,
    pub(super) activity: Arc<Activity>,
    _room: OwnedSemaphorePermit,
}

impl Connections {
    /// Those of all ports of this process that have these limits. They are as many as the operator says, or as half of the
    /// descriptors that this process may have: the other half is for its files, its commands and its own calls.
    pub(super) fn of_this_process(limits: ServingLimits) -> Arc<Self> {
        static SERVED: Mutex<Vec<(ServingLimits, Weak<Connections>)>> = Mutex::new(Vec::new());
        let mut served = lock(&SERVED);
        served.retain(|(_, connections)| connections.strong_count() > 0);
        let mut same = served.iter().filter(|(of, _)| *of == limits);
        if let Some(known) = same.find_map(|(_, connections)| connections.upgrade()) {
            return known;
        }
        let new = Self::within(limits);
        served.push((limits, Arc::downgrade(&new)));
        new
    }

    fn within(limits: ServingLimits) -> Arc<Self> {
        let descriptors = open_files::limit().unwrap_or(usize::MAX);
        let most = (descriptors / 2).clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS);
        // Never more than there are descriptors for.
        let most = limits.connections.unwrap_or(most).min(descriptors / 2);
        let most = most.max(FEWEST_CONNECTIONS);
        let part = limits.connections_of_address;
        Self::shared(most, part.unwrap_or(most / 4 * QUARTERS_OF_PEER))
    }

    /// So many, all of which one peer may have.
    #[cfg(test)]
    pub(super) fn at_most(most: usize) -> Arc<Self> {
        Self::shared(most, usize::MAX)
    }

    /// So many, of which one peer may have a part.
    pub(super) fn shared(most: usize, most_of_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(most)),
            most,
            most_of_peer,
            is_peer_told: AtomicBool::new(false),
            became_idle: Arc::default(),
            next: AtomicU64::new(0),
            open: Mutex::default(),
            is_told: AtomicBool::new(false),
        })
    }

    /// Waits for a place, for which an idle connection may have to go. None where the peer keeps as many busy as one may
    /// have: nobody waits for that.
    pub(super) async fn admit(self: &Arc<Self>, peer: Peer) -> Option<Admitted> {
        let whose = Whose::from(peer);
        if !self.is_in_its_part(whose) {
            return None;
        }
        Some(self.place(whose).await)
    }

    fn is_in_its_part(&self, whose: Whose) -> bool {
        let open = self.open();
        let number = open.number_of(whose);
        if number < self.most_of_peer {
            if number < self.most_of_peer / 2 {
                self.is_peer_told.store(false, Ordering::Relaxed);
            }
            return true;
        }
        if !self.is_peer_told.swap(true, Ordering::Relaxed) {
            let peer = whose.0.map(|address| address.to_string());
            tracing::warn!(
                connections = number,
                peer,
                "one peer has as many connections as one may have: it gets no more while they are busy"
            );
        }
        open.close_longest_idle(Some(whose))
    }

    async fn place(self: &Arc<Self>, whose: Whose) -> Admitted {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            if self.room.available_permits() > self.most / 2 {
                self.is_told.store(false, Ordering::Relaxed);
            }
            return self.admitted(room, whose);
        }
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                connections = self.most,
                "connection limit reached: closing idle connections for new ones"
            );
        }
        loop {
            self.open().close_longest_idle(None);
            let room = Arc::clone(&self.room).acquire_owned();
            match tokio::time::timeout(LOOK_AGAIN, room).await {
                Ok(Ok(room)) => return self.admitted(room, whose),
                // It is never closed; were it, there would be no place to wait for.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => {}
            }
        }
    }

    fn admitted(self: &Arc<Self>, room: OwnedSemaphorePermit, whose: Whose) -> Admitted {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::new(&self.became_idle));
        let mut open = self.open();
        open.all.insert(number, (whose, Arc::clone(&activity)));
        *open.of_peers.entry(whose).or_default() += 1;
        drop(open);
        Admitted {
            connections: Arc::clone(self),
            number,
            whose,
            activity,
            _room: room,
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        lock(&self.open)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn number(&self) -> usize {
        self.open().all.len()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all.remove(&self.number);
        if let Some(number) = open.of_peers.get_mut(&self.whose) {
            *number -= 1;
            if *number == 0 {
                open.of_peers.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn admit_from(connections: &Arc<Connections>, peer: &str) -> Option<Admitted> {
        let peer = Peer(Some(peer.parse().unwrap()));
        connections.admit(peer).await
    }

    async fn admit(connections: &Arc<Connections>) -> Admitted {
        admit_from(connections, "10.0.0.1").await.unwrap()
    }

    /// Whether the connection was told to close.
    async fn is_closed(admitted: &Admitted) -> bool {
        let told = tokio::time::timeout(2 * LOOK_AGAIN, admitted.activity.closed());
        told.await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_makes_room_and_a_busy_one_does_not() {
        let connections = Connections::at_most(3);
        let busy = admit(&connections).await;
        let _answer = busy.activity.begin();
        let (idle_again, idle) = (admit(&connections).await, admit(&connections).await);
        drop(idle_again.activity.begin());
        let waiting = {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move { admit(&connections).await })
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
        let busy = admit(&connections).await;
        let answer = busy.activity.begin();
        let waiting = tokio::time::timeout(3 * LOOK_AGAIN, admit(&connections));
        assert!(waiting.await.is_err());
        drop(answer);
        let ends = async {
            busy.activity.closed().await;
            drop(busy);
        };
        let (_new, ()) = tokio::join!(admit(&connections), ends);
    }

    #[tokio::test]
    async fn no_peer_keeps_the_others_out_however_busy_it_is() {
        let connections = Connections::shared(4, 2);
        let (first, second) = (admit(&connections).await, admit(&connections).await);
        let busy = (first.activity.begin(), second.activity.begin());
        assert!(admit_from(&connections, "10.0.0.1").await.is_none());
        assert!(admit_from(&connections, "::ffff:10.0.0.1").await.is_none());
        let other = admit_from(&connections, "10.0.0.2").await.unwrap();
        drop(busy.0);
        let again = admit_from(&connections, "10.0.0.1").await.unwrap();
        assert!(is_closed(&first).await && !is_closed(&other).await);
        drop((first, second, other, again));
        assert!(connections.open().of_peers.is_empty());
    }

    #[test]
    fn ports_of_one_process_share_their_connections() {
        let limits = |connections| ServingLimits {
            connections: Some(connections),
            ..ServingLimits::default()
        };
        // As no other test has them.
        let main = Connections::of_this_process(limits(1_234));
        let router = Connections::of_this_process(limits(1_234));
        let other = Connections::of_this_process(limits(1_235));
        assert!(Arc::ptr_eq(&main, &router) && !Arc::ptr_eq(&main, &other));
        let gone = Arc::downgrade(&main);
        drop((main, router));
        assert!(gone.upgrade().is_none());
    }

    #[tokio::test]
    async fn who_has_most_makes_room() {
        let connections = Connections::shared(3, 3);
        let oldest = admit_from(&connections, "2001:db8::1").await.unwrap();
        let of_many = admit_from(&connections, "2001:db8:0:1::1").await.unwrap();
        let _newest = admit_from(&connections, "2001:db8:0:1:5::1").await.unwrap();
        let waiting = {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move { admit_from(&connections, "2001:db8:0:2::1").await })
        };
        assert!(is_closed(&of_many).await && !is_closed(&oldest).await);
        drop(of_many);
        assert!(waiting.await.unwrap().is_some());
    }
}
