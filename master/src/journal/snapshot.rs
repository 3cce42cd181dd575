//! The state at one moment, beside the events, so that a start need not read all that ever was.
//!
//! A snapshot is written under the number of events that it holds, and counts once the `meta` tree
//! names it: until then the one before it does, with all events after that.

use super::record::{Record, Records, put};
use super::store::{Store, remove};
use super::{FORMAT, JournalError};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use serde::{Deserialize, Serialize};
use sled::Batch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Few enough that one record of them is one piece as a rule, and can be read for one of them.
pub(super) const SUBJOBS_PER_RECORD: usize = 64;

/// How many bytes go to the engine at a time, so that appending events need not wait for long.
const BATCH_BYTES: usize = 1 << 20;

const META_KEY: &[u8] = b"snapshot";

const CLUSTER: u8 = 0;
const BUILD: u8 = 1;
const SUBJOBS: u8 = 2;

/// Which snapshot counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) format: u32,
    /// How many events it holds: the first event after it has this number.
    pub(super) events: u64,
    /// How many records it has.
    pub(super) records: u64,
    /// How long they are.
    pub(super) bytes: u64,
}

/// What is there of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) cluster: Option<Cluster>,
    pub(super) builds: BTreeMap<BuildId, Build>,
    pub(super) records: u64,
    /// What can not be read, in words.
    pub(super) damages: Vec<(String, String)>,
}

fn key(events: u64, kind: u8, build: BuildId, chunk: usize) -> Vec<u8> {
    let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
    let (events, build) = (events.to_be_bytes(), build.0.to_be_bytes());
    [&events[..], &[kind], &build, &chunk.to_be_bytes()].concat()
}

/// The parts of a key after the number of events.
fn parts(key: &[u8]) -> Option<(u8, BuildId, usize)> {
    let (kind, rest) = key.get(8..)?.split_first()?;
    let (build, chunk) = rest.split_first_chunk::<8>()?;
    let chunk = u32::from_be_bytes(chunk.try_into().ok()?);
    let build = BuildId(u64::from_be_bytes(*build));
    Some((*kind, build, usize::try_from(chunk).ok()?))
}

/// The name of a record for a person.
pub(super) fn place(key: &[u8]) -> String {
    match parts(key) {
        Some((BUILD, build, _)) => format!("build {build} in the snapshot"),
        Some((SUBJOBS, build, chunk)) => {
            let first = chunk * SUBJOBS_PER_RECORD;
            let last = first + SUBJOBS_PER_RECORD - 1;
            format!("subjobs {first} to {last} of build {build} in the snapshot")
        }
        _ => "the list of slaves in the snapshot".to_owned(),
    }
}

/// The subjobs of a build as they are stored: some in each record.
pub(super) fn chunks(build: &Build) -> impl Iterator<Item = (usize, Vec<&Subjob>)> {
    let chunks = build.subjobs.chunks(SUBJOBS_PER_RECORD);
    let chunks = chunks.map(|chunk| chunk.iter().map(Arc::as_ref).collect());
    chunks.enumerate()
}

/// Whether a record is the one of everything but the builds.
pub(super) fn is_cluster(key: &[u8]) -> bool {
    matches!(parts(key), Some((CLUSTER, ..)))
}

/// Which subjobs a record holds, if it is one of subjobs.
pub(super) fn subjobs_at(key: &[u8]) -> Option<(BuildId, usize)> {
    match parts(key)? {
        (SUBJOBS, build, chunk) => Some((build, chunk)),
        _ => None,
    }
}

/// How much was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) records: u64,
    bytes: u64,
}

/// Writes records in batches that go to the engine as soon as they are big.
pub(super) struct Writer<'a> {
    tree: &'a sled::Tree,
    batch: Batch,
    waiting: usize,
    written: Written,
}

impl<'a> Writer<'a> {
    pub(super) fn new(tree: &'a sled::Tree) -> Self {
        Self {
            tree,
            batch: Batch::default(),
            waiting: 0,
            written: Written::default(),
        }
    }

    pub(super) fn cluster(&mut self, events: u64, cluster: &Cluster) -> Result<(), JournalError> {
        self.put(&key(events, CLUSTER, BuildId(0), 0), cluster)
    }

    /// Writes a build without its subjobs.
    pub(super) fn build(&mut self, events: u64, build: &Build) -> Result<(), JournalError> {
        self.put(&key(events, BUILD, build.id, 0), build)
    }

    pub(super) fn subjobs(
        &mut self,
        events: u64,
        build: BuildId,
        chunk: usize,
        subjobs: &[&Subjob],
    ) -> Result<(), JournalError> {
        self.put(&key(events, SUBJOBS, build, chunk), &subjobs)
    }

    pub(super) fn finish(mut self) -> Result<Written, JournalError> {
        self.write()?;
        Ok(self.written)
    }

    fn put(&mut self, key: &[u8], value: &impl Serialize) -> Result<(), JournalError> {
        let text = serde_json::to_vec(value).map_err(JournalError::Encode)?;
        let bytes = put(&mut self.batch, key, &text)?;
        self.written.records += 1;
        self.written.bytes += bytes as u64;
        self.waiting += bytes;
        if self.waiting >= BATCH_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), JournalError> {
        self.waiting = 0;
        let batch = std::mem::take(&mut self.batch);
        self.tree.apply_batch(batch).map_err(JournalError::Append)
    }
}

/// Writes a snapshot and lets it count, then removes what it takes the place of. Blocks.
pub(super) fn write(store: &Store, cluster: &Cluster, events: u64) -> Result<Meta, JournalError> {
    // What a death in the middle of this left, if there was one.
    let current = read_meta(store)?.map(|meta| meta.events);
    remove_others(store, current)?;
    let mut writer = Writer::new(&store.snapshots);
    writer.cluster(events, cluster)?;
    for build in cluster.builds() {
        writer.build(events, build)?;
        for (chunk, subjobs) in chunks(build) {
            writer.subjobs(events, build.id, chunk, &subjobs)?;
        }
    }
    let meta = count(store, events, writer.finish()?)?;
    remove_others(store, Some(events))?;
    remove(&store.events, store.events.range(..events.to_be_bytes()))?;
    Ok(meta)
}

fn remove_others(store: &Store, current: Option<u64>) -> Result<(), JournalError> {
    let tree = &store.snapshots;
    let Some(current) = current else {
        return remove(tree, tree.iter());
    };
    remove(tree, tree.range(..current.to_be_bytes()))?;
    remove(tree, tree.range((current + 1).to_be_bytes()..))
}

/// Lets a snapshot count that was written.
pub(super) fn count(store: &Store, events: u64, written: Written) -> Result<Meta, JournalError> {
    store.sync()?;
    let meta = Meta {
        format: FORMAT,
        events,
        records: written.records,
        bytes: written.bytes,
    };
    let text = serde_json::to_vec(&meta).map_err(JournalError::Encode)?;
    let mut batch = Batch::default();
    put(&mut batch, META_KEY, &text)?;
    store
        .meta
        .apply_batch(batch)
        .map_err(JournalError::Append)?;
    store.sync()?;
    Ok(meta)
}

/// Which snapshot counts, if there is one.
pub(super) fn read_meta(store: &Store) -> Result<Option<Meta>, JournalError> {
    const PLACE: &str = "the record of the latest snapshot";
    let Some(record) = Records::below(&store.meta, META_KEY).next() else {
        return Ok(None);
    };
    let record = record?.map_err(|damage| JournalError::record(PLACE, damage.what))?;
    let meta: Meta = serde_json::from_slice(&record.text)
        .map_err(|error| JournalError::record(PLACE, error.to_string()))?;
    if meta.format != FORMAT {
        let found = meta.format;
        return Err(JournalError::Format { found });
    }
    Ok(Some(meta))
}

/// Reads all that can be read of a snapshot.
pub(super) fn load(store: &Store, meta: &Meta) -> Result<Loaded, JournalError> {
    let mut loaded = Loaded::default();
    for record in Records::below(&store.snapshots, &meta.events.to_be_bytes()) {
        match record? {
            Ok(record) => {
                loaded.records += 1;
                if let Err(what) = loaded.add(&record) {
                    loaded.damages.push((place(&record.key), what));
                }
            }
            Err(damage) => {
                let damage = (place(&damage.key), damage.what.to_owned());
                loaded.damages.push(damage);
            }
        }
    }
    let found = loaded.records + loaded.damages.len() as u64;
    if found < meta.records {
        let missing = format!("{} of its records are missing", meta.records - found);
        loaded.damages.push(("the snapshot".to_owned(), missing));
    }
    if !loaded.damages.is_empty() {
        // A build of which a part is missing can not go on.
        loaded.builds.retain(|_, build| {
            let atoms: usize = build.subjobs.iter().map(|subjob| subjob.atoms.len()).sum();
            atoms as u64 == build.num_atoms
        });
    }
    Ok(loaded)
}

impl Loaded {
    fn add(&mut self, record: &Record) -> Result<(), String> {
        let wrong = |error: serde_json::Error| error.to_string();
        match parts(&record.key) {
            Some((CLUSTER, ..)) => {
                self.cluster = Some(serde_json::from_slice(&record.text).map_err(wrong)?);
            }
            Some((BUILD, id, _)) => {
                let build = serde_json::from_slice(&record.text).map_err(wrong)?;
                self.builds.insert(id, build);
            }
            Some((SUBJOBS, id, chunk)) => {
                let subjobs: Vec<Subjob> = serde_json::from_slice(&record.text).map_err(wrong)?;
                let build = self.builds.get_mut(&id).ok_or("its build is missing")?;
                if build.subjobs.len() != chunk * SUBJOBS_PER_RECORD {
                    return Err("subjobs before it are missing".to_owned());
                }
                build.subjobs.extend(subjobs.into_iter().map(Arc::new));
            }
            _ => return Err("its key is unknown to this version".to_owned()),
        }
        Ok(())
    }
}
