//! Of which build the status of a commit was set last. Several builds of one commit have one status, and an older build
//! that ends late must not take it from a newer one. The journal keeps it over the end of the master.

use crate::journal::StatusName;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Mutex;

/// The newest builds, by the names of statuses.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    builds: HashMap<StatusName, BuildId>,
    /// What the journal does not know yet.
    fresh: Vec<(StatusName, BuildId)>,
}

impl Newest {
    /// What an earlier life of the master has left.
    pub(super) fn of(builds: HashMap<StatusName, BuildId>) -> Self {
        let fresh = Vec::new();
        Self(Mutex::new(Known { builds, fresh }))
    }

    /// Whether a newer build has set this status.
    pub(super) fn is_newer(&self, name: &str, build: BuildId) -> bool {
        let known = lock(&self.0);
        let newest = known.builds.get(&digest(name));
        newest.is_some_and(|newest| *newest > build)
    }

    /// A build has set this status.
    pub(super) fn told(&self, name: &str, build: BuildId) {
        let name = digest(name);
        let mut known = lock(&self.0);
        if known.builds.get(&name).is_none_or(|newest| *newest < build) {
            known.builds.insert(name, build);
            known.fresh.push((name, build));
        }
    }

    /// What is new since the last call.
    pub(super) fn take_fresh(&self) -> Vec<(StatusName, BuildId)> {
        std::mem::take(&mut lock(&self.0).fresh)
    }

    /// Takes back what could not be stored.
    pub(super) fn put_back(&self, fresh: Vec<(StatusName, BuildId)>) {
        let mut known = lock(&self.0);
        let later = std::mem::replace(&mut known.fresh, fresh);
        known.fresh.extend(later);
    }

    /// Nothing is to be told any more of builds up to this one, so no older build can take a status from them.
    pub(super) fn forget_through(&self, through: BuildId) {
        let mut known = lock(&self.0);
        known.builds.retain(|_, newest| *newest > through);
    }
}

fn digest(name: &str) -> StatusName {
    Sha256::digest(name.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_build_does_not_follow_a_newer_one() {
        let newest = Newest::default();
        assert!(!newest.is_newer("a", BuildId(2)));
        newest.told("a", BuildId(2));
        newest.told("b", BuildId(1));
        newest.told("a", BuildId(4));
        newest.told("a", BuildId(4));
        assert!(newest.is_newer("a", BuildId(3)));
        assert!(!newest.is_newer("a", BuildId(4)));
        assert!(!newest.is_newer("b", BuildId(3)));
        let fresh = newest.take_fresh();
        let builds: Vec<u64> = fresh.iter().map(|(_, build)| build.0).collect();
        assert_eq!(builds, [2, 1, 4]);
        assert_eq!(newest.take_fresh(), []);
        newest.told("c", BuildId(5));
        newest.put_back(fresh.clone());
        assert_eq!(newest.take_fresh().len(), 4);

        // Another life of the master goes on from there.
        let newest = Newest::of(fresh.into_iter().collect());
        assert!(newest.is_newer("a", BuildId(3)));
        newest.forget_through(BuildId(3));
        assert!(newest.is_newer("a", BuildId(3)));
        newest.forget_through(BuildId(4));
        assert!(!newest.is_newer("a", BuildId(3)));
    }
}
