//! What reports about a build mean, but for results: from the preparer, the archiver and the slaves.

use super::{MAX_WARNING, warned, when};
use crate::Cluster;
use crate::builds::atom_grouper;
use crate::builds::build::{Build, BuildState};
use crate::builds::hunted::HuntedRun;
use crate::builds::mishaps::CutRun;
use crate::builds::plan::Plan;
use crate::builds::warnings::MAX_WARNINGS;
use crate::event::{BuildFact, Fact};
use crate::refusal::Refusal;
use crate::slaves::slave::BuildOnSlave;
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SlaveId, SubjobId};

impl Cluster {
    /// The preparer has the atoms of a build.
    pub(super) fn prepared(
        &self,
        build: BuildId,
        mut plan: Box<Plan>,
    ) -> Result<Vec<Fact>, Refusal> {
        let expected = self.known_build(build)?.state == BuildState::Preparing;
        // Durations that do not fit the atoms one to one say nothing.
        if plan.expected_ms.len() != plan.atoms.len() {
            plan.expected_ms.clear();
        }
        let known = self.known_build(build)?;
        let is_whole = known.request.part.is_none();
        if is_whole && !(plan.matrix.is_empty() && known.request.matrix.is_empty()) {
            return Ok(when(expected, Fact::Build(build, self.split(known, plan))));
        }
        plan.matrix.clear();
        let secrets = self.take_secrets(known, &mut plan);
        let taken = secrets.map_err(|mistake| mistake.to_string());
        let taken = taken.and_then(|()| {
            let templates = self.take_templates(known, &mut plan);
            templates.map_err(|mistake| mistake.to_string())
        });
        if let Err(reason) = taken {
            return Ok(when(
                expected,
                Fact::Build(build, BuildFact::Failed { reason }),
            ));
        }
        self.take_work_off(known, &mut plan);
        let subjobs = atom_grouper::group(std::mem::take(&mut plan.atoms), known.request.in_order);
        let warnings = std::mem::take(&mut plan.warnings).into_iter();
        let warnings = warnings.take(MAX_WARNINGS).map(|warning| {
            let warning = warning.chars().take(MAX_WARNING).collect();
            Fact::Build(build, BuildFact::Warned { warning })
        });
        let mut facts = when(
            expected,
            Fact::Build(build, BuildFact::Prepared { plan, subjobs }),
        );
        if expected {
            facts.extend(warnings);
        }
        Ok(facts)
    }

    /// Preparing or archiving a build failed; `during` says which.
    pub(super) fn failed(
        &self,
        build: BuildId,
        during: BuildState,
        reason: String,
    ) -> Result<Vec<Fact>, Refusal> {
        let expected = self.known_build(build)?.state == during;
        let failed = Fact::Build(build, BuildFact::Failed { reason });
        Ok(when(expected, failed))
    }

    /// The preparer gave a build back because the master ends.
    pub(super) fn preparation_stopped(&self, build: BuildId) -> Result<Vec<Fact>, Refusal> {
        let known = self.known_build(build)?;
        let expected = known.state == BuildState::Preparing && !known.preparations.is_stopped;
        let stopped = Fact::Build(build, BuildFact::PreparationStopped);
        Ok(when(expected, stopped))
    }

    /// A slave has set a build up.
    pub(super) fn was_set_up(
        &self,
        slave: SlaveId,
        session: &SessionId,
        build: BuildId,
    ) -> Result<Vec<Fact>, Refusal> {
        let place = self.place(slave, session, build)?;
        let expected = matches!(place, Some(BuildOnSlave::SettingUp { .. }));
        let set_up = Fact::Build(build, BuildFact::SetupCompleted { slave });
        Ok(when(expected, set_up))
    }

    /// A slave has cleared a build away.
    pub(super) fn torn_down(&self, slave: SlaveId, build: BuildId) -> Vec<Fact> {
        let place = self.slave(slave).and_then(|slave| slave.builds.get(&build));
        let expected = place == Some(&BuildOnSlave::TearingDown);
        let torn_down = Fact::Build(build, BuildFact::TeardownCompleted { slave });
        when(expected, torn_down)
    }

    /// A slave could not set a build up, by its own account of this life.
    pub(super) fn setup_reported_failed(
        &self,
        slave: SlaveId,
        session: &SessionId,
        build: BuildId,
        reason: String,
    ) -> Result<Vec<Fact>, Refusal> {
        let place = self.place(slave, session, build)?;
        Ok(self.setup_failed(slave, build, place, reason))
    }

    /// A slave did not take a set-up.
    pub(super) fn setup_refused(
        &self,
        slave: SlaveId,
        build: BuildId,
        reason: String,
    ) -> Vec<Fact> {
        let place = self.slave(slave).and_then(|slave| slave.builds.get(&build));
        self.setup_failed(slave, build, place.copied(), reason)
    }

    /// A slave was not given what it needs for a set-up. It has done nothing wrong.
    pub(super) fn setup_withheld(
        &self,
        slave: SlaveId,
        build: BuildId,
        reason: String,
    ) -> Vec<Fact> {
        let mut facts = self.setup_refused(slave, build, reason);
        for fact in &mut facts {
            if let Fact::Build(_, BuildFact::SetupFailed { is_withheld, .. }) = fact {
                *is_withheld = true;
            }
        }
        facts
    }

    pub(super) fn cleared(&self, build: BuildId) -> Vec<Fact> {
        let expected = self.to_be_cleared().contains(&build);
        when(expected, Fact::Build(build, BuildFact::Cleared))
    }

    /// Only of what the slave had when the build ended, and once.
    pub(super) fn cut_off(
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

    pub(super) fn hunt_goes_on(&self, id: BuildId, goes_on: bool) -> Option<Fact> {
        let build = self
            .build(id)
            .filter(|build| build.hunted.goes_on != goes_on)?;
        let may_begin = build.wants_slaves() || !goes_on;
        may_begin.then_some(Fact::Build(id, BuildFact::HuntGoesOn { goes_on }))
    }

    /// What was found of a build that no slave has any more is lost: the build may be archived already.
    pub(super) fn hunted(&self, id: BuildId, mut runs: Vec<HuntedRun>) -> Option<Fact> {
        let has_it =
            |build: &Build| !build.is_over() || self.leftover.iter().any(|(_, left)| *left == id);
        let build = self.build(id).filter(|build| has_it(build))?;
        runs.retain(|run| build.subjob(run.subjob).is_some());
        (!runs.is_empty()).then_some(Fact::Build(id, BuildFact::Hunted { runs }))
    }

    /// A warning names its slave; beyond a certain number they say nothing new.
    pub(super) fn warn(
        &self,
        slave: SlaveId,
        id: BuildId,
        text: &str,
    ) -> Result<Vec<Fact>, Refusal> {
        let build = self.known_build(id)?;
        let known = self.slave(slave).ok_or(Refusal::UnknownSlave(slave))?;
        let text: String = text.chars().take(MAX_WARNING).collect();
        let warning = format!("slave {}: {text}", known.url);
        // The slave repeats its report until it hears an answer.
        Ok(warned(build, warning))
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
}
