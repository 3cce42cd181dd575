//! Archived builds: no longer in memory, stored in two trees of their own.

use super::JournalError;
use super::record::{Damage, Record, Records, leading, piece_key, put};
use super::snapshot::{SUBJOBS_PER_RECORD, chunks};
use super::store::{self, Store};
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_core::builds::build::{Build, BuildState};
use clusterrunner_core::builds::subjob::Subjob;
use serde::{Deserialize, Serialize};
use sled::Batch;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many readers there are at a time; more wait.
const READERS: usize = 4;

/// A build that is over, without its subjobs: what lists and its own page show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedBuild {
    /// The build; its list of subjobs is empty.
    pub build: Build,
    /// How many subjobs it has.
    pub num_subjobs: u32,
    /// The subjobs with failed atoms, if it is finished.
    pub failed: Vec<(SubjobId, Subjob)>,
}

/// The builds that are over. Clones share them.
#[derive(Clone, Debug)]
pub struct EndedBuilds {
    store: Store,
    readers: Arc<Semaphore>,
}

impl EndedBuilds {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Reads in a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.readers).acquire_owned().await.ok();
        let store = self.store.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&store)
        });
        reading.await?
    }

    /// A build, if it is kept.
    ///
    /// # Errors
    /// Its record is damaged, or the disk refuses.
    pub async fn build(&self, id: BuildId) -> Result<Option<EndedBuild>, JournalError> {
        self.read(move |store| head(store, id)).await
    }

    /// What `view` makes of each of these builds that is kept.
    ///
    /// # Errors
    /// As [`EndedBuilds::build`].
    pub async fn builds<T: Send + 'static>(
        &self,
        ids: Vec<BuildId>,
        view: impl Fn(&EndedBuild) -> T + Send + 'static,
    ) -> Result<Vec<T>, JournalError> {
        // A list goes on where one of them is removed meanwhile.
        self.read(move |store| {
            let mut views = Vec::with_capacity(ids.len());
            for id in ids {
                views.extend(head(store, id)?.as_ref().map(&view));
            }
            Ok(views)
        })
        .await
    }

    /// A build with some of its subjobs, those with these numbers.
    ///
    /// # Errors
    /// As [`EndedBuilds::build`].
    pub async fn subjobs(
        &self,
        id: BuildId,
        numbers: impl FnOnce(usize) -> Range<usize> + Send + 'static,
    ) -> Result<Option<(EndedBuild, Vec<(SubjobId, Subjob)>)>, JournalError> {
        self.read(move |store| {
            let Some(head) = head(store, id)? else {
                return Ok(None);
            };
            let numbers = numbers(head.num_subjobs as usize);
            let mut found = Vec::new();
            for chunk in
                numbers.start / SUBJOBS_PER_RECORD..numbers.end.div_ceil(SUBJOBS_PER_RECORD)
            {
                let first = chunk * SUBJOBS_PER_RECORD;
                let subjobs = match chunk_of(store, id, chunk) {
                    Err(_) if !is_there(store, id)? => return Ok(None),
                    subjobs => subjobs?,
                };
                for (number, subjob) in (first..).zip(subjobs) {
                    if numbers.contains(&number) {
                        let number = u32::try_from(number).unwrap_or(u32::MAX);
                        found.push((SubjobId(number), subjob));
                    }
                }
            }
            Ok(Some((head, found)))
        })
        .await
    }

    /// Removes a build; nothing where there is nothing. It is on disk with the next event. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn remove(&self, id: BuildId) -> Result<(), JournalError> {
        let key = id.0.to_be_bytes();
        // The head goes first: what has none is not there.
        for tree in [&self.store.ended, &self.store.ended_subjobs] {
            store::remove(tree, tree.scan_prefix(key))?;
        }
        Ok(())
    }

    /// Stores builds that are over, and returns when they are on disk. To store one again does no
    /// harm. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn keep(&self, builds: &[Build]) -> Result<(), JournalError> {
        for build in builds {
            write(&self.store, build)?;
        }
        self.store.sync()
    }
}

/// Writes the head last: a build that has a head is complete.
pub(super) fn write(store: &Store, build: &Build) -> Result<(), JournalError> {
    let is_finished = build.state == BuildState::Finished;
    let failed = build
        .numbered_subjobs()
        .filter(|(_, subjob)| is_finished && build.has_failed(subjob));
    let mut alone = build.clone();
    alone.subjobs = Vec::new();
    alone.request = build.request.without_inherited_env();
    let head = EndedBuild {
        build: alone,
        num_subjobs: u32::try_from(build.subjobs.len()).unwrap_or(u32::MAX),
        failed: failed.map(|(id, subjob)| (id, subjob.clone())).collect(),
    };
    for (chunk, subjobs) in chunks(build) {
        insert(&store.ended_subjobs, &chunk_key(build.id, chunk), &subjobs)?;
    }
    insert(&store.ended, &build.id.0.to_be_bytes(), &head)
}

pub(super) fn insert(
    tree: &sled::Tree,
    key: &[u8],
    value: &impl Serialize,
) -> Result<(), JournalError> {
    let text = serde_json::to_vec(value).map_err(JournalError::Encode)?;
    let mut batch = Batch::default();
    put(&mut batch, key, &text)?;
    tree.apply_batch(batch).map_err(JournalError::Append)
}

pub(super) fn chunk_key(build: BuildId, chunk: usize) -> Vec<u8> {
    let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
    [&build.0.to_be_bytes()[..], &chunk.to_be_bytes()].concat()
}

/// The chunk of subjobs that a key names; `None` for the key of a head.
pub(super) fn chunk(key: &[u8]) -> Option<u32> {
    let chunk = key.get(8..)?.try_into().ok()?;
    Some(u32::from_be_bytes(chunk))
}

/// The name of a record of either tree for a person.
pub(super) fn place(key: &[u8]) -> String {
    let build = leading(key).unwrap_or_default();
    match chunk(key) {
        Some(chunk) => {
            let first = u64::from(chunk) * SUBJOBS_PER_RECORD as u64;
            let last = first + SUBJOBS_PER_RECORD as u64 - 1;
            format!("subjobs {first} to {last} of the ended build {build}")
        }
        None => format!("the ended build {build}"),
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    record: Result<Record, Damage>,
) -> Result<T, JournalError> {
    let record = record.map_err(|damage| JournalError::record(place(&damage.key), damage.what))?;
    let parsed = serde_json::from_slice(&record.text);
    parsed.map_err(|error| JournalError::record(place(&record.key), error.to_string()))
}

fn head(store: &Store, id: BuildId) -> Result<Option<EndedBuild>, JournalError> {
    let key = id.0.to_be_bytes();
    // Most questions are about builds that are not here, and need no range.
    if !is_there(store, id)? {
        return Ok(None);
    }
    let record = Records::below(&store.ended, &key).next().transpose()?;
    match record.map(parse).transpose() {
        // It is being removed.
        Err(_) if !is_there(store, id)? => Ok(None),
        found => found,
    }
}

pub(super) fn is_there(store: &Store, id: BuildId) -> Result<bool, JournalError> {
    let first = piece_key(&id.0.to_be_bytes(), 0);
    store.ended.contains_key(first).map_err(JournalError::Read)
}

fn chunk_of(store: &Store, id: BuildId, chunk: usize) -> Result<Vec<Subjob>, JournalError> {
    let key = chunk_key(id, chunk);
    match Records::below(&store.ended_subjobs, &key).next() {
        Some(record) => parse(record?),
        None => Err(JournalError::record(place(&key), "it is missing")),
    }
}
