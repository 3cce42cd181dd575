//! Which slave runs which instance.

use super::facts::InstanceFact;
use super::instance::{Instance, InstanceState, Purpose};
use crate::event::Fact;
use crate::slaves::slave::{Presence, Slave};
use crate::templates::template::Template;
use crate::{Cluster, SLAVE_RETURN};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Generation, InstanceId, SlaveId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// When the instances are looked at again. No part of the state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attention {
    /// Something happened that may matter to them.
    pub(crate) is_due: bool,
    /// The wait for a slave's first report ends.
    due_at: Option<Timestamp>,
}

/// Why an instance waits for a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// No slave is there that runs instances.
    NoSlave,
    /// The slaves that run instances can not be called, so what runs on them could not be reached.
    NoneCallable,
    /// No slave is there that has its tags.
    NoTags,
    /// No slave is there that runs images, of those that have its tags.
    NoContainerRuntime,
    /// All slots are taken.
    NoSlot,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSlave => "waits for a slave that runs instances",
            Self::NoneCallable => {
                "waits for a slave that runs instances and can be called: those that are there poll for their calls"
            }
            Self::NoTags => "waits for a slave with its tags",
            Self::NoContainerRuntime => "waits for a slave with a container runtime",
            Self::NoSlot => "waits for a free slot: all slaves run as many instances as they may",
        })
    }
}

/// What becomes of an instance whose slave does not count on it any more.
enum Fate {
    Displaced(Generation, String),
    /// The slave was started again, and may say until then that it still runs the instance.
    MayBeAdopted(Timestamp),
}

/// Until when a slave may come back that is expected since this moment.
fn return_of(since: Timestamp) -> Timestamp {
    let patience = u64::try_from(SLAVE_RETURN.as_millis()).unwrap_or(u64::MAX);
    Timestamp(since.0.saturating_add(patience))
}

impl Cluster {
    /// Why an instance waits; none if it does not, or is about to be placed.
    #[must_use]
    pub fn waits_for(&self, instance: &Instance) -> Option<Wait> {
        if instance.state != InstanceState::Initialized {
            return None;
        }
        let hosts = || self.slaves().filter(|slave| slave.takes_instances());
        let tagged = || hosts().filter(|slave| has_tags(slave, instance));
        Some(if hosts().next().is_none() {
            match self.slaves().any(Slave::would_take_instances) {
                true => Wait::NoneCallable,
                false => Wait::NoSlave,
            }
        } else if tagged().next().is_none() {
            Wait::NoTags
        } else if !tagged().any(|slave| self.can_run(slave, instance)) {
            Wait::NoContainerRuntime
        } else {
            Wait::NoSlot
        })
    }

    /// Whether a slave gets this instance if it has room.
    fn can_run(&self, slave: &Slave, instance: &Instance) -> bool {
        let is_able = slave.runs_images() || !self.is_image(instance);
        let has_something = instance.template.is_some() || instance.image.is_some();
        has_something && slave.takes_instances() && is_able && has_tags(slave, instance)
    }

    /// Whether only a slave with a container runtime can run it.
    fn is_image(&self, instance: &Instance) -> bool {
        let template = instance.template.and_then(|id| self.template(id));
        template.map_or(instance.image.is_some(), Template::is_image)
    }

    /// Costs builds nothing: what happens to them makes no instance due.
    pub(crate) fn next_of_instances(&mut self, at: Timestamp) -> Option<Fact> {
        let attention = self.dirty.instances;
        if !attention.is_due && attention.due_at.is_none_or(|due| at < due) {
            return None;
        }
        let mut due_at = None;
        let displaced = self.next_displacement(at, &mut due_at);
        let fact = displaced.or_else(|| self.next_placement(at, &mut due_at));
        if fact.is_none() {
            let is_due = false;
            self.dirty.instances = Attention { is_due, due_at };
        }
        fact
    }

    fn next_displacement(&self, at: Timestamp, due_at: &mut Option<Timestamp>) -> Option<Fact> {
        for (slave, instances) in &self.instances.derived.placed {
            let instance = instances.first().and_then(|id| self.instance(*id));
            let (Some(slave), Some(instance)) = (self.slave(*slave), instance) else {
                continue;
            };
            match self.fate(slave, instance, at) {
                None => {}
                Some(Fate::MayBeAdopted(until)) => {
                    let earlier = due_at.map_or(until, |due: Timestamp| due.min(until));
                    *due_at = Some(earlier);
                }
                Some(Fate::Displaced(generation, reason)) => {
                    let fact = off(instance, slave.id, generation, reason);
                    return Some(Fact::Instance(instance.id, fact));
                }
            }
        }
        None
    }

    fn fate(&self, slave: &Slave, instance: &Instance, at: Timestamp) -> Option<Fate> {
        let generation = instance.generation;
        let lost = |reason: &str| {
            let reason = format!("slave {} was lost: {reason}", slave.url);
            Some(Fate::Displaced(generation, reason))
        };
        match &slave.presence {
            Presence::Alive => None,
            // What it still runs of it until it hears that it is not to does not count.
            Presence::ShuttingDown | Presence::Ending | Presence::ShutDown => Some(
                Fate::Displaced(generation.next(), format!("slave {} shuts down", slave.url)),
            ),
            Presence::Lost {
                at: since,
                is_started_again: true,
                ..
            } if since.until(at) < SLAVE_RETURN => Some(Fate::MayBeAdopted(return_of(*since))),
            Presence::Lost { reason, .. } => lost(reason),
            Presence::Replaced => match self.reports_until(&slave.url) {
                Some(until) if at < until => Some(Fate::MayBeAdopted(until)),
                Some(_) | None => lost("it was started again"),
            },
        }
    }

    /// Until when the first report of the living slave at an address is waited for, if it has not come.
    fn reports_until(&self, url: &str) -> Option<Timestamp> {
        let latest = self.latest_at(url)?;
        let is_expected =
            latest.presence == Presence::Alive && !latest.is_legacy && latest.hosting.is_none();
        latest.connected.filter(|_| is_expected).map(return_of)
    }

    /// The oldest that waits and that a slave has room for goes to another slave than the one that it left last, and there
    /// to the slave that has the fewest of its app, and of those to
    /// the least full.
    fn next_placement(&self, at: Timestamp, due_at: &mut Option<Timestamp>) -> Option<Fact> {
        let waiting = &self.instances.derived.waiting;
        if waiting.is_empty() {
            return None;
        }
        let has_room = |slave: &&Slave| self.num_free_slots(slave) > 0;
        let free: Vec<&Slave> = self.slaves().filter(has_room).collect();
        // What others of the same needs found no slave for finds none either: many may wait.
        let mut hopeless: BTreeSet<(&BTreeMap<String, String>, bool)> = BTreeSet::new();
        let placed = waiting.iter().find_map(|id| {
            let instance = self.instance(*id)?;
            let from = instance.placed_from();
            // A clock that was set back makes nothing wait.
            if instance.changed <= at && at < from {
                *due_at = Some(due_at.map_or(from, |due| due.min(from)));
                return None;
            }
            let needs = (&instance.tags, self.is_image(instance));
            let best = match hopeless.contains(&needs) {
                true => None,
                false => self.best_of(&free, instance),
            };
            if best.is_none() {
                hopeless.insert(needs);
            }
            let best = best.or_else(|| self.host_of_predecessor(instance))?;
            Some((*id, best.id, instance.generation.next()))
        });
        let (id, slave, generation) = placed?;
        let placed = InstanceFact::Placed { slave, generation };
        Some(Fact::Instance(id, placed))
    }

    fn best_of<'a>(&self, free: &[&'a Slave], instance: &Instance) -> Option<&'a Slave> {
        let hosts = free.iter().copied();
        let hosts = hosts.filter(|slave| self.can_run(slave, instance));
        let template = instance.template.and_then(|id| self.template(id));
        let digest = template.map(Template::digest);
        hosts.min_by_key(|slave| {
            let is_cold = digest.is_none_or(|digest| !slave.snapshots.contains(digest));
            let was_left = instance.left.is_some_and(|(left, _)| left == slave.id);
            (
                was_left,
                self.num_beside(slave, instance),
                self.fullness(slave),
                is_cold,
                Reverse(self.num_free_slots(slave)),
                slave.id,
            )
        })
    }

    /// The slave that has the one whose place an instance of an app is to take. There it may be one more than the slave has
    /// slots, until the other one ends: a release must not wait for ever for a slot that the release before it has.
    fn host_of_predecessor(&self, instance: &Instance) -> Option<&Slave> {
        let Purpose::App { project, .. } = instance.purpose else {
            return None;
        };
        let is_it = |other: &&Instance| {
            other.id != instance.id && other.purpose.is_place_of(&instance.purpose)
        };
        let mut those = self.app_instances(project).filter(is_it);
        those.find_map(|other| {
            let slave = self.slave(other.slave?)?;
            (!other.is_over() && self.can_run(slave, instance)).then_some(slave)
        })
    }

    /// How many instances of the same app a slave has, so that it does not take all of them down. Those that end do not count.
    fn num_beside(&self, slave: &Slave, instance: &Instance) -> usize {
        let Purpose::App { project, .. } = instance.purpose else {
            return 0;
        };
        let those = self.instances_on(slave.id);
        let is_of_app = |other: &&Instance| match other.purpose {
            Purpose::App { project: other, .. } => other == project,
            Purpose::Launch | Purpose::Run { .. } => false,
        };
        those
            .filter(is_of_app)
            .filter(|other| !other.retired)
            .count()
    }

    /// How many more instances a slave is to run.
    #[must_use]
    pub fn num_free_slots(&self, slave: &Slave) -> usize {
        let hosting = slave.hosting.filter(|_| slave.takes_instances());
        let most = hosting.map_or(0, |hosting| hosting.max_instances as usize);
        most.saturating_sub(self.instances.num_on(slave.id))
    }

    /// Which part of a slave's slots is taken, in thousandths.
    fn fullness(&self, slave: &Slave) -> usize {
        let most = slave
            .hosting
            .map_or(1, |hosting| hosting.max_instances.max(1));
        self.instances.num_on(slave.id) * 1000 / most as usize
    }

    pub(crate) fn attend_to_instances(&mut self) {
        self.dirty.instances.is_due = true;
    }

    /// Instances that wait for a slave, in the order of their ids.
    pub fn waiting_instances(&self) -> impl Iterator<Item = InstanceId> {
        self.instances.derived.waiting.iter().copied()
    }
}

/// What happens to an instance that leaves its slave: it waits for another one. A run may have begun, and is not begun twice.
pub(super) fn off(
    instance: &Instance,
    slave: SlaveId,
    generation: Generation,
    reason: String,
) -> InstanceFact {
    match instance.purpose {
        Purpose::Run { .. } => InstanceFact::Failed { reason },
        Purpose::Launch | Purpose::App { .. } => InstanceFact::Displaced {
            slave,
            generation,
            reason,
        },
    }
}

/// Whether a slave has all tags that an instance asks for.
fn has_tags(slave: &Slave, instance: &Instance) -> bool {
    let mut tags = instance.tags.iter();
    tags.all(|(key, value)| slave.labels.contains(&format!("{key}={value}")))
}
