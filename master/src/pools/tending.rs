//! Looks at the cluster again and again, and has done for each pool what is planned for it.

use super::carrying_out::{Hand, Outcome};
use super::joining::JoinTokens;
use super::names::{farm_prefix, pool_prefix};
use super::providers::PoolsProvider;
use super::removed::warn_of_removed;
use crate::coordinator::ClusterHandle;
use crate::read::pools::{PoolSeen, Pools, StartedSeen};
use crate::read::slave_keys::SlaveKeys;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::settings::PoolSettings;
use clusterrunner_core::pools::memory::Part;
use clusterrunner_core::pools::requests::requests;
use clusterrunner_core::pools::{Listed, Memory, Place, Pool, PoolPlan, Request, Scene, plan};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
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
                prefix: pool_prefix(&farm, &settings.terms.name),
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
                terms: settings.terms.clone(),
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
        let configured = self.kept.iter().map(|kept| kept.hand.prefix.clone());
        let configured = configured.collect();
        warn_of_removed(&self.cluster, self.prefix.clone(), configured).await;
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
                    // Only at the end: what panics is caught where it does.
                    Err(error) => tracing::error!(%error, "the work on a pool broke off"),
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
        let memory = &mut kept.pool.memory;
        if outcome.has_ended {
            memory.note_success(Part::Stops);
        }
        let later = Instant::now() + kept.hand.settings.list_interval;
        for (part, what) in outcome.failures {
            let name = &kept.hand.settings.terms.name;
            tracing::warn!(pool = name, error = what, "a provider failed");
            memory.note_failure(part, now, what);
            kept.next_list = later;
        }
        if let Some((listed, began)) = outcome.listed {
            memory.note_success(Part::Lists);
            kept.next_list = later;
            kept.listed = listed;
            kept.listed_at = began;
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
                work.spawn(async move { (index, unbroken(task).await) });
            }
        }
        let seen = self.kept.iter().zip(plans);
        let seen = seen.map(|(kept, plan)| kept.seen(plan, Some(&scene)));
        self.seen.show(seen.collect());
        Some(())
    }
}

/// What comes of work on a pool, also if it panics: the others go on, and it is tried once more after a pause.
async fn unbroken(work: impl Future<Output = Outcome>) -> Outcome {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Outcome {
        failures: vec![(
            Part::Starts,
            "a bug of the master: the work on this pool broke off, and its log says where"
                .to_owned(),
        )],
        ..Outcome::default()
    })
}

/// What is to be done for a pool next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// All that is planned.
    CarryOut,
    /// That of it for which no provider is needed.
    WithoutProvider,
    /// Its provider is asked what there is.
    List,
}

/// What is to be done next, if anything is. A pool that pauses starts nothing, as its plan says, and does all else.
fn step(plan: &PoolPlan, is_listed: bool, is_due: bool) -> Option<Step> {
    let of_provider = plan.start > 0 || plan.end.iter().any(|end| end.slave.is_none());
    let of_master = !plan.forget.is_empty() || plan.end.iter().any(|end| end.slave.is_some());
    match is_listed {
        true if of_provider || of_master => Some(Step::CarryOut),
        false if of_master => Some(Step::WithoutProvider),
        true | false => is_due.then_some(Step::List),
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
        let is_due = self.next_list <= Instant::now();
        let hand = self.hand.clone();
        let carried = match step(plan, self.pool.is_listed, is_due)? {
            Step::CarryOut => {
                let of_provider = plan.end.iter().filter(|end| end.slave.is_none());
                for end in of_provider {
                    self.pool.memory.note_ending(&end.name, now);
                }
                Some((plan.clone(), Some(self.listed.clone())))
            }
            Step::WithoutProvider => Some((plan.clone(), None)),
            Step::List => None,
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
        let name = &self.hand.settings.terms.name;
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
            name: settings.terms.name.clone(),
            provider: self.hand.provider.kind(),
            min_slaves: settings.terms.min_slaves,
            max_slaves: settings.terms.max_slaves,
            executors: settings.terms.executors,
            labels: settings.terms.labels.clone(),
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
        Place::Finishing | Place::Leaving => ("leaving", None),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::SlaveId;
    use clusterrunner_core::pools::planning::{Counts, End};
    use clusterrunner_core::pools::{EndReason, Standing};

    fn plan_with(start: u64, end: Vec<End>) -> PoolPlan {
        PoolPlan {
            wanted_executors: 0,
            wanted_slaves: 0,
            counts: Counts::default(),
            start,
            end,
            forget: Vec::new(),
            standing: Standing::Nothing,
        }
    }

    fn end(slave: Option<SlaveId>) -> End {
        End {
            name: "cr-f-a-1".to_owned(),
            token: None,
            slave,
            reason: EndReason::Unknown,
        }
    }

    #[test]
    fn what_is_done_next_follows_from_the_plan() {
        let own = || plan_with(0, vec![end(Some(SlaveId(1)))]);
        for (plan, is_listed, expected) in [
            (plan_with(1, Vec::new()), true, Some(Step::CarryOut)),
            (plan_with(0, vec![end(None)]), true, Some(Step::CarryOut)),
            (own(), true, Some(Step::CarryOut)),
            (own(), false, Some(Step::WithoutProvider)),
            (plan_with(0, vec![end(None)]), false, None),
            (plan_with(0, Vec::new()), true, None),
        ] {
            assert_eq!(step(&plan, is_listed, false), expected, "{plan:?}");
            let due = expected.or(Some(Step::List));
            assert_eq!(step(&plan, is_listed, true), due, "{plan:?}");
        }
    }

    #[tokio::test]
    async fn work_that_panics_is_a_failure_of_its_pool_alone() {
        async fn breaks() -> Outcome {
            panic!("a bug")
        }
        let broken = unbroken(breaks()).await;
        assert_eq!(broken.failures.len(), 1);
        assert!(broken.listed.is_none());
        let whole = unbroken(async { Outcome::default() }).await;
        assert!(whole.failures.is_empty());
    }
}
