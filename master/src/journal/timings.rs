//! Learned durations of atoms, stored beside the events. Lost durations are learned again, so writes are neither
//! awaited nor synced, and unreadable entries count as unknown.

use super::JournalError;
use super::record::{Records, piece_key, put};
use super::store::Store;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::builds::durations::{REMEMBERED_RUNS, typical};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sled::Batch;
use std::collections::HashMap;

/// Atoms that did not run for so many days are forgotten.
const REMEMBERED_DAYS: u64 = 180;

/// How many atoms of one job are remembered: those that ran last.
const MAX_ATOMS_PER_JOB: usize = 300_000;

/// How many changes are one batch.
const BATCH: usize = 1000;

const KEY: usize = 16;

/// A job of a project; nothing of their names is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobKey([u8; KEY]);

impl JobKey {
    /// The key of the job that a build runs.
    #[must_use]
    pub fn new(request: &BuildRequest, job_name: &str) -> Self {
        let inside = match &request.project {
            ProjectSource::Git {
                project_directory, ..
            } => project_directory.as_deref().unwrap_or_default(),
            ProjectSource::Directory { .. } | ProjectSource::Own { .. } => "",
        };
        let job = request.job_of_atoms(job_name);
        Self(hash(&[&request.project_key(), inside, &job]))
    }
}

/// An atom of some job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    key: [u8; 2 * KEY],
    day: u64,
    duration_ms: u64,
}

impl Run {
    /// An atom of a job took so long, and ended at this time.
    #[must_use]
    pub fn new(job: JobKey, atom: &str, duration_ms: u64, at: Timestamp) -> Self {
        Self {
            key: key(job, atom),
            day: day(at),
            duration_ms,
        }
    }

    /// A slave has set up a build of a job; so long set-ups of the build took on average.
    #[must_use]
    pub fn of_setup(job: JobKey, duration_ms: u64, at: Timestamp) -> Self {
        Self {
            key: setup_key(job),
            day: day(at),
            duration_ms,
        }
    }
}

/// What is remembered of an atom.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Timing {
    /// The day of its last run, counted from 1970.
    day: u64,
    /// The latest runs, the last one at the end.
    ms: Vec<u64>,
}

/// How long atoms took. Clones share it.
#[derive(Clone, Debug)]
pub struct Timings {
    store: Store,
}

impl Timings {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Milliseconds that these atoms of a job typically take, as far as they are known. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn typical(&self, job: JobKey, atoms: &[String]) -> Result<Vec<Option<u64>>, JournalError> {
        let known = |atom: &String| Ok(typical(&self.timing(&key(job, atom))?.ms));
        atoms.iter().map(known).collect()
    }

    /// The latest runs of an atom of a job in milliseconds, the last one at the end; none where it is not known, or can
    /// not be read. Blocks.
    #[must_use]
    pub fn runs(&self, job: JobKey, atom: &str) -> Vec<u64> {
        let timing = self.timing(&key(job, atom));
        timing.map_or_else(|_| Vec::new(), |timing| timing.ms)
    }

    /// How long set-ups of a job typically take, in milliseconds; none where it is not known, or can not be read. Blocks.
    #[must_use]
    pub fn setup_ms(&self, job: JobKey) -> Option<u64> {
        typical(&self.timing(&setup_key(job)).ok()?.ms)
    }

    /// Takes runs into account, in their order. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn learn(&self, runs: &[Run]) -> Result<(), JournalError> {
        let mut changed: HashMap<[u8; 2 * KEY], Timing> = HashMap::new();
        for run in runs {
            let timing = match changed.entry(run.key) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(self.timing(&run.key)?)
                }
            };
            timing.day = run.day;
            timing.ms.push(run.duration_ms);
            let too_many = timing.ms.len().saturating_sub(REMEMBERED_RUNS);
            timing.ms.drain(..too_many);
        }
        let mut batch = Batch::default();
        for (key, timing) in changed {
            let text = serde_json::to_vec(&timing).map_err(JournalError::Encode)?;
            put(&mut batch, &key, &text)?;
        }
        let applied = self.store.timings.apply_batch(batch);
        applied.map_err(JournalError::Append)
    }

    /// Forgets atoms that did not run for long, and those of jobs that have too many. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn forget(&self, now: Timestamp) -> Result<(), JournalError> {
        self.forget_beyond(now, MAX_ATOMS_PER_JOB)
    }

    fn forget_beyond(&self, now: Timestamp, most: usize) -> Result<(), JournalError> {
        let oldest = day(now).saturating_sub(REMEMBERED_DAYS);
        let mut of_job: Vec<(u64, Vec<u8>)> = Vec::new();
        for record in Records::from(&self.store.timings, &[]) {
            let (key, day) = match record? {
                Ok(record) => {
                    let timing = serde_json::from_slice::<Timing>(&record.text);
                    (record.key, timing.map_or(0, |timing| timing.day))
                }
                Err(damage) => (damage.key, 0),
            };
            let is_next_job = of_job
                .last()
                .is_some_and(|(_, last)| last.get(..KEY) != key.get(..KEY));
            if is_next_job {
                self.forget_of_job(std::mem::take(&mut of_job), oldest, most)?;
            }
            of_job.push((day, key));
        }
        self.forget_of_job(of_job, oldest, most)
    }

    fn forget_of_job(
        &self,
        mut atoms: Vec<(u64, Vec<u8>)>,
        oldest: u64,
        most: usize,
    ) -> Result<(), JournalError> {
        atoms.sort_unstable_by_key(|(day, _)| std::cmp::Reverse(*day));
        let kept = atoms.partition_point(|(day, _)| *day >= oldest).min(most);
        for forgotten in atoms[kept..].chunks(BATCH) {
            let mut batch = Batch::default();
            for (_, key) in forgotten {
                batch.remove(piece_key(key, 0));
            }
            let applied = self.store.timings.apply_batch(batch);
            applied.map_err(JournalError::Append)?;
        }
        Ok(())
    }

    fn timing(&self, key: &[u8]) -> Result<Timing, JournalError> {
        // Most atoms of a new job are not here, and need no range.
        let is_known = self.store.timings.contains_key(piece_key(key, 0));
        if !is_known.map_err(JournalError::Read)? {
            return Ok(Timing::default());
        }
        let record = Records::below(&self.store.timings, key)
            .next()
            .transpose()?;
        let text = record.and_then(Result::ok).map(|record| record.text);
        let timing = text.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(timing.unwrap_or_default())
    }
}

fn day(at: Timestamp) -> u64 {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    at.0 / DAY_MS
}

fn key(job: JobKey, atom: &str) -> [u8; 2 * KEY] {
    key_of(job, &[atom])
}

/// Not that of any atom, which is one text.
fn setup_key(job: JobKey) -> [u8; 2 * KEY] {
    key_of(job, &["set-up", ""])
}

fn key_of(JobKey(job): JobKey, what: &[&str]) -> [u8; 2 * KEY] {
    let mut key = [0; 2 * KEY];
    key[..KEY].copy_from_slice(&job);
    key[KEY..].copy_from_slice(&hash(what));
    key
}

/// Of texts without NUL, which is between them.
fn hash(texts: &[&str]) -> [u8; KEY] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    let mut short = [0; KEY];
    short.copy_from_slice(&hash.finalize()[..KEY]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use serde_json::json;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn job(name: &str) -> JobKey {
        let request = json!({"type": "git", "url": "https://host/repo"});
        JobKey::new(&BuildRequest::from_json(&request).unwrap(), name)
    }

    fn run(name: &str, atom: &str, duration_ms: u64, day: u64) -> Run {
        Run::new(job(name), atom, duration_ms, Timestamp(day * DAY))
    }

    fn typical(timings: &Timings, name: &str, atoms: &[&str]) -> Vec<Option<u64>> {
        let atoms: Vec<String> = atoms.iter().map(|&atom| atom.to_owned()).collect();
        timings.typical(job(name), &atoms).unwrap()
    }

    #[test]
    fn set_ups_of_a_job_are_no_atoms_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let timings = journal.timings();
        assert_eq!(timings.setup_ms(job("x")), None);
        let of_setup = |duration_ms| Run::of_setup(job("x"), duration_ms, Timestamp(DAY));
        let runs = [of_setup(4000), of_setup(6000), of_setup(5000)];
        timings.learn(&runs).unwrap();
        assert_eq!(timings.setup_ms(job("x")), Some(5000));
        assert_eq!(timings.setup_ms(job("y")), None);
        assert_eq!(typical(&timings, "x", &["set-up", ""]), [None, None]);
    }

    #[test]
    fn the_latest_runs_of_each_atom_count_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Journal::open(directory.path()).unwrap();
        let journal = open();
        let timings = journal.timings();
        timings
            .learn(&[run("x", "a", 5, 1), run("y", "a", 70, 1)])
            .unwrap();
        timings.learn(&[run("x", "b", 3, 1)]).unwrap();
        let long = [run("x", "a", 90, 2); REMEMBERED_RUNS];
        timings.learn(&long).unwrap();
        assert_eq!(
            timings.timing(&key(job("x"), "a")).unwrap().ms.len(),
            REMEMBERED_RUNS
        );
        drop((journal, timings));
        let timings = open().timings();
        assert_eq!(
            typical(&timings, "x", &["b", "c", "a"]),
            [Some(3), None, Some(90)]
        );
        assert_eq!(typical(&timings, "y", &["a"]), [Some(70)]);
        assert_eq!(typical(&timings, "z", &["a"]), [None]);
    }

    #[test]
    fn what_did_not_run_for_long_is_forgotten_and_no_job_has_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let timings = Journal::open(directory.path()).unwrap().timings();
        let now = 10 + REMEMBERED_DAYS;
        let runs = [
            run("x", "old", 1, 9),
            run("x", "a", 1, 10),
            run("x", "b", 1, 11),
            run("x", "c", 1, 12),
            run("y", "a", 1, 10),
        ];
        timings.learn(&runs).unwrap();
        timings.forget_beyond(Timestamp(now * DAY), 2).unwrap();
        let atoms = ["old", "a", "b", "c"];
        assert_eq!(
            typical(&timings, "x", &atoms),
            [None, None, Some(1), Some(1)]
        );
        assert_eq!(typical(&timings, "y", &["a"]), [Some(1)]);
    }

    #[test]
    fn a_damaged_record_is_not_known_and_learned_anew() {
        let directory = tempfile::tempdir().unwrap();
        let timings = Journal::open(directory.path()).unwrap().timings();
        timings.learn(&[run("x", "a", 5, 1)]).unwrap();
        let place = piece_key(&key(job("x"), "a"), 0);
        timings.store.timings.insert(place, b"damaged").unwrap();
        assert_eq!(typical(&timings, "x", &["a"]), [None]);
        timings.learn(&[run("x", "a", 6, 1)]).unwrap();
        assert_eq!(typical(&timings, "x", &["a"]), [Some(6)]);
    }
}
