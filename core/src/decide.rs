//! What a command means now.

mod reports;
mod statuses;

use super::Cluster;
use super::command::{Command, SlaveChoice};
use super::event::{BuildFact, Event, Fact, IncarnationCause, KeptHandOut, Loss, SlaveFact};
use crate::accounts::owner::Owner;
use crate::accounts::refusal::AccountRefusal;
use crate::actor::Actor;
use crate::builds::build::{Build, BuildState};
use crate::builds::details::{Merge, NewDetails};
use crate::builds::hand_out::HandOut;
use crate::builds::hunted::HuntedRun;
use crate::builds::mishaps::CutRun;
use crate::lifetime::incarnation::Named;
use crate::refusal::Refusal;
use crate::slaves::connecting::Offer;
use crate::slaves::slave::{BuildOnSlave, Presence, Slave};
use crate::templates::decide::Turn;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, ProjectId, SessionId, SlaveId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use std::collections::BTreeMap;

/// How many characters a warning has at most.
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

    #[expect(clippy::too_many_lines, reason = "an arm for each command")]
    fn facts(&self, command: Command, at: Timestamp) -> Result<Vec<Fact>, Refusal> {
        match command {
            Command::Start { opening } => Ok(self.start(&opening)),
            Command::BeginIncarnation { fresh, reason } => {
                let cause = IncarnationCause::EventsMissing(reason);
                Ok(self.begin_incarnation(&fresh, cause, Named::NOTHING))
            }
            Command::ReportKept { builds } => Ok(self.retired(&builds)),
            Command::ForgetBuilds { bounds, sizes } => Ok(self.beyond(&bounds, &sizes, at)),
            Command::ReportCleared { build } => Ok(self.cleared(build)),
            Command::ForgetSlaves => Ok(self.forgotten_slaves(at)),
            Command::QueueBuild { by, request } => self.queued(by, request),
            Command::QueueBuildOf {
                by,
                project,
                request,
                details,
            } => self.queued_of(by, project, request, details),
            Command::Account { by, command } => Ok(self.account_facts(by, command, at)?),
            Command::Project { by, command } => Ok(self.project_facts(by, command)?),
            Command::App { by, command } => self.app_facts(by, command, at),
            Command::SlaveKey { command, .. } => Ok(self.key_facts(command)?),
            Command::CancelBuild { build, .. } => self.canceled(build),
            Command::NoteOnBuild { build, note, .. } => self.noted(build, &note),
            Command::DescribeBuild {
                build,
                details,
                merge,
                ..
            } => self.described(build, details, merge),
            Command::DeleteBuild { build, .. } => self.deleted(build),
            Command::PostStatus { build, posted, .. } => self.posted(build, posted),
            Command::ReportPrepared { build, plan } => self.prepared(build, plan),
            Command::ReportPreparationFailed { build, reason } => {
                self.failed(build, BuildState::Preparing, reason)
            }
            Command::ReportPreparationStopped { build } => self.preparation_stopped(build),
            Command::ReportArchived { build, template } => self.archived(build, template),
            Command::ReportArchivingFailed { build, reason } => {
                self.failed(build, BuildState::Archiving, reason)
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
                key,
            } => {
                let offer = Offer {
                    url,
                    session,
                    num_executors,
                    labels,
                    known_as,
                    key,
                };
                self.connect(offer, &finished, &seen, &fresh)
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
                Ok(self.died_if_called(slave, Loss::Trouble(reason)))
            }
            Command::ReportSlaveStartedAgain { slave } => {
                Ok(self.died_if_called(slave, Loss::StartedAgain))
            }
            Command::DrainSlave { slave, .. } => self.drained(slave),
            Command::UndrainSlave { slave, .. } => self.undrained(slave),
            Command::WarnOfBuild {
                slave,
                build,
                warning,
            } => self.warn(slave, build, &warning),
            Command::ShutDownSlaves { slaves, .. } => self.shut_down(&slaves),
            Command::ReportEnding { slave } => Ok(self.slave_ended(slave)),
            Command::ReportSetUp {
                slave,
                session,
                build,
            } => self.was_set_up(slave, &session, build),
            Command::ReportSetupFailed {
                slave,
                session,
                build,
                reason,
            } => {
                let place = self.place(slave, &session, build)?;
                Ok(self.setup_failed(slave, build, place, reason))
            }
            Command::Withhold {
                slave,
                build,
                reason,
            } => {
                let place = self.slave(slave).and_then(|slave| slave.builds.get(&build));
                let failed = self.setup_failed(slave, build, place.copied(), reason);
                Ok(failed.into_iter().map(no_fault_of_slave).collect())
            }
            Command::ReportRefusal {
                slave,
                build,
                reason,
            } => {
                let place = self.slave(slave).and_then(|slave| slave.builds.get(&build));
                Ok(self.setup_failed(slave, build, place.copied(), reason))
            }
            Command::ReportCutOff {
                slave,
                build,
                subjobs,
                runs,
            } => {
                let cut_off = self.cut_off(slave, build, subjobs, runs);
                Ok(cut_off.into_iter().collect())
            }
            Command::ReportHunting { build, goes_on } => {
                let fact = self.hunt_goes_on(build, goes_on);
                Ok(fact.into_iter().collect())
            }
            Command::ReportHunted { build, runs } => {
                Ok(self.hunted(build, runs).into_iter().collect())
            }
            Command::ReportTornDown { slave, build } => Ok(self.torn_down(slave, build)),
            Command::ReportFinished {
                hand_out,
                executor,
                outcomes,
            } => self.finished(hand_out, executor, outcomes),
            Command::ReportUnusable { hand_out, reason } => self.unusable(hand_out, reason),
            Command::Launch { by, launch } => self.launched(by, *launch),
            Command::StopInstance { instance, .. } => self.stopped(instance),
            Command::Preload { template, .. } => self.preloaded(template),
            Command::ReportInstances {
                slave,
                session,
                report,
            } => self.instances_reported(slave, &session, report),
            Command::CullInstances { since, active } => Ok(self.culled(since, &active, at)),
            Command::ForgetInstances => Ok(self.forgotten_instances()),
            Command::ForgetTemplates { bounds } => Ok(self.templates_beyond(&bounds)),
            Command::DeleteTemplate { name, .. } => self.template_deleted(&name),
            Command::ReportDamagedSnapshot { digest } => Ok(self.snapshot_damaged(&digest)),
        }
    }

    fn queued(&self, by: Actor, mut request: Box<BuildRequest>) -> Result<Vec<Fact>, Refusal> {
        let owner = Owner::of(by);
        let canceled = self.claimed(&mut request, Turn::Alone)?;
        let queued = BuildFact::Queued {
            project: self.projects.of(owner, request.project_key()),
            owner,
            started_by: by.user(),
            request,
        };
        let queued = Fact::Build(self.next_build_id(), queued);
        Ok(canceled.into_iter().chain([queued]).collect())
    }

    fn queued_of(
        &self,
        by: Actor,
        project: ProjectId,
        mut request: Box<BuildRequest>,
        details: NewDetails,
    ) -> Result<Vec<Fact>, Refusal> {
        let known = self.project(project);
        let owner = known.ok_or(AccountRefusal::UnknownProject(project))?.owner;
        let build = self.next_build_id();
        let details = self.fitting(project, build, details, None, Merge::Replace)?;
        let canceled = self.claimed(&mut request, Turn::InLine)?;
        let queued = BuildFact::Queued {
            project,
            owner,
            started_by: by.user(),
            request,
        };
        let mut facts: Vec<Fact> = canceled.into_iter().collect();
        facts.push(Fact::Build(build, queued));
        if !details.is_empty() {
            facts.push(Fact::Build(build, BuildFact::Described { details }));
        }
        Ok(facts)
    }

    fn canceled(&self, build: BuildId) -> Result<Vec<Fact>, Refusal> {
        if self.is_ended(build) && !self.is_deleted(build) {
            return Ok(Vec::new());
        }
        Ok(self.canceled_with_children(self.shown_build(build)?))
    }

    fn cleared(&self, build: BuildId) -> Vec<Fact> {
        let expected = self.to_be_cleared().contains(&build);
        when(expected, Fact::Build(build, BuildFact::Cleared))
    }

    fn died_if_called(&self, slave: SlaveId, reason: Loss) -> Vec<Fact> {
        match self.slave(slave) {
            Some(known) if known.is_called() => self.died(slave, reason, &[]),
            Some(_) | None => Vec::new(),
        }
    }

    fn drained(&self, slave: SlaveId) -> Result<Vec<Fact>, Refusal> {
        let takes_work = !self.listed_slave(slave)?.is_drained;
        let drained = Fact::Slave(slave, SlaveFact::DrainRequested);
        Ok(when(takes_work, drained))
    }

    fn undrained(&self, slave: SlaveId) -> Result<Vec<Fact>, Refusal> {
        let known = self.listed_slave(slave)?;
        let undrained = Fact::Slave(slave, SlaveFact::DrainEnded);
        let mut facts = when(known.is_drained, undrained);
        let is_quarantined = known.quarantine.is_some();
        facts.extend(when(
            is_quarantined,
            Fact::Slave(slave, SlaveFact::Released),
        ));
        Ok(facts)
    }

    fn slave_ended(&self, slave: SlaveId) -> Vec<Fact> {
        let ending = |slave: &Slave| slave.presence == Presence::Ending;
        let expected = self.slave(slave).is_some_and(ending);
        when(expected, Fact::Slave(slave, SlaveFact::Ended))
    }

    /// Only of what the slave had when the build ended, and once.
    fn cut_off(
        &self,
        slave: SlaveId,
        id: BuildId,
        mut subjobs: Vec<(SubjobId, Attempt)>,
        mut runs: Vec<(SubjobId, CutRun)>,
    ) -> Option<Fact> {
        let build = self.build(id)?;
        subjobs.retain(|(subjob, attempt)| {
            build.held_at_end.get(subjob) == Some(&(slave, *attempt))
                && !build.cut_off.contains_key(subjob)
        });
        runs.retain(|(subjob, _)| subjobs.iter().any(|(cut_off, _)| cut_off == subjob));
        let says_something = !subjobs.is_empty();
        let cut_off = BuildFact::CutOff {
            slave,
            subjobs,
            runs,
        };
        says_something.then_some(Fact::Build(id, cut_off))
    }

    fn hunt_goes_on(&self, id: BuildId, goes_on: bool) -> Option<Fact> {
        let build = self
            .build(id)
            .filter(|build| build.hunted.goes_on != goes_on)?;
        let may_begin = build.wants_slaves() || !goes_on;
        may_begin.then_some(Fact::Build(id, BuildFact::HuntGoesOn { goes_on }))
    }

    /// What was found of a build that no slave has any more is lost: the build may be archived already.
    fn hunted(&self, id: BuildId, mut runs: Vec<HuntedRun>) -> Option<Fact> {
        let has_it =
            |build: &Build| !build.is_over() || self.leftover.iter().any(|(_, left)| *left == id);
        let build = self.build(id).filter(|build| has_it(build))?;
        runs.retain(|run| build.subjob(run.subjob).is_some());
        (!runs.is_empty()).then_some(Fact::Build(id, BuildFact::Hunted { runs }))
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
        when(called, Fact::Slave(slave, SlaveFact::Lost { reason }))
    }

    /// A slave is lost, and each subjob that it ran may be why.
    pub(super) fn died(&self, slave: SlaveId, reason: Loss, finished: &[KeptHandOut]) -> Vec<Fact> {
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
        let lost = std::iter::once(Fact::Slave(slave, SlaveFact::Lost { reason }));
        let suspects = running.filter(is_under_way).filter(is_suspect);
        lost.chain(suspects.map(suspected)).collect()
    }

    /// A warning names its slave; beyond a certain number they say nothing new.
    fn warn(&self, slave: SlaveId, id: BuildId, text: &str) -> Result<Vec<Fact>, Refusal> {
        let build = self.known_build(id)?;
        let known = self.slave(slave).ok_or(Refusal::UnknownSlave(slave))?;
        let text: String = text.chars().take(MAX_WARNING).collect();
        let warning = format!("slave {}: {text}", known.url);
        // The slave repeats its report until it hears an answer.
        Ok(warned(build, warning))
    }

    /// A message of a user is a warning of a build that is not over.
    fn noted(&self, id: BuildId, text: &str) -> Result<Vec<Fact>, Refusal> {
        if self.is_ended(id) && !self.is_deleted(id) {
            return Ok(Vec::new());
        }
        let build = self.shown_build(id)?;
        let text: String = text.chars().take(MAX_WARNING).collect();
        Ok(match build.is_over() {
            true => Vec::new(),
            false => warned(build, text),
        })
    }

    /// A build that users may still speak of.
    fn shown_build(&self, id: BuildId) -> Result<&Build, Refusal> {
        match self.is_deleted(id) {
            true => Err(Refusal::ForgottenBuild(id)),
            false => self.known_build(id),
        }
    }

    pub(super) fn known_build(&self, id: BuildId) -> Result<&Build, Refusal> {
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
        let mut failed = subjob.failed_attempts().iter();
        let is_it = |attempt: Attempt, by| {
            attempt == hand_out.attempt && self.is_the_same_machine(Some(by), hand_out.slave)
        };
        if failed.any(|failed| is_it(failed.attempt, failed.slave)) {
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
        if running.is_some_and(|(_, attempt)| *attempt == hand_out.attempt) {
            return Err(Refusal::OthersHandOut {
                build: hand_out.build,
                subjob: hand_out.subjob,
                attempt: hand_out.attempt,
            });
        }
        Err(stale)
    }
}

/// The fact, if it follows now.
fn when(follows: bool, fact: Fact) -> Vec<Fact> {
    if follows { vec![fact] } else { Vec::new() }
}

/// A slave that was not given what it needs for a set-up has done nothing wrong.
fn no_fault_of_slave(mut fact: Fact) -> Fact {
    if let Fact::Build(_, BuildFact::SetupFailed { is_withheld, .. }) = &mut fact {
        *is_withheld = true;
    }
    fact
}

/// One more warning of a build, unless it says nothing new.
fn warned(build: &Build, warning: String) -> Vec<Fact> {
    let is_new = !build.warnings.contains(&warning);
    let warning = build.next_warning(warning).filter(|_| is_new);
    let fact = warning.map(|warning| Fact::Build(build.id, BuildFact::Warned { warning }));
    fact.into_iter().collect()
}
