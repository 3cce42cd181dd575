//! A model slave: what it does to each call, and what it says until it is heard.
//!
//! It knows what it was asked for by registration, build, subjob and attempt, so that whatever
//! comes twice is done once; and it repeats each report until the master answers it.

mod calls;

use super::hosting::Hosting;
use super::master::Asked;
use super::messages::{About, Act, Report, ToMachine, ToMaster, Work};
use super::random::Random;
use crate::builds::outcome::AtomOutcome;
use crate::event::KeptHandOut;
use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId, SubjobId};
use clusterrunner_common::work::{FinishedAttempt, MasterMark, Seen};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is wrong with a machine, whatever is run on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Sickness {
    #[default]
    Well,
    SetsNothingUp,
    FailsEverything,
    TearsResults,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    SettingUp,
    Ready,
    Failed,
    /// Remembered, so that a set-up that was asked for before does not bring it back.
    TornDown,
}

#[derive(Default)]
pub(super) struct Machine {
    index: usize,
    pub(super) num_executors: u32,
    /// Counts the lives of its process; the session is made of it.
    pub(super) life: u64,
    pub(super) is_up: bool,
    /// Whether it never comes back.
    pub(super) is_gone: bool,
    /// Until when nothing of it is heard.
    pub(super) mute_until: u64,
    /// Until when nothing reaches it.
    pub(super) deaf_until: u64,
    /// Until when its process does nothing; what comes meanwhile waits.
    pub(super) hangs_until: u64,
    /// Whether it forgets which attempts it has begun.
    pub(super) forgets_begun: bool,
    /// Whether it drops what comes while its executors work.
    pub(super) drops_waiting: bool,
    /// Whether it takes whatever any master says, and tells none of what others said.
    pub(super) ignores_incarnations: bool,
    pub(super) slave: Option<SlaveId>,
    /// The master as it was when this slave connected.
    pub(super) met: Option<MasterMark>,
    /// The incarnations of its registrations.
    registrations: BTreeMap<SlaveId, Incarnation>,
    /// How many requests to connect it has made, and whether it waits for the answer to the last one.
    num_connects: u64,
    is_connecting: bool,
    /// Whether it is to connect, under the registration that it has.
    doubts: bool,
    /// What it has seen of each incarnation of which it still has something.
    seen: BTreeMap<Incarnation, Seen>,
    builds: BTreeMap<(SlaveId, BuildId), Place>,
    newest_calls: BTreeMap<(SlaveId, BuildId), u64>,
    begun: BTreeSet<(SlaveId, BuildId, SubjobId, Attempt)>,
    /// What waits for an executor, in the order in which it came.
    waiting: VecDeque<Work>,
    /// What came before its build was set up.
    early: Vec<Work>,
    /// How many executors work.
    num_busy: u32,
    pub(super) unheard: BTreeMap<u64, Report>,
    /// Whether it has heard what its registration is from the answer itself; a call may overtake that.
    is_settled: bool,
    /// Results of earlier lives, on the disk: what the master is asked about, the outcomes, and what was seen
    /// of the master that wanted them.
    held: Vec<(FinishedAttempt, Vec<AtomOutcome>, Seen)>,
    last_report: u64,
    /// How often a set-up fails, and a build is lost later, in 1000.
    pub(super) setup_failures: u64,
    pub(super) sickness: Sickness,
    pub(super) hosting: Hosting,
}

impl Machine {
    pub(super) fn new(index: usize, num_executors: u32, setup_failures: u64) -> Self {
        Self {
            index,
            num_executors,
            setup_failures,
            is_up: true,
            ..Self::default()
        }
    }

    pub(super) fn session(&self) -> SessionId {
        SessionId(format!("life {} of {}", self.life, self.index))
    }

    /// The process dies and forgets everything but the results on its disk.
    pub(super) fn crash(&mut self) {
        let session_id = self.session();
        let mut held = std::mem::take(&mut self.held);
        let incarnation = self.met.as_ref().map(|met| met.incarnation.clone());
        let seen = incarnation.as_ref().and_then(|of| self.seen.get(of));
        for report in std::mem::take(&mut self.unheard).into_values() {
            if let About::Finished(build_id, subjob_id, attempt, outcomes) = report.about
                && let Some(seen) = seen
            {
                let finished = FinishedAttempt {
                    build_id,
                    subjob_id,
                    attempt,
                    session_id: session_id.clone(),
                    incarnation: incarnation.clone(),
                };
                held.push((finished, outcomes, seen.clone()));
            }
        }
        // Now and then it is the whole machine that goes down.
        let is_machine_gone = self.is_gone || (self.life + self.index as u64).is_multiple_of(3);
        let hosting = std::mem::take(&mut self.hosting).crashed(is_machine_gone);
        let reborn = Self::new(self.index, self.num_executors, self.setup_failures);
        *self = Self {
            life: self.life + 1,
            is_up: false,
            is_gone: self.is_gone,
            mute_until: self.mute_until,
            deaf_until: self.deaf_until,
            forgets_begun: self.forgets_begun,
            drops_waiting: self.drops_waiting,
            ignores_incarnations: self.ignores_incarnations,
            seen: seen_of(&held),
            // A report of an earlier life must not be taken for one of this life.
            last_report: self.last_report,
            sickness: self.sickness,
            hosting,
            held,
            ..reborn
        };
    }

    /// The registration under which it works, unless it is to connect.
    pub(super) fn registration(&self) -> Option<SlaveId> {
        self.slave.filter(|_| self.is_settled && !self.doubts)
    }

    /// Says again whatever was not answered, and that it lives.
    pub(super) fn tick(&mut self) -> Vec<Act> {
        let (machine, session) = (self.index, self.session());
        let registration = self.registration();
        self.is_connecting = registration.is_none();
        self.num_connects += u64::from(self.is_connecting);
        let sign_of_life = match registration {
            None => ToMaster::Connect {
                machine,
                session,
                number: self.num_connects,
                finished: self.held.iter().map(|(held, ..)| held.clone()).collect(),
                known_as: self.slave.filter(|_| self.is_settled),
                seen: match self.ignores_incarnations {
                    true => self.met.clone().map(Seen::first).into_iter().collect(),
                    false => self.seen.values().cloned().collect(),
                },
            },
            Some(slave) => ToMaster::Heartbeat {
                machine,
                slave,
                session,
                of: self.met.as_ref().map(|met| met.session_id.clone()),
            },
        };
        let reports = self.unheard.keys().map(|number| self.send(*number));
        std::iter::once(Act::Send(sign_of_life))
            .chain(reports)
            .collect()
    }

    pub(super) fn ending(&mut self) -> Vec<Act> {
        self.hosting.stop_all();
        let slave = self.slave;
        slave.map_or_else(Vec::new, |slave| self.report(slave, About::Ending))
    }

    pub(super) fn take(&mut self, message: ToMachine, random: &mut Random) -> Vec<Act> {
        match message {
            ToMachine::Connected {
                session,
                number,
                slave,
                wanted,
                master,
            } => {
                let is_awaited = self.is_connecting && number == self.num_connects;
                if session == self.session() && is_awaited && self.adopt(slave) {
                    self.is_connecting = false;
                    self.is_settled = true;
                    self.doubts = false;
                    self.meet(slave, master);
                    let mut acts = self.deliver(slave, &wanted);
                    acts.extend(self.report_first(slave));
                    return acts;
                }
            }
            ToMachine::OtherLife => self.doubts = true,
            ToMachine::Unknown { slave } => {
                if self.slave == Some(slave) {
                    self.slave = None;
                }
            }
            ToMachine::Heard { number, at } => {
                self.unheard.remove(&number);
                let life = |mark: &MasterMark| (mark.incarnation.clone(), mark.session_id.clone());
                if let Some(at) = at.filter(|at| self.met.as_ref().map(life) == Some(life(at))) {
                    self.see(&Seen::first(at));
                }
            }
            ToMachine::Call {
                session,
                slave,
                number,
                asked,
                master,
            } => match asked {
                // Whatever registration it is meant for: it is the life that counts.
                Asked::End if session == self.session() => {
                    let (call, refusal) = (number, None);
                    let mut acts = self.ending();
                    acts.push(Act::Send(ToMaster::Answer { call, refusal }));
                    acts.push(Act::End);
                    return acts;
                }
                Asked::About(..) | Asked::Instances(..) if session != self.session() => {
                    let call = number;
                    return vec![Act::Send(ToMaster::WasStartedAgain { call })];
                }
                // A call that is meant for another registration is not answered.
                Asked::About(build, call) if self.admits(slave, &master) => {
                    self.note(master, build, &call);
                    return self.called(slave, number, build, call, random);
                }
                Asked::Instances(instances, preloads) if self.admits(slave, &master) => {
                    self.see(&Seen::first(master.clone()));
                    let mut acts = self.ordered(slave, &master, instances, preloads);
                    let (call, refusal) = (number, None);
                    acts.push(Act::Send(ToMaster::Answer { call, refusal }));
                    return acts;
                }
                Asked::About(..) | Asked::Instances(..) | Asked::End => {}
            },
        }
        Vec::new()
    }

    pub(super) fn done(&mut self, work: Work, random: &mut Random) -> Vec<Act> {
        match work {
            Work::SetUp(slave, build) => {
                let place = self.builds.get_mut(&(slave, build));
                let Some(place) = place.filter(|place| **place == Place::SettingUp) else {
                    return Vec::new();
                };
                let is_sick = self.sickness == Sickness::SetsNothingUp;
                if is_sick || random.happens(self.setup_failures) {
                    *place = Place::Failed;
                    self.drop_waiting(slave, build);
                    self.report(slave, About::SetupFailed(build))
                } else {
                    *place = Place::Ready;
                    let is_of_it = |work: &Work| work.of() == Some((slave, build));
                    let (ready, early) = std::mem::take(&mut self.early)
                        .into_iter()
                        .partition(is_of_it);
                    let ready: Vec<Work> = ready;
                    self.early = early;
                    self.waiting.extend(ready);
                    let mut acts = self.report(slave, About::SetUp(build));
                    acts.extend(self.start_waiting());
                    acts
                }
            }
            Work::RunPoison(..) => vec![Act::Die],
            Work::Instance(id, generation) => self.instance_goes_on(id, generation, random),
            // Also after a tear-down: the result may have been on its way.
            Work::Run(slave, build, subjob, attempt, outcomes) => {
                self.num_busy -= 1;
                let mut acts = Vec::new();
                // What another incarnation asked for was ended.
                if self.is_of_this_incarnation(slave) {
                    acts = self.report(slave, About::Finished(build, subjob, attempt, outcomes));
                }
                acts.extend(self.start_waiting());
                acts
            }
        }
    }

    /// Delivers the results of earlier lives that are wanted, and drops the others. If one is wanted
    /// that it does not have any more, it connects anew to say so.
    fn deliver(&mut self, slave: SlaveId, wanted: &[KeptHandOut]) -> Vec<Act> {
        let mut acts = Vec::new();
        let is_there = |kept: &KeptHandOut| {
            let is_held = |held: &FinishedAttempt| {
                (held.build_id, held.subjob_id, held.attempt)
                    == (kept.build, kept.subjob, kept.attempt)
            };
            let is_under_way = |report: &Report| {
                matches!(&report.about, About::Finished(build, subjob, attempt, _)
                    if (*build, *subjob, *attempt) == (kept.build, kept.subjob, kept.attempt))
            };
            self.held.iter().any(|(held, ..)| is_held(held))
                || self.unheard.values().any(is_under_way)
        };
        if !wanted.iter().all(is_there) {
            self.slave = None;
        }
        // What is under way is sent anew: a refusal of the older report, which may still come, was
        // meant for a registration before this.
        let under_way = std::mem::take(&mut self.unheard).into_iter();
        let (again, others) = under_way.partition(|(_, report)| {
            matches!(&report.about, About::Finished(build, subjob, attempt, _)
                if wanted.iter().any(|kept| (kept.build, kept.subjob, kept.attempt) == (*build, *subjob, *attempt)))
        });
        self.unheard = others;
        let again: BTreeMap<u64, Report> = again;
        for report in again.into_values() {
            acts.extend(self.report(slave, report.about));
        }
        for (held, outcomes, _) in std::mem::take(&mut self.held) {
            let (build, subjob, attempt) = (held.build_id, held.subjob_id, held.attempt);
            let hand_out = KeptHandOut {
                build,
                subjob,
                attempt,
            };
            if wanted.contains(&hand_out) {
                let about = About::Finished(build, subjob, attempt, outcomes);
                acts.extend(self.report(slave, about));
            }
        }
        acts
    }

    pub(super) fn report(&mut self, slave: SlaveId, about: About) -> Vec<Act> {
        self.last_report += 1;
        let report = Report { slave, about };
        self.unheard.insert(self.last_report, report);
        vec![self.send(self.last_report)]
    }

    fn send(&self, number: u64) -> Act {
        Act::Send(ToMaster::Report {
            machine: self.index,
            session: self.session(),
            number,
            report: self.unheard[&number].clone(),
            of: self.met.clone(),
        })
    }
}

/// What the results on a disk say of their masters.
fn seen_of(held: &[(FinishedAttempt, Vec<AtomOutcome>, Seen)]) -> BTreeMap<Incarnation, Seen> {
    let mut all = BTreeMap::new();
    for (.., seen) in held {
        let known = all.entry(seen.last.incarnation.clone());
        known.or_insert_with(|| seen.clone()).add(seen);
    }
    all
}
