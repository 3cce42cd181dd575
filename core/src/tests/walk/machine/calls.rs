//! Calls of the master: which of them a slave takes, and what it does then.

use super::{Machine, Place, Sickness};
use crate::effect::SlaveCall;
use crate::tests::walk::messages::{About, Act, Report, ToMaster, Work};
use crate::tests::walk::random::Random;
use crate::tests::walk::{POISON, SICK_OUTCOME, oracle};
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::work::{MasterMark, Seen};

impl Machine {
    /// Whether an order comes from the life of the master that it has met, about the registration that it
    /// got there. Otherwise it asks first what counts.
    pub(super) fn admits(&mut self, slave: SlaveId, master: &MasterMark) -> bool {
        if self.ignores_incarnations {
            return self.adopt(slave);
        }
        let has_met = self.met.as_ref().is_some_and(|met| {
            (&met.incarnation, &met.session_id) == (&master.incarnation, &master.session_id)
        });
        self.doubts |= !has_met;
        has_met && self.is_settled && self.slave == Some(slave)
    }

    pub(super) fn is_of_this_incarnation(&self, slave: SlaveId) -> bool {
        let met = self.met.as_ref().map(|met| &met.incarnation);
        self.ignores_incarnations || self.registrations.get(&slave) == met
    }

    /// Whatever it has of another incarnation is nothing any more.
    pub(super) fn meet(&mut self, slave: SlaveId, master: MasterMark) {
        let incarnation = master.incarnation.clone();
        let is_new = self.met.as_ref().map(|met| &met.incarnation) != Some(&incarnation);
        self.met = Some(master.clone());
        self.registrations.insert(slave, incarnation.clone());
        if self.ignores_incarnations {
            return;
        }
        if is_new {
            self.unheard.clear();
        }
        self.seen.retain(|known, _| *known == incarnation);
        let mut seen = Seen::first(master);
        seen.slave = slave;
        self.see(&seen);
    }

    pub(super) fn note(&mut self, master: MasterMark, build: BuildId, call: &SlaveCall) {
        let mut seen = Seen::first(master);
        seen.build = build;
        if let SlaveCall::Start { attempt, .. } = call {
            seen.attempt = *attempt;
        }
        self.see(&seen);
    }

    pub(super) fn see(&mut self, seen: &Seen) {
        let known = self.seen.entry(seen.last.incarnation.clone());
        known.or_insert_with(|| seen.clone()).add(seen);
    }

    /// Takes a registration for its own if it is not an older one; what was asked of an older one
    /// does not count any more. Whether it is its own now.
    pub(super) fn adopt(&mut self, slave: SlaveId) -> bool {
        if !self.ignores_incarnations && self.slave.is_some_and(|known| known > slave) {
            return false;
        }
        self.is_settled &= self.slave == Some(slave);
        self.slave = Some(slave);
        self.builds.retain(|(of, _), _| *of == slave);
        self.begun.retain(|(of, ..)| *of == slave);
        let is_its = |work: &Work| work.of().is_some_and(|(of, _)| of == slave);
        self.waiting.retain(is_its);
        self.early.retain(is_its);
        // Results are kept, as on a real slave: the master says whether they count.
        let is_kept =
            |report: &Report| report.slave == slave || matches!(report.about, About::Finished(..));
        self.unheard.retain(|_, report| is_kept(report));
        true
    }

    pub(super) fn called(
        &mut self,
        slave: SlaveId,
        number: u64,
        build: BuildId,
        call: SlaveCall,
        random: &mut Random,
    ) -> Vec<Act> {
        let place = self.builds.get(&(slave, build)).copied();
        let mut refusal = None;
        let mut acts = Vec::new();
        // Calls about a build are made one after the other: an older one is a late repetition.
        let newest = self.newest_calls.entry((slave, build)).or_default();
        let is_new = number > *newest;
        *newest = number.max(*newest);
        match (call, place) {
            (SlaveCall::SetUp(_), None) => {
                self.builds.insert((slave, build), Place::SettingUp);
                acts.push(Act::Begin(Work::SetUp(slave, build)));
            }
            (SlaveCall::SetUp(_), Some(Place::Failed | Place::TornDown)) if is_new => {
                self.builds.insert((slave, build), Place::SettingUp);
                acts.push(Act::Begin(Work::SetUp(slave, build)));
            }
            (SlaveCall::SetUp(_), Some(Place::SettingUp | Place::TornDown)) => {}
            (SlaveCall::SetUp(_), Some(Place::Ready)) => {
                acts = self.report(slave, About::SetUp(build));
            }
            (SlaveCall::SetUp(_), Some(Place::Failed)) => {
                acts = self.report(slave, About::SetupFailed(build));
            }
            (SlaveCall::Start { .. }, Some(Place::Ready))
                if random.happens(self.setup_failures / 4) =>
            {
                // What waits is run all the same: the call may be a late repetition that nobody waits for.
                self.builds.insert((slave, build), Place::Failed);
                refusal = Some("its files are gone".to_owned());
            }
            (
                SlaveCall::Start {
                    subjob,
                    attempt,
                    atoms,
                    command,
                    ..
                },
                Some(place @ (Place::Ready | Place::SettingUp)),
            ) => {
                let is_new = self.begun.insert((slave, build, subjob, attempt));
                if is_new || self.forgets_begun {
                    assert!(is_new, "attempt {attempt} of {build}.{subjob} runs twice");
                    let commands = atoms.iter().map(|atom| format!("{atom} {command}"));
                    let is_sick = self.sickness == Sickness::FailsEverything;
                    let outcome = |command: &str| {
                        if is_sick {
                            SICK_OUTCOME
                        } else {
                            oracle(command, attempt)
                        }
                    };
                    let is_poison = commands.clone().any(|command| command.contains(POISON));
                    let work = if is_poison {
                        Work::RunPoison(slave, build)
                    } else {
                        let outcomes = commands.map(|command| outcome(&command)).collect();
                        Work::Run(slave, build, subjob, attempt, outcomes)
                    };
                    match place {
                        Place::Ready => self.waiting.push_back(work),
                        _ => self.early.push(work),
                    }
                    acts.extend(self.start_waiting());
                }
            }
            (SlaveCall::Start { .. }, _) => refusal = Some("not set up".to_owned()),
            // What runs there goes on.
            (SlaveCall::KeepConsoles(_), _) => {}
            (SlaveCall::TearDown, Some(Place::SettingUp | Place::Ready)) if !is_new => {}
            (SlaveCall::TearDown, _) if random.happens(self.setup_failures / 4) => {
                self.builds.insert((slave, build), Place::TornDown);
                self.drop_waiting(slave, build);
                refusal = Some("its files can not be removed".to_owned());
            }
            (SlaveCall::TearDown, _) => {
                self.builds.insert((slave, build), Place::TornDown);
                self.drop_waiting(slave, build);
                acts = self.report(slave, About::TornDown(build));
            }
        }
        let call = number;
        acts.push(Act::Send(ToMaster::Answer { call, refusal }));
        acts
    }

    /// Executors that are free take what waits.
    pub(super) fn start_waiting(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        while self.num_busy < self.num_executors
            && let Some(work) = self.waiting.pop_front()
        {
            self.num_busy += 1;
            acts.push(Act::Begin(work));
        }
        if self.drops_waiting {
            self.waiting.clear();
        }
        acts
    }

    /// What waits of a build is not run any more.
    pub(super) fn drop_waiting(&mut self, slave: SlaveId, build: BuildId) {
        let is_other = |work: &Work| work.of() != Some((slave, build));
        self.waiting.retain(is_other);
        self.early.retain(is_other);
    }
}
