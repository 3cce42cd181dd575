//! What a fact about a build changes.

use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::builds::facts::BuildFact;
use crate::builds::mishaps::FailedAttempt;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::builds::subjob::Subjob;
use crate::slaves::slave::BuildOnSlave;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use std::sync::Arc;

impl Cluster {
    #[expect(clippy::too_many_lines, reason = "an arm for each fact")]
    pub(crate) fn apply_to_build(&mut self, build: BuildId, fact: &BuildFact, at: Timestamp) {
        match fact {
            BuildFact::Queued {
                project,
                owner,
                started_by,
                request,
            } => {
                let new = Build {
                    started_by: *started_by,
                    starter_name: started_by
                        .and_then(|user| self.accounts.user(user))
                        .map(|user| user.name.clone()),
                    ..Build::new(build, *project, *owner, (**request).clone(), at)
                };
                self.claim_name(&new, at);
                self.begin_build(new);
            }
            BuildFact::PreparationStarted { attempt } => {
                self.leave_queue(build);
                let started = self.build_mut(build);
                started.state = BuildState::Preparing;
                started.preparations.attempts = attempt.0;
                started.timestamps.preparing = Some(at);
                let preparation = started.preparation();
                self.preparing.insert(preparation, build);
            }
            BuildFact::PreparationStopped => {
                self.build_mut(build).preparations.is_stopped = true;
            }
            BuildFact::Prepared { plan, subjobs } => self.take_plan(build, plan, subjobs, at),
            BuildFact::Split { plan, children } => self.take_split(build, plan, children, at),
            BuildFact::Failed { reason } => {
                let reason = reason.clone();
                self.end_build(build, BuildState::Error { reason });
                self.settle_deletion(build);
                self.build_mut(build).timestamps.error = Some(at);
            }
            BuildFact::Canceled => {
                self.end_build(build, BuildState::Canceled);
                self.settle_deletion(build);
                self.build_mut(build).timestamps.canceled = Some(at);
            }
            BuildFact::ArchivingStarted => self.end_build(build, BuildState::Archiving),
            BuildFact::Finished => {
                let finished = self.build_mut(build);
                finished.state = BuildState::Finished;
                finished.timestamps.finished = Some(at);
                self.settle_deletion(build);
                self.settle_parent(build);
            }
            BuildFact::Retired => self.retire(build, at),
            BuildFact::Forgotten { .. } => self.forget(build),
            BuildFact::Deleted => self.delete(build),
            BuildFact::Cleared => self.note_cleared(build),
            BuildFact::Described { details } => self.describe(build, details, at),
            BuildFact::SubjobSuspected { subjob, .. } => {
                self.build_mut(build).suspect(*subjob);
                self.settle_if_suspicious(build);
                self.settle(build);
            }
            BuildFact::SubjobPoisoned {
                subjob,
                slaves_lost,
            } => self.poison(build, *subjob, *slaves_lost),
            BuildFact::Warned { warning } => {
                self.build_mut(build).warnings.push(warning.clone());
            }
            BuildFact::StatusPosted { posted } => {
                self.build_mut(build).note_posted(posted, at);
            }
            BuildFact::SetupRequested { slave, start_index } => {
                self.set_up(*slave, build, *start_index, at);
            }
            BuildFact::SetupCompleted { slave } => {
                self.note_setup_time(*slave, build, at);
                self.put(*slave, build, Some(BuildOnSlave::Ready));
                self.note_setup(*slave, build);
                self.build_mut(build).note_slave_ready(*slave, at);
            }
            BuildFact::SetupFailed {
                slave,
                reason,
                is_withheld,
            } => self.fail_setup(build, *slave, reason, *is_withheld),
            BuildFact::TeardownRequested { slave } => {
                self.leftover.remove(&(*slave, build));
                self.put(*slave, build, Some(BuildOnSlave::TearingDown));
            }
            BuildFact::TeardownCompleted { slave } => self.drop_build(*slave, build),
            BuildFact::SubjobHandedOut {
                slave,
                subjob,
                attempt,
            } => self.hand_out(build, *slave, *subjob, *attempt),
            BuildFact::CutOff { subjobs, runs, .. } => {
                self.build_mut(build).note_cut_off(subjobs, runs);
            }
            BuildFact::SubjobFinished {
                slave,
                subjob,
                attempt,
                executor,
                outcomes,
            } => {
                self.build_mut(build).note_slave_ready(*slave, at);
                self.build_mut(build).subjob_mut(*subjob).executor = *executor;
                self.take_result(build, *subjob, (*slave, *attempt), outcomes);
            }
            BuildFact::AttemptFailed {
                slave,
                subjob,
                attempt,
                executor,
                outcomes,
            } => {
                self.build_mut(build).note_slave_ready(*slave, at);
                let failed = FailedAttempt {
                    attempt: *attempt,
                    slave: *slave,
                    executor: *executor,
                    outcomes: outcomes.iter().copied().collect(),
                };
                self.take_failed(build, *subjob, failed);
            }
            BuildFact::HuntGoesOn { goes_on } => self.build_mut(build).hunted.goes_on = *goes_on,
            BuildFact::Hunted { runs } => {
                let hunted = &mut self.build_mut(build).hunted;
                runs.iter().for_each(|run| hunted.add(run));
            }
            BuildFact::ResultDoubted { slave, subjob, .. } => {
                self.doubt_result(build, *subjob, *slave);
            }
            BuildFact::SubjobReturned {
                slave,
                subjob,
                reason,
                ..
            } => self.return_subjob(build, *subjob, *slave, reason),
        }
    }

    pub(super) fn begin_build(&mut self, mut new: Build) {
        new.turn = self.lineage.position();
        self.last_build = new.id.0;
        self.join_project(&new);
        self.queued.entry(new.project).or_default().insert(new.id);
        self.builds.insert(new.id, Arc::new(new));
    }

    fn hand_out(&mut self, build: BuildId, slave: SlaveId, subjob: SubjobId, attempt: Attempt) {
        let turn = self.lineage.position();
        let served = self.build_mut(build);
        served.turn = turn;
        served.hand_out(subjob, slave, attempt);
        self.hold(slave, build, subjob);
        self.note_hand_out_with_setup(slave, build);
        self.settle_if_suspicious(build);
        self.settle(build);
    }

    fn take_plan(&mut self, build: BuildId, plan: &Plan, subjobs: &[Vec<String>], at: Timestamp) {
        self.stop_preparing(build);
        let prepared = self.build_mut(build);
        prepared.state = BuildState::Prepared;
        prepared.timestamps.prepared = Some(at);
        let expected_ms = plan.expected_ms.clone();
        prepared.plan = Some(Plan {
            expected_ms: Vec::new(),
            ..plan.clone()
        });
        prepared.num_atoms = subjobs.iter().map(|atoms| atoms.len() as u64).sum();
        let mut expected_ms = expected_ms.into_iter();
        let new = subjobs.iter().map(|atoms| {
            let expected_ms = expected_ms.by_ref().take(atoms.len());
            let atoms = atoms.iter().map(|atom| Box::from(&**atom));
            Subjob::new(atoms.collect(), expected_ms.collect())
        });
        prepared.subjobs = new.map(Arc::new).collect();
        self.line.weight += u64::from(prepared.weight());
        self.working.insert(build);
        self.settle(build);
    }

    fn fail_setup(&mut self, build: BuildId, slave: SlaveId, reason: &str, is_withheld: bool) {
        let place = self.known_slave_mut(slave).builds.get(&build).copied();
        self.drop_build(slave, build);
        let url = self.known_slave_mut(slave).url.clone();
        let failed = self.build_mut(build);
        // Only hand-outs to a ready slave are wasted: those sent along with a set-up that failed never ran.
        if place == Some(BuildOnSlave::Ready) {
            failed.waste(slave);
        }
        failed.take_back(slave, reason);
        failed.note_setup_failure(slave, url, reason);
        self.note_quickness(slave, build, None);
        if !is_withheld {
            self.note_failed_setup(slave, build);
        }
        self.settle_suspects(build);
        self.settle(build);
    }

    fn take_result(
        &mut self,
        build: BuildId,
        subjob: SubjobId,
        (slave, attempt): (SlaveId, Attempt),
        outcomes: &[AtomOutcome],
    ) {
        self.take_outcomes((build, subjob), slave, outcomes);
        self.build_mut(build)
            .finish_subjob(subjob, attempt, outcomes);
        self.judge(slave);
        self.settle_if_suspicious(build);
        self.settle(build);
    }

    /// A failed result that does not count says of its slave what any other says.
    fn take_failed(&mut self, build: BuildId, subjob: SubjobId, failed: FailedAttempt) {
        let slave = failed.slave;
        self.take_outcomes((build, subjob), slave, &failed.outcomes);
        self.build_mut(build).keep_failed(subjob, failed);
        self.judge(slave);
        self.settle_if_suspicious(build);
        self.settle(build);
    }

    /// What a result of a subjob says of slaves.
    fn take_outcomes(
        &mut self,
        (build, subjob): (BuildId, SubjobId),
        slave: SlaveId,
        outcomes: &[AtomOutcome],
    ) {
        self.release(slave, build, subjob);
        let known = self.build_mut(build).subjob_mut(subjob);
        let unusable_from = known.take_mishap(|mishaps| std::mem::take(&mut mishaps.unusable_from));
        let unusable_from = unusable_from.unwrap_or_default();
        let doubted_from = known.take_mishap(|mishaps| mishaps.doubted_from.take());
        self.note_usable(slave, &unusable_from);
        if let Some(doubted) = doubted_from.flatten() {
            self.note_second_opinion(doubted, (build, subjob), slave, outcomes);
        }
        self.note_outcome(slave, build, subjob, outcomes);
    }

    fn poison(&mut self, build: BuildId, subjob: SubjobId, slaves_lost: u32) {
        let poisoned = self.build_mut(build);
        let attempt = poisoned.last_attempt(subjob).unwrap_or(Attempt::FIRST);
        let outcomes = poisoned.subjob_mut(subjob).poisoned(slaves_lost);
        poisoned.finish_subjob(subjob, attempt, &outcomes);
        self.settle_suspects(build);
        self.settle(build);
    }

    fn doubt_result(&mut self, build: BuildId, subjob: SubjobId, slave: SlaveId) {
        self.release(slave, build, subjob);
        self.note_doubt(slave, build, subjob);
        let doubted = self.build_mut(build).subjob_mut(subjob);
        doubted.mishaps_mut().doubted_from = Some(slave);
        let url = self.known_slave_mut(slave).url.clone();
        let reason = format!("it failed on slave {url}, where all atoms failed");
        self.build_mut(build).return_subjob(subjob, &reason);
        self.settle_if_suspicious(build);
        self.settle(build);
    }

    fn return_subjob(&mut self, build: BuildId, subjob: SubjobId, slave: SlaveId, reason: &str) {
        self.release(slave, build, subjob);
        let returned = self.build_mut(build).subjob_mut(subjob);
        let mishaps = returned.mishaps_mut();
        mishaps.wasted += 1;
        mishaps.unusable_from.insert(slave);
        self.build_mut(build).return_subjob(subjob, reason);
        self.settle_if_suspicious(build);
        self.settle(build);
    }
}
