//! Running a build again: all of it, or the atoms of it that failed.

use super::Api;
use super::error::ApiError;
use super::private::may_change;
use super::working_trees;
use crate::http::caller::actor;
use clusterrunner_common::api::build_request::{InvalidRequest, RETRY_OF};
use clusterrunner_common::ids::{BuildId, ProjectId, SubjobId, UserId};
use clusterrunner_common::job::matrix::{Chosen, Combination};
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::access::Caller;
use clusterrunner_core::accounts::tokens::Role;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::details::NewDetails;
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::command::Command;
use clusterrunner_core::refusal::Refusal;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::OwnedRwLockReadGuard;

const ONLY_FAILED: &str = "only_failed";
const NEWEST: &str = "newest";

/// The fields that mean here what they mean in a request of its own.
const CHANGED: [&str; 6] = [
    "matrix",
    "atoms_override",
    "in_order",
    "retries",
    "max_fail",
    "inherited_env",
];

/// What of a build is to be run again.
#[derive(Debug)]
pub(super) struct Again {
    of: BuildId,
    /// Only the atoms that failed.
    only_failed: bool,
    /// Of the newest commit, not of the one that was built.
    newest: bool,
    /// A request of which nothing matters but the fields in [`CHANGED`].
    changes: BuildRequest,
}

/// A build as it is needed to run it again.
struct Before {
    project: ProjectId,
    /// Who asked for it; none for a holder of the farm's secret, or of the Binder key.
    started_by: Option<UserId>,
    request: BuildRequest,
    commit: Option<String>,
    /// Whether its code was found to be the project's own.
    is_given_secrets: bool,
    is_over: bool,
    failed: Vec<String>,
    /// Whether its atoms are values, and no shell text.
    quotes_atoms: bool,
    /// The builds of its matrix that did not pass, and whether all atoms of each have run.
    children: Vec<(BuildId, Combination, bool)>,
    /// What of these is to be run again; all of it where none is.
    chosen: Vec<Chosen>,
}

impl Again {
    /// Reads a body; `None` where it is a request of its own, which says of what type it is.
    pub(super) fn from_json(body: &Value) -> Result<Option<Self>, InvalidRequest> {
        let Value::Object(fields) = body else {
            return Ok(None);
        };
        let Some(of) = fields.get(RETRY_OF).filter(|of| !of.is_null()) else {
            return Ok(None);
        };
        if fields.contains_key("type") {
            return Ok(None);
        }
        let known = [RETRY_OF, ONLY_FAILED, NEWEST].into_iter().chain(CHANGED);
        let known: Vec<&str> = known.collect();
        let mut names = fields.keys();
        if let Some(field) = names.find(|field| !known.contains(&field.as_str())) {
            return Err(wrong(
                field,
                &format!(
                    "left out where there is no 'type': known beside '{RETRY_OF}' are {}",
                    known[1..].join(", ")
                ),
            ));
        }
        let of = of.as_u64().filter(|of| *of > 0).map(BuildId);
        let truth = |field| match fields.get(field) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => Err(wrong(field, "true or false")),
        };
        let mut changes = json!({"type": "directory", "project_directory": "/"});
        for field in CHANGED {
            if let Some(value) = fields.get(field) {
                changes[field] = value.clone();
            }
        }
        Ok(Some(Self {
            of: of.ok_or_else(|| wrong(RETRY_OF, "the number of a build"))?,
            only_failed: truth(ONLY_FAILED)?,
            newest: truth(NEWEST)?,
            changes: BuildRequest::from_json(&changes)?,
        }))
    }

    /// The order to run it.
    /// While the guard lives, a working tree that it is of stays.
    pub(super) async fn command(
        self,
        api: &Arc<Api>,
        caller: Caller,
    ) -> Result<(Command, Option<OwnedRwLockReadGuard<()>>), ApiError> {
        may_change(api, caller, self.of).await?;
        let mut before = before(api, self.of).await?;
        if self.only_failed {
            before.choose(api).await?;
        }
        let project = before.project;
        let by = actor(caller);
        let is_of_others = before.is_of_others(by);
        let is_brought = before.request.brings_something();
        let mut request = Box::new(self.request(before)?);
        request.is_brought_by_others |= is_of_others && is_brought;
        request.is_brought_by_others |= only_submits(caller) && request.brings_something();
        // Whoever may change the build may run it again, whoever has sent the working tree.
        let using = working_trees::there(api, &request).await?;
        let command = Command::QueueBuildOf {
            by,
            project,
            request,
            details: NewDetails::default(),
        };
        Ok((command, using))
    }

    fn request(self, before: Before) -> Result<BuildRequest, ApiError> {
        let of = self.of;
        let invalid = |why: &str| ApiError::Invalid(format!("Build {of} {why}"));
        if before.request.product.is_some() {
            return Err(invalid(
                "makes a template: build the template again instead.",
            ));
        }
        if self.newest && before.request.working_tree.is_some() {
            return Err(invalid(
                "is of a working tree, which has no newer commit: Field 'newest' must be left out.",
            ));
        }
        let mut request = before.request;
        match (&mut request.project, self.newest) {
            (ProjectSource::Git { hash, .. }, false) => {
                request.is_commit_found |= hash.is_none() && before.commit.is_some();
                *hash = before.commit.or(hash.take());
            }
            (ProjectSource::Git { hash, .. }, true) => {
                request.is_commit_found = false;
                *hash = None;
            }
            (ProjectSource::Own { .. }, true) => {
                return Err(invalid(
                    "is of uploaded code: Field 'newest' is for projects of git.",
                ));
            }
            (ProjectSource::Own { .. }, false) | (ProjectSource::Directory { .. }, _) => {}
        }
        if self.only_failed && self.changes.atoms_override.is_some() {
            return Err(ApiError::Invalid(format!(
                "Field 'atoms_override' must be left out where '{ONLY_FAILED}' is true."
            )));
        }
        if self.only_failed {
            if !before.is_over {
                return Err(invalid("is not over yet: which atoms fail is not known."));
            }
            match (before.chosen.is_empty(), before.failed.is_empty()) {
                (true, true) => return Err(invalid("has no failed atoms.")),
                (true, false) => request.atoms_override = Some(before.failed),
                (false, _) => request.matrix.clone_from(&before.chosen),
            }
        }
        if !self.changes.matrix.is_empty() {
            if self.only_failed {
                return Err(ApiError::Invalid(format!(
                    "Field 'matrix' must be left out where '{ONLY_FAILED}' is true."
                )));
            }
            if request.part.is_some() {
                return Err(invalid(
                    "is one combination of a matrix: Field 'matrix' must be left out.",
                ));
            }
            request.matrix = self.changes.matrix;
        }
        // A build of a matrix runs again alone.
        if let Some(part) = &mut request.part {
            part.parent = None;
        }
        if let Some(atoms) = self.changes.atoms_override {
            request.atoms_override = Some(atoms);
        }
        // They are told as the other build shows them, and mean what they mean there.
        let has_atoms = request.atoms_override.is_some()
            || request.matrix.iter().any(|chosen| chosen.atoms.is_some());
        request.quotes_atoms = before.quotes_atoms && has_atoms;
        request.in_order |= self.changes.in_order;
        request.retries = self.changes.retries.or(request.retries);
        request.max_fail = self.changes.max_fail.or(request.max_fail);
        request.inherited_env = self.changes.inherited_env;
        request.retry_of = Some(of);
        Ok(request)
    }
}

fn wrong(field: &str, expected: &str) -> InvalidRequest {
    InvalidRequest::Field {
        field: field.to_owned(),
        expected: expected.to_owned(),
    }
}

/// Whether what a request brings along, which names the build that it runs again, comes from others than the caller: clients
/// take it from that build.
pub(super) async fn takes_from_others(
    api: &Api,
    caller: Caller,
    request: &BuildRequest,
    of: BuildId,
) -> bool {
    if !request.brings_something() {
        return false;
    }
    match before(api, of).await {
        Ok(before) => {
            before.is_of_others(actor(caller))
                || before.request.is_brought_by_others
                || !is_of_same_code(&before, &request.project)
        }
        // Nobody knows any more whose it was.
        Err(_) => true,
    }
}

/// Whether a build and the one that takes its atoms have the code of one place: what it took from anywhere else, such as a fork or
/// a pull request, is what atomizers there have printed. A commit that was asked for may be anybody's, so it must be the same, or have
/// been found on a branch.
fn is_of_same_code(before: &Before, project: &ProjectSource) -> bool {
    let (
        ProjectSource::Git {
            url,
            remote,
            branch,
            hash,
            ..
        },
        ProjectSource::Git {
            url: own_url,
            remote: own_remote,
            branch: own_branch,
            hash: own_hash,
            ..
        },
    ) = (&before.request.project, project)
    else {
        return std::mem::discriminant(&before.request.project) == std::mem::discriminant(project);
    };
    let fork = |remote: &Option<String>| {
        let remote = remote.as_deref();
        let remote = remote.filter(|remote| !matches!(*remote, "" | "origin"));
        remote.map(str::to_owned)
    };
    if (url, fork(remote)) != (own_url, fork(own_remote)) {
        return false;
    }
    let was_asked_for = hash.is_some() && !before.request.is_commit_found;
    let is_same_commit = own_hash.is_some() && *own_hash == before.commit;
    before.is_given_secrets
        || is_same_commit
        || (branch == own_branch && !was_asked_for && own_hash.is_none())
}

/// Whether a token lets its user start builds and no more: its holder may not set secrets, so what it brings along may not
/// read them.
pub(super) fn only_submits(caller: Caller) -> bool {
    matches!(caller, Caller::User(user) if user.role < Role::Admin)
}

/// A build wherever it is.
async fn before(api: &Api, id: BuildId) -> Result<Before, ApiError> {
    let look =
        |_: &_, build: &Build| Ok::<_, ApiError>(Before::of(build, build.numbered_subjobs()));
    if let Some(before) = api.builds.live(id, look).await? {
        return Ok(before);
    }
    let (ended, subjobs) = api.builds.archived_subjobs(id, |number| 0..number).await?;
    let subjobs = subjobs.iter().map(|(id, subjob)| (*id, subjob));
    Ok(Before::of(&ended.build, subjobs))
}

impl Before {
    fn of<'a>(build: &Build, subjobs: impl Iterator<Item = (SubjobId, &'a Subjob)>) -> Self {
        let failed = subjobs.filter(|(_, subjob)| build.has_failed(subjob));
        let failed = failed.flat_map(|(_, subjob)| {
            let is_flaky = build.fails_as_flaky(subjob);
            let outcomes = subjob.result.iter().flat_map(|(_, outcomes)| outcomes);
            let atoms = subjob.atoms.iter().zip(outcomes);
            let atoms = atoms.filter(move |(_, outcome)| is_flaky || outcome.exit_code != 0);
            atoms.map(|(atom, _)| atom.to_string())
        });
        Self {
            project: build.project,
            started_by: build.started_by,
            request: build.request.clone(),
            commit: build.plan.as_ref().and_then(|plan| plan.commit.clone()),
            is_given_secrets: build
                .plan
                .as_ref()
                .is_some_and(|plan| plan.is_given_secrets),
            is_over: build.is_over(),
            failed: failed.collect(),
            quotes_atoms: build.quotes_atoms(),
            children: build
                .children_that_did_not_pass()
                .into_iter()
                .map(|(child, has_run)| (child.id, child.combination.clone(), has_run))
                .collect(),
            chosen: Vec::new(),
        }
    }

    /// Whether another user started it.
    fn is_of_others(&self, by: Actor) -> bool {
        self.started_by.is_some() && self.started_by != by.user()
    }

    /// Chooses the atoms that failed in the builds of a matrix, and all of those that could not be run.
    async fn choose(&mut self, api: &Api) -> Result<(), ApiError> {
        for (id, variables, has_run) in std::mem::take(&mut self.children) {
            let failed = match has_run {
                true => match before(api, id).await {
                    Ok(child) => Some((child.failed, child.quotes_atoms)),
                    // Nobody knows any more which of its atoms failed.
                    Err(ApiError::Refused(Refusal::ForgottenBuild(_))) => None,
                    Err(error) => return Err(error),
                },
                false => None,
            };
            self.take_choice(variables, failed);
        }
        Ok(())
    }

    /// A build of a matrix runs again: the atoms that failed, which are quoted or not, or all of it.
    fn take_choice(&mut self, variables: Combination, failed: Option<(Vec<String>, bool)>) {
        let failed = failed.filter(|(atoms, _)| !atoms.is_empty());
        // All are of one job at one commit, so their atoms are of one kind.
        if let Some((_, quotes_atoms)) = &failed {
            self.quotes_atoms = *quotes_atoms;
        }
        self.chosen.push(Chosen {
            variables,
            atoms: failed.map(|(atoms, _)| atoms),
            is_exact: true,
        });
    }
}

#[cfg(test)]
mod tests;
