//! When builds will end, for whoever asks. Forecasts are made only while somebody asks, one at a time, beside the
//! coordinator: two short looks at the cluster, and all else on a thread that may block. One that is made serves all
//! askers for a while.

use crate::coordinator::{ClusterHandle, Gone};
use crate::core::Cluster;
use crate::core::builds::subjob::Subjob;
use crate::core::forecast::{Finish, Learned, Scene, forecast};
use crate::journal::{JobKey, Timings};
use crate::read::running::RunningAtoms;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_common::lock::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, watch};

/// The shortest time from one forecast to the next.
const EVERY: Duration = Duration::from_secs(1);

/// How much longer than a forecast takes the pause after it lasts: so forecasts take a tenth of one processor at most.
const PAUSE: u32 = 10;

/// For how long a forecast is shown, while the next one is made.
const SHOWN: Duration = Duration::from_secs(15);

/// How long an asker waits for the first forecast; who asks again later gets it then.
const PATIENCE: Duration = Duration::from_millis(300);

/// Of how many atoms of a build the earlier runs are read.
const ATOMS_READ: usize = 2000;

/// Forecasts of all builds. Clones share them.
#[derive(Clone, Debug)]
pub struct Forecasts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cluster: ClusterHandle,
    running: RunningAtoms,
    timings: Timings,
    latest: Mutex<Latest>,
    /// Held while something is foretold: one thing at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many forecasts were made.
    made: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Latest {
    is_under_way: bool,
    made: Option<Made>,
    /// What earlier runs say of the builds that are at work: read once for each.
    learned: BTreeMap<BuildId, Arc<Learned>>,
}

/// A forecast that is made.
#[derive(Debug)]
struct Made {
    /// When the look at the cluster was.
    at: Instant,
    finishes: BTreeMap<BuildId, Finish>,
    /// When the next one may be made.
    next: Instant,
}

/// Says that no forecast is under way any more, however it ended.
struct UnderWay(Forecasts);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.latest().is_under_way = false;
        self.0.0.made.send_modify(|made| *made += 1);
    }
}

impl Latest {
    fn wants_another(&self) -> bool {
        let is_due = |made: &Made| made.next <= Instant::now();
        !self.is_under_way && self.made.as_ref().is_none_or(is_due)
    }

    /// The end of a build, if a forecast that is not too old tells it; nothing at all without such a forecast.
    fn finish(&self, build: BuildId) -> Option<Option<Finish>> {
        let made = self.made.as_ref()?;
        let ago = made.at.elapsed();
        (ago <= SHOWN).then(|| Some(made.finishes.get(&build)?.earlier_by(ago)))
    }
}

impl Forecasts {
    /// Nothing is foretold yet.
    #[must_use]
    pub fn new(cluster: ClusterHandle, running: RunningAtoms, timings: Timings) -> Self {
        Self(Arc::new(Shared {
            cluster,
            running,
            timings,
            latest: Mutex::default(),
            turn: Arc::default(),
            made: watch::Sender::default(),
        }))
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        lock(&self.0.latest)
    }

    /// When a build will end, from now on; `None` where nothing is known of that, or not yet. Waits a short time at most.
    pub async fn finish(&self, build: BuildId) -> Option<Finish> {
        let mut made = self.0.made.subscribe();
        made.borrow_and_update();
        if let Some(finish) = self.ask(build) {
            return finish;
        }
        // Whether it came in time or not.
        tokio::time::timeout(PATIENCE, made.changed()).await.ok();
        self.latest().finish(build).flatten()
    }

    /// The same without waiting: `None` too where the first forecast is not made yet.
    #[must_use]
    pub fn known(&self, build: BuildId) -> Option<Finish> {
        self.ask(build).flatten()
    }

    /// How many forecasts were made.
    #[must_use]
    pub fn num_made(&self) -> u64 {
        *self.0.made.borrow()
    }

    /// What is foretold of a build, if anything is; has another forecast made if it is time.
    fn ask(&self, build: BuildId) -> Option<Option<Finish>> {
        let (known, begins) = {
            let mut latest = self.latest();
            let begins = latest.wants_another();
            latest.is_under_way |= begins;
            (latest.finish(build), begins)
        };
        if begins {
            let under_way = UnderWay(self.clone());
            tokio::spawn(async move {
                let made = under_way.0.make().await;
                if let Err(Gone) = made {
                    tracing::debug!("no forecast: the master ends");
                }
                drop(under_way);
            });
        }
        known
    }

    /// Waits until nothing else is foretold.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0.turn).lock_owned().await
    }

    /// What earlier builds have left.
    pub(super) fn timings(&self) -> Timings {
        self.0.timings.clone()
    }

    async fn make(&self) -> Result<(), Gone> {
        let turn = self.turn().await;
        let began = Instant::now();
        let scene = self.scene(0).await?;
        let learned = self.learned(&scene).await?;
        let looking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let busy = Instant::now();
            (forecast(&scene, &learned), busy.elapsed())
        });
        let Ok((finishes, took)) = looking.await else {
            tracing::error!("a forecast failed");
            return Ok(());
        };
        let next = Instant::now() + EVERY.max(took * PAUSE);
        self.latest().made = Some(Made {
            at: began,
            finishes,
            next,
        });
        Ok(())
    }

    /// The farm as it stands, with what slaves say that they run, for a forecast with so many executors or fewer.
    pub(super) async fn scene(&self, executors: u64) -> Result<Scene, Gone> {
        let look = move |cluster: &Cluster| Scene::of(cluster, Timestamp::now(), executors);
        let mut scene = self.0.cluster.read(look).await?;
        for (id, build) in &mut scene.builds {
            let running = self.0.running.of(*id);
            for lot in &mut build.lots {
                let attempt = lot.held.map(|(_, attempt)| attempt);
                let atom = attempt.and_then(|attempt| running.atom(lot.first, attempt));
                lot.started = atom.map(|atom| atom.started_at_ms);
            }
        }
        Ok(scene)
    }

    /// What earlier runs say of the builds of a scene.
    pub(super) async fn learned(
        &self,
        scene: &Scene,
    ) -> Result<BTreeMap<BuildId, Arc<Learned>>, Gone> {
        let mut learned = std::mem::take(&mut self.latest().learned);
        learned.retain(|id, _| scene.builds.contains_key(id));
        for id in scene.builds.keys() {
            if !learned.contains_key(id)
                && let Some((job, atoms)) = self.atoms(*id).await?
            {
                let timings = self.0.timings.clone();
                let reading = tokio::task::spawn_blocking(move || read(&timings, job, &atoms));
                if let Ok(read) = reading.await {
                    learned.insert(*id, Arc::new(read));
                }
            }
        }
        self.latest().learned.clone_from(&learned);
        Ok(learned)
    }

    /// The job of a build, and its atoms or some of very many.
    async fn atoms(
        &self,
        id: BuildId,
    ) -> Result<Option<(JobKey, Vec<(SubjobId, Arc<Subjob>)>)>, Gone> {
        let look = move |cluster: &Cluster| {
            let build = cluster.build(id)?;
            let job = JobKey::new(&build.request, &build.plan.as_ref()?.job_name);
            let every = build.subjobs.len().div_ceil(ATOMS_READ).max(1);
            let subjobs = build.subjobs.iter().enumerate().step_by(every);
            let subjobs = subjobs.filter_map(|(index, subjob)| {
                let id = SubjobId(u32::try_from(index).ok()?);
                Some((id, Arc::clone(subjob)))
            });
            Some((job, subjobs.collect()))
        };
        self.0.cluster.read(look).await
    }
}

/// What earlier runs of atoms say. A subjob of several atoms says nothing: runs are known of each of them alone.
fn read(timings: &Timings, job: JobKey, atoms: &[(SubjobId, Arc<Subjob>)]) -> Learned {
    let runs = atoms
        .iter()
        .filter_map(|(id, subjob)| match &*subjob.atoms {
            [atom] => Some((*id, timings.runs(job, atom))),
            _ => None,
        });
    Learned::from(&runs.collect::<Vec<_>>())
}
