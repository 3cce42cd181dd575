//! What users want of builds.

use super::{MAX_WARNING, warned};
use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::accounts::refusal::AccountRefusal;
use crate::actor::Actor;
use crate::builds::build::Build;
use crate::builds::details::{Merge, NewDetails};
use crate::event::{BuildFact, Fact};
use crate::refusal::Refusal;
use crate::templates::decide::Turn;
use clusterrunner_common::ids::{BuildId, ProjectId};
use clusterrunner_common::work::BuildRequest;

impl Cluster {
    pub(super) fn queued(
        &self,
        by: Actor,
        mut request: Box<BuildRequest>,
    ) -> Result<Vec<Fact>, Refusal> {
        let owner = Owner::of(by);
        let canceled = self.claimed(&mut request, Turn::Alone)?;
        let queued = BuildFact::Queued {
            project: self.projects.of(owner, request.project_key()),
            owner,
            started_by: by.user(),
            request,
        };
        let queued = Fact::Build(self.next_build_id(), queued);
        Ok(canceled.into_iter().chain([queued]).collect())
    }

    pub(super) fn queued_of(
        &self,
        by: Actor,
        project: ProjectId,
        mut request: Box<BuildRequest>,
        details: NewDetails,
    ) -> Result<Vec<Fact>, Refusal> {
        let known = self.project(project);
        let owner = known.ok_or(AccountRefusal::UnknownProject(project))?.owner;
        let build = self.next_build_id();
        let details = self.fitting(project, build, details, None, Merge::Replace)?;
        let canceled = self.claimed(&mut request, Turn::InLine)?;
        let queued = BuildFact::Queued {
            project,
            owner,
            started_by: by.user(),
            request,
        };
        let mut facts: Vec<Fact> = canceled.into_iter().collect();
        facts.push(Fact::Build(build, queued));
        if !details.is_empty() {
            facts.push(Fact::Build(build, BuildFact::Described { details }));
        }
        Ok(facts)
    }

    pub(super) fn canceled(&self, build: BuildId) -> Result<Vec<Fact>, Refusal> {
        if self.is_ended(build) && !self.is_deleted(build) {
            return Ok(Vec::new());
        }
        Ok(self.canceled_with_children(self.shown_build(build)?))
    }

    /// A message of a user is a warning of a build that is not over.
    pub(super) fn noted(&self, id: BuildId, text: &str) -> Result<Vec<Fact>, Refusal> {
        if self.is_ended(id) && !self.is_deleted(id) {
            return Ok(Vec::new());
        }
        let build = self.shown_build(id)?;
        let text: String = text.chars().take(MAX_WARNING).collect();
        Ok(match build.is_over() {
            true => Vec::new(),
            false => warned(build, text),
        })
    }

    /// A build that users may still speak of.
    pub(super) fn shown_build(&self, id: BuildId) -> Result<&Build, Refusal> {
        match self.is_deleted(id) {
            true => Err(Refusal::ForgottenBuild(id)),
            false => self.known_build(id),
        }
    }
}
