//! What receivers of notices were told of builds, stored beside the events. Nothing else of a notice is stored: what is
//! still to be told follows from the builds and these marks, so whenever the master dies nothing is lost.
//!
//! Each receiver has a mark for each build of which something is settled: told, given up, or not of interest. Builds up to a
//! number are settled altogether and have no marks, so that there are few. Of statuses of commits is noted beside that which
//! build set each last, as long as an older build may still set it.

use super::JournalError;
use super::record::{Record, Records, piece_key, put};
use super::store::Store;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::BuildEvent;
use sled::Batch;
use std::collections::{BTreeMap, HashMap};

/// How many changes are one batch. The events of the farm wait as long as a batch is written.
const BATCH: usize = 32;

/// The first byte of a key: what it is of.
const SETTLED_THROUGH: u8 = b's';
const MARK: u8 = b'm';
const NEWEST: u8 = b'n';

/// The digest of what tells a status of a commit from all others.
pub type StatusName = [u8; 32];

/// What one receiver was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Of the builds up to this one everything is settled, but for those in `marks`.
    pub through: BuildId,
    /// Of these builds everything is settled up to this event.
    pub marks: BTreeMap<BuildId, BuildEvent>,
}

/// What receivers were told. Clones share it.
#[derive(Clone, Debug)]
pub struct Notified {
    store: Store,
}

impl Notified {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// What a receiver was told; nothing if it is a new one. A mark that is damaged counts as none: its build is told of
    /// again. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn told(&self, receiver: &str) -> Result<Option<Told>, JournalError> {
        let Some(through) = self.through(receiver)? else {
            return Ok(None);
        };
        let prefix = mark_prefix(receiver);
        let mut marks = BTreeMap::new();
        for record in Records::below(&self.store.notified, &prefix) {
            let Ok(Record { key, text }) = record? else {
                continue;
            };
            let build = key.get(prefix.len()..).and_then(|id| id.try_into().ok());
            let event = std::str::from_utf8(&text).ok();
            if let (Some(build), Some(Ok(event))) = (build, event.map(str::parse)) {
                marks.insert(BuildId(u64::from_be_bytes(build)), event);
            }
        }
        Ok(Some(Told { through, marks }))
    }

    /// Takes note of a new receiver. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn begin(&self, receiver: &str, told: &Told) -> Result<(), JournalError> {
        let marks: Vec<_> = told.marks.iter().map(|(id, event)| (*id, *event)).collect();
        self.settle(receiver, &marks)?;
        // Last: a receiver without it is begun anew.
        self.set_through(receiver, told.through)?;
        self.store.written()
    }

    /// Takes note that a receiver has nothing more to be told of these builds up to these events. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn settle(
        &self,
        receiver: &str,
        marks: &[(BuildId, BuildEvent)],
    ) -> Result<(), JournalError> {
        for marks in marks.chunks(BATCH) {
            let mut batch = Batch::default();
            for (build, event) in marks {
                put(&mut batch, &mark(receiver, *build), event.name().as_bytes())?;
            }
            self.apply(batch)?;
        }
        // The death of the process then costs no mark. One that a power cut costs has its notice sent again.
        self.store.written()
    }

    /// Takes note of which build statuses of commits were set last. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn set_newest(
        &self,
        receiver: &str,
        newest: &[(StatusName, BuildId)],
    ) -> Result<(), JournalError> {
        for newest in newest.chunks(BATCH) {
            let mut batch = Batch::default();
            for (name, build) in newest {
                let key = [&key(NEWEST, receiver)[..], name].concat();
                put(&mut batch, &key, &build.0.to_be_bytes())?;
            }
            self.apply(batch)?;
        }
        Ok(())
    }

    /// Of which build each status was set last. What is damaged counts as not there. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn newest(&self, receiver: &str) -> Result<HashMap<StatusName, BuildId>, JournalError> {
        let prefix = key(NEWEST, receiver);
        let mut newest = HashMap::new();
        for record in Records::below(&self.store.notified, &prefix) {
            let Ok(Record { key, text }) = record? else {
                continue;
            };
            let name = key
                .get(prefix.len()..)
                .and_then(|name| name.try_into().ok());
            let build = text.as_slice().try_into().ok().map(u64::from_be_bytes);
            if let (Some(name), Some(build)) = (name, build) {
                newest.insert(name, BuildId(build));
            }
        }
        Ok(newest)
    }

    /// Takes note that of all builds up to this one everything is settled. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn settle_through(&self, receiver: &str, through: BuildId) -> Result<(), JournalError> {
        if self.through(receiver)?.is_none_or(|known| known >= through) {
            return Ok(());
        }
        self.set_through(receiver, through)?;
        let prefix = mark_prefix(receiver);
        let mut gone = Vec::new();
        for key in self.store.notified.scan_prefix(&prefix).keys() {
            let key = key.map_err(JournalError::Read)?;
            let build = key.get(prefix.len()..).and_then(<[u8]>::first_chunk);
            if build.is_some_and(|build| u64::from_be_bytes(*build) <= through.0) {
                gone.push(key);
            }
        }
        // No older build can take a status from these any more.
        for (name, build) in self.newest(receiver)? {
            if build <= through {
                let key = [&key(NEWEST, receiver)[..], &name].concat();
                gone.push(piece_key(&key, 0).into());
            }
        }
        self.remove(gone)
    }

    /// Forgets all receivers but these. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_only(&self, receivers: &[&str]) -> Result<(), JournalError> {
        let mut gone = Vec::new();
        for key in self.store.notified.iter().keys() {
            let key = key.map_err(JournalError::Read)?;
            let name = key
                .get(1..)
                .and_then(|rest| rest.split(|byte| *byte == 0).next());
            let is_kept = receivers
                .iter()
                .any(|receiver| Some(receiver.as_bytes()) == name);
            if !is_kept {
                gone.push(key);
            }
        }
        self.remove(gone)
    }

    fn through(&self, receiver: &str) -> Result<Option<BuildId>, JournalError> {
        let key = key(SETTLED_THROUGH, receiver);
        let record = Records::below(&self.store.notified, &key).next();
        let record = record.transpose()?.and_then(Result::ok);
        let id = record.and_then(|record| record.text.as_slice().try_into().ok());
        Ok(id.map(|id| BuildId(u64::from_be_bytes(id))))
    }

    fn set_through(&self, receiver: &str, through: BuildId) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        let key = key(SETTLED_THROUGH, receiver);
        put(&mut batch, &key, &through.0.to_be_bytes())?;
        self.apply(batch)
    }

    fn remove(&self, keys: Vec<sled::IVec>) -> Result<(), JournalError> {
        for keys in keys.chunks(BATCH) {
            let mut batch = Batch::default();
            for key in keys {
                batch.remove(key);
            }
            self.apply(batch)?;
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), JournalError> {
        let applied = self.store.notified.apply_batch(batch);
        applied.map_err(JournalError::Append)
    }
}

/// The name ends with a zero, which no name has, so no name is the beginning of another one.
fn key(kind: u8, receiver: &str) -> Vec<u8> {
    [&[kind], receiver.as_bytes(), &[0]].concat()
}

fn mark_prefix(receiver: &str) -> Vec<u8> {
    key(MARK, receiver)
}

fn mark(receiver: &str, build: BuildId) -> Vec<u8> {
    [&mark_prefix(receiver)[..], &build.0.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn told(through: u64, marks: &[(u64, BuildEvent)]) -> Told {
        Told {
            through: BuildId(through),
            marks: marks
                .iter()
                .map(|(id, event)| (BuildId(*id), *event))
                .collect(),
        }
    }

    #[test]
    fn marks_are_there_again_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let open = || open(directory.path());
        let notified = open();
        assert_eq!(notified.told("a").unwrap(), None);
        notified
            .begin("a", &told(7, &[(5, BuildEvent::Queued)]))
            .unwrap();
        notified.begin("ab", &told(9, &[])).unwrap();
        notified
            .settle("a", &[(BuildId(8), BuildEvent::Finished)])
            .unwrap();
        notified
            .settle("a", &[(BuildId(5), BuildEvent::Building)])
            .unwrap();
        drop(notified);
        let notified = open();
        let expected = told(7, &[(5, BuildEvent::Building), (8, BuildEvent::Finished)]);
        assert_eq!(notified.told("a").unwrap(), Some(expected));
        assert_eq!(notified.told("ab").unwrap(), Some(told(9, &[])));
        notified.keep_only(&["ab"]).unwrap();
        assert_eq!(notified.told("a").unwrap(), None);
        assert_eq!(notified.told("ab").unwrap(), Some(told(9, &[])));
        notified.begin("a", &told(0, &[])).unwrap();
        assert_eq!(notified.told("a").unwrap(), Some(told(0, &[])));
    }

    fn open(directory: &Path) -> Notified {
        crate::journal::tests::open(directory).notified()
    }

    #[test]
    fn which_build_set_a_status_last_is_known_as_long_as_it_matters() {
        let directory = tempfile::tempdir().unwrap();
        let open = || open(directory.path());
        let notified = open();
        notified.begin("a", &told(0, &[])).unwrap();
        notified.begin("ab", &told(0, &[])).unwrap();
        let (one, other) = ([1; 32], [2; 32]);
        notified
            .set_newest("a", &[(one, BuildId(5)), (other, BuildId(7))])
            .unwrap();
        notified.set_newest("a", &[(one, BuildId(6))]).unwrap();
        notified
            .settle("a", &[(BuildId(5), BuildEvent::Finished)])
            .unwrap();
        drop(notified);
        let notified = open();
        let expected = HashMap::from([(one, BuildId(6)), (other, BuildId(7))]);
        assert_eq!(notified.newest("a").unwrap(), expected);
        assert_eq!(notified.newest("ab").unwrap(), HashMap::new());
        let marks = BTreeMap::from([(BuildId(5), BuildEvent::Finished)]);
        assert_eq!(notified.told("a").unwrap().unwrap().marks, marks);
        notified.settle_through("a", BuildId(6)).unwrap();
        let expected = HashMap::from([(other, BuildId(7))]);
        assert_eq!(notified.newest("a").unwrap(), expected);
        notified.keep_only(&["ab"]).unwrap();
        assert_eq!(notified.newest("a").unwrap(), HashMap::new());
    }

    #[test]
    fn builds_that_are_settled_together_need_no_marks() {
        let directory = tempfile::tempdir().unwrap();
        let notified = open(directory.path());
        notified.begin("a", &told(0, &[])).unwrap();
        let marks: Vec<_> = (1..=100)
            .map(|id| (BuildId(id), BuildEvent::Finished))
            .collect();
        notified.settle("a", &marks).unwrap();
        notified.settle("b", &marks).unwrap();
        notified.settle_through("a", BuildId(98)).unwrap();
        let last = [(99, BuildEvent::Finished), (100, BuildEvent::Finished)];
        assert_eq!(notified.told("a").unwrap(), Some(told(98, &last)));
        // What is settled stays so.
        notified.settle_through("a", BuildId(3)).unwrap();
        assert_eq!(notified.told("a").unwrap(), Some(told(98, &last)));
        // Without a beginning there is nothing to go on from.
        notified.settle_through("b", BuildId(3)).unwrap();
        assert_eq!(notified.told("b").unwrap(), None);
    }
}
