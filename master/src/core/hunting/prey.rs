//! One atom that is hunted.

use crate::core::builds::hunted::{HuntTrial, HuntTrials};
use crate::core::history::{Beta, Trials, Verdict};
use clusterrunner_common::api::HuntEnd;
use clusterrunner_common::ids::SlaveId;

/// An atom with fewer trials is new: so many is what is believed of an atom worth that never ran.
const FEW_TRIALS: u32 = 100;

/// How often a new atom is run again in a build, and how often a suspicious one.
const RUNS_OF_NEW: u8 = 5;
const RUNS_OF_SUSPICIOUS: u8 = 20;

/// After so many failures one after the other an atom is left alone: it does not bear to run twice, or its slave is sick.
const MOST_FAILURES: u8 = 3;

/// An atom, and what is known of it in its build.
#[derive(Clone, Debug)]
pub(in crate::core) struct Prey {
    is_suspicious: bool,
    /// How many trials its history has.
    trials: u32,
    /// In how many runs of this build it has passed.
    passes: u8,
    /// Where it failed, and how often one after the other.
    failed: Option<(SlaveId, u8)>,
    /// Whether nothing more is to be learned of it in this build.
    is_done: bool,
    pub(in crate::core) is_running: bool,
}

/// The order of atoms: the smallest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::core) struct Turn {
    /// One that failed goes first: only its next run tells what that was.
    is_not_failed: bool,
    is_not_suspicious: bool,
    trials: u32,
}

impl Prey {
    /// An atom with such a history, and what was found of it in its build in an earlier life of the master; none if it is
    /// no prey: another flake would not mark it, or it is marked already.
    pub(in crate::core) fn of(trials: &Trials, hunted: HuntTrials) -> Option<Self> {
        let is_suspicious = match Beta::verdict(trials) {
            Verdict::Flaky => return None,
            Verdict::Stable if trials.all() >= FEW_TRIALS => return None,
            Verdict::Stable => false,
            Verdict::Suspicious => {
                let mut one_more = trials.clone();
                one_more.add(true);
                if Beta::verdict(&one_more) != Verdict::Flaky {
                    return None;
                }
                true
            }
        };
        Some(Self {
            is_suspicious,
            trials: trials.all(),
            passes: hunted.passes,
            failed: None,
            is_done: hunted.flakes > 0,
            is_running: false,
        })
    }

    /// Whether it runs, or is to run once more.
    pub(in crate::core) fn is_wanted(&self) -> bool {
        self.is_running || !self.is_over()
    }

    fn is_over(&self) -> bool {
        let most = match self.is_suspicious {
            true => RUNS_OF_SUSPICIOUS,
            false => RUNS_OF_NEW,
        };
        self.is_done || self.failed.is_none() && self.passes >= most
    }

    /// When it is its turn on a slave; `None` if never now.
    pub(in crate::core) fn turn_on(&self, slave: SlaveId) -> Option<Turn> {
        let is_elsewhere = self.failed.is_some_and(|(on, _)| on != slave);
        let waits = !(self.is_over() || self.is_running || is_elsewhere);
        waits.then(|| Turn {
            is_not_failed: self.failed.is_none(),
            is_not_suspicious: !self.is_suspicious,
            trials: self.trials + u32::from(self.passes),
        })
    }

    /// Takes note of how a run ended. What that says: a failure is a flake once the atom passes again on the same slave.
    /// So neither a sick slave makes flakes, nor an atom that can not run twice in a work tree.
    pub(in crate::core) fn ended(&mut self, end: HuntEnd, slave: SlaveId) -> Option<HuntTrial> {
        self.is_running = false;
        match end {
            HuntEnd::Dropped => None,
            HuntEnd::Failed => {
                let times = self.failed.map_or(0, |(_, times)| times) + 1;
                self.failed = Some((slave, times));
                self.is_done = times >= MOST_FAILURES;
                None
            }
            HuntEnd::Passed => {
                self.passes = self.passes.saturating_add(1);
                // A build makes one flake of an atom at most, as without hunts.
                self.is_done = self.failed.is_some();
                Some(match self.is_done {
                    true => HuntTrial::Flaked,
                    false => HuntTrial::Passed,
                })
            }
        }
    }
}
