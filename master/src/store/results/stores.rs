//! The stores of all builds: each is opened once, however many use it.

use super::build_store::BuildStore;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// How many stores of builds stay open while nobody uses them, and of how many results.
const KEPT_OPEN: usize = 64;
const KEPT_RESULTS: usize = 500_000;

/// The stores of all builds, the open ones at hand.
#[derive(Debug)]
pub(super) struct Stores {
    pub(super) directory: PathBuf,
    pub(super) open: Mutex<HashMap<BuildId, Arc<BuildStore>>>,
}

impl Stores {
    pub(super) fn of_build(&self, build: BuildId) -> PathBuf {
        self.directory.join(build.to_string())
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, Arc<BuildStore>>> {
        lock(&self.open)
    }

    /// The store of a build; `make`s it if there is none.
    pub(super) fn open(&self, build: BuildId, make: bool) -> io::Result<Arc<BuildStore>> {
        // Held while it opens: two openings of one store would not know of each other's results.
        let mut open = self.lock();
        if let Some(store) = open.get(&build) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(BuildStore::open(self.of_build(build), make)?);
        while open.len() >= KEPT_OPEN || num_results(&open) > KEPT_RESULTS {
            // The lowest id is the oldest build, the least likely to be asked for again.
            let unused = open
                .iter()
                .filter(|(_, store)| Arc::strong_count(store) == 1);
            let Some(oldest) = unused.map(|(build, _)| *build).min() else {
                break;
            };
            open.remove(&oldest);
        }
        open.insert(build, Arc::clone(&store));
        Ok(store)
    }
}

fn num_results(stores: &HashMap<BuildId, Arc<BuildStore>>) -> usize {
    stores.values().map(|store| store.num_results()).sum()
}
