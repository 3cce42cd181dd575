//! How many web sockets are open: each takes a connection, and some memory, for as long as its user likes.

use clusterrunner_common::ids::UserId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::process::open_files;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How many a user may have open at a time.
pub(crate) const OF_A_USER: usize = 32;

/// How many all users may have open at a time, where the process may have files enough.
pub(crate) const IN_ALL: usize = 256;

/// The places for web sockets. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    /// All sockets end then.
    pub(crate) stop: CancellationToken,
    places: Arc<Semaphore>,
    of_users: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// A place for a socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct SocketPermit {
    user: UserId,
    of_users: Arc<Mutex<HashMap<UserId, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Sockets {
    /// No more than a quarter of the files that this process may have: half of them is for connections.
    #[must_use]
    pub(crate) fn until(stop: CancellationToken) -> Self {
        let files = open_files::limit().unwrap_or(usize::MAX);
        Self {
            stop,
            places: Arc::new(Semaphore::new((files / 4).clamp(1, IN_ALL))),
            of_users: Arc::default(),
        }
    }

    /// A place for a socket of this user, if there is one.
    pub(crate) fn place(&self, user: UserId) -> Option<SocketPermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut of_users = lock(&self.of_users);
        let open = of_users.entry(user).or_default();
        if *open == OF_A_USER {
            return None;
        }
        *open += 1;
        Some(SocketPermit {
            user,
            of_users: Arc::clone(&self.of_users),
            _place: place,
        })
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        let mut of_users = lock(&self.of_users);
        if let Some(open) = of_users.get_mut(&self.user) {
            *open -= 1;
            if *open == 0 {
                of_users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_user_and_in_all() {
        let sockets = Sockets {
            places: Arc::new(Semaphore::new(OF_A_USER + 1)),
            ..Sockets::until(CancellationToken::new())
        };
        let mut ann = Vec::from_iter((0..OF_A_USER).map(|_| sockets.place(UserId(1)).unwrap()));
        assert!(sockets.place(UserId(1)).is_none());
        let bob = sockets.place(UserId(2)).unwrap();
        assert!(sockets.place(UserId(3)).is_none());
        ann.pop();
        let cid = sockets.place(UserId(3)).unwrap();
        drop((ann, bob, cid));
        assert!(lock(&sockets.of_users).is_empty());
        assert_eq!(sockets.places.available_permits(), OF_A_USER + 1);
    }
}
