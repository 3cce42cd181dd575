//! What a fact about a user or a project changes.

use super::facts::{AccountFact, ProjectFact};
use crate::core::Cluster;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{ProjectId, UserId};

impl Cluster {
    pub(in crate::core) fn apply_to_account(
        &mut self,
        user: UserId,
        fact: &AccountFact,
        at: Timestamp,
    ) {
        match fact {
            AccountFact::Created(new) => self.accounts.add(user, (**new).clone(), at),
        }
    }

    pub(in crate::core) fn apply_to_project(
        &mut self,
        id: ProjectId,
        fact: &ProjectFact,
        at: Timestamp,
    ) {
        match fact {
            ProjectFact::Created { owner, project } => {
                self.projects.make(id, *owner, (**project).clone(), at);
            }
        }
    }
}
