//! One atom that is hunted.

use crate::builds::hunted::{HuntTrial, HuntTrials};
use crate::history::{Beta, Trials, Verdict};
use clusterrunner_common::ids::SlaveId;
use clusterrunner_common::work::HuntEnd;

/// An atom with fewer trials is new: so many is what is believed of an atom worth that never ran.
const FEW_TRIALS: u32 = 100;

/// How often a new atom is run again in a build, and how often a suspicious one.
const RUNS_OF_NEW: u8 = 5;
const RUNS_OF_SUSPICIOUS: u8 = 20;

/// After so many failures one after the other an atom is left alone.
const MOST_FAILURES: u8 = 3;

/// After so many hunts one after the other that came to no end an atom is left alone: its slave can not run it, or is busy.
const MOST_DROPS: u8 = 3;

/// So often an atom must have passed on a slave before a failure there may be a flake: the second pass shows that the
/// first one left nothing in the work tree that makes the atom fail.
const PASSES_THAT_TELL: u8 = 2;

/// An atom, and what is known of it in its build.
#[derive(Clone, Debug)]
pub(crate) struct Prey {
    is_suspicious: bool,
    /// How many trials its history has.
    trials: u32,
    /// In how many runs of this build it has passed.
    passes: u8,
    /// Where it is hunted: only runs on one slave are compared.
    home: Option<Home>,
    /// How many hunts one after the other came to no end.
    drops: u8,
    /// Whether a hunt was ended: what was seen before says nothing of the work tree that this has left.
    was_ended: bool,
    /// Whether nothing more is to be learned of it in this build.
    is_done: bool,
    is_running: bool,
}

/// How an atom went on a slave, since the last run there that was ended.
#[derive(Clone, Copy, Debug)]
struct Home {
    slave: SlaveId,
    /// Whether a hunt there came to its end.
    is_tried: bool,
    /// How often it passed, with the run of the build if that was there.
    passes: u8,
    /// How often it failed since, one after the other.
    failures: u8,
}

/// The order of atoms: the smallest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    /// One that failed goes first: only its next run tells what that was.
    is_not_failed: bool,
    is_not_suspicious: bool,
    trials: u32,
}

impl Prey {
    /// An atom with such a history, and what was found of it in its build in an earlier life of the master; none if it is
    /// no prey: another flake would not mark it, or it is marked already.
    pub(crate) fn of(trials: &Trials, hunted: HuntTrials) -> Option<Self> {
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
            home: None,
            drops: 0,
            was_ended: false,
            is_done: hunted.flakes > 0,
            is_running: false,
        })
    }

    /// Which atoms are hunted where a build has very many: the smallest.
    pub(crate) fn rank(&self) -> impl Ord + use<> {
        (!self.is_suspicious, self.trials)
    }

    /// Whether it runs, or is to run once more.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_running || self.is_waiting()
    }

    /// Whether it is to run once more, and does not run.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.is_running && !self.is_over()
    }

    fn has_failed(&self) -> bool {
        self.home.is_some_and(|home| home.failures > 0)
    }

    fn is_over(&self) -> bool {
        let most = match self.is_suspicious {
            true => RUNS_OF_SUSPICIOUS,
            false => RUNS_OF_NEW,
        };
        self.is_done || !self.has_failed() && self.passes >= most
    }

    /// When it is its turn on a slave; `None` if never now.
    pub(crate) fn turn_on(&self, slave: SlaveId) -> Option<Turn> {
        let is_elsewhere = self.home.is_some_and(|home| home.slave != slave);
        let waits = self.is_waiting() && !is_elsewhere;
        waits.then(|| Turn {
            is_not_failed: !self.has_failed(),
            is_not_suspicious: !self.is_suspicious,
            trials: self.trials + u32::from(self.passes),
        })
    }

    /// Takes note that it begins to run on a slave, and whether the run there is of the build that passed.
    pub(crate) fn begun(&mut self, slave: SlaveId, has_passed_there: bool) {
        self.is_running = true;
        self.home.get_or_insert(Home {
            slave,
            is_tried: false,
            passes: u8::from(has_passed_there && !self.was_ended),
            failures: 0,
        });
    }

    /// Takes note that it did not begin.
    pub(crate) fn refused(&mut self) {
        self.is_running = false;
        self.home.take_if(|home| !home.is_tried);
    }

    /// Takes note that its run was ended: what that left may make it fail there.
    pub(crate) fn broken_off(&mut self) {
        self.is_running = false;
        self.was_ended = true;
        self.home = None;
    }

    /// Takes note of how a run ended. What that says: a failure is a flake only if the atom has passed more than once on
    /// this slave before, no run there was ended since, and it passes there again. So neither a sick slave makes flakes,
    /// nor an atom that can not run twice in a work tree.
    pub(crate) fn ended(&mut self, end: HuntEnd) -> Option<HuntTrial> {
        let Some(home) = self.home.as_mut().filter(|_| end != HuntEnd::Dropped) else {
            self.broken_off();
            self.drops = self.drops.saturating_add(1);
            self.is_done |= self.drops >= MOST_DROPS;
            return None;
        };
        self.is_running = false;
        self.drops = 0;
        home.is_tried = true;
        if end == HuntEnd::Failed {
            home.failures = home.failures.saturating_add(1);
            self.is_done = home.passes < PASSES_THAT_TELL || home.failures >= MOST_FAILURES;
            return Some(HuntTrial::Failed);
        }
        home.passes = home.passes.saturating_add(1);
        self.passes = self.passes.saturating_add(1);
        // A build makes one flake of an atom at most, as without hunts.
        self.is_done = home.failures > 0;
        Some(match self.is_done {
            true => HuntTrial::Flaked,
            false => HuntTrial::Passed,
        })
    }
}
