//! What earlier builds say of atoms and tests, stored beside the events. Made of archived builds: each has a mark once it
//! counts, and one without a mark is counted anew. That changes nothing of what counted before (see
//! [`Memory`]), so whenever the master dies each build counts once.

mod entry;
mod form;
#[cfg(test)]
mod tests;

pub use entry::{Entry, HistoryJob, Kind, What};

use entry::shortened;

use super::JournalError;
use super::record::{Record, Records, piece_key, put};
use super::store::Store;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId};
use clusterrunner_core::history::{Failure, Memory, Run, Trials};
use sha2::{Digest as _, Sha256};
use sled::Batch;
use std::collections::{BTreeSet, HashSet};

/// Atoms and tests that did not run for so many days are forgotten.
const REMEMBERED_DAYS: u64 = 180;

/// How many atoms and tests of one job are remembered: those that ran last.
const MAX_ENTRIES_PER_JOB: usize = 100_000;

/// How many atoms or tests of one name are found in a job at most: a test may be in many atoms.
const MAX_FOUND: usize = 100;

/// How many changes are one batch. The events of the farm wait as long as a batch is written.
const BATCH: usize = 32;

/// The first byte of a key: what it is of.
const JOB: u8 = b'j';
const ENTRY: u8 = b'e';
/// Of an entry with flakes, so that those are found without a look at all others.
const WITH_FLAKES: u8 = b'f';
const COUNTED: u8 = b'c';

/// The hash of a job; of an entry in it there is half of one of its name, and half of one of all that tells it from
/// others.
const HASH: usize = 16;
const HALF: usize = HASH / 2;

/// Names an entry in the store.
type Key = [u8; 2 * HASH];

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPlace(Key);

/// The atoms and tests of a build that count already. Of each kind it takes as many as a job may have, so that very many
/// tests leave room for the atoms.
#[derive(Debug, Default)]
pub struct Seen {
    keys: HashSet<Key>,
    num_tests: usize,
}

impl Seen {
    /// Whether it is to be counted.
    fn insert(&mut self, kind: Kind, key: Key) -> bool {
        let num_atoms = self.keys.len() - self.num_tests;
        let number = match kind {
            Kind::Atom => num_atoms,
            Kind::Test => self.num_tests,
        };
        let is_counted = number < MAX_ENTRIES_PER_JOB && self.keys.insert(key);
        self.num_tests += usize::from(is_counted && kind == Kind::Test);
        is_counted
    }
}

/// Which of the builds that are over count, and what they say. Clones share it.
#[derive(Clone, Debug)]
pub struct Histories {
    store: Store,
}

impl Histories {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Takes runs of a build into account; `of` is the build. What stands in `seen` is left out, since each atom and test
    /// counts once in a build, and what counted is added there. How many of them were not known before. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn learn(
        &self,
        job: &HistoryJob,
        of: &Failure,
        runs: &[(What, Run)],
        seen: &mut Seen,
    ) -> Result<usize, JournalError> {
        let mut added = 0;
        for runs in runs.chunks(BATCH) {
            let mut batch = Batch::default();
            // With the first entries at the latest: without it nobody finds and nobody forgets them.
            let text = serde_json::to_vec(job).map_err(JournalError::Encode)?;
            put(&mut batch, &with(JOB, &job.key()), &text)?;
            for (what, run) in runs {
                let key = entry_key(job, what);
                if !seen.insert(what.kind, key) {
                    continue;
                }
                let known = self.entry(&key)?;
                let is_new = known.is_none();
                added += usize::from(is_new);
                let mut entry = known.unwrap_or_else(|| Entry {
                    what: what.shortened(),
                    last_at: of.at,
                    memory: Memory::default(),
                });
                entry.last_at = entry.last_at.max(of.at);
                // A damaged one is new, too, and may have had some.
                let had_flakes = is_new || entry.memory.trials().flakes() > 0;
                entry.memory.add(*run, of);
                let text = form::written(&entry).map_err(JournalError::Encode)?;
                put(&mut batch, &with(ENTRY, &key), &text)?;
                match (entry.memory.trials().flakes() > 0, had_flakes) {
                    (true, _) => drop(put(&mut batch, &with(WITH_FLAKES, &key), b"f")?),
                    (false, true) => batch.remove(piece_key(&with(WITH_FLAKES, &key), 0)),
                    (false, false) => {}
                }
            }
            self.apply(batch)?;
        }
        Ok(added)
    }

    /// Takes note that builds count, once all that was learned of them is on disk. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn count(&self, builds: &[BuildId]) -> Result<(), JournalError> {
        self.store.sync()?;
        let mut batch = Batch::default();
        for build in builds {
            put(&mut batch, &with(COUNTED, &build.0.to_be_bytes()), b"c")?;
        }
        self.apply(batch)
    }

    /// The builds that count and whose marks are kept. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn counted(&self) -> Result<BTreeSet<BuildId>, JournalError> {
        let mut counted = BTreeSet::new();
        for key in self.store.histories.scan_prefix([COUNTED]).keys() {
            let key = key.map_err(JournalError::Read)?;
            let id = key.get(1..9).and_then(|id| id.try_into().ok());
            counted.extend(id.map(|id| BuildId(u64::from_be_bytes(id))));
        }
        Ok(counted)
    }

    /// The jobs of which something is remembered. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn jobs(&self) -> Result<Vec<HistoryJob>, JournalError> {
        let mut jobs = Vec::new();
        for record in Records::below(&self.store.histories, &[JOB]) {
            // What is damaged is learned again with the next build.
            let job = record?.ok();
            jobs.extend(job.and_then(|job| serde_json::from_slice(&job.text).ok()));
        }
        Ok(jobs)
    }

    /// What a job has of this kind and name. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn named(
        &self,
        job: &HistoryJob,
        kind: Kind,
        name: &str,
    ) -> Result<Vec<Entry>, JournalError> {
        let mut prefix = with(ENTRY, &job.key());
        prefix.extend_from_slice(&name_hash(kind, name));
        let mut found = Vec::new();
        for record in Records::below(&self.store.histories, &prefix).take(MAX_FOUND) {
            found.extend(record?.ok().and_then(|record| form::read(&record.text)));
        }
        // Names of one hash may differ.
        found.retain(|entry| entry.what.kind == kind && entry.what.name == shortened(name));
        Ok(found)
    }

    /// The trials of something in a job; none where nothing is known of it. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn trials(&self, job: &HistoryJob, what: &What) -> Result<Trials, JournalError> {
        let known = self.entry(&entry_key(job, what))?;
        Ok(known.map_or_else(Trials::default, |entry| entry.memory.trials()))
    }

    /// Shows `visit` what a job has of which a run was a flake, and what [`Self::at`] finds it by. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn with_flakes(
        &self,
        job: &HistoryJob,
        mut visit: impl FnMut(HistoryPlace, &Entry),
    ) -> Result<(), JournalError> {
        let prefix = with(WITH_FLAKES, &job.key());
        for key in self.store.histories.scan_prefix(prefix).keys() {
            let key = key.map_err(JournalError::Read)?;
            let key = key.get(1..=2 * HASH).and_then(|key| key.try_into().ok());
            if let Some(key) = key
                && let Some(entry) = self.entry(key)?
            {
                visit(HistoryPlace(*key), &entry);
            }
        }
        Ok(())
    }

    /// What is in a place; nothing if it was forgotten meanwhile. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn at(&self, place: &HistoryPlace) -> Result<Option<Entry>, JournalError> {
        self.entry(&place.0)
    }

    /// Forgets what did not run for long, what jobs have too many of, what is of projects that are no more, and the marks
    /// of builds that are no more. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn forget(
        &self,
        now: Timestamp,
        projects: &BTreeSet<ProjectId>,
        builds: &BTreeSet<BuildId>,
    ) -> Result<(), JournalError> {
        self.forget_beyond((now, MAX_ENTRIES_PER_JOB), projects)?;
        let counted = self.counted()?;
        let gone = counted.difference(builds);
        let marks = gone.map(|build| with(COUNTED, &build.0.to_be_bytes()));
        self.remove(&marks.collect::<Vec<_>>())
    }

    fn forget_beyond(
        &self,
        (now, most): (Timestamp, usize),
        projects: &BTreeSet<ProjectId>,
    ) -> Result<(), JournalError> {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let oldest = Timestamp(now.0.saturating_sub(REMEMBERED_DAYS * DAY_MS));
        for job in self.jobs()? {
            let mut entries = Vec::new();
            for record in Records::below(&self.store.histories, &with(ENTRY, &job.key())) {
                let (key, entry) = match record? {
                    Ok(Record { key, text }) => (key, form::read(&text)),
                    Err(damage) => (damage.key, None),
                };
                let rank = entry.map(|entry| (entry.last_at, entry.what.kind == Kind::Atom));
                entries.push((rank.unwrap_or((Timestamp(0), false)), key));
            }
            // Those of the latest builds first, of one build the atoms.
            entries.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
            let kept = match projects.contains(&job.project) {
                true => entries
                    .partition_point(|((last_at, _), _)| *last_at >= oldest)
                    .min(most),
                false => 0,
            };
            let gone = entries[kept..].iter().map(|(_, key)| key.clone());
            let mut gone: Vec<Vec<u8>> = gone.collect();
            let flakes = gone.iter().filter_map(|key| key.get(1..));
            let flakes: Vec<_> = flakes.map(|key| with(WITH_FLAKES, key)).collect();
            gone.extend(flakes);
            if kept == 0 {
                gone.push(with(JOB, &job.key()));
            }
            self.remove(&gone)?;
        }
        Ok(())
    }

    /// Each of these is one piece: longer ones are not written.
    fn remove(&self, keys: &[Vec<u8>]) -> Result<(), JournalError> {
        for keys in keys.chunks(BATCH) {
            let mut batch = Batch::default();
            for key in keys {
                batch.remove(piece_key(key, 0));
            }
            self.apply(batch)?;
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), JournalError> {
        let applied = self.store.histories.apply_batch(batch);
        applied.map_err(JournalError::Append)
    }

    /// A damaged one is not known, and learned anew.
    fn entry(&self, key: &Key) -> Result<Option<Entry>, JournalError> {
        let key = with(ENTRY, key);
        // Most of a new job are not here, and need no range.
        let is_known = self.store.histories.contains_key(piece_key(&key, 0));
        if !is_known.map_err(JournalError::Read)? {
            return Ok(None);
        }
        let record = Records::below(&self.store.histories, &key).next();
        let record = record.transpose()?.and_then(Result::ok);
        Ok(record.and_then(|record| form::read(&record.text)))
    }
}

impl HistoryJob {
    fn key(&self) -> [u8; HASH] {
        let project = self.project.0.to_string();
        hash(&[&project, &self.inside, &self.name])
    }
}

fn with(kind: u8, key: &[u8]) -> Vec<u8> {
    [&[kind], key].concat()
}

fn name_hash(kind: Kind, name: &str) -> [u8; HALF] {
    let kind = match kind {
        Kind::Atom => "atom",
        Kind::Test => "test",
    };
    hash(&[kind, name])
}

fn entry_key(job: &HistoryJob, what: &What) -> Key {
    let mut key = [0; 2 * HASH];
    let class = what.class.as_deref();
    let has_class = class.map_or("", |_| "class");
    let whole: [u8; HALF] = hash(&[&what.name, has_class, class.unwrap_or(""), &what.atom]);
    key[..HASH].copy_from_slice(&job.key());
    key[HASH..HASH + HALF].copy_from_slice(&name_hash(what.kind, &what.name));
    key[HASH + HALF..].copy_from_slice(&whole);
    key
}

/// Of texts with their lengths, so that no two lists of texts are taken for each other.
fn hash<const N: usize>(texts: &[&str]) -> [u8; N] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let mut short = [0; N];
    short.copy_from_slice(&hash.finalize()[..N]);
    short
}
