//! Results of attempts that failed, after which their atoms were run again: the archive has them beside the results that
//! count, in directories whose names say which attempt it was.

use super::Results;
use super::archive::Archive;
use super::build_store::{BuildStore, CHECKED_BLOCK, NewBlock, NewContent};
use super::incoming::Incoming;
use super::index::Key;
use clusterrunner_common::disk::space::is_disk_full;
use clusterrunner_common::ids::{Attempt, BuildId};
use clusterrunner_common::results::artifact::attempt_suffix;
use clusterrunner_common::results::block::copy_renamed;
use std::io;
use tokio_util::sync::CancellationToken;

/// In the index, attempts from this number on are the renamed copies of results. No hand-out has such a number.
const COPY: u32 = 1 << 31;

/// So many bytes of copies are brought to disk at a time.
const AT_A_TIME: usize = 8 << 20;

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
    /// stays. A failed attempt whose result is not there any more, or is damaged, is left out: it does not count. Told to
    /// stop, it may leave some out. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
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
        let (mut copies, mut held) = (Vec::new(), 0);
        for key in failed {
            if stop.is_cancelled() {
                break;
            }
            let copy = copy_of(*key);
            if !store.has(copy) {
                match renamed(&store, *key) {
                    Ok((block, bytes)) => {
                        copies.push(block);
                        held += bytes;
                    }
                    Err(error) if is_disk_full(&error) => return Err(error),
                    Err(error) => {
                        let (subjob, attempt) = (key.0.0, key.1.0);
                        tracing::warn!(
                            build.id = build.0,
                            subjob,
                            attempt,
                            %error,
                            "the archive lacks what a failed attempt left"
                        );
                        continue;
                    }
                }
                if held >= AT_A_TIME {
                    store.append(std::mem::take(&mut copies))?;
                    held = 0;
                }
            }
            results.push(copy);
        }
        if !copies.is_empty() {
            store.append(copies)?;
        }
        Ok(results)
    }
}

/// The copy of a result under other names, and how many bytes of it are in memory.
fn renamed(store: &BuildStore, key: Key) -> io::Result<(NewBlock, usize)> {
    let place = store.place_of(key)?;
    let (part, suffix) = ((place.offset, place.length), attempt_suffix(key.1));
    let block = store.read_block(place.block)?;
    let (content, length, held) = if place.length <= CHECKED_BLOCK {
        let mut bytes = Vec::new();
        let length = copy_renamed(block, part, &suffix, &mut bytes)?;
        let held = bytes.len();
        (NewContent::Memory(bytes), length, held)
    } else {
        let incoming = Incoming::new(store.directory())?;
        let length = copy_renamed(block, part, &suffix, incoming.file())?;
        (NewContent::File(incoming), length, 0)
    };
    let copy = NewBlock {
        results: vec![(copy_of(key), 0, length)],
        content,
        // Tests are those of the attempt that counts.
        tests: Vec::new(),
    };
    Ok((copy, held))
}

impl Archive {
    /// How many of these results count.
    pub(super) fn num_counted(results: &[Key]) -> u64 {
        results.iter().filter(|key| !is_copy(**key)).count() as u64
    }
}
