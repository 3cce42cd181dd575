//! What is wrong with stored results, as far as it was found: told in the log once, and among the warnings
//! of the build for as long as this process lives.

use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What is known to be damaged. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Damages(Arc<Mutex<BTreeMap<BuildId, BTreeSet<String>>>>);

impl Damages {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BuildId, BTreeSet<String>>> {
        lock(&self.0)
    }

    /// Takes note of a damage.
    pub(super) fn note(&self, build: BuildId, what: &str) {
        let is_new = self
            .lock()
            .entry(build)
            .or_default()
            .insert(what.to_owned());
        if is_new {
            tracing::error!(build.id = build.0, what, "stored results are damaged");
        }
    }

    /// Takes note of an error if it is one of what was read, and not of the disk.
    pub(super) fn note_error(&self, build: BuildId, error: &io::Error) {
        if is_damage(error) {
            self.note(build, &error.to_string());
        }
    }

    pub(super) fn of(&self, build: BuildId) -> Vec<String> {
        let known = self.lock();
        let damages = known.get(&build).into_iter().flatten();
        damages
            .map(|what| format!("The stored results are damaged: {what}."))
            .collect()
    }

    pub(super) fn forget(&self, build: BuildId) {
        self.lock().remove(&build);
    }
}

/// Whether an error says that something was not as it was written.
#[must_use]
pub fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
    )
}

/// An error of that kind.
pub(super) fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
