//! What an order about accounts means now.

use super::command::{AccountCommand, AccountRefusal, ProjectCommand};
use super::facts::{AccountFact, ProjectFact};
use super::projects::Owner;
use crate::core::Cluster;
use crate::core::event::{Actor, Fact};

impl Cluster {
    pub(in crate::core) fn account_facts(
        &self,
        command: AccountCommand,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        match command {
            AccountCommand::Create(user) => {
                if self.accounts.named(&user.name).is_some() {
                    return Err(AccountRefusal::UserNameTaken(user.name));
                }
                let id = self.accounts.next_user_id();
                Ok(vec![Fact::Account(id, AccountFact::Created(user))])
            }
        }
    }

    pub(in crate::core) fn project_facts(
        &self,
        by: Actor,
        command: ProjectCommand,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        match command {
            ProjectCommand::Create(project) => {
                let owner = Owner::of(by);
                if self.project_named(owner, &project.name).is_some() {
                    return Err(AccountRefusal::ProjectNameTaken(project.name));
                }
                let id = self.projects.next_id();
                let created = ProjectFact::Created { owner, project };
                Ok(vec![Fact::Project(id, created)])
            }
        }
    }
}
