//! When a slave is sick. The rules, in one place.
//!
//! **A slave is blamed only for what others did well**, so that a broken build, however broken it is,
//! can not take the farm away slave by slave:
//! - *Set-up*: it could not set a build up, or lost it, and at least as many slaves set it up as
//!   failed at it, before or after. A slave that has set up nothing else in this life is sick at
//!   the first such build; one that has, at the third in a row.
//! - *Everything fails*: others passed the same atoms, see `doubts`.
//! - *Results of no use*: three times in a row its result of a subjob could not be used and another
//!   slave then brought one that could.
//!
//! A sick slave is quarantined for a while, see `quarantine`.
//!
//! When a subjob is blamed instead is in [`crate::builds::mishaps`].

use super::record::Record;
use crate::Cluster;
use crate::slaves::slave::Slave;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A slave that has set builds up is sick when it failed at so many others in a row.
const MAX_FAILED_SETUPS: usize = 3;

/// A slave is sick when others did better with so many of its results in a row.
const MAX_UNUSABLE: u32 = 3;

impl Cluster {
    /// Notes that a slave set a build up: evidence for it, and against slaves that could not.
    pub(crate) fn note_setup(&mut self, slave: SlaveId, build: BuildId) {
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
    pub(crate) fn note_failed_setup(&mut self, slave: SlaveId, build: BuildId) {
        if let Some(slave) = self.slaves.get_mut(&slave) {
            slave.record.failed_setups.insert(build);
            if let Some(build) = self.builds.get_mut(&build) {
                Arc::make_mut(build).set_up_at.remove(&slave.url);
            }
        }
        self.judge(slave);
    }

    /// A slave brought a result that can be used.
    pub(crate) fn note_usable(&mut self, slave: SlaveId, unusable_from: &BTreeSet<SlaveId>) {
        self.change_record(slave, |record| record.unusable = 0);
        for other in unusable_from.iter().filter(|other| **other != slave) {
            if let Some(other) = self.slaves.get_mut(other) {
                other.record.unusable += 1;
            }
            self.judge(*other);
        }
    }

    /// Marks a slave as sick, or removes the mark, by the evidence so far.
    pub(crate) fn judge(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        if !slave.is_alive() || slave.quarantine.is_some() {
            return;
        }
        match self.sickness(slave) {
            Some(reason) => self.sick.insert(id, reason),
            None => self.sick.remove(&id),
        };
    }

    pub(crate) fn change_record(&mut self, id: SlaveId, change: impl FnOnce(&mut Record)) {
        if let Some(slave) = self.slaves.get_mut(&id) {
            change(&mut slave.record);
        }
    }

    fn sickness(&self, slave: &Slave) -> Option<String> {
        let record = &slave.record;
        let is_probe = record.streak.is_probe();
        if record.unusable >= if is_probe { 1 } else { MAX_UNUSABLE } {
            return Some(format!(
                "{} of its results in a row could not be used, but those of other slaves could",
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
                "it could not set up build{plural} {builds}, but other slaves could: {}",
                failure.reason
            ));
        }
        self.fails_alone(slave)
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
}
