//! The real core among model slaves.

use super::suites::Suite;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId};
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Fact, SlaveFact};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

const BUILD: BuildId = BuildId(1);

struct Farm<'a> {
    suite: &'a Suite,
    cluster: Cluster,
    now: u64,
    /// What will happen, by time and the order in which it came about.
    coming: BinaryHeap<Reverse<(u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    /// What each slave does.
    machines: Vec<Machine>,
    /// Which slave of the suite has a registration.
    slaves: HashMap<SlaveId, usize>,
    ended: Option<u64>,
}

enum Happening {
    /// The master hears something.
    Told(Command),
    /// A slave of the suite hears that it is to run an atom.
    Start(usize, HandOut),
    /// A slave has run it.
    Ended(usize, HandOut, u64),
}

/// What waits on a slave, and how many of its executors work.
#[derive(Clone, Default)]
struct Machine {
    waiting: VecDeque<HandOut>,
    num_busy: u32,
}

/// When the last atom ends.
pub(crate) fn makespan(suite: &Suite, expected_ms: &[u64]) -> u64 {
    let mut farm = Farm {
        suite,
        cluster: Cluster::default(),
        now: 0,
        coming: BinaryHeap::new(),
        happenings: Vec::new(),
        machines: vec![Machine::default(); suite.slaves.len()],
        slaves: HashMap::new(),
        ended: None,
    };
    for (index, slave) in suite.slaves.iter().enumerate() {
        let connect = Command::ConnectSlave {
            url: format!("slave:{index}"),
            session: SessionId("life".to_owned()),
            num_executors: slave.executors,
            labels: BTreeSet::new(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
            key: None,
        };
        farm.later(slave.joins, connect);
    }
    let request = serde_json::json!({"type": "directory", "project_directory": "/suite"});
    let request = BuildRequest::from_json(&request).expect("a good request");
    farm.tell(Command::QueueBuild {
        by: Actor::SecretHolder,
        request: Box::new(request),
    });
    let plan = Plan {
        atoms: (0..suite.atoms.len()).map(|n| n.to_string()).collect(),
        expected_ms: expected_ms.to_vec(),
        ..Plan::default()
    };
    farm.tell(Command::ReportPrepared {
        build: BUILD,
        plan: Box::new(plan),
    });
    while farm.ended.is_none() {
        let Reverse((at, number)) = farm.coming.pop().expect("a build ends");
        farm.now = at;
        let happening = farm.happenings[number].take();
        match happening.expect("it happens once") {
            Happening::Told(command) => farm.tell(command),
            Happening::Start(machine, hand_out) => {
                farm.machines[machine].waiting.push_back(hand_out);
                farm.start_waiting(machine);
            }
            Happening::Ended(machine, hand_out, duration_ms) => {
                farm.machines[machine].num_busy -= 1;
                farm.start_waiting(machine);
                let outcome = AtomOutcome {
                    exit_code: 0,
                    duration_ms,
                    trouble: None,
                    started_at: None,
                    usage: None,
                };
                let outcomes = vec![outcome];
                let report = Command::ReportFinished {
                    hand_out,
                    executor: None,
                    outcomes,
                };
                farm.later(suite.round_trip / 2, report);
            }
        }
    }
    farm.ended.unwrap_or_default()
}

impl Farm<'_> {
    fn later(&mut self, after: u64, command: Command) {
        self.happens(after, Happening::Told(command));
    }

    fn happens(&mut self, after: u64, happening: Happening) {
        self.coming
            .push(Reverse((self.now + after, self.happenings.len())));
        self.happenings.push(Some(happening));
    }

    fn start_waiting(&mut self, machine: usize) {
        let slave = &self.suite.slaves[machine];
        while self.machines[machine].num_busy < slave.executors
            && let Some(hand_out) = self.machines[machine].waiting.pop_front()
        {
            self.machines[machine].num_busy += 1;
            let takes = self.suite.takes(hand_out.subjob.0 as usize, slave);
            self.happens(takes, Happening::Ended(machine, hand_out, takes));
        }
    }

    fn tell(&mut self, command: Command) {
        let at = Timestamp(self.now);
        let events = self.cluster.decide(command, at).expect("nobody is wrong");
        for event in events {
            self.cluster.apply(&event);
            self.carry_out(&event.fact);
        }
        while let Some(event) = self.cluster.follow_up(at) {
            self.cluster.apply(&event);
            self.carry_out(&event.fact);
        }
    }

    fn carry_out(&mut self, fact: &Fact) {
        match fact {
            Fact::Slave(slave, SlaveFact::Connected { url, .. }) => {
                let index = url.strip_prefix("slave:").and_then(|n| n.parse().ok());
                self.slaves.insert(*slave, index.expect("its own name"));
            }
            Fact::Build(build, BuildFact::SetupRequested { slave, .. }) => {
                let done = Command::ReportSetUp {
                    slave: *slave,
                    session: SessionId("life".to_owned()),
                    build: *build,
                };
                self.later(self.suite.setup, done);
            }
            Fact::Build(
                build,
                BuildFact::SubjobHandedOut {
                    slave,
                    subjob,
                    attempt,
                },
            ) => {
                let hand_out = HandOut {
                    slave: *slave,
                    build: *build,
                    subjob: *subjob,
                    attempt: *attempt,
                };
                let machine = self.slaves[slave];
                let start = Happening::Start(machine, hand_out);
                self.happens(self.suite.round_trip.div_ceil(2), start);
            }
            Fact::Build(_, BuildFact::ArchivingStarted) => self.ended = Some(self.now),
            _ => {}
        }
    }
}
