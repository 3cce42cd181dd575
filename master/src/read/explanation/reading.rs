//! What is read of a build to explain its time.

use super::{Explained, Hunted, Known, Ran, explain};
use crate::read::builds::{Builds, ReadError};
use crate::read::lists::AtSubjob;
use crate::read::running::{RunningInBuild, Runs};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::{Build, BuildState, Timestamps};
use clusterrunner_core::builds::subjob::Subjob;
use std::ops::Range;

impl Builds {
    /// Explains a build, wherever it is; `running` are the atoms of it that run.
    ///
    /// # Errors
    /// There is no such build, or its record can not be read.
    pub async fn explained(
        &self,
        id: BuildId,
        running: RunningInBuild,
        steps: Steps,
        now: Timestamp,
    ) -> Result<Explained, ReadError> {
        let (mut ran, mut next) = (Vec::new(), Some(AtSubjob::page(|length| 0..length)));
        while let Some(at) = next {
            let of_live = |_: &Cluster, build: &Build, numbers: Range<usize>| {
                let ids = numbers.filter_map(|number| u32::try_from(number).ok().map(SubjobId));
                let subjobs = ids.filter_map(|id| Some(ran_of(build, id, build.subjob(id)?)));
                subjobs.collect::<Vec<_>>()
            };
            let part = self.some_subjobs(id, at, of_live, ran_of).await?;
            ran.extend(part.entries.into_iter().flatten());
            next = part.next;
        }
        let of_live = move |cluster: &Cluster, build: &Build| {
            (known(build, steps), still(cluster, build, &running, now))
        };
        let seen = self.seen(id, of_live, |ended| {
            (known(&ended.build, steps), Vec::new())
        });
        let (known, still) = seen.await?;
        ran.extend(still);
        Ok(explain(&known, &ran, now))
    }
}

/// The ends of steps of a build that its own times do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    /// When the fetch ended, or the atomizers began.
    pub fetched: Option<Timestamp>,
    /// When the first `setup_build` ended.
    pub set_up: Option<Timestamp>,
}

fn known(build: &Build, steps: Steps) -> Known {
    let fetched = match build.request.fetches() {
        true => steps.fetched,
        false => build.timestamps.preparing,
    };
    Known {
        times: times(build),
        fetched,
        set_up: steps.set_up,
        was_cut_off: build.cut_off.len() > build.cut_runs.len(),
        hunting: (!build.hunted.is_empty()).then(|| Hunted {
            runs: build.hunted.runs,
            ms: build.hunted.ms,
            trials: build.hunted.trials(),
        }),
        is_parent: build.is_parent(),
    }
}

/// The atoms that run.
fn still(cluster: &Cluster, build: &Build, running: &RunningInBuild, now: Timestamp) -> Vec<Ran> {
    let ran = running.subjobs().filter_map(|id| {
        let Runs::Atom(atom) = running.runs(cluster, build, id) else {
            return None;
        };
        let progress = build.progress()?;
        let (slave, attempt) = progress.running.get(&id)?;
        Some(Ran {
            subjob: id,
            atom: atom.atom_id,
            began: atom.started_at_ms,
            took_ms: now.0.saturating_sub(atom.started_at_ms.0),
            executor: (Some(*slave), Some(atom.executor_id)),
            is_retry: attempt.0 > build.attempts_from + 1,
            in_vain_ms: 0,
        })
    });
    ran.collect()
}

/// The times of a build; its end is there only if that is its state, since one that is canceled may have been nearly done.
fn times(build: &Build) -> Timestamps {
    match build.state {
        BuildState::Finished | BuildState::Error { .. } | BuildState::Canceled => build.timestamps,
        _ => Timestamps {
            finished: None,
            error: None,
            canceled: None,
            ..build.timestamps
        },
    }
}

/// The atoms of a subjob that have run.
fn ran_of(build: &Build, id: SubjobId, subjob: &Subjob) -> Vec<Ran> {
    let result = subjob.result.iter();
    let counted =
        result.map(|(attempt, outcomes)| (*attempt, outcomes, (subjob.slave, subjob.executor)));
    let failed = subjob.failed_attempts().iter();
    let failed = failed.map(|of| (of.attempt, &of.outcomes, (Some(of.slave), of.executor)));
    let atoms = failed
        .chain(counted)
        .flat_map(|(attempt, outcomes, executor)| {
            let numbered = (0..).map(AtomId).zip(outcomes);
            numbered.filter_map(move |(atom, outcome)| {
                Some(Ran {
                    subjob: id,
                    atom,
                    began: outcome.started_at?,
                    took_ms: outcome.duration_ms,
                    executor,
                    is_retry: attempt.0 > build.attempts_from + 1,
                    in_vain_ms: outcome.usage.map_or(0, |usage| usage.in_vain_ms.into()),
                })
            })
        });
    let cut_off = build.cut_run(id).zip(build.cut_off.get(&id));
    let cut_off = cut_off.map(|((run, lasted), attempt)| Ran {
        subjob: id,
        atom: run.atom,
        began: run.started_at,
        took_ms: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
        executor: (subjob.slave, Some(run.executor)),
        is_retry: attempt.0 > build.attempts_from + 1,
        in_vain_ms: 0,
    });
    atoms.chain(cut_off).collect()
}
