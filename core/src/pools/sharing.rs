//! Which executors take what waits: those that are there, those that are to come, and new ones.

use super::PoolTerms;
use super::scene::{Demand, Scene, SlaveSeen};
use super::terms::ms;
use clusterrunner_common::ids::SlaveId;
use std::collections::{BTreeMap, BTreeSet};

/// A new executor is counted on for at least this part (one over it) of the target, however long its start and set-up
/// take: else a set-up as long as the target would ask for endless executors.
const LEAST_USABLE: u64 = 4;

/// What a pool can give.
#[derive(Clone, Debug)]
pub(super) struct Offer<'a> {
    pub(super) terms: &'a PoolTerms,
    /// Executors that are started and not there yet.
    pub(super) coming: u64,
    /// How many more slaves may be started now.
    pub(super) room: u64,
    /// How long its slaves take until they have joined, in milliseconds.
    pub(super) start_ms: u64,
}

/// What is wanted of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Of the executors that are started and not there yet.
    pub(super) coming: u64,
    /// Executors that are still to be started.
    pub(super) new: u64,
    /// Executors that would be started if the pool could.
    pub(super) lacking: u64,
    /// How many subjobs wait that its slaves could run.
    pub(super) waiting: u64,
}

/// What is wanted of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    /// One for each pool.
    pub(super) pools: Vec<Share>,
    /// How many free executors of a slave are to take something that waits.
    pub(super) claimed: BTreeMap<SlaveId, u64>,
}

/// What waits with the same labels.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    waiting: u64,
    /// How many more executors could work on it.
    limit: u64,
    work_ms: u64,
    busy: u64,
    held_ms: u64,
    setup_ms: u64,
}

impl Group {
    fn add(&mut self, demand: &Demand, target_ms: u64) {
        let most = demand.most.unwrap_or(u64::MAX);
        let more = demand.waiting.min(most.saturating_sub(demand.busy));
        self.waiting += demand.waiting;
        self.limit = self.limit.saturating_add(more);
        // More than its executors can do within the target needs no further ones.
        let possible = most.saturating_mul(target_ms);
        self.work_ms = self.work_ms.saturating_add(demand.work_ms.min(possible));
        self.busy = self.busy.saturating_add(demand.busy);
        self.held_ms = self.held_ms.saturating_add(demand.held_ms);
        if demand.waiting > 0 {
            self.setup_ms = self.setup_ms.max(demand.setup_ms);
        }
    }

    /// What those that work on it do not get done within the target.
    fn left_ms(&self, target_ms: u64) -> u64 {
        let can = self.busy.saturating_mul(target_ms);
        self.work_ms
            .saturating_sub(can.saturating_sub(self.held_ms))
    }
}

/// Shares out. `order` says in which order free executors of slaves are taken; those that come first stay longest.
pub(super) fn share(scene: &Scene, offers: &mut [Offer<'_>], order: &[SlaveId]) -> Shares {
    let mut shares = Shares {
        pools: vec![Share::default(); offers.len()],
        claimed: BTreeMap::new(),
    };
    let usual = offers.iter().map(|offer| ms(offer.terms.target_wait)).min();
    let usual = usual.unwrap_or(u64::MAX);
    let mut groups: BTreeMap<&BTreeSet<String>, Group> = BTreeMap::new();
    for demand in &scene.demands {
        let suits = |offer: &&Offer<'_>| offer.terms.suits(&demand.labels);
        let target_ms = offers.iter().filter(suits).map(|o| ms(o.terms.target_wait));
        let group = groups.entry(&demand.labels).or_default();
        group.add(demand, target_ms.min().unwrap_or(usual));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // What asks for most has the fewest slaves to choose from.
    groups.sort_by_key(|(labels, _)| std::cmp::Reverse(labels.len()));
    for (labels, group) in groups {
        if group.waiting > 0 {
            share_group(labels, &group, scene, (offers, order), &mut shares);
        }
    }
    shares
}

fn share_group(
    labels: &BTreeSet<String>,
    group: &Group,
    scene: &Scene,
    (offers, order): (&mut [Offer<'_>], &[SlaveId]),
    shares: &mut Shares,
) {
    let mut suitable: Vec<usize> = (0..offers.len())
        .filter(|index| offers[*index].terms.suits(labels))
        .collect();
    // Slaves that can do more are kept for what needs that.
    suitable.sort_by_key(|index| offers[*index].terms.labels.len());
    for index in &suitable {
        shares.pools[*index].waiting += group.waiting;
    }
    let targets = suitable.iter();
    let target_ms = targets.map(|index| ms(offers[*index].terms.target_wait));
    let target_ms = target_ms.min().unwrap_or(1000).max(1);
    let mut left_ms = group.left_ms(target_ms);
    let mut lacking = left_ms.div_ceil(target_ms).min(group.limit);
    if group.busy == 0 {
        lacking = lacking.max(1).min(group.limit);
    }
    let mut there = group.busy;
    for id in order {
        let slave = scene.slaves.get(id).filter(|s| labels.is_subset(&s.labels));
        let Some(free) = slave.map(SlaveSeen::free) else {
            continue;
        };
        let claimed = shares.claimed.entry(*id).or_default();
        let taken = lacking.min(free.saturating_sub(*claimed));
        *claimed += taken;
        lacking -= taken;
        there += taken;
        left_ms = left_ms.saturating_sub(taken.saturating_mul(target_ms));
    }
    for index in &suitable {
        let (offer, share) = (&offers[*index], &mut shares.pools[*index]);
        let taken = lacking.min(offer.coming - share.coming);
        share.coming += taken;
        lacking -= taken;
        there += taken;
        left_ms = left_ms.saturating_sub(taken.saturating_mul(target_ms));
    }
    for index in &suitable {
        if lacking == 0 {
            return;
        }
        let offer = &mut offers[*index];
        let lead_ms = offer.start_ms.saturating_add(group.setup_ms);
        // What is there is done before a new slave could begin.
        if there > 0 && group.work_ms.saturating_add(group.held_ms) / there <= lead_ms {
            continue;
        }
        let usable = target_ms
            .saturating_sub(lead_ms)
            .max(target_ms / LEAST_USABLE);
        let more = left_ms.div_ceil(usable.max(1)).max(lacking);
        let possible = group.limit.saturating_sub(there - group.busy);
        let more = more.min(possible);
        let share = &mut shares.pools[*index];
        let executors = u64::from(offer.terms.executors.max(1));
        // The last slave that is started for others may have some to spare.
        let spare = share.new.next_multiple_of(executors) - share.new;
        let slaves = more
            .saturating_sub(spare)
            .div_ceil(executors)
            .min(offer.room);
        let taken = more.min(spare + slaves * executors);
        offer.room -= slaves;
        share.new += taken;
        share.lacking += more - taken;
        there += taken;
        lacking = lacking.saturating_sub(taken);
        left_ms = left_ms.saturating_sub(taken.saturating_mul(usable));
    }
}

impl SlaveSeen {
    /// How many executors it has for new work.
    pub(super) fn free(&self) -> u64 {
        match self.takes_work {
            true => self.executors.saturating_sub(self.busy),
            false => 0,
        }
    }
}
