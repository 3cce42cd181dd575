//! What an order about the secrets of a project means now.

use super::facts::ProjectFact;
use super::owner::Owner;
use super::project_names::{free_name, repository_name};
use super::projects::Project;
use super::refusal::AccountRefusal;
use super::secrets::{NewSecret, SealedId};
use crate::Cluster;
use crate::event::Fact;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::process::variables::check_secret_name;

/// How many secrets a project may have.
const MAX_SECRETS: usize = 100;

impl Cluster {
    pub(super) fn secret_set(
        &self,
        id: ProjectId,
        name: String,
        secret: NewSecret,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        let project = self.project(id);
        let project = project.ok_or(AccountRefusal::UnknownProject(id))?;
        if let Err(expected) = check_secret_name(&name) {
            let field = "name";
            return Err(AccountRefusal::InvalidField { field, expected });
        }
        if !project.secrets.contains_key(&name) && project.secrets.len() >= MAX_SECRETS {
            return Err(AccountRefusal::TooManySecrets(MAX_SECRETS));
        }
        let set = ProjectFact::SecretSet {
            name,
            secret: Box::new(secret),
        };
        Ok(vec![Fact::Project(id, set)])
    }

    pub(super) fn secret_removed(
        &self,
        id: ProjectId,
        name: String,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        let project = self.project(id);
        let project = project.ok_or(AccountRefusal::UnknownProject(id))?;
        if !project.secrets.contains_key(&name) {
            return Err(AccountRefusal::UnknownSecret(name));
        }
        Ok(vec![Fact::Project(id, ProjectFact::SecretRemoved { name })])
    }

    /// The name that a project of an owner may get which is made for a repository.
    #[must_use]
    pub fn free_project_name(&self, owner: Owner, url: &str) -> String {
        let name = repository_name(&format!("git {url}"));
        free_name(&name, |name| self.project_named(owner, name).is_some())
    }

    /// The oldest project of an owner whose builds come from a repository or a directory.
    pub fn project_from(&self, owner: Owner, place: &str) -> Option<&Project> {
        let mut projects = self.projects_of(owner).collect::<Vec<_>>();
        projects.sort_by_key(|project| project.id);
        projects.into_iter().find(|project| {
            let source = project.source.split_once(' ');
            source.is_some_and(|(_, source)| source == place)
        })
    }

    /// The sealed values of all secrets, with their projects and names.
    pub fn named_secrets(&self) -> impl Iterator<Item = (ProjectId, &str, &SealedId)> {
        self.projects().flat_map(|project| {
            let secrets = project.secrets.iter();
            secrets.map(|(name, secret)| (project.id, name.as_str(), &secret.set.sealed))
        })
    }

    /// The sealed values of all secrets.
    pub fn sealed_secrets(&self) -> impl Iterator<Item = &SealedId> {
        let secrets = self.projects().flat_map(|project| project.secrets.values());
        secrets.map(|secret| &secret.set.sealed)
    }
}
