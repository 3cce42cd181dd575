//! The world around the core: time, a network that delays, loses, repeats and reorders, machines
//! that die, and users.

use super::machine::{Act, Machine, Sickness, ToMachine, ToMaster, Work};
use super::master::Master;
use super::random::Random;
use crate::cluster::build::Build;
use crate::cluster::command::{Command, SlaveChoice};
use crate::cluster::tests::scenario::request;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::BTreeMap;

/// Faults happen before this moment; from then on the network only delays and repeats, so that
/// everything must come to its end.
const CALM_AT: u64 = 1500;
/// How long the slowest walk may take after that. Hundreds of retries; none that works needs them.
const PATIENCE: u64 = 20_000;
/// How long nothing may happen before a walk is over: longer than any message is on its way.
const QUIET: u64 = 400;
/// How often a slave gives a sign of life, and everybody says again what was not answered.
pub(super) const TICK: u64 = 25;

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
    Fault(Fault),
}

pub(super) enum Fault {
    MachineCrashes(usize),
    MachineEnds(usize),
    MachineFallsSilent(usize),
    MasterCrashes,
    UserQueues(u64),
    UserCancels(BuildId),
    UserShutsDown(SlaveChoice),
    UserDrains(SlaveId),
    UserUndrains(SlaveId),
    /// Every machine is mended, and whoever was kept from work is let to it again.
    Mended,
}

/// How bad the network is, in 1000.
struct Weather {
    loss: u64,
    repetition: u64,
    lateness: u64,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    num_scheduled: u64,
    weather: Weather,
    pub(super) machines: Vec<Machine>,
    pub(super) master: Master,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather {
            loss: [0, 30, 200][random.index(3)],
            repetition: [0, 50, 300][random.index(3)],
            lateness: [0, 20, 150][random.index(3)],
        };
        let setup_failures = [0, 0, 50, 300][random.index(4)];
        let num_machines = random.between(1, 4);
        let machines = (0..usize::try_from(num_machines).unwrap()).map(|index| {
            let num_executors = u32::try_from(random.between(1, 3)).unwrap();
            Machine::new(index, num_executors, setup_failures)
        });
        let mut machines: Vec<Machine> = machines.collect();
        // The first is always well: without others that do better nobody is sick.
        for machine in machines.iter_mut().skip(1) {
            machine.sickness = match random.below(8) {
                0 => Sickness::SetsNothingUp,
                1 => Sickness::FailsEverything,
                2 => Sickness::TearsResults,
                _ => Sickness::Well,
            };
        }
        let mut world = Self {
            random,
            now: 0,
            queue: BTreeMap::new(),
            num_scheduled: 0,
            weather,
            machines,
            master: Master::default(),
        };
        world.fate();
        world
    }

    /// What will happen to it, and when.
    fn fate(&mut self) {
        self.schedule(0, Happening::MasterStarts);
        self.schedule(0, Happening::MasterTick);
        for machine in 0..self.machines.len() {
            let at = self.random.below(300);
            self.schedule(at, Happening::MachineTick(machine));
        }
        for _ in 0..self.random.between(1, 6) {
            let project = self.random.below(3);
            self.fault(Fault::UserQueues(project));
        }
        for _ in 0..self.random.below(3) {
            let build = BuildId(self.random.between(1, 6));
            self.fault(Fault::UserCancels(build));
        }
        for _ in 0..[0, 0, 1, 3][self.random.index(4)] {
            let slave = SlaveId(self.random.between(1, 6));
            let slaves = match self.random.below(3) {
                0 => SlaveChoice::All,
                _ => SlaveChoice::Named(vec![slave]),
            };
            self.fault(Fault::UserShutsDown(slaves));
        }
        for _ in 0..[0, 0, 2, 4][self.random.index(4)] {
            let slave = SlaveId(self.random.between(1, 6));
            self.fault(Fault::UserDrains(slave));
            self.fault(Fault::UserUndrains(slave));
        }
        self.schedule(CALM_AT, Happening::Fault(Fault::Mended));
        let troubles = [0, 2, 5][self.random.index(3)];
        for _ in 0..troubles {
            let machine = self.random.index(self.machines.len());
            let fault = match self.random.below(4) {
                0 => Fault::MachineCrashes(machine),
                1 => Fault::MachineEnds(machine),
                2 => Fault::MachineFallsSilent(machine),
                _ => Fault::MasterCrashes,
            };
            self.fault(fault);
        }
    }

    fn fault(&mut self, fault: Fault) {
        let at = self.random.below(CALM_AT);
        self.schedule(at, Happening::Fault(fault));
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
                "it does not end: {:#?}\n{:#?}",
                self.master.farm.cluster,
                self.master.calls,
            );
        }
    }

    fn is_quiet(&self) -> bool {
        let cluster = &self.master.farm.cluster;
        self.now > CALM_AT
            && self.master.is_up
            && self.master.calls.is_empty()
            && self
                .machines
                .iter()
                .all(|m| m.is_up && m.unheard.is_empty())
            && cluster.builds().all(Build::is_over)
    }

    fn happen(&mut self, happening: Happening) {
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
            Happening::MachineStarts(index) => self.machines[index].is_up = true,
            Happening::WorkDone(index, life, work) => {
                if self.machines[index].is_up && self.machines[index].life == life {
                    let acts = self.machines[index].done(work, &mut self.random);
                    self.act(index, acts);
                }
            }
            Happening::MasterTick => self.master_tick(),
            Happening::MasterStarts => self.master_starts(),
            Happening::AdapterReports(life, command) => self.master_is_told(life, command),
            Happening::Fault(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) {
        match fault {
            Fault::MachineCrashes(index) => self.crash_machine(index),
            Fault::MachineEnds(index) => {
                let acts = self.machines[index].ending();
                self.act(index, acts);
                self.crash_machine(index);
            }
            Fault::MachineFallsSilent(index) => {
                let silence = self.random.between(10, 400);
                self.machines[index].silent_until = self.now + silence;
            }
            Fault::MasterCrashes => self.master.doom_turns = Some(self.random.below(2)),
            Fault::UserQueues(project) if self.master.is_up => {
                let request = Box::new(request(&format!("project {project}")));
                self.tell(Command::QueueBuild { request });
            }
            Fault::UserQueues(_) => self.schedule(TICK, Happening::Fault(fault)),
            Fault::UserCancels(build) => {
                if self.master.is_up {
                    self.tell(Command::CancelBuild { build });
                }
            }
            Fault::UserDrains(slave) => {
                if self.master.is_up {
                    self.tell(Command::DrainSlave { slave });
                }
            }
            Fault::UserUndrains(slave) => {
                if self.master.is_up {
                    self.tell(Command::UndrainSlave { slave });
                }
            }
            Fault::Mended => {
                for machine in &mut self.machines {
                    machine.sickness = Sickness::Well;
                }
                let slaves = self.master.farm.cluster.slaves();
                let kept_out = slaves.filter(|s| s.is_drained || s.quarantine.is_some());
                for slave in kept_out.map(|slave| slave.id).collect::<Vec<_>>() {
                    if self.master.is_up {
                        self.tell(Command::UndrainSlave { slave });
                    }
                }
                self.schedule(8 * TICK, Happening::Fault(Fault::Mended));
            }
            Fault::UserShutsDown(slaves) => {
                if self.master.is_up {
                    self.tell(Command::ShutDownSlaves { slaves });
                }
            }
        }
    }

    fn crash_machine(&mut self, index: usize) {
        self.machines[index].crash();
        let downtime = self.random.between(1, 300);
        self.schedule(downtime, Happening::MachineStarts(index));
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
        let is_silent = self.machines[index].silent_until > self.now;
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
        machine.is_up && machine.silent_until <= self.now
    }

    /// After how long a message arrives: not at all, once, or more than once.
    fn deliveries(&mut self, is_cut_off: bool) -> Vec<u64> {
        let is_lost = self.now < CALM_AT && self.random.happens(self.weather.loss);
        if is_cut_off || is_lost {
            return Vec::new();
        }
        let mut delays = Vec::new();
        loop {
            let is_late = self.random.happens(self.weather.lateness);
            let longest = if is_late { QUIET / 2 } else { 12 };
            delays.push(self.random.between(1, longest));
            if !self.random.happens(self.weather.repetition) {
                return delays;
            }
        }
    }
}
