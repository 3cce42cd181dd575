//! What stands around the core in a master: adapters that carry effects out and repeat calls until
//! they are answered, the watch over leases, and a process that may die in any turn.

mod reports;

use super::Tally;
use super::hunting::Hunting;
use super::messages::{ToMachine, ToMaster};
use super::mutation::Mutation;
use super::world::{Happening, TICK, World};
use crate::builds::build::{Build, BuildState};
use crate::builds::hand_out::HandOut;
use crate::command::{Command, Opening, StoredResults};
use crate::effect::{SlaveCall, WantedInstance};
use crate::refusal::Refusal;
use crate::tests::scenario::{Scenario, proved};
use crate::{Cluster, MAX_DEATHS};
use clusterrunner_common::disk::retention::BuildBounds;
use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId, SubjobId};
use clusterrunner_common::templates::TemplateContent;
use clusterrunner_common::work::MasterMark;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Why a silent slave is given up.
pub(super) const SILENCE: &str = "no sign of life";

/// How long a slave may be silent.
const LEASE: u64 = 4 * TICK;

pub(super) struct Master {
    pub(super) farm: Scenario,
    pub(super) is_up: bool,
    pub(super) life: u64,
    pub(super) doom: Option<Doom>,
    pub(super) mutation: Option<Mutation>,
    /// Slaves that may be called: their machine, their session, their last sign of life.
    pub(super) open: BTreeMap<SlaveId, (usize, SessionId, u64)>,
    /// Calls without an answer, and the moment that they are of.
    pub(super) calls: BTreeMap<u64, (SlaveId, Asked, MasterMark)>,
    pub(super) num_calls: u64,
    /// Results that their slaves were told are recorded.
    pub(super) acknowledged: Vec<HandOut>,
    pub(super) tally: Tally,
    /// How often preparing a build killed the process.
    pub(super) deaths: BTreeMap<BuildId, u32>,
    /// Builds that were put away.
    pub(super) kept: BTreeMap<BuildId, Build>,
    /// Builds that were removed, as they were.
    pub(super) removed: BTreeMap<BuildId, Build>,
    /// Which results are on the disk.
    pub(super) results: BTreeMap<BuildId, BTreeSet<(SubjobId, Attempt)>>,
    /// How many incarnations could have begun.
    pub(super) num_fresh: u64,
    pub(super) hunting: Hunting,
}

/// The process will die after so many more turns, and nobody hears of them.
pub(super) struct Doom {
    pub(super) turns: u64,
    /// If nothing of these turns gets on the disk: how many events are there, and what they say.
    pub(super) lost: Option<(usize, Cluster)>,
}

/// What a machine is asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    About(BuildId, SlaveCall),
    /// All instances that it is to run, and what it is to fetch.
    Instances(Vec<WantedInstance>, Vec<TemplateContent>),
    End,
}

pub(super) fn url(machine: usize) -> String {
    format!("machine-{machine}:43001")
}

pub(super) fn machine_at(at: &str) -> usize {
    let number = at
        .strip_prefix("machine-")
        .and_then(|at| at.split(':').next());
    number.unwrap().parse().unwrap()
}

impl Master {
    pub(super) fn new(mutation: Option<Mutation>, seed: u64) -> Self {
        Self {
            farm: Scenario::default(),
            is_up: false,
            life: 0,
            doom: None,
            mutation,
            open: BTreeMap::new(),
            calls: BTreeMap::new(),
            num_calls: 0,
            acknowledged: Vec::new(),
            tally: Tally::default(),
            deaths: BTreeMap::new(),
            kept: BTreeMap::new(),
            removed: BTreeMap::new(),
            results: BTreeMap::new(),
            num_fresh: 0,
            hunting: Hunting::new(seed),
        }
    }

    /// The life of its process.
    pub(super) fn life(&self) -> SessionId {
        SessionId(format!("life {} of the master", self.life))
    }

    /// The next incarnation, if one begins.
    pub(super) fn fresh(&mut self) -> Incarnation {
        self.num_fresh += 1;
        Incarnation(format!("incarnation {}", self.num_fresh))
    }

    /// What it finds on its disk when it starts.
    fn stored(&self) -> StoredResults {
        let last = self.results.keys().next_back();
        let open = self.farm.cluster.builds().filter(|build| !build.is_over());
        let open = open.filter_map(|build| {
            let results = self.results.get(&build.id)?;
            Some((build.id, results.iter().copied().collect()))
        });
        StoredResults {
            last_build: last.copied().unwrap_or(BuildId(0)),
            of_open_builds: open.collect(),
        }
    }
}

impl World {
    /// One turn of the coordinator. `None` when the process dies before anybody is answered.
    pub(super) fn tell(&mut self, command: Command) -> Option<Result<(), Refusal>> {
        self.turn(Some(command))
    }

    /// A turn with a command, or one in which only time has passed.
    fn turn(&mut self, command: Option<Command>) -> Option<Result<(), Refusal>> {
        let is_result = matches!(command, Some(Command::ReportFinished { .. }));
        let clock = self.wall_clock();
        self.master.farm.set_clock(clock);
        let told = match command {
            Some(command) => self.master.take(command),
            None => Ok(self.master.farm.wait(Duration::ZERO)),
        };
        match &told {
            Ok(turn) => {
                let cluster = &self.master.farm.cluster;
                self.master.tally.count(turn, is_result, cluster);
            }
            Err(refusal) => self.master.tally.count_refusal(refusal),
        }
        let Some(doom) = &mut self.master.doom else {
            let told = told.map(|turn| self.carry_out(turn));
            self.hunt();
            return Some(told);
        };
        let is_last = doom.turns == 0;
        doom.turns = doom.turns.saturating_sub(1);
        let early = self.master.mutation == Some(Mutation::AnswersComeBeforeTheDisk);
        let told = early.then(|| told.map(|turn| self.carry_out(turn)));
        if is_last {
            self.crash_master();
        }
        told
    }

    /// What prepares a build takes the master with it, unless that is another life by now, or the build is over.
    pub(super) fn preparing_kills(&mut self, life: u64, build: BuildId) {
        let preparing = self.master.farm.cluster.build(build);
        let is_under_way = preparing.is_some_and(|b| b.state == BuildState::Preparing);
        if self.master.is_up && self.master.life == life && is_under_way {
            let deaths = self.master.deaths.entry(build).or_default();
            *deaths += 1;
            assert!(
                *deaths <= MAX_DEATHS,
                "{build} kills the master again and again"
            );
            self.master.tally.deadly += usize::from(*deaths == MAX_DEATHS);
            self.crash_master();
        }
    }

    pub(super) fn crash_master(&mut self) {
        let doom = self.master.doom.take();
        if let Some((num_events, cluster)) = doom.and_then(|doom| doom.lost) {
            self.master.farm.truncate(num_events);
            self.master.farm.cluster = cluster;
            self.master.tally.failed_disks += 1;
        }
        self.master.is_up = false;
        self.master.life += 1;
        self.master.hunting.begin_life();
        self.master.open.clear();
        self.master.calls.clear();
        self.master.tally.master_restarts += 1;
        let downtime = self.random.between(1, 2 * LEASE);
        self.schedule(downtime, Happening::MasterStarts);
    }

    pub(super) fn master_starts(&mut self) {
        let replayed = self.master.farm.replayed();
        assert_eq!(replayed, self.master.farm.cluster);
        self.master.farm.cluster = replayed;
        self.master.is_up = true;
        let opening = Box::new(Opening {
            life: self.master.life(),
            fresh: self.master.fresh(),
            stored: self.master.stored(),
        });
        self.tell(Command::Start { opening });
    }

    /// An adapter reports; one of an earlier life is gone with it.
    pub(super) fn master_is_told(&mut self, life: u64, command: Command) {
        if self.disk_full_until > self.now {
            // It waits for space.
            return self.schedule(TICK, Happening::AdapterReports(life, command));
        }
        if self.master.is_up && self.master.life == life {
            self.tell(command);
        }
    }

    /// Calls again whoever did not answer, and gives up whoever is silent.
    pub(super) fn master_tick(&mut self) {
        if self.master.mutation != Some(Mutation::CallsAreMadeOnce) {
            let calls: Vec<u64> = self.master.calls.keys().copied().collect();
            for call in calls {
                self.call(call);
            }
        }
        let now = self.now;
        let is_silent = |seen: u64| now - seen > LEASE;
        let open = self.master.open.iter();
        let silent: Vec<SlaveId> = open
            .filter(|(_, (.., seen))| is_silent(*seen))
            .map(|(slave, _)| *slave)
            .collect();
        for slave in silent {
            if self.master.is_up {
                let reason = SILENCE.to_owned();
                self.tell(Command::ReportSlaveDied { slave, reason });
            }
        }
        // Some things follow from the mere passing of time.
        if self.master.is_up {
            self.turn(None);
        }
        if self.master.is_up {
            self.tell(Command::ForgetSlaves);
        }
        self.tidy_instances();
        self.put_ended_builds_away();
        self.forget_builds();
        self.schedule(TICK, Happening::MasterTick);
    }

    /// Bounds that most walks come up against, and sizes that are made up.
    fn forget_builds(&mut self) {
        if !self.master.is_up {
            return;
        }
        let ended = self.master.farm.cluster.ended();
        let sizes = ended.map(|(build, _)| (build, build.0 % 3)).collect();
        let bounds = BuildBounds {
            max_age: Some(Duration::from_secs(60)),
            max_number: Some(3),
            max_bytes: Some(3),
            max_partial_age: None,
        };
        self.tell(Command::ForgetBuilds { bounds, sizes });
    }

    fn put_ended_builds_away(&mut self) {
        if !self.master.is_up || self.random.happens(500) {
            return;
        }
        let retirable = self.master.farm.cluster.retirable().cloned();
        let retirable: Vec<Build> = retirable.collect();
        let builds = retirable.iter().map(|build| build.id).collect();
        for build in retirable {
            self.master.kept.insert(build.id, build);
        }
        let life = self.master.life;
        let delay = self.random.below(60);
        let kept = Command::ReportKept { builds };
        self.schedule(delay, Happening::AdapterReports(life, kept));
    }

    pub(super) fn call(&mut self, number: u64) {
        let (slave, asked, master) = self.master.calls[&number].clone();
        let (machine, session, _) = self.master.open[&slave].clone();
        let message = ToMachine::Call {
            session,
            slave,
            number,
            asked,
            master,
        };
        self.send_to_machine(machine, message);
    }

    pub(super) fn master_hears(&mut self, message: ToMaster) {
        if !self.master.is_up {
            return;
        }
        match message {
            ToMaster::Connect {
                machine,
                session,
                number,
                finished,
                known_as,
                seen,
            } => {
                let fresh = self.master.fresh();
                let key = Some(self.offered_key(machine));
                let told = self.tell(Command::ConnectSlave {
                    url: url(machine),
                    session: session.clone(),
                    num_executors: self.machines[machine].num_executors,
                    labels: std::collections::BTreeSet::new(),
                    known_as,
                    finished,
                    seen: proved(seen),
                    fresh,
                    key,
                });
                if told.is_some() {
                    let cluster = &self.master.farm.cluster;
                    let slave = cluster.latest_at(&url(machine)).unwrap().id;
                    self.sign_of_life(slave);
                    let wanted = self.master.farm.cluster.to_be_delivered(slave);
                    let connected = ToMachine::Connected {
                        session,
                        number,
                        slave,
                        wanted,
                        master: self.master.farm.cluster.mark().unwrap(),
                    };
                    self.send_to_machine(machine, connected);
                }
            }
            ToMaster::Heartbeat {
                machine,
                slave,
                session,
                of,
            } => {
                if self.is_meant_for_another(of.as_ref()) {
                    return self.send_to_machine(machine, ToMachine::OtherLife);
                }
                // A read sees only what is on disk; here nobody will come to read.
                if self.master.doom.is_some() {
                    return;
                }
                let cluster = &self.master.farm.cluster;
                if cluster.known_slave(slave, &session).is_ok() {
                    self.sign_of_life(slave);
                } else {
                    self.send_to_machine(machine, ToMachine::Unknown { slave });
                }
            }
            ToMaster::Report {
                machine,
                session,
                number,
                report,
                of,
            } => self.reported(machine, session, number, report, of),
            ToMaster::Answer { call, refusal } => {
                let command = match (self.master.calls.remove(&call), refusal) {
                    (Some((slave, Asked::End, _)), _) => Command::ReportEnding { slave },
                    (Some((slave, Asked::About(build, _), _)), Some(reason)) => {
                        Command::ReportRefusal {
                            slave,
                            build,
                            reason,
                        }
                    }
                    (Some((_, Asked::About(..), _)), None)
                    | (Some((_, Asked::Instances(..), _)), _)
                    | (None, _) => return,
                };
                self.tell(command);
            }
            ToMaster::WasStartedAgain { call } => {
                if let Some((slave, ..)) = self.master.calls.remove(&call) {
                    self.tell(Command::ReportSlaveStartedAgain { slave });
                }
            }
        }
    }

    fn sign_of_life(&mut self, slave: SlaveId) {
        if let Some((.., seen)) = self.master.open.get_mut(&slave) {
            *seen = self.now;
        }
    }
}
