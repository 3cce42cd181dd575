//! All instances.

use super::instance::Instance;
use crate::Cluster;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{InstanceId, ProjectId, SlaveId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many instances that are not over there are at most.
pub(super) const MAX_INSTANCES: usize = 10_000;

/// How many instances that are over are listed.
pub(crate) const OVER_KEPT: usize = 1_000;

/// All instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Instances {
    /// Ids go on from here, whatever was forgotten since.
    pub(super) last: u64,
    pub(super) by_id: BTreeMap<InstanceId, Instance>,
    #[serde(skip)]
    pub(super) derived: Derived,
}

/// What is derived from the instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Derived {
    pub(super) by_key: BTreeMap<String, InstanceId>,
    /// Those that wait for a slave.
    pub(super) waiting: BTreeSet<InstanceId>,
    /// Those that are not over and have a slave, by the slave.
    pub(super) placed: BTreeMap<SlaveId, BTreeSet<InstanceId>>,
    /// Those that are over, by when that came; without those that are listed for users.
    pub(super) over: BTreeSet<(Timestamp, InstanceId)>,
    /// Those of apps that are listed for users: runs, and all others that were not stopped.
    of_apps: BTreeMap<ProjectId, BTreeSet<InstanceId>>,
}

impl Derived {
    fn insert(&mut self, instance: &Instance) {
        let id = instance.id;
        self.by_key.insert(instance.key.clone(), id);
        if let Some(project) = project_with(instance) {
            self.of_apps.entry(project).or_default().insert(id);
        }
        match instance.slave {
            _ if instance.is_past() => {
                self.over.insert((instance.changed, id));
            }
            _ if instance.is_over() => {}
            Some(slave) => {
                self.placed.entry(slave).or_default().insert(id);
            }
            None => {
                self.waiting.insert(id);
            }
        }
    }

    fn remove(&mut self, instance: &Instance) {
        let id = instance.id;
        self.by_key.remove(&instance.key);
        if let Some(project) = project_with(instance) {
            remove_from(&mut self.of_apps, project, id);
        }
        match instance.slave {
            _ if instance.is_past() => {
                self.over.remove(&(instance.changed, id));
            }
            _ if instance.is_over() => {}
            Some(slave) => remove_from(&mut self.placed, slave, id),
            None => {
                self.waiting.remove(&id);
            }
        }
    }
}

/// The project of the app that an instance is listed with.
fn project_with(instance: &Instance) -> Option<ProjectId> {
    let is_listed = instance.purpose.is_run() || !instance.is_past();
    instance.purpose.project().filter(|_| is_listed)
}

fn remove_from<K: Ord>(map: &mut BTreeMap<K, BTreeSet<InstanceId>>, key: K, id: InstanceId) {
    if let Some(those) = map.get_mut(&key) {
        those.remove(&id);
        if those.is_empty() {
            map.remove(&key);
        }
    }
}

impl Instances {
    pub(crate) fn next_id(&self) -> InstanceId {
        InstanceId(self.last + 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last == 0
    }

    pub(super) fn num_open(&self) -> usize {
        self.by_id.len() - self.derived.over.len()
    }

    pub(super) fn insert(&mut self, instance: Instance) {
        self.last = self.last.max(instance.id.0);
        self.derived.insert(&instance);
        self.by_id.insert(instance.id, instance);
    }

    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    pub(super) fn change(&mut self, id: InstanceId, change: impl FnOnce(&mut Instance)) {
        let instance = self.by_id.get_mut(&id);
        let instance = instance.expect("events name instances that exist");
        self.derived.remove(instance);
        change(instance);
        self.derived.insert(instance);
    }

    pub(super) fn remove(&mut self, id: InstanceId) {
        if let Some(instance) = self.by_id.remove(&id) {
            self.derived.remove(&instance);
        }
    }

    /// What is derived, as it follows from what is stored.
    pub(crate) fn derive(&self) -> Derived {
        let mut derived = Derived::default();
        for instance in self.by_id.values() {
            derived.insert(instance);
        }
        derived
    }

    pub(crate) fn is_derived_right(&self) -> bool {
        self.derived == self.derive()
    }

    /// Makes anew what is derived.
    pub(crate) fn restored(mut self) -> Self {
        self.derived = self.derive();
        self
    }

    /// How many instances a slave is to run.
    pub(super) fn num_on(&self, slave: SlaveId) -> usize {
        self.derived.placed.get(&slave).map_or(0, BTreeSet::len)
    }
}

impl Cluster {
    /// An instance.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.by_id.get(&id)
    }

    /// The instance with a public id.
    #[must_use]
    pub fn instance_of_key(&self, key: &str) -> Option<&Instance> {
        self.instance(*self.instances.derived.by_key.get(key)?)
    }

    /// All instances, in the order in which they were asked for. Of those that are over only the latest are kept.
    pub fn instances(&self) -> impl DoubleEndedIterator<Item = &Instance> {
        self.instances.by_id.values()
    }

    /// Those that a slave is to run.
    pub fn instances_on(&self, slave: SlaveId) -> impl Iterator<Item = &Instance> {
        let ids = self.instances.derived.placed.get(&slave).into_iter();
        ids.flatten().filter_map(|id| self.instance(*id))
    }

    /// Those of an app that are listed for users.
    pub(crate) fn instances_of(&self, project: ProjectId) -> impl Iterator<Item = &Instance> {
        let ids = self.instances.derived.of_apps.get(&project).into_iter();
        ids.flatten().filter_map(|id| self.instance(*id))
    }

    pub(crate) fn slaves_with_instances(&self) -> impl Iterator<Item = SlaveId> {
        self.instances.derived.placed.keys().copied()
    }
}
