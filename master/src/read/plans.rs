//! How long builds take with how many slaves: the rest of one that is at work, or all of another one, run again.

use super::builds::{Builds, ReadError};
use super::forecasts::Forecasts;
use crate::journal::{JobKey, Timings};
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::durations::{expected, typical};
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::forecast::{BuildThere, EndedThere, Learned, Lot, Plan, Wanted, plan};
use std::sync::Arc;

/// How many atoms of a build a look takes along.
const AT_ONCE: usize = 2_000;

/// A number of executors that lots suit in any case.
const FEW_EXECUTORS: u64 = 64;

/// The id under which a build is planned that is not there: above those of all that are.
const ANEW: BuildId = BuildId(i64::MAX as u64);

/// What is known of how long a build takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Whether it is about a new build of the same atoms.
    pub is_anew: bool,
    /// How many subjobs are to be run.
    pub num_left: u64,
    /// None where nothing is known of how long they take.
    pub plan: Option<Plan>,
}

/// Why nothing is planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// The build can not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was split into these builds of a matrix, with their variables, and has no atoms itself.
    #[error("the build was split into the builds of a matrix")]
    OfMatrix(Vec<(BuildId, String)>),
}

/// A build whose atoms are planned once more.
struct Earlier {
    job: JobKey,
    /// Without its atoms.
    build: BuildThere,
    num_subjobs: usize,
}

impl Earlier {
    fn of(build: &Build, num_subjobs: usize) -> Result<Self, PlanError> {
        if build.is_parent() {
            let children = build.children.iter();
            let children = children.map(|child| (child.id, child.combination.to_string()));
            return Err(PlanError::OfMatrix(children.collect()));
        }
        let job_name = build.plan.as_ref().map_or("", |plan| &plan.job_name);
        Ok(Self {
            job: JobKey::new(&build.request, job_name),
            build: BuildThere::like(build),
            num_subjobs,
        })
    }
}

/// What is known of the atoms of an earlier build.
#[derive(Default)]
struct Atoms {
    lots: Vec<Lot>,
    known_ms: Vec<Option<u64>>,
    /// Of some.
    runs: Vec<(SubjobId, Vec<u64>)>,
    ended: Vec<EndedThere>,
}

impl Forecasts {
    /// How long a build takes. One plan or forecast is made at a time.
    ///
    /// # Errors
    /// There is no such build, its record can not be read, or it is the parent of builds of a matrix.
    pub(crate) async fn plan(
        &self,
        builds: &Builds,
        id: BuildId,
        wanted: Wanted,
    ) -> Result<Planned, PlanError> {
        let turn = self.turn().await;
        let slaves = wanted.slaves.unwrap_or(0) as u64 + 1;
        let look = move |cluster: &Cluster, build: &Build| {
            let of_slaves = || cluster.slaves().map(|slave| u64::from(slave.num_executors));
            let usual = of_slaves().max().unwrap_or(1);
            let executors = (2 * of_slaves().sum::<u64>()).max(slaves * usual);
            let is_at_work = build.progress().is_some();
            let earlier = (!is_at_work).then(|| Earlier::of(build, build.subjobs.len()));
            Ok::<_, PlanError>((executors.max(FEW_EXECUTORS), earlier.transpose()?))
        };
        let live = builds.live(id, look).await?;
        let (executors, earlier) = match live {
            Some(live) => live,
            None => {
                let archived = builds.archived(id).await?;
                let num_subjobs = archived.num_subjobs as usize;
                let earlier = Earlier::of(&archived.build, num_subjobs)?;
                (FEW_EXECUTORS.max(4 * slaves), Some(earlier))
            }
        };
        let mut scene = self.scene(executors).await.map_err(ReadError::from)?;
        let (of, is_anew, mut learned) = match earlier {
            Some(earlier) => {
                let (build, learned) = self.anew(builds, id, earlier, executors).await?;
                // A build that waits is there, and is planned as if it began anew.
                scene.builds.remove(&id);
                scene.builds.insert(ANEW, build);
                let mut of_all = self.learned(&scene).await.map_err(ReadError::from)?;
                of_all.insert(ANEW, Arc::new(learned));
                (ANEW, true, of_all)
            }
            None => {
                let learned = self.learned(&scene).await.map_err(ReadError::from)?;
                (id, false, learned)
            }
        };
        learned.retain(|id, _| scene.builds.contains_key(id));
        let num_left = scene.builds.get(&of).map_or(0, BuildThere::num_left);
        let planning = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            plan(&scene.bundled(), &learned, of, 1, wanted)
        });
        let plan = planning.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a plan failed");
            None
        });
        Ok(Planned {
            is_anew,
            num_left,
            plan,
        })
    }

    async fn setup_ms(&self, job: JobKey) -> Option<u64> {
        let timings = self.timings();
        let reading = tokio::task::spawn_blocking(move || timings.setup_ms(job));
        reading.await.ok().flatten()
    }

    /// A new build of the atoms of an earlier one, and what earlier runs say of them.
    async fn anew(
        &self,
        builds: &Builds,
        id: BuildId,
        earlier: Earlier,
        executors: u64,
    ) -> Result<(BuildThere, Learned), ReadError> {
        let every = earlier.num_subjobs.div_ceil(AT_ONCE).max(1);
        let mut atoms = Atoms::default();
        for first in (0..earlier.num_subjobs).step_by(AT_ONCE) {
            let part = part(builds, id, first).await?;
            let (timings, job) = (self.timings(), earlier.job);
            let reading = tokio::task::spawn_blocking(move || {
                let mut atoms = atoms;
                for (id, subjob) in part {
                    atoms.take_in(&timings, job, id, &subjob, every);
                }
                atoms
            });
            atoms = reading.await.unwrap_or_default();
        }
        let setup_ms = self.setup_ms(earlier.job).await;
        let learned = Learned::from(&atoms.runs).with_setups(setup_ms);
        let ended = std::mem::take(&mut atoms.ended);
        let there = earlier.build.waiting(atoms.expected(), ended, executors);
        Ok((there, learned))
    }
}

/// Some subjobs of a build, from a number on.
async fn part(
    builds: &Builds,
    id: BuildId,
    first: usize,
) -> Result<Vec<(SubjobId, Arc<Subjob>)>, ReadError> {
    let look = move |_: &Cluster, build: &Build| {
        let subjobs = build.subjobs.iter().enumerate().skip(first).take(AT_ONCE);
        let subjobs = subjobs.filter_map(|(index, subjob)| {
            Some((SubjobId(u32::try_from(index).ok()?), Arc::clone(subjob)))
        });
        Ok::<_, ReadError>(subjobs.collect())
    };
    if let Some(live) = builds.live(id, look).await? {
        return Ok(live);
    }
    let range = move |number: usize| first.min(number)..(first + AT_ONCE).min(number);
    let (_, subjobs) = builds.archived_subjobs(id, range).await?;
    let subjobs = subjobs.into_iter();
    Ok(subjobs.map(|(id, subjob)| (id, Arc::new(subjob))).collect())
}

impl Atoms {
    /// A subjob that was not run by itself before is expected to take as long as it took last.
    fn take_in(
        &mut self,
        timings: &Timings,
        job: JobKey,
        id: SubjobId,
        subjob: &Subjob,
        every: usize,
    ) {
        let runs = match &*subjob.atoms {
            [atom] => timings.runs(job, atom),
            _ => Vec::new(),
        };
        let took = EndedThere::of(id, subjob).map(|ended| ended.took_ms);
        let known_ms = typical(&runs).or(took);
        self.known_ms.push(known_ms);
        self.lots.push(Lot::of(id, subjob));
        if !(id.0 as usize).is_multiple_of(every) {
            return;
        }
        let ended = EndedThere::of(id, subjob);
        self.ended.extend(ended.map(|ended| EndedThere {
            expected_ms: known_ms,
            ..ended
        }));
        let runs = match (runs.is_empty(), took) {
            (true, Some(took)) => vec![took],
            _ => runs,
        };
        self.runs.push((id, runs));
    }

    /// What waits, with how long it is expected to take.
    fn expected(self) -> Vec<Lot> {
        let expected_ms = expected(&self.known_ms);
        let lots = self.lots.into_iter().enumerate();
        lots.map(|(index, lot)| Lot {
            expected_ms: expected_ms.get(index).copied(),
            ..lot
        })
        .collect()
    }
}
