//! Looks at a journal at rest: what is there, and what is wrong with it.

use super::record::Records;
use super::snapshot::SUBJOBS_PER_RECORD;
use super::store::Store;
use super::{EndedBuild, JournalError, Problem, ended, live};
use crate::cluster::Cluster;
use crate::cluster::build::{Build, Subjob};
use clusterrunner_common::ids::BuildId;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What is in a journal.
#[derive(Debug)]
pub struct Findings {
    /// How many events there ever were.
    pub events: u64,
    /// How many of them the snapshot holds, if there is one.
    pub in_snapshot: Option<u64>,
    /// How many were read one by one.
    pub read: u64,
    /// How many builds are not over, or not put away yet.
    pub live_builds: u64,
    /// How many builds are over and put away.
    pub ended_builds: u64,
    /// How many slaves are known.
    pub slaves: u64,
    /// The last event was never written to its end: nobody was told of it, and the master cuts it off.
    pub is_torn: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
    pub(super) cluster: Cluster,
    /// The ended builds of which nothing is wrong.
    pub(super) whole: BTreeSet<BuildId>,
}

/// Reads the whole journal in `directory`. The engine writes there when it opens it, so that nobody
/// else may use it, and what must stay as it is should be a copy. Blocks.
///
/// # Errors
/// The engine can not open or read it.
pub fn examine(directory: &Path) -> Result<Findings, JournalError> {
    examine_store(&Store::open(directory)?, directory)
}

pub(super) fn examine_store(store: &Store, directory: &Path) -> Result<Findings, JournalError> {
    // The engine panics on some kinds of damage, also when it reads.
    catch_unwind(AssertUnwindSafe(|| read(store))).unwrap_or_else(|_| {
        Err(JournalError::Damaged {
            directory: directory.to_owned(),
        })
    })
}

fn read(store: &Store) -> Result<Findings, JournalError> {
    let mut live = live::read(store)?;
    if live.problems.is_empty()
        && let Err(broken) = live.cluster.check()
    {
        live.problems.push(Problem {
            place: "the state that the events lead to".to_owned(),
            what: broken.to_string(),
            lost: "nothing by itself, but the master may not work well with it".to_owned(),
        });
    }
    let mut problems = live.problems;
    let heads = heads(store, &mut problems)?;
    let whole = whole(store, heads, &mut problems)?;
    let last = whole.last().copied().unwrap_or(BuildId(0));
    let mut cluster = live.cluster;
    cluster.reserve_ids(last);
    Ok(Findings {
        events: live.next,
        in_snapshot: live.meta.map(|meta| meta.events),
        read: live.num_events,
        live_builds: cluster.builds().count() as u64,
        ended_builds: whole.len() as u64,
        slaves: cluster.slaves().count() as u64,
        is_torn: live.is_torn,
        problems,
        cluster,
        whole,
    })
}

fn problem(error: JournalError) -> Result<Problem, JournalError> {
    match error {
        JournalError::Record { place, what } => Ok(Problem {
            place,
            what,
            lost: "this build's page and its list of atoms; its archives stay on disk".to_owned(),
        }),
        other => Err(other),
    }
}

/// How many subjobs each ended build has.
fn heads(
    store: &Store,
    problems: &mut Vec<Problem>,
) -> Result<BTreeMap<BuildId, usize>, JournalError> {
    let mut heads = BTreeMap::new();
    for record in Records::from(&store.ended, &[]) {
        match ended::parse::<EndedBuild>(record?) {
            Ok(head) => {
                heads.insert(head.build.id, head.num_subjobs as usize);
            }
            Err(error) => problems.push(problem(error)?),
        }
    }
    Ok(heads)
}

/// Those of which all subjobs are there.
fn whole(
    store: &Store,
    heads: BTreeMap<BuildId, usize>,
    problems: &mut Vec<Problem>,
) -> Result<BTreeSet<BuildId>, JournalError> {
    let mut missing = heads;
    let mut spoilt = BTreeSet::new();
    for record in Records::from(&store.ended_subjobs, &[]) {
        let record = record?;
        let key = match &record {
            Ok(record) => &record.key,
            Err(damage) => &damage.key,
        };
        let build = BuildId(super::record::leading(key).unwrap_or_default());
        match ended::parse::<Vec<Subjob>>(record) {
            Ok(subjobs) => {
                if let Some(missing) = missing.get_mut(&build) {
                    *missing = missing.saturating_sub(subjobs.len());
                }
            }
            Err(error) => {
                spoilt.insert(build);
                problems.push(problem(error)?);
            }
        }
    }
    for (build, missing) in &missing {
        if *missing > 0 && spoilt.insert(*build) {
            let chunks = missing.div_ceil(SUBJOBS_PER_RECORD);
            let what = format!("{chunks} records of its subjobs are missing");
            let error = JournalError::record(format!("the ended build {build}"), what);
            problems.push(problem(error)?);
        }
    }
    let ids = missing.into_keys();
    Ok(ids.filter(|id| !spoilt.contains(id)).collect())
}

impl Findings {
    /// The builds that are not put away.
    pub fn live(&self) -> impl Iterator<Item = &Build> {
        self.cluster.builds()
    }
}
