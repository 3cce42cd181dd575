//! What is said of a pool: the one reason that explains most.

use super::planning::{Pool, PoolPlan};
use super::reason::{Standing, since};
use super::requests::Place;
use super::scene::Scene;
use super::sharing::Share;
use super::terms::ms;

impl Pool {
    /// Why the pool has and wants what it does.
    pub(super) fn standing(&self, scene: &Scene, share: Share, plan: &PoolPlan) -> Standing {
        let counts = &plan.counts;
        if let Some(run) = self.memory.pause(scene.now) {
            return Standing::Paused {
                failures: run.failures,
                left_ms: since(scene.now, run.paused_until),
                what: run.what.clone(),
            };
        }
        if !self.is_listed {
            return Standing::NotListed;
        }
        let queued = self.requests.iter().filter_map(|one| match &one.place {
            Place::Queued { why } => Some((since(one.created, scene.now), why)),
            _ => None,
        });
        if let Some((for_ms, why)) = queued.max_by_key(|(for_ms, _)| *for_ms)
            && for_ms >= ms(self.terms.start_timeout)
        {
            return Standing::QueueStands {
                queued: counts.queued,
                for_ms,
                why: why.clone(),
            };
        }
        let mut hindered = self.requests.iter().filter_map(|one| match one.place {
            Place::Starting => one.complaint.as_ref(),
            _ => None,
        });
        let slaves = hindered.clone().count() as u64;
        if let Some(why) = hindered.next() {
            let why = why.clone();
            return Standing::Hindered { slaves, why };
        }
        if share.lacking > 0 {
            let (max, lacking) = (self.terms.max_slaves, share.lacking);
            return Standing::AtMaximum { max, lacking };
        }
        let slaves = counts.queued + counts.starting + plan.start;
        let waiting = share.waiting;
        match (slaves > 0, waiting > 0, counts.busy > 0, counts.idle > 0) {
            (true, ..) => Standing::Starting { slaves, waiting },
            (false, true, ..) => Standing::Enough { waiting },
            (false, false, true, _) => Standing::Working { busy: counts.busy },
            (false, false, false, true) => Standing::Idle {
                slaves: counts.idle,
            },
            (false, false, false, false) => Standing::Nothing,
        }
    }
}
