//! The stored facts: append, flush, replay. The only user of sled; another engine can take its
//! place behind these few functions.
//!
//! sled 0.34 keeps acknowledged data over the death of the process; over a power cut only with the
//! guards used here: values stay small enough never to become blob files (which it does not sync),
//! the data file is synced after each flush, and the remains of a death during `open` are removed.

use crate::cluster::event::Event;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

/// sled keeps values up to a quarter of a segment in its synced log. Events are cut into pieces of
/// at most this size.
const MAX_PIECE: usize = 12 << 10;
const SEGMENT_SIZE: usize = 2 << 20;
const CACHE_SIZE: u64 = 64 << 20;

/// The first byte of every record: how the rest is written. 1: CRC-32 (big-endian) of what follows,
/// number of pieces of the event (2 bytes, big-endian), piece of the event's JSON.
const FORMAT: u8 = 1;
const HEAD: usize = 1 + 4 + 2;

/// The stored facts of one data directory.
#[derive(Debug)]
pub struct Journal {
    db: sled::Db,
    events: sled::Tree,
    data_file: File,
    next: u64,
}

/// Why facts could not be read or stored. None of these is retried: the master stops.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory can not be used.
    #[error("could not open the journal in {}: {source}", .directory.display())]
    Open {
        /// Which.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The engine refuses.
    #[error("could not use the journal in {}: {source}", .directory.display())]
    Engine {
        /// Which.
        directory: PathBuf,
        /// Why.
        #[source]
        source: sled::Error,
    },
    /// The engine panicked on what it found.
    #[error(
        "the journal in {} is damaged; move the directory away to start anew, or restore it from a backup",
        .directory.display()
    )]
    Damaged {
        /// Which.
        directory: PathBuf,
    },
    /// A record is not what was written.
    #[error(
        "record {record} of the journal is damaged ({what}); nothing was changed. Restore the data \
         directory from a backup, or move it away to start anew"
    )]
    Record {
        /// The event's number.
        record: u64,
        /// What is wrong with it.
        what: String,
    },
    /// An event could not be written as JSON.
    #[error("could not write an event: {0}")]
    Encode(#[source] serde_json::Error),
    /// The disk refuses; what was not acknowledged may or may not be stored.
    #[error("could not bring the journal to disk: {0}")]
    Sync(#[source] std::io::Error),
    /// The engine refuses to store.
    #[error("could not append to the journal: {0}")]
    Append(#[source] sled::Error),
}

impl Journal {
    /// Opens the journal in `directory`, which is made if need be. The caller holds the lock on
    /// the data directory.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let open_failed = |source| JournalError::Open {
            directory: directory.to_owned(),
            source,
        };
        std::fs::create_dir_all(directory).map_err(open_failed)?;
        for entry in std::fs::read_dir(directory).map_err(open_failed)? {
            let entry = entry.map_err(open_failed)?;
            if entry.file_name().to_string_lossy().ends_with(".generating") {
                std::fs::remove_file(entry.path()).map_err(open_failed)?;
            }
        }
        let engine_failed = |source| JournalError::Engine {
            directory: directory.to_owned(),
            source,
        };
        let config = sled::Config::new()
            .path(directory)
            .segment_size(SEGMENT_SIZE)
            .cache_capacity(CACHE_SIZE);
        // sled panics on some kinds of damage.
        let opened =
            std::panic::catch_unwind(AssertUnwindSafe(|| config.open())).map_err(|_| {
                JournalError::Damaged {
                    directory: directory.to_owned(),
                }
            })?;
        let db = opened.map_err(engine_failed)?;
        let events = db.open_tree("events").map_err(engine_failed)?;
        let data_file = File::open(directory.join("db")).map_err(open_failed)?;
        Ok(Self {
            db,
            events,
            data_file,
            next: 0,
        })
    }

    /// Gives every stored event, oldest first, and finds the end of the journal. To be called once,
    /// before the first append.
    ///
    /// # Errors
    /// A damaged record, or trouble with the disk. What was given until then must not be used.
    pub fn replay(&mut self, mut each: impl FnMut(&Event)) -> Result<(), JournalError> {
        let mut text = Vec::new();
        let mut pieces_left = 0;
        for entry in &self.events {
            let (key, value) = entry.map_err(JournalError::Append)?;
            let (record, piece) = read_key(&key).ok_or_else(|| damaged(self.next, "its key"))?;
            let (pieces, content) = read_piece(&value).map_err(|what| damaged(record, what))?;
            if piece == 0 {
                if record != self.next || pieces_left != 0 {
                    return Err(damaged(self.next, "it is missing"));
                }
                text.clear();
                pieces_left = pieces;
            }
            if record != self.next || piece.checked_add(pieces_left) != Some(pieces) {
                return Err(damaged(record, "a piece of it is missing"));
            }
            text.extend_from_slice(content);
            pieces_left -= 1;
            if pieces_left == 0 {
                let event = serde_json::from_slice(&text)
                    .map_err(|error| damaged(record, &error.to_string()))?;
                each(&event);
                self.next = record + 1;
            }
        }
        if pieces_left != 0 {
            return Err(damaged(self.next, "its end is missing"));
        }
        Ok(())
    }

    /// Stores events and returns when they are on disk. All of them or none.
    ///
    /// # Errors
    /// Then nothing that depends on these events may be answered or done.
    pub async fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let mut batch = sled::Batch::default();
        for event in events {
            let text = serde_json::to_vec(event).map_err(JournalError::Encode)?;
            let pieces = u16::try_from(text.chunks(MAX_PIECE).count()).map_err(|_| {
                JournalError::Sync(std::io::Error::other("an event of more than 768 MiB"))
            })?;
            for (index, piece) in (0..pieces).zip(text.chunks(MAX_PIECE)) {
                batch.insert(&write_key(self.next, index), write_piece(pieces, piece));
            }
            self.next += 1;
        }
        self.events
            .apply_batch(batch)
            .map_err(JournalError::Append)?;
        self.db.flush_async().await.map_err(JournalError::Append)?;
        let file = self.data_file.try_clone().map_err(JournalError::Sync)?;
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        synced
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(JournalError::Sync)
    }

    /// How many events are stored.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.next
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }
}

fn damaged(record: u64, what: &str) -> JournalError {
    JournalError::Record {
        record,
        what: what.to_owned(),
    }
}

fn write_key(record: u64, piece: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&record.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

fn read_key(key: &[u8]) -> Option<(u64, u16)> {
    let (record, piece) = key.split_first_chunk::<8>()?;
    let piece: [u8; 2] = piece.try_into().ok()?;
    Some((u64::from_be_bytes(*record), u16::from_be_bytes(piece)))
}

fn write_piece(pieces: u16, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.push(FORMAT);
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&pieces.to_be_bytes());
    record.extend_from_slice(content);
    let checksum = crc32fast::hash(&record[5..]);
    record[1..5].copy_from_slice(&checksum.to_be_bytes());
    record
}

fn read_piece(record: &[u8]) -> Result<(u16, &[u8]), &'static str> {
    let (head, content) = record
        .split_first_chunk::<HEAD>()
        .ok_or("it is too short")?;
    if head[0] != FORMAT {
        return Err("its format is not known to this version");
    }
    let checksum = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if crc32fast::hash(&record[5..]) != checksum {
        return Err("its checksum does not fit");
    }
    Ok((u16::from_be_bytes([head[5], head[6]]), content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::event::Fact;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::BuildId;

    fn event(build: u64, reason: String) -> Event {
        Event {
            at: Timestamp(build),
            fact: Fact::BuildFailed {
                build: BuildId(build),
                reason,
            },
        }
    }

    fn replayed(directory: &Path) -> Result<(Journal, Vec<Event>), JournalError> {
        let mut journal = Journal::open(directory)?;
        let mut events = Vec::new();
        journal.replay(|event| events.push(event.clone()))?;
        Ok((journal, events))
    }

    #[tokio::test]
    async fn what_was_appended_is_replayed_in_order_whatever_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, nothing) = replayed(directory.path()).unwrap();
        assert!(nothing.is_empty());
        let first = [
            event(1, "short".to_owned()),
            event(2, "long ".repeat(20_000)),
        ];
        journal.append(&first).await.unwrap();
        drop(journal);
        let (mut journal, events) = replayed(directory.path()).unwrap();
        assert_eq!(events, first);
        journal.append(&[event(3, String::new())]).await.unwrap();
        assert_eq!(journal.len(), 3);
        drop(journal);
        let (_, events) = replayed(directory.path()).unwrap();
        assert_eq!(events.len(), 3);
        assert!(
            !directory
                .path()
                .join("blobs")
                .read_dir()
                .unwrap()
                .any(|_| true)
        );
    }

    #[tokio::test]
    async fn a_damaged_or_missing_record_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = replayed(directory.path()).unwrap();
        let events: Vec<Event> = (0..5).map(|n| event(n, "x".repeat(30_000))).collect();
        journal.append(&events).await.unwrap();
        let key = write_key(2, 1);
        let good = journal.events.get(key).unwrap().unwrap();
        let mut bad = good.to_vec();
        bad[100] ^= 1;
        journal.events.insert(key, bad).unwrap();
        drop(journal);
        let error = replayed(directory.path())
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("record 2") && error.contains("checksum"),
            "{error}"
        );

        for missing in [write_key(2, 1), write_key(4, 2), write_key(3, 0)] {
            let mut journal = Journal::open(directory.path()).unwrap();
            journal.events.insert(key, good.clone()).unwrap();
            let removed = journal.events.remove(missing).unwrap().unwrap();
            let error = journal.replay(|_| {}).unwrap_err().to_string();
            assert!(error.contains("missing"), "{error}");
            journal.events.insert(missing, removed).unwrap();
        }
    }

    #[tokio::test]
    async fn the_remains_of_a_death_during_open_do_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = replayed(directory.path()).unwrap();
        journal.append(&[event(1, String::new())]).await.unwrap();
        drop(journal);
        let remains = directory.path().join("snap.0000000000000001.generating");
        std::fs::write(&remains, b"half").unwrap();
        let (_, events) = replayed(directory.path()).unwrap();
        assert_eq!(events.len(), 1);
        assert!(!remains.exists());
    }
}
