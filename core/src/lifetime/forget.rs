//! Which builds are not kept any longer.

use crate::Cluster;
use crate::FORGOTTEN_AT_A_TIME;
use crate::event::{Bound, BuildFact, Fact};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::retention::BuildBounds;
use clusterrunner_common::ids::BuildId;
use std::collections::{BTreeMap, BTreeSet};

impl Cluster {
    /// Whether a build is archived or forgotten: no slave has anything to do for it any more.
    pub(crate) fn was_put_away(&self, id: BuildId) -> bool {
        self.is_ended(id) || self.is_forgotten(id)
    }

    /// The archived builds in the order of their ids, and when they were archived.
    pub fn ended(&self) -> impl Iterator<Item = (BuildId, Timestamp)> {
        self.ended.iter().map(|(id, ended)| (*id, ended.at))
    }

    /// Builds that are forgotten and whose files may still be there.
    #[must_use]
    pub fn to_be_cleared(&self) -> &BTreeSet<BuildId> {
        &self.forgotten
    }

    /// The builds that are beyond a bound, the oldest first. The latest may be as large as it likes:
    /// a client that waits for it must find it.
    pub(crate) fn beyond(
        &self,
        bounds: &BuildBounds,
        sizes: &BTreeMap<BuildId, u64>,
        at: Timestamp,
    ) -> Vec<Fact> {
        let size = |id: &BuildId| sizes.get(id).copied().unwrap_or(0);
        let mut number = self.ended.len() as u64;
        let mut bytes = self.ended.keys().map(size).sum::<u64>();
        let mut builds: Vec<(Timestamp, BuildId)> = self
            .ended
            .iter()
            .map(|(id, ended)| (ended.at, *id))
            .collect();
        builds.sort_unstable();
        let mut facts = Vec::new();
        for (since, build) in builds {
            let is_too_old = bounds.max_age.is_some_and(|most| since.until(at) >= most);
            let are_too_many = bounds.max_number.is_some_and(|most| number > most);
            let is_too_much = bounds.max_bytes.is_some_and(|most| bytes > most) && number > 1;
            let bound = if is_too_old {
                Bound::Age
            } else if are_too_many {
                Bound::Number
            } else if is_too_much {
                Bound::Bytes
            } else {
                break;
            };
            if facts.len() == FORGOTTEN_AT_A_TIME {
                break;
            }
            facts.push(Fact::Build(build, BuildFact::Forgotten { bound }));
            number -= 1;
            bytes -= size(&build);
        }
        facts
    }

    pub(crate) fn forget(&mut self, id: BuildId) {
        self.forget_details(id);
        self.bookmarks.leave_build_out(id);
        if let Some(ended) = self.ended.remove(&id) {
            // A deleted build left its project when it was deleted.
            if !self.end_deletion(id) {
                self.leave_project(ended.project);
            }
            self.forgotten.insert(id);
            self.leave_name(id);
        }
    }

    pub(crate) fn note_cleared(&mut self, id: BuildId) {
        self.forgotten.remove(&id);
    }
}
