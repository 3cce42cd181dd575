//! Which of the secrets that its job asks for a build is given. Their values are not known here.

use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::accounts::projects::Project;
use crate::accounts::secrets::NamedSecret;
use crate::builds::build::Build;
use crate::builds::plan::Plan;
use crate::effect::WantedSecret;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use std::collections::BTreeSet;

/// Why a build is not given secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Withheld {
    /// It leaves a template, which others start.
    Template,
    /// Whoever started it may use none.
    Stranger,
    /// Its code is none of its project's repository.
    Fork,
    /// Who may not set secrets brought code or variables along.
    Brought,
}

impl Withheld {
    fn text(self) -> &'static str {
        match self {
            Self::Template => "builds that leave a template get none",
            Self::Stranger => "builds that others than users start get none",
            Self::Fork => "builds of forks get none",
            Self::Brought => {
                "builds with code or variables that somebody brings along get none, unless that is the project's owner or \
                 a superuser"
            }
        }
    }

    /// Whether a secret is given all the same that may go to forks.
    fn may_be_allowed(self) -> bool {
        match self {
            Self::Fork | Self::Brought => true,
            Self::Template | Self::Stranger => false,
        }
    }
}

/// Why a build can not be given what its job asks for, in sentences for the user: each is the reason of a build that fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretMistake {
    #[error(
        "The job asks for the secret {name}, which the project {project} does not have. Set it with `clusterrunner \
         secret set {project} {name}`, or remove it from the section \"secrets\" of the job."
    )]
    Unknown { project: String, name: String },
    #[error(
        "The job asks for the secret {name}, which was set when the project {project} had another repository. Its owner lets \
         builds of this one have it with `clusterrunner secret confirm {project} {name}`, or sets another value with \
         `clusterrunner secret set {project} {name}`."
    )]
    OfAnotherRepository { project: String, name: String },
}

impl Cluster {
    /// Leaves in a plan the secrets that the build is given, and warns of the others.
    ///
    /// # Errors
    /// See [`SecretMistake`].
    pub(crate) fn take_secrets(&self, build: &Build, plan: &mut Plan) -> Result<(), SecretMistake> {
        let is_foreign = std::mem::take(&mut plan.is_foreign_commit);
        if plan.secrets.is_empty() {
            return Ok(());
        }
        let project = self.project(build.project);
        let known = |name: &str| project.and_then(|project| project.secrets.get(name));
        let is_for =
            |secret: &NamedSecret| project.is_some_and(|project| secret.is_for(&project.source));
        let wanted = std::mem::take(&mut plan.secrets);
        let Some(withheld) = self.withheld(build, project, is_foreign) else {
            if let Some(unknown) = wanted.iter().find(|name| known(name).is_none()) {
                return Err(SecretMistake::Unknown {
                    project: self.shown_project(project),
                    name: unknown.clone(),
                });
            }
            let is_elsewhere = |name: &&String| known(name).is_some_and(|secret| !is_for(secret));
            if let Some(name) = wanted.iter().find(is_elsewhere) {
                return Err(SecretMistake::OfAnotherRepository {
                    project: self.shown_project(project),
                    name: name.clone(),
                });
            }
            plan.secrets = wanted;
            plan.is_given_secrets = true;
            return Ok(());
        };
        let is_given = |name: &String| {
            let may_go = |secret: &NamedSecret| {
                secret.set.allow_forks && withheld.may_be_allowed() && is_for(secret)
            };
            known(name).is_some_and(may_go)
        };
        let (given, not_given): (BTreeSet<String>, BTreeSet<String>) =
            wanted.into_iter().partition(is_given);
        plan.secrets = given;
        if !not_given.is_empty() {
            let (word, names) = names(&not_given);
            let why = withheld.text();
            // Before what may be many.
            plan.warnings
                .insert(0, format!("{word} {names} not given: {why}"));
        }
        Ok(())
    }

    /// What a plan names of secrets, with the values as they were last set. A project may have got another repository since the
    /// build was prepared: what was set for that is not for this build.
    pub(crate) fn wanted_secrets(&self, build: &Build, plan: &Plan) -> Vec<WantedSecret> {
        let project = self.project(build.project);
        let is_of_fork = is_of_fork(&build.request, project);
        let may_go = |project: &Project, secret: &NamedSecret| {
            secret.is_for(&project.source) && (!is_of_fork || secret.set.allow_forks)
        };
        let wanted = plan.secrets.iter().map(|name| {
            let known = project.and_then(|project| {
                let secret = project.secrets.get(name)?;
                may_go(project, secret).then_some(&secret.set)
            });
            WantedSecret {
                project: build.project,
                name: name.clone(),
                sealed: known.map(|known| known.sealed.clone()),
                as_file: known.is_some_and(|known| known.as_file),
            }
        });
        wanted.collect()
    }

    /// The same for a build that is prepared.
    #[must_use]
    pub fn secrets_of(&self, build: BuildId) -> Option<Vec<WantedSecret>> {
        let build = self.build(build)?;
        Some(self.wanted_secrets(build, build.plan.as_ref()?))
    }

    fn shown_project(&self, project: Option<&Project>) -> String {
        let named = project.and_then(|project| {
            let owner = self.owner_name(project.owner)?;
            Some(format!("{owner}/{}", project.name()))
        });
        named.unwrap_or_default()
    }

    fn withheld(
        &self,
        build: &Build,
        project: Option<&Project>,
        is_foreign: bool,
    ) -> Option<Withheld> {
        if build.request.product.is_some() {
            return Some(Withheld::Template);
        }
        let may_set = match build.started_by {
            None if build.owner == Owner::Binder => return Some(Withheld::Stranger),
            // A holder of the farm's secret.
            None => true,
            Some(user) => {
                let user = self.accounts().user(user);
                user.is_some_and(|user| {
                    user.is_superuser
                        || project.is_some_and(|project| project.owner == Owner::User(user.id))
                })
            }
        };
        if is_foreign || is_of_fork(&build.request, project) {
            return Some(Withheld::Fork);
        }
        let request = &build.request;
        let is_of_others = request.is_brought_by_others || !may_set;
        (is_of_others && request.brings_something()).then_some(Withheld::Brought)
    }
}

/// Whether the code comes from another repository than the project's.
fn is_of_fork(request: &BuildRequest, project: Option<&Project>) -> bool {
    let ProjectSource::Git { url, remote, .. } = &request.project else {
        return false;
    };
    let is_own = |remote: &String| remote.is_empty() || remote == "origin" || remote == url;
    let is_elsewhere = project.is_none_or(|project| project.git_url() != Some(url));
    is_elsewhere || !remote.as_ref().is_none_or(is_own)
}

fn names(names: &BTreeSet<String>) -> (&'static str, String) {
    let word = if names.len() == 1 {
        "secret"
    } else {
        "secrets"
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    (word, names.join(", "))
}
