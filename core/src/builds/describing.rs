//! Describing a build: what an order about its details means, and how the cluster keeps them. Why details are of the
//! cluster and not of the build: see `details`.

use super::details::{
    Details, Merge, NewDetails, Unfit, check_description, check_name, is_part_of_a_build_name, tags,
};
use crate::Cluster;
use crate::event::{BuildFact, Fact};
use crate::refusal::Refusal;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The details of all builds that have any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct AllDetails {
    of: BTreeMap<BuildId, Details>,
    /// Derived: builds by their name in their project.
    #[serde(skip)]
    by_name: BTreeMap<(ProjectId, String), BuildId>,
}

impl AllDetails {
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

impl Cluster {
    /// What users said of a build, if they did.
    #[must_use]
    pub fn details(&self, id: BuildId) -> Option<&Details> {
        self.details.of.get(&id)
    }

    /// The build of a project that has a name.
    #[must_use]
    pub fn build_named(&self, project: ProjectId, name: &str) -> Option<BuildId> {
        let key = (project, name.to_owned());
        self.details.by_name.get(&key).copied()
    }

    /// The project of a build that is there, archived or not; also of one that is deleted.
    #[must_use]
    pub fn project_id_of(&self, id: BuildId) -> Option<ProjectId> {
        let live = self.build(id).map(|build| build.project);
        live.or_else(|| self.ended.get(&id).map(|ended| ended.project))
    }

    /// A user says something of a build.
    pub(crate) fn described(
        &self,
        id: BuildId,
        new: NewDetails,
        merge: Merge,
    ) -> Result<Vec<Fact>, Refusal> {
        if self.is_deleted(id) || self.is_forgotten(id) {
            return Err(Refusal::ForgottenBuild(id));
        }
        let project = self.project_id_of(id).ok_or(Refusal::UnknownBuild(id))?;
        let known = self.details(id);
        let new = self.fitting(project, id, new, known, merge)?;
        let new = new.without_known(known);
        Ok(match new.is_empty() {
            true => Vec::new(),
            false => vec![Fact::Build(id, BuildFact::Described { details: new })],
        })
    }

    /// What is to be said of a build, if all of it may be.
    pub(crate) fn fitting(
        &self,
        project: ProjectId,
        id: BuildId,
        mut new: NewDetails,
        known: Option<&Details>,
        merge: Merge,
    ) -> Result<NewDetails, Unfit> {
        if let Some(name) = &new.name {
            check_name(name, is_part_of_a_build_name)?;
            let namesake = self.build_named(project, name);
            if namesake.is_some_and(|other| other != id) {
                return Err(Unfit::NameTaken);
            }
        }
        check_description(new.description.as_deref())?;
        if let Some(wanted) = new.tags.take() {
            let present = known.and_then(|known| known.tags.as_deref());
            new.tags = Some(tags(wanted, present, merge)?);
        }
        Ok(new)
    }

    pub(crate) fn describe(&mut self, id: BuildId, new: &NewDetails, at: Timestamp) {
        let Some(project) = self.project_id_of(id) else {
            return;
        };
        let details = self.details.of.entry(id).or_default();
        if let Some(name) = &new.name {
            if let Some(before) = details.name.replace(name.clone()) {
                self.details.by_name.remove(&(project, before));
            }
            self.details.by_name.insert((project, name.clone()), id);
        }
        if new.description.is_some() {
            details.description.clone_from(&new.description);
        }
        if new.tags.is_some() {
            details.tags.clone_from(&new.tags);
        }
        details.changed = Some(at);
    }

    pub(crate) fn forget_details(&mut self, id: BuildId) {
        let name = self.details.of.remove(&id).and_then(|details| details.name);
        if let (Some(name), Some(project)) = (name, self.project_id_of(id)) {
            self.details.by_name.remove(&(project, name));
        }
    }

    /// Makes anew what is derived, of builds that are there.
    pub(crate) fn restore_details(&mut self) {
        let of = std::mem::take(&mut self.details).of;
        let is_there = |id: &BuildId| self.project_id_of(*id).is_some();
        let of = of.into_iter().filter(|(id, _)| is_there(id)).collect();
        self.details.of = of;
        self.details.by_name = self.derived_names();
    }

    pub(crate) fn derived_names(&self) -> BTreeMap<(ProjectId, String), BuildId> {
        let named = self.details.of.iter().filter_map(|(id, details)| {
            let key = (self.project_id_of(*id)?, details.name.clone()?);
            Some((key, *id))
        });
        named.collect()
    }

    /// Whether the names that are kept are those that follow from the rest, and all are of builds that are there.
    pub(crate) fn are_details_right(&self) -> bool {
        let mut described = self.details.of.keys();
        self.details.by_name == self.derived_names()
            && described.all(|id| self.project_id_of(*id).is_some() && !self.is_deleted(*id))
    }
}
