//! Looks at a journal at rest: what is there, and what is wrong with it.

use super::audit::audit_place;
use super::live::Live;
use super::private_copy::{Mended, with_copy, with_mended_copy};
use super::record::Records;
use super::snapshot::SUBJOBS_PER_RECORD;
use super::store::Store;
use super::{EndedBuild, JournalError, Problem, acknowledged, ended, files, live};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::projects::Project;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use std::collections::{BTreeMap, BTreeSet};
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
    /// How many builds are in progress, or not archived yet.
    pub live_builds: u64,
    /// How many builds are archived.
    pub ended_builds: u64,
    /// How many slaves are known.
    pub slaves: u64,
    /// The last event was never written to its end: nobody was told of it, and the master cuts it off.
    pub is_torn: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
    pub(super) cluster: Cluster,
    /// The ended builds of which nothing is wrong, when they were over, and their projects.
    pub(super) whole: BTreeMap<BuildId, (Timestamp, Project)>,
}

/// Reads the whole journal in `directory`, which nobody uses, as a copy: nothing of it changes. Blocks.
///
/// # Errors
/// It can not be copied, or the engine can not open or read it.
pub fn examine(directory: &Path) -> Result<Findings, JournalError> {
    with_mended_copy(directory, examine_store)
}

/// What is in a store, and what was mended of it.
pub(super) fn examine_store(store: &Store, mended: Mended) -> Result<Findings, JournalError> {
    let mut findings = read(store)?;
    findings.problems.splice(0..0, mended.problems());
    Ok(findings)
}

/// Reads snapshot and events of the journal in `directory` from a copy; `None` for a new journal.
///
/// # Errors
/// The journal can not be read, or is damaged.
pub(super) fn look(directory: &Path) -> Result<Option<Live>, JournalError> {
    acknowledged::check_format(directory)?;
    let failed = JournalError::open(directory);
    if files::is_new(directory).map_err(&failed)? {
        return Ok(None);
    }
    let refused = |problem: Problem| Err(JournalError::record(problem.place, problem.what));
    if let Some(problem) = files::problems(directory)
        .map_err(&failed)?
        .into_iter()
        .next()
    {
        return refused(problem);
    }
    with_copy(directory, |store| {
        let live = live::read(store)?;
        let missing = missing_ended(store, &live.cluster)?;
        let problem = live.problems.first().cloned();
        let problem = problem.or_else(|| missing.into_iter().next());
        problem.map_or(Ok(Some(live)), refused)
    })
}

/// The archived builds of which not even the page is there.
pub(super) fn missing_ended(
    store: &Store,
    cluster: &Cluster,
) -> Result<Vec<Problem>, JournalError> {
    let mut missing = Vec::new();
    let put_away = cluster.all_builds().filter(|(_, live)| live.is_none());
    for (build, _) in put_away {
        if !ended::is_there(store, build)? {
            let error = JournalError::record(format!("the ended build {build}"), "it is missing");
            missing.push(problem(error)?);
        }
    }
    Ok(missing)
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
    if problems.is_empty() {
        problems = missing_ended(store, &live.cluster)?;
    }
    let heads = heads(store, &mut problems)?;
    let whole = whole(store, heads, &mut problems)?;
    look_at_audit_log(store, &mut problems)?;
    let last = whole.last_key_value().map_or(BuildId(0), |(id, _)| *id);
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

/// A repair leaves out what is damaged. Of the end of the log nothing else would tell that then.
fn look_at_audit_log(store: &Store, problems: &mut Vec<Problem>) -> Result<(), JournalError> {
    for record in Records::from(&store.audit, &[]) {
        if let Err(damage) = record? {
            problems.push(Problem {
                place: audit_place(&damage.key),
                what: damage.what.to_owned(),
                lost: "who asked for what in that turn".to_owned(),
            });
        }
    }
    Ok(())
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

/// How many subjobs each ended build has, when it was over, and its project.
fn heads(
    store: &Store,
    problems: &mut Vec<Problem>,
) -> Result<BTreeMap<BuildId, (usize, Timestamp, Project)>, JournalError> {
    let mut heads = BTreeMap::new();
    for record in Records::from(&store.ended, &[]) {
        match ended::parse::<EndedBuild>(record?) {
            Ok(head) => {
                let times = head.build.timestamps;
                let over = times.finished.or(times.error).or(times.canceled);
                let over = over.or(times.queued).unwrap_or(Timestamp(0));
                heads.insert(
                    head.build.id,
                    (head.num_subjobs as usize, over, Project::of(&head.build)),
                );
            }
            Err(error) => problems.push(problem(error)?),
        }
    }
    Ok(heads)
}

/// Those of which all subjobs are there.
fn whole(
    store: &Store,
    heads: BTreeMap<BuildId, (usize, Timestamp, Project)>,
    problems: &mut Vec<Problem>,
) -> Result<BTreeMap<BuildId, (Timestamp, Project)>, JournalError> {
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
                if let Some((missing, ..)) = missing.get_mut(&build) {
                    *missing = missing.saturating_sub(subjobs.len());
                }
            }
            Err(error) => {
                spoilt.insert(build);
                problems.push(problem(error)?);
            }
        }
    }
    for (build, (missing, ..)) in &missing {
        if *missing > 0 && spoilt.insert(*build) {
            let chunks = missing.div_ceil(SUBJOBS_PER_RECORD);
            let what = format!("{chunks} records of its subjobs are missing");
            let error = JournalError::record(format!("the ended build {build}"), what);
            problems.push(problem(error)?);
        }
    }
    let whole = missing
        .into_iter()
        .map(|(id, (_, over, project))| (id, (over, project)));
    Ok(whole.filter(|(id, _)| !spoilt.contains(id)).collect())
}

impl Findings {
    /// The builds that are not archived.
    pub fn live(&self) -> impl Iterator<Item = &Build> {
        self.cluster.builds()
    }
}
