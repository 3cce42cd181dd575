//! A farm in virtual time: the real scheduler among slaves that only let time pass.

use super::copy::session;
use crate::Cluster;
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::command::Command;
use crate::event::{BuildFact, Event, Fact};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// What a hand-out and a result take on their way, each, in microseconds.
const HALF_A_ROUND_TRIP_US: u64 = 1_000;

/// How much may happen in one farm: more than any that ends.
const MOST_HAPPENINGS: usize = 1 << 20;

/// How long things take, in microseconds.
pub(super) trait Times {
    /// What a subjob takes on a slave that has run it for so long already.
    fn left_of_atom(&self, build: BuildId, subjob: SubjobId, slave: SlaveId, ran_us: u64) -> u64;
    /// What a set-up takes on a slave.
    fn set_up(&self, build: BuildId, slave: SlaveId) -> u64;
}

/// The farm.
pub(super) struct Farm<'a, T> {
    pub(super) cluster: Cluster,
    times: &'a T,
    began: Timestamp,
    now_us: u64,
    /// What will happen, by time and by the order in which it came about.
    coming: BinaryHeap<Reverse<(u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    machines: BTreeMap<SlaveId, Machine>,
    /// When the work on each build was over, in microseconds after the beginning.
    pub(super) ended: BTreeMap<BuildId, u64>,
}

enum Happening {
    /// The master hears something.
    Told(Command),
    /// A slave hears that it is to run a subjob.
    Start(HandOut),
    /// A slave has run it, in so many microseconds.
    Ended(HandOut, u64),
}

/// What waits on a slave, and what runs there since when.
#[derive(Default)]
struct Machine {
    num_executors: usize,
    waiting: VecDeque<HandOut>,
    running: BTreeMap<(BuildId, SubjobId), u64>,
}

impl<'a, T: Times> Farm<'a, T> {
    /// A farm that goes on from this cluster. What its slaves have they have just got; see [`Self::resume`].
    pub(super) fn new(cluster: Cluster, times: &'a T, began: Timestamp) -> Self {
        let machines = cluster.slaves().map(|slave| {
            let machine = Machine {
                num_executors: slave.num_executors as usize,
                ..Machine::default()
            };
            (slave.id, machine)
        });
        Self {
            machines: machines.collect(),
            cluster,
            times,
            began,
            now_us: 0,
            coming: BinaryHeap::new(),
            happenings: Vec::new(),
            ended: BTreeMap::new(),
        }
    }

    /// A slave has a subjob since before the beginning, and has run it for so long; none where it waits there.
    pub(super) fn resume(&mut self, hand_out: HandOut, ran_us: Option<u64>) {
        let Some(machine) = self.machines.get_mut(&hand_out.slave) else {
            return;
        };
        match ran_us.filter(|_| machine.running.len() < machine.num_executors) {
            Some(ran_us) => self.begin(hand_out, ran_us),
            None => machine.waiting.push_back(hand_out),
        }
    }

    /// A slave sets a build up since before the beginning, for so long.
    pub(super) fn resume_set_up(&mut self, build: BuildId, slave: SlaveId, for_us: u64) {
        let takes = self.times.set_up(build, slave);
        self.is_set_up(build, slave, takes.saturating_sub(for_us));
    }

    /// Lets the scheduler do what follows, and slaves begin what waits there.
    pub(super) fn start(&mut self) {
        let slaves: Vec<SlaveId> = self.machines.keys().copied().collect();
        for slave in slaves {
            self.begin_waiting(slave);
        }
        self.follow_up();
    }

    /// The next thing happens. False if nothing is left that could.
    pub(super) fn step(&mut self) -> bool {
        if self.happenings.len() > MOST_HAPPENINGS {
            return false;
        }
        let Some(Reverse((at, number))) = self.coming.pop() else {
            return false;
        };
        self.now_us = at;
        match self.happenings.get_mut(number).and_then(Option::take) {
            None => {}
            Some(Happening::Told(command)) => self.tell(command),
            Some(Happening::Start(hand_out)) => {
                if let Some(machine) = self.machines.get_mut(&hand_out.slave) {
                    machine.waiting.push_back(hand_out);
                }
                self.begin_waiting(hand_out.slave);
            }
            Some(Happening::Ended(hand_out, took_us)) => self.end(hand_out, took_us),
        }
        true
    }

    /// Until the work on all builds is over, or nothing happens any more.
    pub(super) fn run(&mut self) {
        let all = self.ended.len() + self.cluster.working().count();
        while self.ended.len() < all && self.step() {}
    }

    /// Until the work on a build is over, or nothing happens any more.
    pub(super) fn run_until(&mut self, build: BuildId) {
        while !self.ended.contains_key(&build) && self.step() {}
    }

    /// The time in the farm.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.began.0.saturating_add(self.now_us / 1000))
    }

    /// How long a slave has run a subjob, in microseconds; none where it does not run.
    #[cfg(test)]
    pub(super) fn ran_us(&self, hand_out: &HandOut) -> Option<u64> {
        let machine = self.machines.get(&hand_out.slave)?;
        let since = machine.running.get(&(hand_out.build, hand_out.subjob))?;
        Some(self.now_us - since)
    }

    fn happens(&mut self, after_us: u64, happening: Happening) {
        let at = self.now_us.saturating_add(after_us);
        self.coming.push(Reverse((at, self.happenings.len())));
        self.happenings.push(Some(happening));
    }

    fn begin_waiting(&mut self, slave: SlaveId) {
        loop {
            let Some(machine) = self.machines.get_mut(&slave) else {
                return;
            };
            if machine.running.len() >= machine.num_executors {
                return;
            }
            let Some(next) = machine.waiting.pop_front() else {
                return;
            };
            self.begin(next, 0);
        }
    }

    fn begin(&mut self, hand_out: HandOut, ran_us: u64) {
        let HandOut {
            build,
            subjob,
            slave,
            ..
        } = hand_out;
        let left = self.times.left_of_atom(build, subjob, slave, ran_us);
        let now = self.now_us;
        if let Some(machine) = self.machines.get_mut(&slave) {
            machine.running.insert((build, subjob), now);
        }
        let ended = Happening::Ended(hand_out, ran_us.saturating_add(left));
        self.happens(left, ended);
    }

    fn end(&mut self, hand_out: HandOut, took_us: u64) {
        if let Some(machine) = self.machines.get_mut(&hand_out.slave) {
            machine.running.remove(&(hand_out.build, hand_out.subjob));
        }
        self.begin_waiting(hand_out.slave);
        let outcome = AtomOutcome {
            exit_code: 0,
            duration_ms: took_us / 1000,
            trouble: None,
            started_at: None,
            usage: None,
        };
        let report = Command::ReportFinished {
            hand_out,
            executor: None,
            outcomes: vec![outcome],
        };
        self.happens(HALF_A_ROUND_TRIP_US, Happening::Told(report));
    }

    fn is_set_up(&mut self, build: BuildId, slave: SlaveId, after_us: u64) {
        let done = Command::ReportSetUp {
            slave,
            session: session(),
            build,
        };
        self.happens(after_us, Happening::Told(done));
    }

    fn tell(&mut self, command: Command) {
        let at = self.now();
        // What means nothing any more is no trouble, as live.
        for event in self.cluster.decide(command, at).unwrap_or_default() {
            self.take(&event);
        }
        self.follow_up();
    }

    fn follow_up(&mut self) {
        let at = self.now();
        while let Some(event) = self.cluster.follow_up(at) {
            self.take(&event);
        }
    }

    fn take(&mut self, event: &Event) {
        self.cluster.apply(event);
        let Fact::Build(build, fact) = &event.fact else {
            return;
        };
        match fact {
            BuildFact::SetupRequested { slave, .. } => {
                let takes = self.times.set_up(*build, *slave);
                self.is_set_up(*build, *slave, takes);
            }
            BuildFact::TeardownRequested { slave } => {
                let (slave, build) = (*slave, *build);
                let done = Command::ReportTornDown { slave, build };
                self.happens(0, Happening::Told(done));
            }
            BuildFact::SubjobHandedOut {
                slave,
                subjob,
                attempt,
            } => {
                let hand_out = HandOut {
                    slave: *slave,
                    build: *build,
                    subjob: *subjob,
                    attempt: *attempt,
                };
                self.happens(HALF_A_ROUND_TRIP_US, Happening::Start(hand_out));
            }
            BuildFact::ArchivingStarted => {
                self.ended.insert(*build, self.now_us);
            }
            _ => {}
        }
    }
}
