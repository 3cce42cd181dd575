//! What the world must be asked to do because of an event.

use super::Cluster;
use super::effect::{ArchiveContent, Effect, HeldSubjob, MadeAtom, MadeResult, SetUp, SlaveCall};
use super::event::{BuildFact, Event, Fact, FarmFact, SlaveFact};
use crate::builds::build::{Build, BuildState};
use crate::builds::environment::variables;
use crate::builds::outcome::AtomTrouble;
use crate::builds::subjob::{POISON_EXIT_CODE, Subjob};
use crate::slaves::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::job::config::TimeLimit;
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::work::SetupJob;
use std::borrow::Cow;

impl Cluster {
    /// What to do because of an event that was just applied.
    #[must_use]
    pub fn effects(&self, event: &Event) -> Vec<Effect> {
        match &event.fact {
            Fact::Build(build, BuildFact::TeardownRequested { slave }) => {
                self.tear_down(*slave, *build).collect()
            }
            Fact::Build(build, fact) => self.effects_on_build(*build, fact).into_iter().collect(),
            Fact::Slave(slave, fact) => self.effects_on_slave(*slave, fact).into_iter().collect(),
            Fact::Farm(FarmFact::MasterStarted { .. }) => self.under_way(),
            Fact::Template(_, fact) => self.effects_on_template(fact),
            Fact::Instance(instance, fact) => self
                .effects_on_instance(*instance, fact)
                .into_iter()
                .collect(),
            Fact::Farm(_)
            | Fact::Account(..)
            | Fact::Project(..)
            | Fact::App(..)
            | Fact::SlaveKey(_)
            | Fact::SignIn(_) => Vec::new(),
        }
    }

    fn effects_on_build(&self, build: BuildId, fact: &BuildFact) -> Option<Effect> {
        match fact {
            BuildFact::PreparationStarted { .. } => self.prepare(build),
            BuildFact::Failed { .. } | BuildFact::Canceled => Some(Effect::Abandon { build }),
            BuildFact::ArchivingStarted => self.archive(build),
            BuildFact::Finished => Some(Effect::ClearResults { build }),
            BuildFact::Forgotten { .. } => Some(Effect::RemoveBuild { build }),
            BuildFact::SetupRequested { slave, start_index } => {
                self.set_up_call(*slave, build, *start_index)
            }
            BuildFact::SubjobHandedOut {
                slave,
                subjob,
                attempt,
            } => self.start_call(*slave, build, *subjob, *attempt),
            BuildFact::SubjobPoisoned { subjob, .. } => {
                let made = self.build(build).and_then(|b| made(b, *subjob));
                made.map(|made| Effect::MakeResult { build, made })
            }
            _ => None,
        }
    }

    fn effects_on_slave(&self, slave: SlaveId, fact: &SlaveFact) -> Option<Effect> {
        match fact {
            SlaveFact::Connected { .. } => self.slave(slave).map(|slave| self.open(slave)),
            SlaveFact::Lost { .. } | SlaveFact::Ended => Some(Effect::CloseSlave { slave }),
            SlaveFact::EndRequested => Some(Effect::EndSlave { slave }),
            SlaveFact::Hosts(_) => self.order_to(slave),
            _ => None,
        }
    }

    /// All that was asked for and has not been reported back: what a master that starts on this
    /// state asks for again. A part that has done it already reports it once more.
    fn under_way(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for slave in self.called_slaves() {
            effects.push(self.open(slave));
            if slave.presence == Presence::Ending {
                effects.push(Effect::EndSlave { slave: slave.id });
            }
            for (build, place) in &slave.builds {
                match place {
                    BuildOnSlave::SettingUp { start_index, .. } => {
                        effects.extend(self.set_up_call(slave.id, *build, *start_index));
                    }
                    BuildOnSlave::Ready => {}
                    BuildOnSlave::TearingDown => effects.extend(self.tear_down(slave.id, *build)),
                }
            }
        }
        for build in self.builds.values() {
            match &build.state {
                BuildState::Archiving => effects.extend(self.archive(build.id)),
                BuildState::Building(progress) => {
                    for (subjob, (slave, attempt)) in &progress.running {
                        effects.extend(self.start_call(*slave, build.id, *subjob, *attempt));
                    }
                }
                // What was being prepared is in the queue again.
                BuildState::Queued
                | BuildState::Preparing
                | BuildState::Prepared
                | BuildState::Split
                | BuildState::Finished
                | BuildState::Error { .. }
                | BuildState::Canceled => {}
            }
        }
        effects.extend(self.orders_to_all());
        let forgotten = self.forgotten.iter();
        effects.extend(forgotten.map(|build| Effect::RemoveBuild { build: *build }));
        effects
    }

    fn open(&self, slave: &Slave) -> Effect {
        Effect::OpenSlave {
            slave: slave.id,
            url: slave.url.clone(),
            session: slave.session.clone(),
            incarnation: self.lineage.incarnation().cloned(),
            is_legacy: slave.is_legacy,
        }
    }

    fn prepare(&self, build: BuildId) -> Option<Effect> {
        let request = Box::new(self.build(build)?.request.clone());
        Some(Effect::Prepare { build, request })
    }

    fn archive(&self, build: BuildId) -> Option<Effect> {
        let finished = self.build(build)?;
        let ArchiveContent {
            results,
            failed_attempts,
            failures,
        } = ArchiveContent::of(finished, finished.numbered_subjobs());
        Some(Effect::Archive {
            build,
            results,
            failed_attempts,
            failures,
            made: finished
                .numbered_subjobs()
                .filter_map(|(id, _)| made(finished, id))
                .collect(),
            product: product(finished),
        })
    }

    fn set_up_call(&self, slave: SlaveId, build: BuildId, start_index: u32) -> Option<Effect> {
        let building = self.build(build)?;
        let plan = building.plan.as_ref()?;
        let set_up = SetUp {
            request: match self.slaves.get(&slave)?.is_legacy {
                true => building.request.without_variables(),
                false => building.request.source(),
            },
            start_index,
            commit: plan.commit.clone(),
            variables: variables(build, &building.request, plan),
            job: SetupJob {
                name: plan.job_name.clone(),
                setup_build: plan.setup_build.clone(),
                teardown_build: plan.teardown_build.clone(),
                setup_timeout_s: plan.timeouts.setup.and_then(TimeLimit::seconds),
                teardown_timeout_s: plan.timeouts.teardown.and_then(TimeLimit::seconds),
                max_executors: plan.max_executors_per_slave,
                priority: plan.priority,
                weight: plan.weight,
                image: plan.image.clone(),
                templates: self.named_templates(plan),
                junit: plan.junit.clone(),
                batch_command: plan.batch_command.clone(),
                cache: plan.cache.clone(),
                setup_once: plan.setup_once,
                isolation: plan.isolation,
                // Who wants an order asks what atoms do to each other, not how they go in a worker.
                worker: plan.worker.clone().filter(|_| !building.request.in_order),
            },
            secrets: self.wanted_secrets(building, plan),
        };
        let call = SlaveCall::SetUp(Box::new(set_up));
        Some(Effect::Call { slave, build, call })
    }

    /// What runs of a build that ended early is asked for its console first.
    fn tear_down(&self, slave: SlaveId, build: BuildId) -> impl Iterator<Item = Effect> {
        let held = self.build(build).map_or_else(Vec::new, |ended| {
            let held = ended.held_at_end.iter();
            // Nobody will read what a deleted build had printed.
            let is_read = !self.is_deleted(build);
            let held = held.filter(|(_, (holder, _))| is_read && *holder == slave);
            let held = held.filter_map(|(subjob, (_, attempt))| {
                Some(HeldSubjob {
                    subjob: *subjob,
                    attempt: *attempt,
                    commands: ended.commands_of(*subjob)?,
                })
            });
            held.collect()
        });
        let keep = (!held.is_empty()).then_some(SlaveCall::KeepConsoles(held));
        let calls = keep.into_iter().chain([SlaveCall::TearDown]);
        calls.map(move |call| Effect::Call { slave, build, call })
    }

    fn start_call(
        &self,
        slave: SlaveId,
        build: BuildId,
        subjob: SubjobId,
        attempt: Attempt,
    ) -> Option<Effect> {
        let building = self.build(build)?;
        let plan = building.plan.as_ref()?;
        let atoms = building.shell_atoms(subjob)?;
        let call = SlaveCall::Start {
            subjob,
            attempt,
            atoms: atoms.map(Cow::into_owned).collect(),
            command: building.shared_command()?,
            timeout_s: plan.timeouts.atom.and_then(TimeLimit::seconds),
            batch: building.batch_terms(subjob),
            is_followed: false,
        };
        Some(Effect::Call { slave, build, call })
    }
}

impl ArchiveContent {
    /// What the archive of a build with these subjobs has. What was cut off is in it, and did not fail.
    #[must_use]
    pub fn of<'a>(build: &Build, subjobs: impl Iterator<Item = (SubjobId, &'a Subjob)>) -> Self {
        let mut content = Self::default();
        for (id, subjob) in subjobs {
            // The archive of a build that was not cut off has what counts, and beside it what does not.
            let shown = match build.ended_early() {
                true => build.shown_attempt(id, subjob),
                false => subjob.result.as_ref().map(|(attempt, _)| *attempt),
            };
            content.results.extend(shown.map(|attempt| (id, attempt)));
            let failed = subjob.failed_attempts().iter();
            let failed = failed.map(|failed| (id, failed.attempt));
            let others = failed.filter(|(_, attempt)| Some(*attempt) != shown);
            content.failed_attempts.extend(others);
            let outcomes = subjob.result.iter().flat_map(|(_, outcomes)| outcomes);
            for (atom, outcome) in (0..).map(AtomId).zip(outcomes) {
                if outcome.exit_code != 0 || build.fails_as_flaky(subjob) {
                    content.failures.push(directory_name(id, atom));
                }
            }
        }
        content
    }
}

/// The result that the build's template lies in, if its atom left one.
fn product(build: &Build) -> Option<(SubjobId, Attempt)> {
    build.request.product.as_ref()?;
    let (id, subjob) = build.numbered_subjobs().next()?;
    let (attempt, _) = subjob.result.as_ref()?;
    (build.atoms_failed == 0).then_some((id, *attempt))
}

/// The result of a subjob that is poison; `None` for all others.
fn made(build: &Build, id: SubjobId) -> Option<MadeResult> {
    let subjob = build.subjob(id)?;
    let (attempt, outcomes) = subjob.result.as_ref()?;
    let lost = outcomes.iter().find_map(|outcome| match outcome.trouble {
        Some(AtomTrouble::Poison { slaves_lost }) => Some(slaves_lost),
        Some(AtomTrouble::TimedOut { .. } | AtomTrouble::Limit { .. }) | None => None,
    })?;
    let last = subjob.mishaps().last_loss.as_deref();
    let last = last.unwrap_or("the cause is unknown");
    let console = format!(
        "ClusterRunner did not finish this atom: {lost} slaves were lost while they ran it, \
         the last one while it ran nothing else.\nThe last time: {last}.\nThe atom is taken for the cause \
         and failed as poison with exit code {POISON_EXIT_CODE}; see the logs of these slaves and of \
         their machines (out of memory?).\n"
    );
    let atoms = build.commands_of(id)?.into_iter().map(|command| MadeAtom {
        command,
        exit_code: POISON_EXIT_CODE,
        console: console.clone(),
    });
    Some(MadeResult {
        subjob: id,
        attempt: *attempt,
        atoms: atoms.collect(),
    })
}
