//! Results of attempts that failed, after which their atoms were run again: the archive has them beside the results that
//! count, in directories whose names say which attempt it was.

use super::Results;
use super::archive::Archive;
use super::build_store::{BuildStore, NewBlock, NewContent};
use super::incoming::Incoming;
use super::index::Key;
use clusterrunner_common::ids::{Attempt, BuildId};
use clusterrunner_common::results::artifact::attempt_suffix;
use clusterrunner_common::results::block::copy_renamed;
use std::io;
use tokio_util::sync::CancellationToken;

/// In the index, attempts from this number on are the renamed copies of results. No hand-out has such a number.
const COPY: u32 = 1 << 31;

/// The renamed copy of a result.
fn copy_of((subjob, attempt): Key) -> Key {
    (subjob, Attempt(attempt.0 | COPY))
}

/// Whether it is the copy of a result that does not count.
pub(super) fn is_copy((_, attempt): Key) -> bool {
    attempt.0 & COPY != 0
}

impl Results {
    /// Adds to the results of an archive those of failed attempts, as copies with other names; what is copied already
    /// stays. A failed attempt whose result is not there any more is left out. Told to stop, it may leave some out.
    /// Blocks.
    ///
    /// # Errors
    /// The disk refuses, or what it has is damaged.
    pub fn with_failed_attempts(
        &self,
        build: BuildId,
        mut results: Vec<Key>,
        failed: &[Key],
        stop: &CancellationToken,
    ) -> io::Result<Vec<Key>> {
        if failed.is_empty() {
            return Ok(results);
        }
        let store = self.stored(build)?;
        for key in failed {
            if stop.is_cancelled() {
                break;
            }
            match copy(&store, *key) {
                Ok(copy) => results.push(copy),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (subjob, attempt) = (key.0.0, key.1.0);
                    tracing::warn!(
                        build.id = build.0,
                        subjob,
                        attempt,
                        "a failed attempt left nothing"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }
}

fn copy(store: &BuildStore, key: Key) -> io::Result<Key> {
    let copy = copy_of(key);
    if store.has(copy) {
        return Ok(copy);
    }
    let place = store.place_of(key)?;
    let incoming = Incoming::new(store.directory())?;
    let result = (place.offset, place.length);
    let suffix = attempt_suffix(key.1);
    let length = copy_renamed(
        store.read_block(place.block)?,
        result,
        &suffix,
        incoming.file(),
    )?;
    store.append(vec![NewBlock {
        results: vec![(copy, 0, length)],
        content: NewContent::File(incoming),
        // Tests are those of the attempt that counts.
        tests: Vec::new(),
    }])?;
    Ok(copy)
}

impl Archive {
    /// How many of these results count.
    pub(super) fn num_counted(results: &[Key]) -> u64 {
        results.iter().filter(|key| !is_copy(**key)).count() as u64
    }
}
