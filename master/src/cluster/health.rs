//! When a slave is sick, and when a subjob is poison. The rules, in one place.
//!
//! **A slave is blamed only for what others did well**, so that a broken build, however broken it is,
//! can not take the farm away slave by slave:
//! - *Set-up*: it could not set a build up, or lost it, and at least as many slaves set it up as
//!   failed at it, before or after. A slave that has set up nothing else in this life is sick at
//!   the first such build; one that has, at the third in a row.
//! - *Everything fails*: all its last ten results failed, and in that time others passed at
//!   least three atoms of the same builds and failed at most a quarter as many as they passed.
//! - *Results of no use*: three times in a row its result of a subjob could not be used and another
//!   slave then brought one that could.
//!
//! A sick slave is quarantined until somebody releases it or starts it again.
//!
//! **A subjob is suspect** when a slave was lost while it ran: not one that said good-bye, and not
//! one that was handed the subjob by an earlier life of the master, since nobody saw when it went.
//! After the second such loss it runs alone on a slave that is kept free for it, and if that one is
//! lost as well the subjob is poison: its atoms failed, and the build goes on.

use super::Cluster;
use super::build::Build;
use super::event::AtomOutcome;
use super::slave::Slave;
use clusterrunner_common::ids::{BuildId, SlaveId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A subjob runs alone once so many slaves were lost with it.
pub const ISOLATE_AFTER: u32 = 2;

/// A subjob is not run again once so many slaves were lost with it; the last ran nothing else.
pub const POISON_AFTER: u32 = 3;

/// A slave that has set builds up is sick when it failed at so many others in a row.
const MAX_FAILED_SETUPS: usize = 3;

/// A slave may be sick when so many results in a row failed.
const MAX_FAILED_RESULTS: u32 = 10;

/// So many atoms others must have passed meanwhile.
const OTHERS_PASSED: u64 = 3;

/// So many times as many atoms others must have passed as failed meanwhile.
const OTHERS_RATIO: u64 = 4;

/// A slave is sick when others did better with so many of its results in a row.
const MAX_UNUSABLE: u32 = 3;

/// What speaks against a slave, since something last spoke for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whether it has set a build up in this life.
    has_set_up: bool,
    /// Builds that it could not set up.
    failed_setups: BTreeSet<BuildId>,
    /// Its failed results by build.
    failed_results: BTreeMap<BuildId, FailedResults>,
    /// Its results that were of no use while another slave's was.
    unusable: u32,
}

/// The results of one build in a row that failed on a slave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct FailedResults {
    /// How many.
    results: u32,
    /// How many atoms these had.
    atoms: u64,
    /// How many atoms of the build had passed before, anywhere.
    passed_before: u64,
    /// How many had failed.
    failed_before: u64,
}

fn passed(build: &Build) -> u64 {
    build.atoms_completed.saturating_sub(build.atoms_failed)
}

impl Cluster {
    /// A slave has a build: that speaks for it, and against those that do not.
    pub(super) fn note_setup(&mut self, slave: SlaveId, build: BuildId) {
        let Some(url) = self.slave(slave).map(|slave| slave.url.clone()) else {
            return;
        };
        if let Some(slave) = self.slaves.get_mut(&slave) {
            slave.record.has_set_up = true;
            slave.record.failed_setups.clear();
        }
        let Some(build) = self.builds.get_mut(&build) else {
            return;
        };
        let build = Arc::make_mut(build);
        build.set_up_at.insert(url);
        let failed: Vec<SlaveId> = build.setup_failures.values().map(|f| f.slave).collect();
        for slave in failed {
            self.judge(slave);
        }
    }

    /// A slave does not have a build though it should.
    pub(super) fn note_failed_setup(&mut self, slave: SlaveId, build: BuildId) {
        if let Some(slave) = self.slaves.get_mut(&slave) {
            slave.record.failed_setups.insert(build);
            if let Some(build) = self.builds.get_mut(&build) {
                Arc::make_mut(build).set_up_at.remove(&slave.url);
            }
        }
        self.judge(slave);
    }

    /// A slave brought a result. Called before the build counts it.
    pub(super) fn note_result(
        &mut self,
        slave: SlaveId,
        build: BuildId,
        unusable_from: &BTreeSet<SlaveId>,
        outcomes: &[AtomOutcome],
    ) {
        let Some(known) = self.builds.get(&build) else {
            return;
        };
        if let Some(slave) = self.slaves.get_mut(&slave) {
            slave.record.unusable = 0;
            if outcomes.iter().any(|outcome| outcome.exit_code == 0) {
                slave.record.failed_results.clear();
            } else if !outcomes.is_empty() {
                let fresh = FailedResults {
                    passed_before: passed(known),
                    failed_before: known.atoms_failed,
                    ..FailedResults::default()
                };
                let failed = slave.record.failed_results.entry(build).or_insert(fresh);
                failed.results += 1;
                failed.atoms += outcomes.len() as u64;
            }
        }
        for other in unusable_from.iter().filter(|other| **other != slave) {
            if let Some(other) = self.slaves.get_mut(other) {
                other.record.unusable += 1;
            }
            self.judge(*other);
        }
    }

    /// Finds a slave sick if what is known of it by now says so.
    pub(super) fn judge(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        if !slave.is_alive() || slave.quarantine.is_some() {
            return;
        }
        if let Some(reason) = self.sickness(slave) {
            self.sick.insert(id, reason);
        }
    }

    fn sickness(&self, slave: &Slave) -> Option<String> {
        let record = &slave.record;
        if record.unusable >= MAX_UNUSABLE {
            return Some(format!(
                "{} of its results in a row could not be used, and others brought better ones",
                record.unusable
            ));
        }
        let failed = record.failed_setups.iter();
        let blamed: Vec<&BuildId> = failed
            .filter(|build| self.is_to_blame_for(slave, **build))
            .collect();
        let most = if record.has_set_up {
            MAX_FAILED_SETUPS
        } else {
            1
        };
        if blamed.len() >= most {
            let last = **blamed.last()?;
            let failure = self.build(last)?.setup_failures.get(&slave.url)?;
            let builds: Vec<String> = blamed.iter().map(ToString::to_string).collect();
            let (plural, builds) = (if builds.len() == 1 { "" } else { "s" }, builds.join(", "));
            return Some(format!(
                "it could not set up build{plural} {builds}, which others could: {}",
                failure.reason
            ));
        }
        self.fails_alone(slave).then(|| {
            let results: u32 = record.failed_results.values().map(|f| f.results).sum();
            format!(
                "its last {results} results all failed while others passed atoms of the same builds"
            )
        })
    }

    /// Whether a failed set-up is the slave's fault.
    fn is_to_blame_for(&self, slave: &Slave, build: BuildId) -> bool {
        self.build(build).is_some_and(|build| {
            let failed = build.setup_failures.get(&slave.url);
            let without = build.setup_failures.keys();
            let without = without.filter(|url| !build.set_up_at.contains(*url));
            failed.is_some_and(|failure| failure.slave == slave.id)
                && !build.set_up_at.is_empty()
                && build.set_up_at.len() >= without.count()
        })
    }

    fn fails_alone(&self, slave: &Slave) -> bool {
        let record = slave.record.failed_results.iter();
        let (mut results, mut others_passed, mut others_failed) = (0, 0, 0);
        for (build, failed) in record {
            // A build that is forgotten by now tells nothing.
            let Some(build) = self.build(*build) else {
                continue;
            };
            results += failed.results;
            others_passed += passed(build).saturating_sub(failed.passed_before);
            let all_failed = build.atoms_failed.saturating_sub(failed.failed_before);
            others_failed += all_failed.saturating_sub(failed.atoms);
        }
        results >= MAX_FAILED_RESULTS
            && others_passed >= OTHERS_PASSED
            && others_passed >= OTHERS_RATIO * others_failed
    }
}
