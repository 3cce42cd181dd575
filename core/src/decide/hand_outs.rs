//! What a result means: whether it counts, is repeated, or comes from a hand-out that does not count.

use super::when;
use crate::Cluster;
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::event::{BuildFact, Fact};
use crate::refusal::Refusal;
use clusterrunner_common::ids::{Attempt, ExecutorIndex};

impl Cluster {
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
