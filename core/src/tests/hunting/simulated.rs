//! What hunts find and cost, on a farm in virtual time: the core decides, slaves and their latencies are models.

mod hunts;

use super::super::scenario::{big_plan, fresh, request};
use super::super::walk::random::Random;
use crate::actor::Actor;
use crate::builds::build::Build;
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::effect::{Effect, SlaveCall};
use crate::event::{BuildFact, Event, Fact};
use crate::history::{Beta, Ended, Failure, Memory, Run, Tag, Verdict};
use crate::hunting::{Hunt, HuntId, Hunts};
use crate::{Cluster, HUNT_AFTER_END};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId};
use clusterrunner_common::work::HuntEnd;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The farm: slaves, and executors of each.
const SLAVES: u64 = 4;

const EXECUTORS: u32 = 3;

/// How many atoms a build has.
const ATOMS: u32 = 40;

/// Half of a round trip, and how long it takes until a hunt is killed at most, in milliseconds.
const MESSAGE: u64 = 1;

const KILL: u64 = 20;

/// A build comes in each of these times: the farm is busy for a third of it, and some builds come while others run.
const BETWEEN: u64 = 240_000;

/// What else takes time.
const PREPARING: u64 = 2_000;

const SET_UP: u64 = 3_000;

const TEAR_DOWN: u64 = 500;

const ARCHIVING: u64 = 200;

/// In one of so many runs a machine fails, whatever runs on it.
const MACHINE_FAILS_IN: u64 = 10_000;

/// So often in 1000 runs atoms fail without cause: the first ones, two of each; all others never do.
const FLAKINESS: [u64; 5] = [20, 50, 100, 200, 300];

const OF_EACH: usize = 2;

fn flakiness(atom: usize) -> u64 {
    FLAKINESS.get(atom / OF_EACH).copied().unwrap_or(0)
}

/// The number of an atom, which is all of its value.
fn number_of(atom: &str) -> usize {
    let number = atom.chars().filter(char::is_ascii_digit);
    number.collect::<String>().parse().unwrap()
}

/// What happens at a moment.
enum Happening {
    /// Somebody wants a build.
    Submit,
    Tell(Command),
    Reaches(SlaveId, BuildId, SlaveCall),
    AtomEnds(SlaveId, Order),
    HuntReaches(HuntId, Hunt),
    HuntEnds(HuntId, HuntEnd),
    /// Time has passed.
    Tick,
    /// What was to be killed is gone.
    Freed(SlaveId),
}

/// A hand-out on a slave.
#[derive(Clone, Copy)]
struct Order {
    hand_out: HandOut,
    atom: usize,
}

/// A slave.
#[derive(Default)]
struct Machine {
    num_busy: usize,
    waiting: VecDeque<Order>,
    hunting: BTreeMap<HuntId, u64>,
    /// How many executors still kill what they hunted.
    killing: usize,
    setting_up: BTreeSet<BuildId>,
}

struct Farm {
    cluster: Cluster,
    hunts: Option<Hunts>,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    num_scheduled: u64,
    machines: BTreeMap<SlaveId, Machine>,
    /// What the durations and the outcomes of atoms depend on, which are the same with and without hunts.
    seed: u64,
    random: Random,
    memories: Vec<Memory>,
    /// The build at which an atom was first called flaky.
    marked: Vec<Option<u64>>,
    /// How long each build took.
    took: BTreeMap<BuildId, u64>,
    num_builds: u64,
    hunted_ms: u64,
    worked_ms: u64,
}

impl Farm {
    fn new(seed: u64, hunts: bool, num_builds: u64) -> Self {
        let atoms = ATOMS as usize;
        let mut farm = Self {
            cluster: Cluster::default(),
            hunts: hunts.then(|| Hunts::new(true)),
            now: 1_000,
            queue: BTreeMap::new(),
            num_scheduled: 0,
            machines: BTreeMap::new(),
            seed,
            random: Random::new(seed),
            memories: vec![Memory::default(); atoms],
            marked: vec![None; atoms],
            took: BTreeMap::new(),
            num_builds,
            hunted_ms: 0,
            worked_ms: 0,
        };
        for slave in 1..=SLAVES {
            farm.machines.insert(SlaveId(slave), Machine::default());
            farm.tell(Command::ConnectSlave {
                url: format!("s{slave}:1"),
                session: SessionId(format!("s{slave}")),
                num_executors: EXECUTORS,
                labels: BTreeSet::new(),
                known_as: None,
                finished: Vec::new(),
                seen: Vec::new(),
                fresh: fresh(),
                key: None,
            });
        }
        farm
    }

    /// A number below `end` that only depends on what is asked for.
    fn drawn(&self, what: [u64; 4], end: u64) -> u64 {
        let mixed = what.iter().fold(self.seed, |mixed, part| {
            Random::new(mixed.wrapping_mul(31).wrapping_add(*part)).number()
        });
        mixed % end
    }

    /// How long an atom usually takes: from 2 to 60 seconds, short ones more often.
    fn usual_ms(&self, atom: usize) -> u64 {
        let part = self.drawn([0, 0, 0, atom as u64], 1_000);
        2_000 + 58 * part * part / 1_000
    }

    /// A run of an atom takes up to a tenth more or less.
    fn ms(&self, atom: usize, run: u64) -> u64 {
        self.usual_ms(atom) * (900 + self.drawn([1, run, 0, atom as u64], 200)) / 1_000
    }

    /// Whether a run of an atom fails, which no other run changes.
    fn fails(&self, atom: usize, run: u64, attempt: u64) -> bool {
        let drawn = |what, end| self.drawn([what, run, attempt, atom as u64], end);
        drawn(3, 1_000) < flakiness(atom) || drawn(4, MACHINE_FAILS_IN) == 0
    }

    fn schedule(&mut self, delay: u64, happening: Happening) {
        self.num_scheduled += 1;
        self.queue
            .insert((self.now + delay, self.num_scheduled), happening);
    }

    /// Until all builds are over and put away.
    fn run(&mut self) {
        for number in 0..self.num_builds {
            // Some come one after the other, some while others run.
            let at = number * BETWEEN + self.drawn([2, 0, 0, number], BETWEEN);
            self.schedule(at, Happening::Submit);
        }
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            self.happen(happening);
        }
        assert_eq!(self.took.len() as u64, self.num_builds);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Submit => self.tell(Command::QueueBuild {
                by: Actor::SecretHolder,
                request: Box::new(request("p")),
            }),
            Happening::Tell(command) => self.tell(command),
            Happening::Tick => self.turn(None),
            Happening::Reaches(slave, build, call) => self.called(slave, build, call),
            Happening::AtomEnds(slave, order) => self.atom_ends(slave, order),
            Happening::HuntReaches(id, hunt) => self.hunt_reaches(id, &hunt),
            Happening::HuntEnds(id, end) => self.hunt_ends(id, end),
            Happening::Freed(slave) => {
                self.machine(slave).killing -= 1;
                self.start_waiting(slave);
            }
        }
    }

    fn machine(&mut self, slave: SlaveId) -> &mut Machine {
        self.machines.get_mut(&slave).unwrap()
    }

    fn tell(&mut self, command: Command) {
        self.turn(Some(command));
    }

    /// A turn of the coordinator, and a look of the hunter.
    fn turn(&mut self, command: Option<Command>) {
        let at = Timestamp(self.now);
        let mut effects = Vec::new();
        let decided = command.map(|command| self.cluster.decide(command, at).unwrap());
        let mut events: VecDeque<Event> = decided.unwrap_or_default().into();
        while let Some(event) = events.pop_front().or_else(|| self.cluster.follow_up(at)) {
            self.cluster.apply(&event);
            effects.extend(self.cluster.effects(&event));
            if let Fact::Build(build, BuildFact::Finished) = event.fact {
                self.note_end(build);
            }
        }
        for effect in effects {
            self.carry_out(effect);
        }
        self.look();
        let over: Vec<BuildId> = self.cluster.retirable().map(|build| build.id).collect();
        if !over.is_empty() {
            for build in &over {
                self.count(&self.cluster.build(*build).unwrap().clone());
            }
            self.tell(Command::ReportKept { builds: over });
        }
    }

    fn note_end(&mut self, build: BuildId) {
        let times = self.cluster.build(build).unwrap().timestamps;
        let took = times.queued.unwrap().until(times.finished.unwrap());
        self.took
            .insert(build, u64::try_from(took.as_millis()).unwrap());
        let after = u64::try_from(HUNT_AFTER_END.as_millis()).unwrap();
        self.schedule(after, Happening::Tick);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Prepare { build, .. } => {
                let plan = Plan {
                    expected_ms: (0..ATOMS as usize)
                        .map(|atom| self.usual_ms(atom))
                        .collect(),
                    retries: 1,
                    ..big_plan(ATOMS, 0, 0)
                };
                let plan = Box::new(plan);
                let told = Command::ReportPrepared { build, plan };
                self.schedule(PREPARING, Happening::Tell(told));
            }
            Effect::Archive { build, .. } => {
                let template = None;
                let told = Command::ReportArchived { build, template };
                self.schedule(ARCHIVING, Happening::Tell(told));
            }
            Effect::Call { slave, build, call } => {
                self.schedule(MESSAGE, Happening::Reaches(slave, build, call));
            }
            _ => {}
        }
    }

    fn called(&mut self, slave: SlaveId, build: BuildId, call: SlaveCall) {
        self.drop_hunts(slave);
        match call {
            SlaveCall::SetUp(_) => {
                let session = SessionId(format!("s{slave}"));
                self.machine(slave).setting_up.insert(build);
                let told = Command::ReportSetUp {
                    slave,
                    session,
                    build,
                };
                self.schedule(SET_UP + MESSAGE, Happening::Tell(told));
            }
            SlaveCall::Start {
                subjob,
                attempt,
                atoms,
                ..
            } => {
                self.machine(slave).setting_up.remove(&build);
                let hand_out = HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                };
                let atom = number_of(&atoms[0]);
                let order = Order { hand_out, atom };
                self.machine(slave).waiting.push_back(order);
                self.start_waiting(slave);
            }
            SlaveCall::TearDown => {
                self.machine(slave).setting_up.remove(&build);
                let told = Command::ReportTornDown { slave, build };
                self.schedule(TEAR_DOWN + MESSAGE, Happening::Tell(told));
            }
            SlaveCall::KeepConsoles(_) => {}
        }
    }

    fn start_waiting(&mut self, slave: SlaveId) {
        loop {
            let machine = self.machine(slave);
            let is_free = machine.num_busy + machine.killing < EXECUTORS as usize;
            let Some(order) = machine.waiting.pop_front_if(|_| is_free) else {
                return;
            };
            machine.num_busy += 1;
            let took = self.ms(order.atom, order.hand_out.build.0);
            self.worked_ms += took;
            self.schedule(took, Happening::AtomEnds(slave, order));
        }
    }

    fn atom_ends(&mut self, slave: SlaveId, Order { hand_out, atom }: Order) {
        self.machine(slave).num_busy -= 1;
        let outcome = AtomOutcome {
            exit_code: i32::from(self.fails(atom, hand_out.build.0, hand_out.attempt.0.into())),
            duration_ms: self.ms(atom, hand_out.build.0),
            trouble: None,
            started_at: None,
            usage: None,
        };
        let told = Command::ReportFinished {
            hand_out,
            executor: None,
            outcomes: vec![outcome],
        };
        self.schedule(MESSAGE, Happening::Tell(told));
        self.start_waiting(slave);
    }

    /// Takes an archived build into account, as the histories do.
    fn count(&mut self, build: &Build) {
        for (id, subjob) in build.numbered_subjobs() {
            let atom = number_of(&subjob.atoms[0]);
            let run = Run {
                build: build.id,
                commit: Some(Tag(u32::try_from(build.id.0).unwrap())),
                told: 0,
                ended: match subjob.has_failed() {
                    true => Ended::Failed,
                    false => Ended::Passed,
                },
                failed_before: u8::try_from(subjob.failed_attempts().len()).unwrap(),
                ms: 1,
                hunted: build.hunted.of(id),
            };
            let of = Failure {
                build: build.id,
                commit: None,
                at: Timestamp(0),
            };
            self.memories[atom].add(run, &of);
            if self.marked[atom].is_none()
                && Beta::verdict(&self.memories[atom].trials()) == Verdict::Flaky
            {
                self.marked[atom] = Some(build.id.0);
            }
        }
    }
}

/// What came of some farms.
#[derive(Default)]
struct Sum {
    /// How long all builds took together.
    took: u64,
    worked_ms: u64,
    hunted_ms: u64,
    /// At which builds the atoms were marked, by how flaky they are in 1000 runs.
    marked: BTreeMap<u64, Vec<Option<u64>>>,
}

/// Many small farms, each of a job of its own.
fn simulated(is_hunted: bool) -> Sum {
    const FARMS: u64 = 25;
    const BUILDS: u64 = 60;
    let mut sum = Sum::default();
    for seed in 0..FARMS {
        let mut farm = Farm::new(seed, is_hunted, BUILDS);
        farm.run();
        sum.took += farm.took.values().sum::<u64>();
        sum.worked_ms += farm.worked_ms;
        sum.hunted_ms += farm.hunted_ms;
        for (atom, marked) in farm.marked.iter().enumerate() {
            sum.marked.entry(flakiness(atom)).or_default().push(*marked);
        }
    }
    sum
}

/// How many of so flaky atoms were found within so many builds, and how many there are.
fn found(sum: &Sum, flakiness: u64, within: u64) -> (usize, usize) {
    let atoms = &sum.marked[&flakiness];
    let in_time = atoms.iter().flatten().filter(|build| **build <= within);
    (in_time.count(), atoms.len())
}

#[test]
fn hunts_find_flakes_in_fewer_builds_and_cost_no_build_time() {
    let (hunted, plain) = (simulated(true), simulated(false));
    // Shown with `--nocapture`; they are in docs/performance.md.
    println!(
        "builds took {} ms with hunts and {} ms without, executors worked {} ms and hunted {} ms",
        hunted.took, plain.took, hunted.worked_ms, hunted.hunted_ms
    );
    assert!(
        hunted.took * 1_000 <= plain.took * 1_005,
        "0.5 % more at most"
    );
    assert!(
        hunted.hunted_ms * 10 > hunted.worked_ms,
        "idle executors hunt"
    );
    for (flakiness, within, share) in [(50, 50, 80), (100, 35, 90), (200, 20, 95), (300, 15, 95)] {
        let (with, of) = found(&hunted, flakiness, within);
        let (without, _) = found(&plain, flakiness, within);
        println!(
            "of {of} atoms that fail in {flakiness} of 1000 runs {with} were found within {within} builds, {without} without hunts"
        );
        assert!(with * 100 >= of * share, "{flakiness}: {with} of {of}");
        assert!(with > without, "{flakiness}: {with} and {without}");
    }
    let (marked, of) = found(&hunted, 0, u64::MAX);
    assert!(marked * 1_000 <= of, "{marked} of {of} stable atoms");
}
