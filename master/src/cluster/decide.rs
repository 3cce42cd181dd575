//! What a command means now.

use super::Cluster;
use super::atom_grouper;
use super::build::{Build, BuildState};
use super::command::{Command, HandOut, Refusal, SlaveChoice};
use super::event::{AtomOutcome, Event, Fact};
use super::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId};
use std::collections::BTreeMap;

impl Cluster {
    /// What a command means now: the facts that follow from it directly, none if it is a
    /// repetition or came too late to matter. Changes nothing.
    ///
    /// # Errors
    /// When the state does not allow it.
    pub fn decide(&self, command: Command, at: Timestamp) -> Result<Vec<Event>, Refusal> {
        let facts = self.facts(command, at)?;
        Ok(facts.into_iter().map(|fact| Event { at, fact }).collect())
    }

    fn facts(&self, command: Command, at: Timestamp) -> Result<Vec<Fact>, Refusal> {
        match command {
            Command::Start => Ok(vec![Fact::MasterStarted]),
            Command::ReportKept { builds } => Ok(self.retired(&builds)),
            Command::ForgetSlaves => Ok(self.forgotten_slaves(at)),
            Command::QueueBuild { request } => Ok(vec![Fact::BuildQueued {
                build: self.next_build_id(),
                request,
            }]),
            Command::CancelBuild { build } if self.is_ended(build) => Ok(Vec::new()),
            Command::CancelBuild { build } => {
                let over = self.known_build(build)?.is_over();
                Ok(unless(over, Fact::BuildCanceled { build }))
            }
            Command::ReportPrepared { build, plan } => {
                let expected = self.known_build(build)?.state == BuildState::Preparing;
                let mut plan = plan;
                let subjobs = atom_grouper::group(std::mem::take(&mut plan.atoms));
                Ok(unless(
                    !expected,
                    Fact::BuildPrepared {
                        build,
                        plan,
                        subjobs,
                    },
                ))
            }
            Command::ReportPreparationFailed { build, reason } => {
                let expected = self.known_build(build)?.state == BuildState::Preparing;
                Ok(unless(!expected, Fact::BuildFailed { build, reason }))
            }
            Command::ReportArchived { build } => {
                let expected = self.known_build(build)?.state == BuildState::Archiving;
                Ok(unless(!expected, Fact::BuildFinished { build }))
            }
            Command::ReportArchivingFailed { build, reason } => {
                let expected = self.known_build(build)?.state == BuildState::Archiving;
                Ok(unless(!expected, Fact::BuildFailed { build, reason }))
            }
            Command::ConnectSlave {
                url,
                session,
                num_executors,
                known_as,
            } => Ok(self.connect(url, session, num_executors, known_as)),
            Command::GiveSlaveUp { slave, reason } => {
                let called = self.slave(slave).is_some_and(Slave::is_called);
                Ok(unless(!called, Fact::SlaveLost { slave, reason }))
            }
            Command::ShutDownSlaves { slaves } => self.shut_down(&slaves),
            Command::ReportEnding { slave } => {
                let ending = |slave: &Slave| slave.presence == Presence::Ending;
                let expected = self.slave(slave).is_some_and(ending);
                Ok(unless(!expected, Fact::SlaveEnded { slave }))
            }
            Command::ReportSetUp {
                slave,
                session,
                build,
            } => {
                let place = self.place(slave, &session, build)?;
                let expected = matches!(place, Some(BuildOnSlave::SettingUp { .. }));
                Ok(unless(!expected, Fact::SetupCompleted { slave, build }))
            }
            Command::ReportSetupFailed {
                slave,
                session,
                build,
                reason,
            } => {
                let place = self.place(slave, &session, build)?;
                Ok(setup_failed(slave, build, place, reason))
            }
            Command::ReportRefusal {
                slave,
                build,
                reason,
            } => {
                let place = self
                    .slave(slave)
                    .and_then(|slave| slave.builds.get(&build).copied());
                Ok(setup_failed(slave, build, place, reason))
            }
            Command::ReportTornDown { slave, build } => {
                let place = self.slave(slave).and_then(|slave| slave.builds.get(&build));
                let expected = place == Some(&BuildOnSlave::TearingDown);
                Ok(unless(!expected, Fact::TeardownCompleted { slave, build }))
            }
            Command::ReportFinished { hand_out, outcomes } => {
                let HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                } = hand_out;
                let repeated = self.is_repeated(hand_out)?;
                let fact = match self.misfit(hand_out, &outcomes) {
                    None => Fact::SubjobFinished {
                        slave,
                        build,
                        subjob,
                        attempt,
                        outcomes,
                    },
                    Some(reason) => Fact::SubjobReturned {
                        slave,
                        build,
                        subjob,
                        attempt,
                        reason,
                    },
                };
                Ok(unless(repeated, fact))
            }
            Command::ReportUnusable { hand_out, reason } => {
                let HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                } = hand_out;
                let repeated = self.is_repeated(hand_out)?;
                let fact = Fact::SubjobReturned {
                    slave,
                    build,
                    subjob,
                    attempt,
                    reason,
                };
                Ok(unless(repeated, fact))
            }
        }
    }

    /// All that are named are in shutdown mode from now on, or none if one of them is not listed.
    fn shut_down(&self, choice: &SlaveChoice) -> Result<Vec<Fact>, Refusal> {
        let listed = |id: &SlaveId| {
            let slave = self.slave(*id).filter(|slave| slave.is_listed());
            slave.ok_or(Refusal::NoSuchSlave(*id))
        };
        let slaves: BTreeMap<SlaveId, &Slave> = match choice {
            SlaveChoice::All => self.slaves().map(|slave| (slave.id, slave)).collect(),
            SlaveChoice::Named(ids) => ids
                .iter()
                .map(|id| Ok((*id, listed(id)?)))
                .collect::<Result<_, Refusal>>()?,
        };
        let new = slaves.values().filter(|slave| !slave.was_shut_down());
        Ok(new
            .map(|slave| Fact::ShutdownRequested { slave: slave.id })
            .collect())
    }

    fn known_build(&self, id: BuildId) -> Result<&Build, Refusal> {
        self.build(id).ok_or(if self.is_forgotten(id) {
            Refusal::ForgottenBuild(id)
        } else {
            Refusal::UnknownBuild(id)
        })
    }

    /// Whether a call comes from a living slave in the life that the master knows.
    ///
    /// # Errors
    /// The slave is unknown, given up, or was started again.
    pub fn known_slave(&self, id: SlaveId, session: &SessionId) -> Result<&Slave, Refusal> {
        let slave = self.slave(id).filter(|slave| slave.is_alive());
        let slave = slave.ok_or(Refusal::UnknownSlave(id))?;
        if slave.session == *session {
            Ok(slave)
        } else {
            Err(Refusal::SessionExpired(session.clone()))
        }
    }

    fn place(
        &self,
        slave: SlaveId,
        session: &SessionId,
        build: BuildId,
    ) -> Result<Option<BuildOnSlave>, Refusal> {
        if !self.is_ended(build) {
            self.known_build(build)?;
        }
        Ok(self
            .known_slave(slave, session)?
            .builds
            .get(&build)
            .copied())
    }

    /// A slave that is alive in the same life, under the registration that it knows itself by, goes
    /// on as it is. Any other one at the same address was started again, or never heard of its
    /// registration, and has nothing of what was handed out under it. A life that is to end stays so.
    fn connect(
        &self,
        url: String,
        session: SessionId,
        num_executors: u32,
        known_as: Option<SlaveId>,
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        let before = self.latest_at(&url);
        let is_to_end =
            before.is_some_and(|slave| slave.was_shut_down() && slave.session == session);
        if let Some(known) = before.filter(|slave| slave.is_called()) {
            let is_same_life = known.session == session;
            let is_same = known.is_alive() && known.num_executors == num_executors;
            if is_same && is_same_life && known_as == Some(known.id) {
                return facts;
            }
            let reason = if is_same_life {
                "it connected anew"
            } else {
                "it was started again"
            };
            facts.push(Fact::SlaveLost {
                slave: known.id,
                reason: reason.to_owned(),
            });
        }
        let slave = self.next_slave_id();
        facts.push(Fact::SlaveConnected {
            slave,
            url,
            session,
            num_executors,
        });
        if is_to_end {
            facts.push(Fact::ShutdownRequested { slave });
        }
        facts
    }

    /// Whether this very result is recorded already. An error where the hand-out does not count.
    ///
    /// # Errors
    /// Unknown build or subjob, or a hand-out that is not the current one.
    pub fn is_repeated(&self, hand_out: HandOut) -> Result<bool, Refusal> {
        let stale = Refusal::StaleAttempt {
            build: hand_out.build,
            subjob: hand_out.subjob,
            attempt: hand_out.attempt,
        };
        if self.is_ended(hand_out.build) {
            return Err(stale);
        }
        let build = self.known_build(hand_out.build)?;
        let subjob = build.subjob(hand_out.subjob);
        let subjob = subjob.ok_or(Refusal::UnknownSubjob(hand_out.subjob))?;
        if let Some((attempt, _)) = &subjob.result
            && *attempt == hand_out.attempt
            && subjob.slave == Some(hand_out.slave)
        {
            return Ok(true);
        }
        let running = build
            .progress()
            .and_then(|p| p.running.get(&hand_out.subjob));
        if running == Some(&(hand_out.slave, hand_out.attempt)) {
            return Ok(false);
        }
        Err(stale)
    }

    /// Why a result can not be that of its subjob: an atom would have no outcome, or two.
    fn misfit(&self, hand_out: HandOut, outcomes: &[AtomOutcome]) -> Option<String> {
        let num_atoms = self
            .build(hand_out.build)?
            .subjob(hand_out.subjob)?
            .atoms
            .len();
        let num_outcomes = outcomes.len();
        (num_outcomes != num_atoms)
            .then(|| format!("its result has {num_outcomes} outcomes for {num_atoms} atoms"))
    }
}

fn unless(not_now: bool, fact: Fact) -> Vec<Fact> {
    if not_now { Vec::new() } else { vec![fact] }
}

/// A slave that can not clear a build away has nothing of it that the master could wait for.
fn setup_failed(
    slave: SlaveId,
    build: BuildId,
    place: Option<BuildOnSlave>,
    reason: String,
) -> Vec<Fact> {
    match place {
        None => Vec::new(),
        Some(BuildOnSlave::TearingDown) => vec![Fact::TeardownCompleted { slave, build }],
        Some(BuildOnSlave::SettingUp { .. } | BuildOnSlave::Ready) => {
            vec![Fact::SetupFailed {
                slave,
                build,
                reason,
            }]
        }
    }
}
