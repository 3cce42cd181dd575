//! What is to be done now: for all pools together, since one slave can do what another pool's slave could.

use super::PoolTerms;
use super::memory::{LONGEST_PAUSE, Memory, Part};
use super::reason::{EndReason, Standing, since};
use super::requests::{END_GRACE, Place, Request, Stage};
use super::scene::{Scene, SlaveSeen};
use super::sharing::{Offer, Share, Shares, share};
use super::terms::ms;
use clusterrunner_common::ids::{SlaveId, TokenId};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// How many slaves are asked for before the provider is asked again what there is.
pub const STARTS_AT_A_TIME: u64 = 20;

/// A pool as it stands.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What it may do.
    pub terms: PoolTerms,
    /// What is remembered of it.
    pub memory: Memory,
    /// What was started for it, as far as it is known.
    pub requests: Vec<Request>,
    /// Whether its provider has said what runs, in this life of the master.
    pub is_listed: bool,
}

/// How many slaves of a pool stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that are there.
    pub joined: u64,
    /// Those of them that do nothing.
    pub idle: u64,
    /// Those whose machine or process is being started.
    pub starting: u64,
    /// Those that wait in the provider's queue.
    pub queued: u64,
    /// Those that end, are lost or unknown and still listed.
    pub leaving: u64,
    /// The executors of those that are there.
    pub executors: u64,
    /// How many of them work.
    pub busy: u64,
}

/// Something that is to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its name.
    pub name: String,
    /// What its slave has joined with, or was to join with.
    pub token: Option<TokenId>,
    /// Its slave, where that ends first, by itself.
    pub slave: Option<SlaveId>,
    /// Why it is to be ended.
    pub reason: EndReason,
}

/// A join token that nobody needs any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The token.
    pub token: TokenId,
    /// What was started with it.
    pub name: String,
    /// What went wrong with that, if something did.
    pub failure: Option<String>,
}

/// What is to be done for a pool, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// How many executors are wanted, more than the pool may have among them.
    pub wanted_executors: u64,
    /// How many slaves it is to have.
    pub wanted_slaves: u64,
    /// What there is.
    pub counts: Counts,
    /// How many slaves are to be started.
    pub start: u64,
    /// What is to be ended.
    pub end: Vec<End>,
    /// Which join tokens are to go.
    pub forget: Vec<Forgotten>,
    /// Why this is to be done, or why nothing is.
    pub standing: Standing,
}

impl PoolPlan {
    /// Of a pool that was not looked at yet.
    pub const NONE: Self = Self {
        wanted_executors: 0,
        wanted_slaves: 0,
        counts: Counts {
            joined: 0,
            idle: 0,
            starting: 0,
            queued: 0,
            leaving: 0,
            executors: 0,
            busy: 0,
        },
        start: 0,
        end: Vec::new(),
        forget: Vec::new(),
        standing: Standing::NotListed,
    };
}

/// What is to be done for each of the pools.
pub fn plan(pools: &mut [Pool], scene: &Scene) -> Vec<PoolPlan> {
    for pool in pools.iter_mut() {
        pool.remember(scene);
    }
    let order = order(pools, scene);
    let pools_now = &*pools;
    let mut offers: Vec<Offer<'_>> = pools_now.iter().map(|pool| pool.offer(scene)).collect();
    let shares = share(scene, &mut offers, &order);
    let rooms: Vec<u64> = pools.iter().map(|pool| pool.room(scene)).collect();
    let pools = pools.iter_mut().zip(rooms).enumerate();
    pools
        .map(|(index, (pool, room))| {
            let share = shares.pools.get(index).copied().unwrap_or_default();
            pool.planned(scene, &shares, share, room)
        })
        .collect()
}

/// In which order free executors are taken: those of other slaves first, then of slaves that work anyway, then of the
/// slaves that are idle for the shortest time.
fn order(pools: &[Pool], scene: &Scene) -> Vec<SlaveId> {
    let requests = pools
        .iter()
        .flat_map(|pool| pool.requests.iter().map(move |one| (pool, one)));
    let owned: Vec<_> = requests
        .filter_map(|(pool, request)| match request.place {
            Place::Joined(slave) => Some((slave, pool.memory.idle_for(&request.name, scene.now))),
            _ => None,
        })
        .collect();
    let of_pools: BTreeSet<SlaveId> = owned.iter().map(|(slave, _)| *slave).collect();
    let others = scene.slaves.keys().filter(|id| !of_pools.contains(id));
    let mut order: Vec<SlaveId> = others.copied().collect();
    let mut owned: Vec<_> = owned
        .into_iter()
        .map(|(id, idle)| {
            let busy = scene.slaves.get(&id).map_or(0, |slave| slave.busy);
            (busy == 0, idle, id)
        })
        .collect();
    owned.sort_unstable();
    order.extend(owned.into_iter().map(|(_, _, id)| id));
    order
}

impl Pool {
    /// Takes in what has become of what was started.
    fn remember(&mut self, scene: &Scene) {
        let now = scene.now;
        let mut seen = std::mem::take(&mut self.memory.seen);
        for request in &self.requests {
            let slave = request.slave(scene);
            let stage = Stage::of(&request.place, slave);
            let before = seen.remove(&request.name);
            let stays = |(known, _): &(Stage, _)| {
                *known == stage || (*known, stage) == (Stage::GivenUp, Stage::Coming)
            };
            let is_new = !before.as_ref().is_some_and(stays);
            let entered = before.filter(stays).unwrap_or((stage, now));
            self.memory.seen.insert(request.name.clone(), entered);
            if matches!(request.place, Place::Joined(_)) {
                self.memory.note_joined(request.created);
            }
            match slave.map(|slave| slave.is_sick) {
                // Else another would take its place at once, and fall sick of the same.
                Some(true) => self.memory.note_sick(&request.name, now),
                Some(false) if request.joined_for(scene) >= ms(LONGEST_PAUSE) => {
                    self.memory.note_healthy(request.created);
                }
                Some(false) | None => {}
            }
            // Noted once, however long it takes until its token is gone.
            let Some(what) = request.failure().filter(|_| is_new) else {
                continue;
            };
            let what = format!("{}: {what}", request.name);
            match request.place {
                // It did its work until then: no reason to start no other.
                Place::Over => self.memory.note_mishap(now, what),
                _ => self.memory.note_failure(Part::Starts, now, what),
            }
        }
        let names: BTreeSet<&str> = self.requests.iter().map(|one| one.name.as_str()).collect();
        self.memory.keep(|name| names.contains(name));
    }

    /// How many slaves may be started now.
    fn room(&self, scene: &Scene) -> u64 {
        if !self.is_listed || self.memory.is_paused(scene.now) {
            return 0;
        }
        let there = self.requests.iter().filter(|request| request.counts());
        u64::from(self.terms.max_slaves).saturating_sub(there.count() as u64)
    }

    fn coming(&self) -> u64 {
        let coming = self.requests.iter().filter(|request| request.is_coming());
        coming.count() as u64
    }

    fn offer(&self, scene: &Scene) -> Offer<'_> {
        let tokens = self.requests.iter().filter_map(|request| request.token);
        let took = tokens.filter_map(|token| {
            let token = scene.tokens.get(&token)?;
            Some(since(token.created, token.joined?.at))
        });
        let (number, sum) = took.fold((0, 0), |(number, sum), ms| (number + 1, sum + ms));
        Offer {
            terms: &self.terms,
            coming: self.coming() * u64::from(self.terms.executors),
            room: self.room(scene),
            start_ms: u64::checked_div(sum, number).unwrap_or(0),
        }
    }

    fn counts(&self, scene: &Scene) -> Counts {
        let mut counts = Counts::default();
        for request in &self.requests {
            match (&request.place, request.slave(scene)) {
                (Place::Queued { .. }, _) => counts.queued += 1,
                (Place::Starting, _) => counts.starting += 1,
                (Place::Joined(_), slave) => {
                    counts.joined += 1;
                    counts.idle += u64::from(slave.is_some_and(|slave| slave.is_idle));
                    counts.executors += slave.map_or(0, |slave| slave.executors);
                    counts.busy += slave.map_or(0, |slave| slave.busy);
                }
                (Place::Finishing, _) => counts.leaving += 1,
                (Place::Leaving | Place::Lost(_) | Place::Unknown, _) => {
                    counts.leaving += u64::from(request.is_listed);
                }
                (Place::Vanished | Place::DiedYoung | Place::Over, _) => {}
            }
        }
        counts
    }

    fn planned(&mut self, scene: &Scene, shares: &Shares, share: Share, room: u64) -> PoolPlan {
        let counts = self.counts(scene);
        let executors = u64::from(self.terms.executors.max(1));
        let min = u64::from(self.terms.min_slaves.min(self.terms.max_slaves));
        let (mut claimed, mut needed) = (0, 0);
        for request in &self.requests {
            if let Place::Joined(id) = request.place {
                let of_slave = shares.claimed.get(&id).copied().unwrap_or(0);
                let busy = request.slave(scene).is_some_and(|slave| !slave.is_idle);
                claimed += of_slave;
                needed += u64::from(of_slave > 0 || busy);
            }
        }
        let coming = counts.queued + counts.starting;
        let coming_needed = share.coming.div_ceil(executors);
        let lacking_to_min = min.saturating_sub(counts.joined + coming);
        let new = share.new.div_ceil(executors).max(lacking_to_min);
        let mut plan = PoolPlan {
            wanted_executors: counts.busy + claimed + share.coming + share.new + share.lacking,
            wanted_slaves: (needed + coming_needed + new)
                .max(min)
                .min(u64::from(self.terms.max_slaves)),
            counts,
            start: new.min(room).min(STARTS_AT_A_TIME),
            end: Vec::new(),
            forget: Vec::new(),
            standing: Standing::Nothing,
        };
        self.end_idle(scene, shares, min, &mut plan);
        self.end_unneeded(scene, coming_needed, min, &mut plan);
        self.give_up(scene, &mut plan);
        plan.forget.extend(self.requests.iter().filter_map(|one| {
            let is_over = matches!(one.place, Place::Vanished | Place::DiedYoung | Place::Over);
            Some(Forgotten {
                token: one.token.filter(|_| is_over)?,
                name: one.name.clone(),
                failure: one.failure(),
            })
        }));
        plan.standing = self.standing(scene, share, &plan);
        plan
    }

    /// Ends the slaves that nobody needs, the one first that is idle for the longest time.
    fn end_idle(&mut self, scene: &Scene, shares: &Shares, min: u64, plan: &mut PoolPlan) {
        let mut kept = plan.counts.joined + plan.counts.queued + plan.counts.starting;
        let mut idle: Vec<_> = self
            .requests
            .iter()
            .filter_map(|request| {
                let slave = request.slave(scene).filter(|slave| slave.is_idle)?;
                let Place::Joined(id) = request.place else {
                    return None;
                };
                let for_ms = self.memory.idle_for(&request.name, scene.now);
                Some((request, id, slave, for_ms))
            })
            .collect();
        idle.sort_by_key(|(request, _, _, for_ms)| (Reverse(*for_ms), request.name.clone()));
        for (request, id, slave, for_ms) in idle {
            let is_claimed = shares.claimed.get(&id).is_some_and(|claimed| *claimed > 0);
            let is_long = for_ms >= ms(self.terms.idle_timeout);
            let reason = match (slave.is_sick, is_long && !is_claimed && kept > min) {
                (true, _) => EndReason::Sick,
                (false, true) => {
                    self.memory.note_healthy(request.created);
                    EndReason::Idle { for_ms }
                }
                (false, false) => continue,
            };
            kept -= 1;
            plan.end.push(request.end(Some(id), reason));
        }
    }

    /// Takes back what waits in the provider's queue and was not needed for a while, the newest first.
    fn end_unneeded(&mut self, scene: &Scene, needed: u64, min: u64, plan: &mut PoolPlan) {
        let coming = self.coming();
        let to_min = min.saturating_sub(plan.counts.joined);
        let surplus = coming.saturating_sub(needed.max(to_min));
        if surplus == 0 {
            self.memory.surplus_since = None;
            return;
        }
        let entered = *self.memory.surplus_since.get_or_insert(scene.now);
        if since(entered, scene.now) < ms(self.terms.idle_timeout) {
            return;
        }
        let queued = self.requests.iter();
        let queued = queued.filter(|one| matches!(one.place, Place::Queued { .. }));
        let mut queued: Vec<&Request> = queued.collect();
        queued.sort_by_key(|one| (Reverse(one.created), one.name.clone()));
        let surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
        let unneeded = queued.into_iter().take(surplus);
        let unneeded = unneeded.filter(|one| !self.memory.is_ending(&one.name, scene.now));
        plan.end
            .extend(unneeded.map(|one| one.end(None, EndReason::Unneeded)));
    }

    /// Gives up what does not come, or does not go.
    fn give_up(&mut self, scene: &Scene, plan: &mut PoolPlan) {
        let mut never: Vec<&Request> = Vec::new();
        for request in &self.requests {
            let for_ms = self.memory.seen_for(&request.name, scene.now);
            let is_late = for_ms >= ms(self.terms.start_timeout);
            let is_given_up = self.memory.is_given_up(&request.name);
            if self.memory.is_ending(&request.name, scene.now) {
                continue;
            }
            let reason = match &request.place {
                Place::Starting if is_given_up => EndReason::NeverAppeared {
                    for_ms: ms(self.terms.start_timeout).saturating_add(for_ms),
                },
                Place::Starting if is_late => {
                    never.push(request);
                    EndReason::NeverAppeared { for_ms }
                }
                Place::Leaving if request.is_listed && for_ms >= ms(END_GRACE) => {
                    EndReason::SlaveEnded
                }
                Place::Lost(_) if request.is_listed && is_late => EndReason::SlaveLost { for_ms },
                // The slave of a token that was revoked may still work.
                Place::Unknown if !scene.has_strays => EndReason::Unknown,
                _ => continue,
            };
            plan.end.push(request.end(None, reason));
        }
        if let Some(first) = never.first() {
            let timeout = self.terms.start_timeout.as_secs();
            let what = format!("no slave has joined within {timeout} s");
            let what = format!("{}: {}", first.name, first.explained(&what));
            self.memory.note_failure(Part::Starts, scene.now, what);
        }
        for request in never {
            let given_up = (Stage::GivenUp, scene.now);
            self.memory.seen.insert(request.name.clone(), given_up);
        }
    }
}

impl Request {
    /// What went wrong with it, now that it is over.
    fn failure(&self) -> Option<String> {
        match self.place {
            Place::Vanished => Some(self.explained("it ended before a slave had joined")),
            Place::DiedYoung => Some(self.explained("its slave was lost soon after it had joined")),
            Place::Over if self.complaint.is_some() => Some(self.explained("its slave is gone")),
            _ => None,
        }
    }

    /// What happened, with what the provider says of it.
    fn explained(&self, what: &str) -> String {
        match &self.complaint {
            Some(complaint) => format!("{what} ({complaint})"),
            None => what.to_owned(),
        }
    }

    /// Its slave, if that is there.
    fn slave<'s>(&self, scene: &'s Scene) -> Option<&'s SlaveSeen> {
        match self.place {
            Place::Joined(id) => scene.slaves.get(&id),
            _ => None,
        }
    }

    /// For how long its slave is there, in milliseconds.
    fn joined_for(&self, scene: &Scene) -> u64 {
        let token = self.token.and_then(|token| scene.tokens.get(&token));
        let joined = token.and_then(|token| token.joined);
        joined.map_or(0, |joined| since(joined.at, scene.now))
    }

    fn end(&self, slave: Option<SlaveId>, reason: EndReason) -> End {
        End {
            name: self.name.clone(),
            token: self.token,
            slave,
            reason,
        }
    }
}
