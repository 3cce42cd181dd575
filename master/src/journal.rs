//! What a master stores: events, snapshots of the state, and archived builds. Append, flush,
//! recover. The only user of sled; another engine can take its place behind
//! these few functions.
//!
//! [`Journal`] is what a running master has; [`examine`], [`export`] and [`repair`] look after one at
//! rest.

mod acknowledged;
mod audit;
mod ended;
mod error;
mod event_records;
pub mod examine;
pub mod export;
mod files;
mod histories;
mod incarnation;
mod live;
mod notified;
mod private_copy;
mod record;
pub mod repair;
mod snapshot;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod timings;

pub use audit::{Asked, AuditEntry, AuditLog, Verified};
pub use ended::{EndedBuild, EndedBuilds};
pub use error::JournalError;
pub use histories::{Entry, Histories, HistoryJob, HistoryPlace, Kind, Seen, What};
pub use live::Problem;
pub use notified::{Notified, StatusName, Told};
pub use timings::{JobKey, Run, Timings};

use audit::AuditEnd;
use clusterrunner_core::Cluster;
use clusterrunner_core::event::Event;
use live::Live;
use record::{only_piece, put};
use snapshot::Meta;
use std::path::Path;
use store::Store;

/// The format of what is stored. Another one is refused.
pub const FORMAT: u32 = 1;

/// How many bytes of events there are at least from one snapshot to the next. A start reads them all,
/// and most of what a start takes goes there.
const SNAPSHOT_AFTER: u64 = 2 << 20;

/// How many entries of the audit log are kept if nothing else is said.
const AUDIT_KEPT: u64 = 100_000;

/// The stored facts of one data directory.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    /// Where the audit log grows; from [`Journal::recover`] on.
    audit: Option<AuditEnd>,
    /// How many entries of it are kept.
    audit_kept: u64,
    /// What was read of a copy before the store was opened.
    looked_at: Option<Live>,
    next: u64,
    /// How many events the latest snapshot holds, and how long it is.
    snapshot: (u64, u64),
    /// How many bytes of events came after the latest snapshot, or the one that is being written.
    bytes_since: u64,
}

/// A snapshot that can be written apart from the journal's own work.
#[derive(Debug)]
pub struct PendingSnapshot {
    store: Store,
    cluster: Cluster,
    events: u64,
}

/// A snapshot that counts.
#[derive(Debug)]
pub struct WrittenSnapshot(Meta);

impl Journal {
    /// Opens the journal in `directory`, which is made if need be. What is damaged is refused, and nothing of
    /// it changes. The caller holds the lock on the data directory. Blocks.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let looked_at = examine::look(directory)?;
        Ok(Self {
            store: Store::open(directory)?,
            audit: None,
            audit_kept: AUDIT_KEPT,
            looked_at,
            next: 0,
            snapshot: (0, 0),
            bytes_since: 0,
        })
    }

    /// The same journal, which keeps so many entries of the audit log; 0: no more are added.
    #[must_use]
    pub fn keeping_audit(self, audit_kept: u64) -> Self {
        Self { audit_kept, ..self }
    }

    /// The state that all stored facts lead to. To be called once, before the first append. The last
    /// event is cut off if its end was never written: then nobody was told of it. Blocks.
    ///
    /// # Errors
    /// A damaged record, or trouble with the disk.
    pub fn recover(&mut self) -> Result<Cluster, JournalError> {
        let live = match self.looked_at.take() {
            // Reading takes most of a start: once is enough.
            Some(live) if live.is_of(&self.store)? => live,
            _ => live::read(&self.store)?,
        };
        if let Some(problem) = live.problems.into_iter().next() {
            return Err(JournalError::record(problem.place, problem.what));
        }
        if live.is_torn {
            let torn = live.next.to_be_bytes();
            tracing::warn!(
                event = live.next,
                "the last event of the journal is incomplete and was never acknowledged: it \
                 is cut off"
            );
            store::remove(&self.store.events, self.store.events.scan_prefix(torn))?;
            self.store.sync()?;
        }
        self.audit = Some(AuditEnd::of(&self.store.audit, self.audit_kept)?);
        self.next = live.next;
        self.snapshot = live.meta.map_or((0, 0), |meta| (meta.events, meta.bytes));
        self.bytes_since = live.event_bytes;
        Ok(live.cluster)
    }

    /// Adds to the audit log what led to the events that are appended next. Both get to disk together.
    ///
    /// # Errors
    /// As of [`Journal::append`].
    pub fn audit(&mut self, entries: Vec<Asked>) -> Result<(), JournalError> {
        match &mut self.audit {
            Some(end) => end.add(entries),
            None => Ok(()),
        }
    }

    /// Stores events and returns when they are on disk. All of them or none.
    ///
    /// # Errors
    /// Then nothing that depends on these events may be answered or done.
    pub async fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let mut batch = sled::Batch::default();
        let records = event_records::of(events)?;
        if cfg!(debug_assertions) {
            event_records::check(&records, events)?;
        }
        // The engine brings a batch to disk in three writes, which wait for each other, and a single
        // piece, which is whole or not there by itself, in one. Nearly every turn is one piece.
        let mut alone = None;
        for record in &records {
            let key = self.next.to_be_bytes();
            let bytes = match only_piece(&key, &record.text) {
                Some((key, value)) if records.len() == 1 => {
                    let length = key.len() + value.len();
                    alone = Some((key, value));
                    length
                }
                _ => put(&mut batch, &key, &record.text)?,
            };
            self.bytes_since += bytes as u64;
            self.next += record.num_events;
        }
        let appended = match alone {
            Some((key, value)) => self.store.events.insert(key, value).map(drop),
            None => self.store.events.apply_batch(batch),
        };
        appended.map_err(JournalError::Append)?;
        self.store.synced().await?;
        let acknowledged = self.store.acknowledged.write(self.next);
        acknowledged.map_err(JournalError::Sync)
    }

    /// The audit log.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.store.audit.clone())
    }

    /// The builds that are over.
    #[must_use]
    pub fn ended(&self) -> EndedBuilds {
        EndedBuilds::new(self.store.clone())
    }

    /// How long atoms took.
    #[must_use]
    pub fn timings(&self) -> Timings {
        Timings::new(self.store.clone())
    }

    /// What earlier builds say of atoms and tests.
    #[must_use]
    pub fn histories(&self) -> Histories {
        Histories::new(self.store.clone())
    }

    /// What receivers of notices were told.
    #[must_use]
    pub fn notified(&self) -> Notified {
        Notified::new(self.store.clone())
    }

    /// Whether so much has happened since the latest snapshot that a new one is worth its price.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        // A big state is not written for a few events.
        self.bytes_since >= SNAPSHOT_AFTER.max(self.snapshot.1 / 2)
    }

    /// A snapshot of `cluster`, which must be what all events that were appended lead to; `None` if
    /// there is one already. To be written while the journal goes on; one at a time.
    #[must_use]
    pub fn begin_snapshot(&mut self, cluster: &Cluster) -> Option<PendingSnapshot> {
        if self.snapshot.0 == self.next {
            return None;
        }
        self.bytes_since = 0;
        Some(PendingSnapshot {
            store: self.store.clone(),
            cluster: cluster.clone(),
            events: self.next,
        })
    }

    /// Takes note of a snapshot that was written.
    pub fn end_snapshot(&mut self, written: &WrittenSnapshot) {
        self.snapshot = (written.0.events, written.0.bytes);
    }

    /// How many events there ever were.
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

/// Whether events read back as they are written.
///
/// # Errors
/// They do not.
pub(crate) fn check_events(events: &[Event]) -> Result<(), JournalError> {
    event_records::check(&event_records::of(events)?, events)
}

impl PendingSnapshot {
    /// Writes the snapshot, lets it count, and removes the events that it holds. Blocks.
    ///
    /// # Errors
    /// The disk refuses; then the one before still counts.
    pub fn write(self) -> Result<WrittenSnapshot, JournalError> {
        snapshot::write(&self.store, &self.cluster, self.events).map(WrittenSnapshot)
    }
}
