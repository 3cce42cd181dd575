//! One user at a time for each project directory of the master.
//!
//! The core prepares one build of a project at a time, but it counts a canceled build as over at once,
//! while its checkout and its atomizer still need a moment to end; and one repository can have
//! several names. Two preparations in one directory would give a build the atoms of another commit.

use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The locks of all projects. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ProjectLocks(Arc<Mutex<HashMap<PathBuf, Arc<AsyncMutex<()>>>>>);

impl ProjectLocks {
    /// The same, if it is neither in use nor waited for.
    #[must_use]
    pub fn try_lock(&self, directory: &Path) -> Option<OwnedMutexGuard<()>> {
        let mut locks = lock(&self.0);
        let lock = Arc::clone(locks.entry(directory.to_owned()).or_default());
        lock.try_lock_owned().ok()
    }

    /// Waits until `directory` is not in use; it is the caller's until the guard is dropped.
    pub async fn lock(&self, directory: &Path) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = lock(&self.0);
            // Locks that are neither held nor waited for are only in this map.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(directory.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_directory_has_one_user_at_a_time() {
        let locks = ProjectLocks::default();
        let (one, other) = (Path::new("/one"), Path::new("/other"));
        let held = locks.lock(one).await;
        let _different = locks.lock(other).await;
        let second = tokio::time::timeout(Duration::from_millis(10), locks.lock(one)).await;
        assert!(second.is_err(), "two users");
        assert!(locks.try_lock(one).is_none(), "two users");
        drop(held);
        drop(locks.try_lock(one).unwrap());
        drop(locks.lock(one).await);
        drop(locks.lock(Path::new("/third")).await);
        let known = locks.0.lock().unwrap().len();
        assert_eq!(known, 2, "what nobody uses is forgotten");
    }
}
