//! When builds will end, for whoever asks. Forecasts are made only while somebody asks, one at a time, beside the
//! coordinator: a short look at the cluster, another one at each new build, and all else on a thread that may block. One
//! that is made serves all askers until the next one is.

use crate::coordinator::{ClusterHandle, Gone};
use crate::journal::{JobKey, Timings};
use crate::read::running::RunningAtoms;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_common::lock::lock;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::forecast::{Finish, Learned, Scene, forecast};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, watch};

/// The shortest time from one forecast to the next.
const EVERY: Duration = Duration::from_secs(1);

/// How much longer than a forecast takes, with its looks, the pause after it lasts: so forecasts take a tenth of one
/// processor at most, also those that fail.
const PAUSE: u32 = 10;

/// For how long a forecast is shown after the next one could be made, if that takes no longer.
const SHOWN: Duration = Duration::from_secs(15);

/// How long an asker waits for the first forecast; who asks again later gets it then.
const PATIENCE: Duration = Duration::from_millis(300);

/// Of how many atoms of a build the earlier runs are read.
const ATOMS_READ: usize = 2000;

/// Forecasts of all builds. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Forecasts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cluster: ClusterHandle,
    running: RunningAtoms,
    timings: Timings,
    latest: Mutex<Latest>,
    /// Held while something is foretold: one thing at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many forecasts came to an end.
    made: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Latest {
    is_under_way: bool,
    /// When the next one may be made; none before the first.
    next: Option<Instant>,
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
    /// Until when it is shown.
    until: Instant,
}

/// Says that no forecast is under way any more, however it ended, and when the next one may be.
struct UnderWay {
    forecasts: Forecasts,
    /// When it had its turn.
    began: Option<Instant>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        {
            let mut latest = self.forecasts.latest();
            latest.is_under_way = false;
            latest.next = Some(next_after(self.began, Instant::now()));
        }
        self.forecasts.0.made.send_modify(|made| *made += 1);
    }
}

/// When the forecast may be made that follows one of this time.
fn next_after(began: Option<Instant>, ended: Instant) -> Instant {
    let took = began.map_or(Duration::ZERO, |began| ended.duration_since(began));
    ended + EVERY.max(took * PAUSE)
}

impl Latest {
    fn wants_another(&self) -> bool {
        !self.is_under_way && self.next.is_none_or(|next| next <= Instant::now())
    }

    /// The end of a build, if a forecast that is not too old tells it; nothing at all without such a forecast.
    fn finish(&self, build: BuildId) -> Option<Option<Finish>> {
        let made = self.made.as_ref()?;
        let is_shown = Instant::now() <= made.until;
        is_shown.then(|| Some(made.finishes.get(&build)?.earlier_by(made.at.elapsed())))
    }
}

impl Forecasts {
    /// Nothing is foretold yet.
    #[must_use]
    pub(crate) fn new(cluster: ClusterHandle, running: RunningAtoms, timings: Timings) -> Self {
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
    pub(crate) async fn finish(&self, build: BuildId) -> Option<Finish> {
        let mut made = self.0.made.subscribe();
        made.borrow_and_update();
        if let Some(finish) = self.ask(build) {
            return finish;
        }
        if !self.latest().is_under_way {
            return None;
        }
        // Whether it came in time or not.
        tokio::time::timeout(PATIENCE, made.changed()).await.ok();
        self.latest().finish(build).flatten()
    }

    /// The same without waiting: `None` too where the first forecast is not made yet.
    #[must_use]
    pub(crate) fn known(&self, build: BuildId) -> Option<Finish> {
        self.ask(build).flatten()
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
            let mut under_way = UnderWay {
                forecasts: self.clone(),
                began: None,
            };
            tokio::spawn(async move {
                let forecasts = under_way.forecasts.clone();
                let turn = forecasts.turn().await;
                let began = Instant::now();
                under_way.began = Some(began);
                let made = forecasts.make(turn, began).await;
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

    async fn make(&self, turn: OwnedMutexGuard<()>, began: Instant) -> Result<(), Gone> {
        let scene = self.scene(0).await?;
        let at = Instant::now();
        let learned = self.learned(&scene).await?;
        let looking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            forecast(&scene.bundled(), &learned)
        });
        let Ok(finishes) = looking.await else {
            tracing::error!("a forecast failed");
            return Ok(());
        };
        let now = Instant::now();
        let took = now.duration_since(began);
        self.latest().made = Some(Made {
            at,
            finishes,
            until: next_after(Some(began), now) + SHOWN.max(took * 3),
        });
        Ok(())
    }

    /// The farm as it stands, with what slaves say that they run, for a forecast with so many executors or fewer. Not
    /// bundled yet.
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
    Learned::from(&runs.collect::<Vec<_>>()).with_setups(timings.setup_ms(job))
}
