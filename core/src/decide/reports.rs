//! What reports about a build mean: from the preparer, the archiver and the slaves.

use super::{MAX_WARNING, when};
use crate::Cluster;
use crate::builds::atom_grouper;
use crate::builds::build::BuildState;
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::builds::warnings::MAX_WARNINGS;
use crate::event::{BuildFact, Fact};
use crate::refusal::Refusal;
use crate::slaves::slave::BuildOnSlave;
use clusterrunner_common::ids::{BuildId, ExecutorIndex, SessionId, SlaveId};

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
        let taken = self.take_secrets(known, &mut plan);
        if let Err(reason) = taken.and_then(|()| self.take_templates(known, &mut plan)) {
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

    /// A result came. It counts, or speaks against its slave first, or does not fit its subjob.
    pub(super) fn finished(
        &self,
        hand_out: HandOut,
        executor: Option<ExecutorIndex>,
        outcomes: Vec<AtomOutcome>,
    ) -> Result<Vec<Fact>, Refusal> {
        if let Some(reason) = self.misfit(hand_out, &outcomes) {
            return self.unusable(hand_out, reason);
        }
        let is_new = !self.is_repeated(hand_out)?;
        let is_doubtful = self.is_doubtful(hand_out, &outcomes);
        let slave = self.keeper(hand_out).unwrap_or(hand_out.slave);
        let (subjob, attempt) = (hand_out.subjob, hand_out.attempt);
        let fact = if is_doubtful {
            BuildFact::ResultDoubted {
                slave,
                subjob,
                attempt,
            }
        } else if self.runs_again(hand_out, &outcomes) {
            BuildFact::AttemptFailed {
                slave,
                subjob,
                attempt,
                executor,
                outcomes,
            }
        } else {
            BuildFact::SubjobFinished {
                slave,
                subjob,
                attempt,
                executor,
                outcomes,
            }
        };
        Ok(when(is_new, Fact::Build(hand_out.build, fact)))
    }

    /// Whether a result does not count, since its subjob is run again. Slaves of the original do not say which hand-out
    /// they bring a result of, so one that they send twice would count for the next hand-out: their results count at once.
    fn runs_again(&self, hand_out: HandOut, outcomes: &[AtomOutcome]) -> bool {
        let slave = self.slave(hand_out.slave);
        if slave.is_some_and(|slave| slave.is_legacy) {
            return false;
        }
        let build = self.build(hand_out.build);
        let subjob = build.and_then(|build| Some((build, build.subjob(hand_out.subjob)?)));
        subjob.is_some_and(|(build, subjob)| build.runs_again(subjob, outcomes))
    }

    /// What came as a result cannot be one: the subjob goes back to the queue.
    pub(super) fn unusable(&self, hand_out: HandOut, reason: String) -> Result<Vec<Fact>, Refusal> {
        let is_new = !self.is_repeated(hand_out)?;
        let returned = BuildFact::SubjobReturned {
            slave: self.keeper(hand_out).unwrap_or(hand_out.slave),
            subjob: hand_out.subjob,
            attempt: hand_out.attempt,
            reason,
        };
        Ok(when(is_new, Fact::Build(hand_out.build, returned)))
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
