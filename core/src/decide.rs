//! What a command means now.

mod builds;
mod hand_outs;
mod reports;
mod slaves;
mod statuses;

use super::Cluster;
use super::command::Command;
use super::event::{BuildFact, Event, Fact, IncarnationCause, Loss};
use crate::builds::build::{Build, BuildState};
use crate::lifetime::incarnation::Named;
use crate::refusal::Refusal;
use crate::slaves::connecting::Offer;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;

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
            Command::SignIn { fact, .. } => Ok(vec![Fact::SignIn(fact)]),
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
            } => self.setup_reported_failed(slave, &session, build, reason),
            Command::Withhold {
                slave,
                build,
                reason,
            } => Ok(self.setup_withheld(slave, build, reason)),
            Command::ReportRefusal {
                slave,
                build,
                reason,
            } => Ok(self.setup_refused(slave, build, reason)),
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

    pub(super) fn known_build(&self, id: BuildId) -> Result<&Build, Refusal> {
        self.build(id).ok_or(if self.is_forgotten(id) {
            Refusal::ForgottenBuild(id)
        } else {
            Refusal::UnknownBuild(id)
        })
    }
}

/// The fact, if it follows now.
fn when(follows: bool, fact: Fact) -> Vec<Fact> {
    if follows { vec![fact] } else { Vec::new() }
}

/// One more warning of a build, unless it says nothing new.
fn warned(build: &Build, warning: String) -> Vec<Fact> {
    let is_new = !build.warnings.contains(&warning);
    let warning = build.next_warning(warning).filter(|_| is_new);
    let fact = warning.map(|warning| Fact::Build(build.id, BuildFact::Warned { warning }));
    fact.into_iter().collect()
}
