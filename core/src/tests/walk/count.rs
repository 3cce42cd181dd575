//! What a turn of the master's core adds to what the walks met.

use super::plan::MOST_EXECUTORS;
use super::{Tally, is_of_failures};
use crate::Cluster;
use crate::builds::build::Build;
use crate::builds::subjob::Subjob;
use crate::event::{
    AccountFact, Bound, BuildFact, Fact, FarmFact, InstanceFact, KeyFact, ProjectFact, SlaveFact,
    TemplateFact,
};
use crate::refusal::Refusal;
use crate::slaves::slave::BuildOnSlave;
use crate::templates::refusal::TemplateRefusal;
use crate::tests::scenario::Turn;
use std::sync::Arc;

impl Tally {
    fn count_matrix(&mut self, build: Option<&Build>, fact: &BuildFact) {
        let parent = build.filter(|build| build.is_parent());
        let counted = match (fact, parent) {
            (BuildFact::Split { .. }, _) => &mut self.split,
            (BuildFact::Finished, Some(parent)) if parent.atoms_failed == 0 => {
                &mut self.matrices_passed
            }
            (BuildFact::Finished, Some(_)) => &mut self.matrices_failed,
            (BuildFact::Failed { .. }, Some(_)) => &mut self.matrices_in_error,
            (BuildFact::Canceled, Some(_)) => &mut self.matrices_canceled,
            _ => return,
        };
        *counted += 1;
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each fact")]
    pub(super) fn count(&mut self, turn: &Turn, is_result: bool, cluster: &Cluster) {
        let suspected = turn.events.iter();
        let suspected = suspected.filter(|event| {
            matches!(
                event.fact,
                Fact::Build(_, BuildFact::SubjobSuspected { .. })
            )
        });
        self.lost_with_a_queue += usize::from(suspected.count() > MOST_EXECUTORS);
        self.repeated_results += usize::from(is_result && turn.events.is_empty());
        let is = |wanted: fn(&Fact) -> bool| turn.events.iter().any(|event| wanted(&event.fact));
        let is_told_again = is(|fact| matches!(fact, Fact::Slave(_, SlaveFact::Connected { .. })))
            && is(|fact| matches!(fact, Fact::Slave(_, SlaveFact::ShutdownRequested)));
        self.slaves_told_again += usize::from(is_told_again);
        for event in &turn.events {
            if let Fact::Build(build, fact) = &event.fact {
                self.count_matrix(cluster.build(*build), fact);
            }
            match &event.fact {
                Fact::Template(_, fact) => self.count_template(fact),
                Fact::Instance(_, fact) => self.count_instance(fact),
                Fact::App(_, fact) => self.count_app(fact),
                Fact::Farm(FarmFact::IncarnationBegun { cause, .. }) => {
                    let reason = cause.to_string();
                    self.begun_for_results += usize::from(reason.contains("result"));
                    self.begun_for_slaves += usize::from(reason.contains("has seen more"));
                }
                Fact::Farm(FarmFact::IdsReserved { .. }) => self.ids_reserved += 1,
                Fact::Build(_, BuildFact::Finished) => self.finished += 1,
                Fact::Build(_, BuildFact::Failed { .. }) => self.failed += 1,
                Fact::Build(build, BuildFact::Canceled) => {
                    self.canceled += 1;
                    let build = cluster.build(*build);
                    let is_tried = |subjob: &Arc<Subjob>| {
                        subjob.result.is_none() && !subjob.failed_attempts().is_empty()
                    };
                    let is_tried = build.is_some_and(|build| build.subjobs.iter().any(is_tried));
                    self.canceled_in_a_retry += usize::from(is_tried);
                }
                Fact::Build(build, BuildFact::ArchivingStarted) => {
                    let build = cluster.build(*build);
                    self.cut_short += usize::from(build.is_some_and(Build::is_cut_short));
                }
                Fact::Build(_, BuildFact::AttemptFailed { .. }) => self.attempts_failed += 1,
                Fact::Build(build, BuildFact::SubjobFinished { subjob, .. }) => {
                    let subjob = cluster.build(*build).and_then(|b| b.subjob(*subjob));
                    self.flaky += usize::from(subjob.is_some_and(Subjob::is_flaky));
                }
                Fact::Build(build, BuildFact::SubjobSuspected { subjob, .. }) => {
                    let subjob = cluster.build(*build).and_then(|b| b.subjob(*subjob));
                    let is_tried = subjob.is_some_and(|s| !s.failed_attempts().is_empty());
                    self.lost_in_a_retry += usize::from(is_tried);
                }
                Fact::Farm(FarmFact::MasterStarted { .. }) => {
                    let is_under_way = |build: &Build| {
                        let mut children = build.children.iter();
                        !build.is_over() && children.any(|child| child.state.is_over())
                    };
                    self.restarted_in_a_matrix += usize::from(cluster.builds().any(is_under_way));
                    let mut progress = cluster.builds().filter_map(|build| build.progress());
                    let waits = progress.any(|progress| !progress.again.is_empty());
                    self.restarted_before_a_retry += usize::from(waits);
                }
                Fact::Build(_, BuildFact::StatusPosted { .. }) => self.statuses_posted += 1,
                Fact::Build(_, BuildFact::Hunted { runs }) => {
                    self.hunts_found += runs.iter().filter(|run| run.trial.is_some()).count();
                }
                Fact::Slave(_, SlaveFact::Lost { .. }) => self.slaves_lost += 1,
                Fact::Slave(_, SlaveFact::Ended) => self.slaves_shut_down += 1,
                Fact::Build(_, BuildFact::SetupFailed { .. }) => self.setups_failed += 1,
                Fact::Build(_, BuildFact::SubjobReturned { .. }) => self.results_unusable += 1,
                Fact::Slave(_, SlaveFact::Quarantined { reason, .. }) => {
                    self.sick_of_setups += usize::from(reason.contains("set up"));
                    self.sick_of_failures += usize::from(is_of_failures(reason));
                    self.sick_of_results += usize::from(reason.contains("could not be used"));
                }
                Fact::Build(_, BuildFact::ResultDoubted { .. }) => self.results_doubted += 1,
                Fact::Slave(_, SlaveFact::ProbeStarted) => self.probes += 1,
                Fact::Slave(_, SlaveFact::DrainRequested) => self.slaves_drained += 1,
                Fact::SlaveKey(KeyFact::Revoked { .. }) => self.keys_revoked += 1,
                Fact::Slave(_, SlaveFact::Released) => self.slaves_released += 1,
                Fact::Slave(_, SlaveFact::Reserved { .. }) => self.slaves_reserved += 1,
                Fact::Build(_, BuildFact::SubjobPoisoned { .. }) => self.poisoned += 1,
                Fact::Slave(_, SlaveFact::HandOutsKept { hand_outs, .. }) => {
                    self.results_kept += hand_outs.len();
                }
                Fact::Build(_, BuildFact::Retired) => self.retired += 1,
                Fact::Build(_, BuildFact::Forgotten { bound, .. }) => match bound {
                    Bound::Age => self.too_old += 1,
                    Bound::Number => self.too_many += 1,
                    Bound::Bytes => self.too_large += 1,
                    Bound::Deleted => self.deletions_completed += 1,
                },
                Fact::Build(_, BuildFact::Deleted) => self.deleted += 1,
                Fact::Build(_, BuildFact::Described { .. }) => self.described += 1,
                Fact::Account(_, AccountFact::Created(_)) => self.users_created += 1,
                Fact::Account(_, AccountFact::Deleted) => self.users_deleted += 1,
                Fact::Account(_, AccountFact::Bookmarked(_)) => self.bookmarks_set += 1,
                Fact::Account(_, AccountFact::BookmarkTakenBack(_)) => {
                    self.bookmarks_taken_back += 1;
                }
                Fact::Project(_, ProjectFact::Created { .. }) => self.projects_made += 1,
                Fact::Project(_, ProjectFact::Changed(_)) => self.projects_changed += 1,
                Fact::Project(_, ProjectFact::CollaboratorAdded { .. }) => {
                    self.projects_shared += 1;
                }
                Fact::Project(_, ProjectFact::Deleted) => self.projects_deleted += 1,
                Fact::Build(_, BuildFact::Cleared) => self.cleared += 1,
                Fact::Slave(_, SlaveFact::Forgotten) => self.slaves_forgotten += 1,
                Fact::Build(
                    build,
                    BuildFact::SubjobHandedOut {
                        slave,
                        subjob,
                        attempt,
                    },
                ) => {
                    let tried = cluster.build(*build).and_then(|b| b.subjob(*subjob));
                    let tried = tried.map_or(&[][..], Subjob::failed_attempts);
                    let is_elsewhere = tried.first().is_some_and(|failed| failed.slave != *slave);
                    self.retried_elsewhere += usize::from(is_elsewhere);
                    let slave = cluster.slave(*slave);
                    let place = slave.and_then(|slave| slave.builds.get(build));
                    let is_early = matches!(place, Some(BuildOnSlave::SettingUp { .. }));
                    self.handed_out_with_setup += usize::from(is_early);
                    let has_queue =
                        slave.is_some_and(|s| s.running.len() > s.num_executors as usize);
                    self.handed_out_ahead += usize::from(has_queue);
                    self.handed_out_again += usize::from(attempt.0 > 1);
                }
                _ => {}
            }
        }
    }

    fn count_template(&mut self, fact: &TemplateFact) {
        let number = match fact {
            TemplateFact::Registered { .. } => &mut self.templates_registered,
            TemplateFact::Named { .. } => &mut self.templates_named,
            TemplateFact::Preloaded { .. } => &mut self.templates_preloaded,
            TemplateFact::Removed { .. } => &mut self.templates_removed,
            TemplateFact::NameDeleted { .. } | TemplateFact::Damaged => return,
        };
        *number += 1;
    }

    fn count_instance(&mut self, fact: &InstanceFact) {
        let number = match fact {
            InstanceFact::Launched(_) => &mut self.instances_launched,
            InstanceFact::Placed { .. } => &mut self.instances_placed,
            InstanceFact::Adopted { .. } => &mut self.instances_adopted,
            InstanceFact::Displaced { .. } => &mut self.instances_displaced,
            InstanceFact::Up { .. } => &mut self.instances_up,
            InstanceFact::Crashed { .. } => &mut self.instances_crashed,
            InstanceFact::Failed { .. } => &mut self.instances_failed,
            InstanceFact::Stopped => &mut self.instances_stopped,
            InstanceFact::Culled { .. } => &mut self.instances_culled,
            InstanceFact::Retired => &mut self.instances_retired,
            InstanceFact::Exited { .. } => &mut self.runs_exited,
            InstanceFact::Forgotten => return,
        };
        *number += 1;
    }

    pub(super) fn count_refusal(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::StaleAttempt { .. } => self.stale_attempts += 1,
            Refusal::UnknownSlave(_) => self.unknown_slaves += 1,
            Refusal::Template(TemplateRefusal::AlreadyBuilding { .. }) => {
                self.builds_in_the_way += 1;
            }
            Refusal::Template(_)
            | Refusal::Account(_)
            | Refusal::Status(_)
            | Refusal::Instance(_)
            | Refusal::App(_)
            | Refusal::SessionExpired(_)
            | Refusal::OthersHandOut { .. }
            | Refusal::Key(_)
            | Refusal::OtherIncarnation { .. }
            | Refusal::AddressTaken(_)
            | Refusal::NotLegacy(_)
            | Refusal::UnknownAddress(_)
            | Refusal::NoSuchSlave(_)
            | Refusal::UnknownBuild(_)
            | Refusal::ForgottenBuild(_)
            | Refusal::UnknownSubjob(_)
            | Refusal::Unfit(_) => {}
        }
    }
}
