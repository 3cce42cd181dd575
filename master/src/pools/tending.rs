//! Looks at the cluster again and again, and has done for each pool what is planned for it.

use super::carrying_out::{Hand, Outcome};
use super::joining::JoinTokens;
use super::names::{farm_prefix, pool_prefix};
use super::providers::PoolsProvider;
use crate::coordinator::ClusterHandle;
use crate::read::pools::{PoolSeen, Pools, StartedSeen};
use crate::read::slave_keys::SlaveKeys;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::settings::PoolSettings;
use clusterrunner_core::pools::requests::requests;
use clusterrunner_core::pools::{
    Listed, Memory, Place, Pool, PoolPlan, PoolTerms, Request, Scene, plan,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often pools are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a provider's command may go on when the master ends: what it starts is found again by the next life.
const AT_THE_END: Duration = Duration::from_secs(3);

/// What pools need of the master.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The cluster.
    pub(crate) cluster: ClusterHandle,
    /// What makes join tokens.
    pub(crate) slave_keys: SlaveKeys,
    /// Where events are recorded.
    pub(crate) events: EventLog,
    /// What readers see.
    pub(crate) seen: Pools,
    /// Host and port by which slaves reach the master.
    pub(crate) master: (String, u16),
    /// Where commands run.
    pub(crate) directory: PathBuf,
}

/// Tends the pools.
#[derive(Debug)]
pub(crate) struct PoolsTender {
    cluster: ClusterHandle,
    seen: Pools,
    /// Begins the names of what all pools start.
    prefix: String,
    kept: Vec<Kept>,
}

/// A pool, and what its provider has said.
#[derive(Debug)]
struct Kept {
    hand: Arc<Hand>,
    pool: Pool,
    listed: Vec<Listed>,
    listed_at: Timestamp,
    /// When it is asked again.
    next_list: Instant,
    /// Whether something is carried out: then nothing else is.
    is_at_work: bool,
    /// What was said of it in the log last.
    told: &'static str,
}

impl PoolsTender {
    /// Of these pools.
    pub(crate) fn new(pools: &[PoolSettings], surroundings: &Surroundings) -> Self {
        let farm = surroundings.slave_keys.farm();
        let kept = pools.iter().map(|settings| Kept {
            hand: Arc::new(Hand {
                provider: PoolsProvider::new(settings, &surroundings.directory),
                prefix: pool_prefix(&farm, &settings.name),
                farm: farm.clone(),
                master: settings
                    .master_url
                    .clone()
                    .unwrap_or_else(|| surroundings.master.clone()),
                tokens: JoinTokens {
                    cluster: surroundings.cluster.clone(),
                    slave_keys: surroundings.slave_keys.clone(),
                },
                events: surroundings.events.clone(),
                settings: settings.clone(),
            }),
            pool: Pool {
                terms: terms(settings),
                memory: Memory::default(),
                requests: Vec::new(),
                is_listed: false,
            },
            listed: Vec::new(),
            listed_at: Timestamp(0),
            next_list: Instant::now(),
            is_at_work: false,
            told: "",
        });
        let kept: Vec<Kept> = kept.collect();
        // Who asks before the first look is told which pools there are.
        let seen = kept.iter().map(|kept| kept.seen(PoolPlan::NONE, None));
        surroundings.seen.show(seen.collect());
        Self {
            cluster: surroundings.cluster.clone(),
            seen: surroundings.seen.clone(),
            prefix: farm_prefix(&farm),
            kept,
        }
    }

    /// Tends them until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        if self.kept.is_empty() {
            return;
        }
        let mut work: JoinSet<(usize, Outcome)> = JoinSet::new();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = work.join_next(), if !work.is_empty() => match done {
                    Ok((index, outcome)) => self.take_in(index, outcome),
                    // It panicked: its pool would stand still without a word.
                    Err(error) => {
                        tracing::error!(%error, "the work on a pool broke off; pools are not tended any more");
                        break;
                    }
                },
                _ = looks.tick() => {
                    if self.look(&mut work).await.is_none() {
                        break;
                    }
                }
            }
        }
        let rest = async { while work.join_next().await.is_some() {} };
        tokio::time::timeout(AT_THE_END, rest).await.ok();
    }

    fn take_in(&mut self, index: usize, outcome: Outcome) {
        let Some(kept) = self.kept.get_mut(index) else {
            return;
        };
        let now = Timestamp::now();
        kept.is_at_work = false;
        // Once for all that failed together.
        if let Some(what) = outcome.failures.into_iter().next() {
            let name = &kept.hand.settings.name;
            tracing::warn!(pool = name, error = what, "a provider failed");
            kept.pool.memory.note_failure(now, what);
        }
        if let Some(listed) = outcome.listed {
            kept.next_list = Instant::now() + kept.hand.settings.list_interval;
            kept.listed = listed;
            kept.listed_at = now;
            kept.pool.is_listed = true;
        }
    }

    /// Has a plan made, and what is to be done begun. Nothing if the master is going down.
    async fn look(&mut self, work: &mut JoinSet<(usize, Outcome)>) -> Option<()> {
        let prefix = self.prefix.clone();
        let targets = self.kept.iter().map(|kept| kept.pool.terms.target_wait);
        let target = targets.min().unwrap_or_default();
        let now = Timestamp::now();
        let look = move |cluster: &_| Scene::of(cluster, &prefix, target, now);
        let scene = self.cluster.read(look).await.ok()?;
        let mut pools: Vec<Pool> = Vec::new();
        for kept in &mut self.kept {
            let listed = (kept.listed.as_slice(), kept.listed_at);
            kept.pool.requests = requests(&kept.hand.prefix, &scene, listed);
            pools.push(kept.pool.clone());
        }
        let plans = plan(&mut pools, &scene);
        for (index, ((kept, pool), plan)) in self.kept.iter_mut().zip(pools).zip(&plans).enumerate()
        {
            kept.pool = pool;
            kept.tell(plan);
            if let Some(task) = kept.task(plan, now) {
                kept.is_at_work = true;
                work.spawn(async move { (index, task.await) });
            }
        }
        let seen = self.kept.iter().zip(plans);
        let seen = seen.map(|(kept, plan)| kept.seen(plan, Some(&scene)));
        self.seen.show(seen.collect());
        Some(())
    }
}

impl Kept {
    /// What is to be done for it now, if anything is.
    fn task(
        &mut self,
        plan: &PoolPlan,
        now: Timestamp,
    ) -> Option<impl Future<Output = Outcome> + Send + 'static> {
        if self.is_at_work {
            return None;
        }
        let has_work = plan.start > 0 || !plan.end.is_empty() || !plan.forget.is_empty();
        let is_paused = self.pool.memory.is_paused(now);
        let is_due = self.next_list <= Instant::now();
        let hand = self.hand.clone();
        let needs_no_provider = plan.end.iter().any(|end| end.slave.is_some());
        let carried = match is_paused {
            true if needs_no_provider || !plan.forget.is_empty() => Some((plan.clone(), None)),
            false if has_work && self.pool.is_listed => {
                Some((plan.clone(), Some(self.listed.clone())))
            }
            false if is_due => None,
            true | false => return None,
        };
        Some(async move {
            match carried {
                Some((plan, listed)) => hand.carry_out(plan, listed).await,
                None => hand.look().await,
            }
        })
    }

    /// Tells the log when the reason is another one than before.
    fn tell(&mut self, plan: &PoolPlan) {
        let reason = plan.standing.name();
        if self.told == reason {
            return;
        }
        self.told = reason;
        let name = &self.hand.settings.name;
        let (wanted, there) = (plan.wanted_slaves, plan.counts.joined);
        match reason {
            "paused" | "queue_stands" | "hindered" => {
                tracing::warn!(pool = name, wanted, there, "pool: {}", plan.standing);
            }
            _ => tracing::info!(pool = name, wanted, there, "pool: {}", plan.standing),
        }
    }

    fn seen(&self, plan: PoolPlan, scene: Option<&Scene>) -> PoolSeen {
        let settings = &self.hand.settings;
        let memory = &self.pool.memory;
        let slaves = self.pool.requests.iter();
        PoolSeen {
            name: settings.name.clone(),
            provider: self.hand.provider.kind(),
            min_slaves: settings.min_slaves,
            max_slaves: settings.max_slaves,
            executors: settings.executors,
            labels: settings.labels.clone(),
            wanted_slaves: plan.wanted_slaves,
            wanted_executors: plan.wanted_executors,
            counts: plan.counts,
            failed: memory.failed(),
            last_failure: memory.last_failure().cloned(),
            reason: plan.standing.name(),
            why: plan.standing.to_string(),
            slaves: scene.map_or_else(Vec::new, |scene| {
                slaves.map(|request| started(request, scene)).collect()
            }),
        }
    }
}

fn started(request: &Request, scene: &Scene) -> StartedSeen {
    let (state, slave) = match &request.place {
        Place::Queued { .. } => ("queued", None),
        Place::Starting => ("starting", None),
        Place::Joined(id) => {
            let is_idle = scene.slaves.get(id).is_some_and(|slave| slave.is_idle);
            (if is_idle { "idle" } else { "busy" }, Some(id.0))
        }
        Place::Leaving => ("leaving", None),
        Place::Lost(_) => ("lost", None),
        Place::Unknown => ("unknown", None),
        Place::Vanished | Place::DiedYoung | Place::Over => ("over", None),
    };
    StartedSeen {
        name: request.name.clone(),
        state,
        slave,
    }
}

fn terms(settings: &PoolSettings) -> PoolTerms {
    PoolTerms {
        name: settings.name.clone(),
        min_slaves: settings.min_slaves,
        max_slaves: settings.max_slaves,
        executors: settings.executors,
        labels: settings.labels.clone(),
        idle_timeout: settings.idle_timeout,
        target_wait: settings.target_wait,
        start_timeout: settings.start_timeout,
    }
}
