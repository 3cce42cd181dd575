//! What a command means now.

use super::Cluster;
use super::command::{Command, HandOut, Refusal, SlaveChoice};
use super::event::{
    AtomOutcome, BuildFact, Event, Fact, IncarnationCause, KeptHandOut, Loss, SlaveFact,
};
use crate::core::builds::atom_grouper;
use crate::core::builds::build::{Build, BuildState};
use crate::core::builds::project::Owner;
use crate::core::lifetime::incarnation::Named;
use crate::core::slaves::connecting::Offer;
use crate::core::slaves::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId, SubjobId};
use std::collections::BTreeMap;

/// How many warnings a build keeps.
const MAX_WARNINGS: usize = 10;
/// How many characters of each.
const MAX_WARNING: usize = 2_000;

impl Cluster {
    /// What a command means now: the facts that follow from it directly, none if it is a
    /// repetition or came too late to matter. Changes nothing.
    ///
    /// # Errors
    /// When the state does not allow it.
    pub fn decide(&self, command: Command, at: Timestamp) -> Result<Vec<Event>, Refusal> {
        let by = command.actor();
        let facts = self.facts(command.bounded(), at)?.into_iter();
        Ok(facts.map(|fact| Event { at, by, fact }).collect())
    }

    fn facts(&self, command: Command, at: Timestamp) -> Result<Vec<Fact>, Refusal> {
        match command {
            Command::Start { opening } => Ok(self.start(&opening)),
            Command::BeginIncarnation { fresh, reason } => {
                let cause = IncarnationCause::EventsMissing(reason);
                Ok(self.begin_incarnation(&fresh, cause, Named::NOTHING))
            }
            Command::ReportKept { builds } => Ok(self.retired(&builds)),
            Command::ForgetBuilds { bounds, sizes } => Ok(self.beyond(&bounds, &sizes, at)),
            Command::ReportCleared { build } => {
                let expected = self.to_be_cleared().contains(&build);
                Ok(unless(!expected, Fact::Build(build, BuildFact::Cleared)))
            }
            Command::ForgetSlaves => Ok(self.forgotten_slaves(at)),
            Command::QueueBuild { by, request } => {
                let owner = Owner::of(by);
                let queued = BuildFact::Queued {
                    project: self.projects.of(owner, request.project_key()),
                    owner,
                    request,
                };
                Ok(vec![Fact::Build(self.next_build_id(), queued)])
            }
            Command::CancelBuild { build, .. } if self.is_ended(build) => Ok(Vec::new()),
            Command::CancelBuild { build, .. } => {
                let over = self.known_build(build)?.is_over();
                Ok(unless(over, Fact::Build(build, BuildFact::Canceled)))
            }
            Command::ReportPrepared { build, plan } => {
                let expected = self.known_build(build)?.state == BuildState::Preparing;
                let mut plan = plan;
                // What says nothing certain of which atom says nothing.
                if plan.expected_ms.len() != plan.atoms.len() {
                    plan.expected_ms.clear();
                }
                let subjobs = atom_grouper::group(std::mem::take(&mut plan.atoms));
                Ok(unless(
                    !expected,
                    Fact::Build(build, BuildFact::Prepared { plan, subjobs }),
                ))
            }
            Command::ReportPreparationFailed { build, reason } => {
                let expected = self.known_build(build)?.state == BuildState::Preparing;
                Ok(unless(
                    !expected,
                    Fact::Build(build, BuildFact::Failed { reason }),
                ))
            }
            Command::ReportPreparationStopped { build } => {
                let stopped = self.known_build(build)?;
                let expected =
                    stopped.state == BuildState::Preparing && !stopped.preparations.is_stopped;
                Ok(unless(
                    !expected,
                    Fact::Build(build, BuildFact::PreparationStopped),
                ))
            }
            Command::ReportArchived { build } => {
                let expected = self.known_build(build)?.state == BuildState::Archiving;
                Ok(unless(!expected, Fact::Build(build, BuildFact::Finished)))
            }
            Command::ReportArchivingFailed { build, reason } => {
                let expected = self.known_build(build)?.state == BuildState::Archiving;
                Ok(unless(
                    !expected,
                    Fact::Build(build, BuildFact::Failed { reason }),
                ))
            }
            Command::ConnectSlave {
                url,
                session,
                num_executors,
                labels,
                known_as,
                finished,
                seen,
                fresh,
            } => {
                let offer = Offer {
                    url,
                    session,
                    num_executors,
                    labels,
                    known_as,
                };
                Ok(self.connect(offer, &finished, &seen, &fresh))
            }
            Command::ConnectLegacySlave {
                url,
                session,
                num_executors,
            } => self.connect_legacy(url, session, num_executors),
            Command::ReportStopped { slave } => Ok(self.given_up(slave, Loss::Stopped)),
            Command::GiveSlaveUp { slave, reason } => {
                Ok(self.given_up(slave, Loss::Trouble(reason)))
            }
            Command::ReportSlaveDied { slave, reason } => {
                let called = self.slave(slave).is_some_and(Slave::is_called);
                Ok(if called {
                    self.died(slave, reason, &[])
                } else {
                    Vec::new()
                })
            }
            Command::DrainSlave { slave, .. } => {
                let drained = self.listed_slave(slave)?.is_drained;
                Ok(unless(
                    drained,
                    Fact::Slave(slave, SlaveFact::DrainRequested),
                ))
            }
            Command::UndrainSlave { slave, .. } => {
                let known = self.listed_slave(slave)?;
                let mut facts =
                    unless(!known.is_drained, Fact::Slave(slave, SlaveFact::DrainEnded));
                let well = known.quarantine.is_none();
                facts.extend(unless(well, Fact::Slave(slave, SlaveFact::Released)));
                Ok(facts)
            }
            Command::WarnOfBuild {
                slave,
                build,
                warning,
            } => Ok(self.warn(slave, build, &warning)?.into_iter().collect()),
            Command::ShutDownSlaves { slaves, .. } => self.shut_down(&slaves),
            Command::ReportEnding { slave } => {
                let ending = |slave: &Slave| slave.presence == Presence::Ending;
                let expected = self.slave(slave).is_some_and(ending);
                Ok(unless(!expected, Fact::Slave(slave, SlaveFact::Ended)))
            }
            Command::ReportSetUp {
                slave,
                session,
                build,
            } => {
                let place = self.place(slave, &session, build)?;
                let expected = matches!(place, Some(BuildOnSlave::SettingUp { .. }));
                Ok(unless(
                    !expected,
                    Fact::Build(build, BuildFact::SetupCompleted { slave }),
                ))
            }
            Command::ReportSetupFailed {
                slave,
                session,
                build,
                reason,
            } => {
                let place = self.place(slave, &session, build)?;
                Ok(self.setup_failed(slave, build, place, reason))
            }
            Command::ReportRefusal {
                slave,
                build,
                reason,
            } => {
                let place = self
                    .slave(slave)
                    .and_then(|slave| slave.builds.get(&build).copied());
                Ok(self.setup_failed(slave, build, place, reason))
            }
            Command::ReportTornDown { slave, build } => {
                let place = self.slave(slave).and_then(|slave| slave.builds.get(&build));
                let expected = place == Some(&BuildOnSlave::TearingDown);
                Ok(unless(
                    !expected,
                    Fact::Build(build, BuildFact::TeardownCompleted { slave }),
                ))
            }
            Command::ReportFinished {
                hand_out,
                executor,
                outcomes,
            } => {
                let HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                } = hand_out;
                let repeated = self.is_repeated(hand_out)?;
                let slave = self.keeper(hand_out).unwrap_or(slave);
                let fact = match self.misfit(hand_out, &outcomes) {
                    None if self.is_doubtful(hand_out, &outcomes) => Fact::Build(
                        build,
                        BuildFact::ResultDoubted {
                            slave,
                            subjob,
                            attempt,
                        },
                    ),
                    None => Fact::Build(
                        build,
                        BuildFact::SubjobFinished {
                            slave,
                            subjob,
                            attempt,
                            executor,
                            outcomes,
                        },
                    ),
                    Some(reason) => Fact::Build(
                        build,
                        BuildFact::SubjobReturned {
                            slave,
                            subjob,
                            attempt,
                            reason,
                        },
                    ),
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
                let slave = self.keeper(hand_out).unwrap_or(slave);
                let fact = Fact::Build(
                    build,
                    BuildFact::SubjobReturned {
                        slave,
                        subjob,
                        attempt,
                        reason,
                    },
                );
                Ok(unless(repeated, fact))
            }
        }
    }

    /// All that are named are in shutdown mode from now on, or none if one of them is not listed.
    fn shut_down(&self, choice: &SlaveChoice) -> Result<Vec<Fact>, Refusal> {
        let slaves: BTreeMap<SlaveId, &Slave> = match choice {
            SlaveChoice::All => self.slaves().map(|slave| (slave.id, slave)).collect(),
            SlaveChoice::Named(ids) => ids
                .iter()
                .map(|id| Ok((*id, self.listed_slave(*id)?)))
                .collect::<Result<_, Refusal>>()?,
        };
        let new = slaves.values().filter(|slave| !slave.was_shut_down());
        Ok(new
            .map(|slave| Fact::Slave(slave.id, SlaveFact::ShutdownRequested))
            .collect())
    }

    fn listed_slave(&self, id: SlaveId) -> Result<&Slave, Refusal> {
        let slave = self.slave(id).filter(|slave| slave.is_listed());
        slave.ok_or(Refusal::NoSuchSlave(id))
    }

    fn given_up(&self, slave: SlaveId, reason: Loss) -> Vec<Fact> {
        let called = self.slave(slave).is_some_and(Slave::is_called);
        unless(!called, Fact::Slave(slave, SlaveFact::Lost { reason }))
    }

    /// A slave is lost, and each subjob that it ran may be why.
    pub(super) fn died(
        &self,
        slave: SlaveId,
        reason: String,
        finished: &[KeptHandOut],
    ) -> Vec<Fact> {
        let running = self
            .slave(slave)
            .into_iter()
            .flat_map(|slave| &slave.running);
        let is_suspect = |(build, subjob): &&(BuildId, SubjobId)| {
            let subjob = self.build(*build).and_then(|build| build.subjob(*subjob));
            subjob.is_some_and(|subjob| !subjob.mishaps().outlived_master)
        };
        let is_under_way = |(build, subjob): &&(BuildId, SubjobId)| {
            let is_it = |kept: &KeptHandOut| (kept.build, kept.subjob) == (*build, *subjob);
            !finished.iter().any(is_it)
        };
        let suspected = |(build, subjob): &(BuildId, SubjobId)| {
            Fact::Build(
                *build,
                BuildFact::SubjobSuspected {
                    slave,
                    subjob: *subjob,
                },
            )
        };
        let reason = Loss::Trouble(reason);
        let lost = std::iter::once(Fact::Slave(slave, SlaveFact::Lost { reason }));
        let suspects = running.filter(is_under_way).filter(is_suspect);
        lost.chain(suspects.map(suspected)).collect()
    }

    /// A warning names its slave; beyond a certain number they say nothing new.
    fn warn(&self, slave: SlaveId, id: BuildId, text: &str) -> Result<Option<Fact>, Refusal> {
        let build = self.known_build(id)?;
        let who = self.slave(slave).ok_or(Refusal::UnknownSlave(slave))?;
        let text: String = text.chars().take(MAX_WARNING).collect();
        let warning = match build.warnings.len() {
            known if known < MAX_WARNINGS => format!("slave {}: {text}", who.url),
            MAX_WARNINGS => "further warnings are omitted".to_owned(),
            _ => return Ok(None),
        };
        // The slave repeats its report until it hears an answer.
        let known = build.warnings.contains(&warning);
        Ok((!known).then_some(Fact::Build(id, BuildFact::Warned { warning })))
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
        if !self.was_put_away(build) {
            self.known_build(build)?;
        }
        Ok(self
            .known_slave(slave, session)?
            .builds
            .get(&build)
            .copied())
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
        if self.was_put_away(hand_out.build) {
            return Err(stale);
        }
        let build = self.known_build(hand_out.build)?;
        let subjob = build.subjob(hand_out.subjob);
        let subjob = subjob.ok_or(Refusal::UnknownSubjob(hand_out.subjob))?;
        if let Some((attempt, _)) = &subjob.result
            && *attempt == hand_out.attempt
            && self.is_the_same_machine(subjob.slave, hand_out.slave)
        {
            return Ok(true);
        }
        let running = build
            .progress()
            .and_then(|p| p.running.get(&hand_out.subjob));
        if running == Some(&(hand_out.slave, hand_out.attempt)) {
            return Ok(false);
        }
        if self.keeper(hand_out).is_some() {
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
