//! The world around the core: time, a network that delays, loses, repeats and reorders, machines
//! that die, and users. What happens is written in the [`Plan`].

mod faults;

use super::apps::AppPromises;
use super::hunting::HuntHappening;
use super::machine::{Machine, Sickness};
use super::master::{Master, url};
use super::messages::{Act, ToMachine, ToMaster, Work};
use super::mutation::Mutation;
use super::plan::{Fault, Plan};
use super::random::Random;
use super::users::Promise;
use crate::builds::build::Build;
use crate::command::Command;
use clusterrunner_common::ids::{BuildId, Generation, InstanceId};
use clusterrunner_common::work::BuildRequest;
use std::collections::{BTreeMap, BTreeSet};

/// Faults happen before this moment; from then on the network only delays and repeats, so that
/// everything must come to its end.
pub(super) const CALM_AT: u64 = 1500;
/// How long the slowest walk may take after that. Hundreds of retries; none that works needs them. Builds of a matrix, and
/// slaves that keep builds for hunts, make walks that lose many messages longer.
const PATIENCE: u64 = 40_000;
/// How long nothing may happen before a walk is over: longer than any message is on its way, and than a slave needs to
/// learn what it is to end.
const QUIET: u64 = 2000;
/// How often a slave gives a sign of life, and everybody says again what was not answered.
pub(super) const TICK: u64 = 25;
/// Milliseconds of a unit of time: a tick is a heartbeat of 5 seconds.
const UNIT_MS: u64 = 200;
/// What the wall clock shows at the beginning; far from zero, since it may be set back.
const WALL_CLOCK: u64 = 1_700_000_000_000;

pub(super) enum Happening {
    ToMaster(ToMaster),
    ToMachine(usize, ToMachine),
    MachineTick(usize),
    MachineStarts(usize),
    WorkDone(usize, u64, Work),
    MasterTick,
    MasterStarts,
    /// The preparer or archiver of this life of the master has something to say.
    AdapterReports(u64, Command),
    /// What this life of the master began to prepare ends it.
    PreparingKills(u64, BuildId),
    /// Something about hunts of this life of the master.
    Hunt(u64, HuntHappening),
    Fault(Fault),
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    num_scheduled: u64,
    plan: Plan,
    /// How far the master's wall clock is from where it began, beside the time that has passed.
    clock_offset: i64,
    /// Until when the master has no place on its disk.
    pub(super) disk_full_until: u64,
    master_hangs_until: u64,
    /// How often the master's disk was another one.
    pub(super) branch: u64,
    /// Builds that users were told are accepted, and what was asked for.
    pub(super) accepted: Vec<(BuildId, BuildRequest)>,
    /// The keys of instances that users were told are launched.
    pub(super) launched: BTreeSet<String>,
    /// Which machine runs which placement.
    pub(super) homes: BTreeMap<(InstanceId, Generation), usize>,
    /// What users were told beside that, and how often they said something.
    pub(super) promises: Vec<Promise>,
    /// What users of apps were told.
    pub(super) app_promises: AppPromises,
    pub(super) num_said: u64,
    pub(super) machines: Vec<Machine>,
    pub(super) master: Master,
}

impl World {
    pub(super) fn new(plan: &Plan, mutation: Option<Mutation>) -> Self {
        let machines = plan.executors.iter().enumerate().map(|(index, executors)| {
            let mut machine = Machine::new(index, *executors, plan.setup_failures);
            machine.forgets_begun = mutation == Some(Mutation::StartsAreRepeated);
            machine.ignores_incarnations = mutation == Some(Mutation::IncarnationIsNotChecked);
            machine.drops_waiting = mutation == Some(Mutation::SlavesDropWhatWaits);
            let hosting = &mut machine.hosting;
            hosting.max_instances = plan.slots;
            hosting.keeps_the_old = mutation == Some(Mutation::SuccessorsDoNotWait);
            hosting.trusts_snapshots = mutation == Some(Mutation::SnapshotsAreNotChecked);
            machine
        });
        // A plan in which nobody is sick says nothing of it.
        let sicknesses = plan.sicknesses.iter().copied();
        let sicknesses = sicknesses.chain(std::iter::repeat(Sickness::Well));
        let machines = machines.zip(sicknesses).map(|(mut machine, sickness)| {
            machine.sickness = sickness;
            machine
        });
        let mut world = Self {
            random: Random::new(plan.seed),
            now: 0,
            queue: BTreeMap::new(),
            num_scheduled: 0,
            plan: plan.clone(),
            clock_offset: 0,
            disk_full_until: 0,
            master_hangs_until: 0,
            branch: 0,
            accepted: Vec::new(),
            launched: BTreeSet::new(),
            homes: BTreeMap::new(),
            promises: Vec::new(),
            app_promises: AppPromises::default(),
            num_said: 0,
            machines: machines.collect(),
            master: Master::new(mutation, plan.seed),
        };
        world.schedule(0, Happening::MasterStarts);
        world.schedule(0, Happening::MasterTick);
        for machine in 0..world.machines.len() {
            let at = world.random.below(300);
            world.schedule(at, Happening::MachineTick(machine));
        }
        world.schedule(CALM_AT, Happening::Fault(Fault::Mended));
        for (at, fault) in &plan.faults {
            world.schedule(*at, Happening::Fault(*fault));
        }
        world
    }

    /// What the master's wall clock shows.
    pub(super) fn wall_clock(&self) -> u64 {
        (WALL_CLOCK + self.now * UNIT_MS).saturating_add_signed(self.clock_offset)
    }

    pub(super) fn schedule(&mut self, delay: u64, happening: Happening) {
        self.num_scheduled += 1;
        let key = (self.now + delay, self.num_scheduled);
        self.queue.insert(key, happening);
    }

    /// Runs until every build is over and nobody has anything to say.
    pub(super) fn run(&mut self) {
        let mut quiet_since = None;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            self.happen(happening);
            if !self.is_quiet() {
                quiet_since = None;
            } else if self.now > *quiet_since.get_or_insert(self.now) + QUIET {
                return;
            }
            assert!(
                self.now < CALM_AT + PATIENCE,
                "it does not end: {:#?}\n{:#?}\n{:#?}",
                self.master.farm.cluster,
                self.master.calls,
                self.master
                    .farm
                    .journal
                    .iter()
                    .rev()
                    .take(12)
                    .collect::<Vec<_>>(),
            );
        }
    }

    /// Whether a machine is connected and has told all, or never comes back.
    fn machine_rests(&self, index: usize) -> bool {
        let machine = &self.machines[index];
        let is_connected = || {
            let known = self.master.farm.cluster.slave_at(&url(index));
            known.is_some_and(|slave| machine.registration() == Some(slave.id))
        };
        machine.is_gone || machine.is_up && machine.unheard.is_empty() && is_connected()
    }

    fn is_quiet(&self) -> bool {
        let cluster = &self.master.farm.cluster;
        self.now > CALM_AT
            && self.master.is_up
            && self.master.calls.is_empty()
            // Slaves keep builds for a while to hunt for flakes.
            && cluster.leftover.is_empty()
            && cluster.to_be_cleared().is_empty()
            && cluster.builds().all(Build::is_over)
            && self.instances_rest()
            && (0..self.machines.len()).all(|index| self.machine_rests(index))
    }

    /// When a process goes on that is stopped and would be the one to do this.
    fn waits_until(&self, happening: &Happening) -> u64 {
        match happening {
            Happening::ToMachine(index, _)
            | Happening::MachineTick(index)
            | Happening::WorkDone(index, ..) => self.machines[*index].hangs_until,
            Happening::ToMaster(_)
            | Happening::MasterTick
            | Happening::Hunt(..)
            | Happening::AdapterReports(..) => self.master_hangs_until,
            Happening::MachineStarts(_)
            | Happening::MasterStarts
            | Happening::PreparingKills(..)
            | Happening::Fault(_) => 0,
        }
    }

    fn happen(&mut self, happening: Happening) {
        let waits_until = self.waits_until(&happening);
        if waits_until > self.now {
            return self.schedule(waits_until - self.now, happening);
        }
        match happening {
            Happening::ToMaster(message) => self.master_hears(message),
            Happening::ToMachine(index, message) => {
                if self.is_reachable(index) {
                    let acts = self.machines[index].take(message, &mut self.random);
                    self.act(index, acts);
                }
            }
            Happening::MachineTick(index) => {
                if self.machines[index].is_up {
                    let acts = self.machines[index].tick();
                    self.act(index, acts);
                }
                self.schedule(TICK, Happening::MachineTick(index));
            }
            Happening::MachineStarts(index) => {
                self.machines[index].is_up = !self.machines[index].is_gone;
            }
            Happening::WorkDone(index, life, work) => {
                if self.machines[index].is_up && self.machines[index].life == life {
                    let acts = self.machines[index].done(work, &mut self.random);
                    self.act(index, acts);
                }
            }
            Happening::MasterTick => self.master_tick(),
            Happening::MasterStarts => self.master_starts(),
            Happening::PreparingKills(life, build) => self.preparing_kills(life, build),
            Happening::AdapterReports(life, command) => self.master_is_told(life, command),
            Happening::Hunt(life, happening) => self.hunt_goes_on(life, happening),
            Happening::Fault(fault) => self.fail(fault),
        }
    }

    fn act(&mut self, index: usize, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send(message) => self.send_to_master(index, message),
                Act::Begin(work) => {
                    let life = self.machines[index].life;
                    let duration = self.random.between(1, 60);
                    self.schedule(duration, Happening::WorkDone(index, life, work));
                }
                // Somebody starts it again: without slaves no build would end.
                Act::End | Act::Die => self.crash_machine(index),
            }
        }
    }

    fn send_to_master(&mut self, index: usize, message: ToMaster) {
        let is_silent = self.machines[index].mute_until > self.now;
        for delay in self.deliveries(is_silent) {
            self.schedule(delay, Happening::ToMaster(message.clone()));
        }
    }

    pub(super) fn send_to_machine(&mut self, index: usize, message: ToMachine) {
        for delay in self.deliveries(!self.is_reachable(index)) {
            self.schedule(delay, Happening::ToMachine(index, message.clone()));
        }
    }

    fn is_reachable(&self, index: usize) -> bool {
        let machine = &self.machines[index];
        machine.is_up && machine.deaf_until <= self.now
    }

    /// After how long a message arrives: not at all, once, or more than once.
    fn deliveries(&mut self, is_cut_off: bool) -> Vec<u64> {
        let is_lost = self.now < CALM_AT && self.random.happens(self.plan.loss);
        if is_cut_off || is_lost {
            return Vec::new();
        }
        let mut delays = Vec::new();
        loop {
            let is_late = self.random.happens(self.plan.lateness);
            let longest = if is_late { QUIET / 2 } else { 12 };
            delays.push(self.random.between(1, longest));
            if !self.random.happens(self.plan.repetition) {
                return delays;
            }
        }
    }
}
