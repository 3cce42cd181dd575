//! The same farm with another number of slaves for a build.

use super::scene::{Scene, SlaveThere};
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::BTreeMap;

impl Scene {
    /// The farm if so many slaves were there for a build: further ones have `executors` each and are new to the build;
    /// those that are too many get no new work, the smallest and latest ones.
    #[must_use]
    pub fn with_slaves(&self, build: BuildId, number: usize, executors: u32) -> Self {
        let mut scene = self.clone();
        let mut suitable: Vec<(u32, SlaveId)> = self
            .suitable(build)
            .map(|(id, slave)| (slave.num_executors, id))
            .collect();
        suitable.sort_by_key(|(executors, id)| (std::cmp::Reverse(*executors), *id));
        for (_, id) in suitable.iter().skip(number) {
            if let Some(slave) = scene.slaves.get_mut(id) {
                slave.takes_work = false;
            }
        }
        let last = self.slaves.keys().next_back().map_or(0, |id| id.0);
        let further = number.saturating_sub(suitable.len()) as u64;
        for id in (last + 1..).take(usize::try_from(further).unwrap_or(usize::MAX)) {
            let labels = self.builds.get(&build).map(|build| build.labels().clone());
            let new = SlaveThere::new(executors, labels.unwrap_or_default());
            scene.slaves.insert(SlaveId(id), new);
        }
        scene
    }

    /// How many executors the slaves have that are there for a build.
    #[must_use]
    pub fn num_executors(&self, build: BuildId) -> u64 {
        let suitable = self.suitable(build);
        suitable
            .map(|(_, slave)| u64::from(slave.num_executors))
            .sum()
    }

    /// How many executors most of the slaves have that are there for a build; none without any.
    #[must_use]
    pub fn usual_executors(&self, build: BuildId) -> Option<u32> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, slave) in self.suitable(build) {
            *counts.entry(slave.num_executors).or_default() += 1;
        }
        let most = counts
            .into_iter()
            .max_by_key(|(executors, number)| (*number, *executors));
        most.map(|(executors, _)| executors)
    }
}
