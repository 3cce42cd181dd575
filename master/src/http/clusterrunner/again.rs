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
                // The atoms of a fork are what its atomizers printed.
                || fork(&before.request.project) != fork(&request.project)
        }
        // Nobody knows any more whose it was.
        Err(_) => true,
    }
}

/// The fork that a project's code comes from, if it does.
fn fork(source: &ProjectSource) -> Option<&str> {
    match source {
        ProjectSource::Git { remote, .. } => remote
            .as_deref()
            .filter(|remote| !matches!(*remote, "" | "origin")),
        ProjectSource::Directory { .. } | ProjectSource::Own { .. } => None,
    }
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
mod tests {
    use super::*;
    use clusterrunner_common::job::matrix::Part;
    use clusterrunner_core::access::UserCaller;

    fn before(failed: &[&str]) -> Before {
        let request = json!({
            "type": "git", "url": "u", "branch": "main", "job_name": "Unit", "env": {"A": "1"}, "retries": 3,
            "inherited_env": {"HOME": "/elsewhere"},
        });
        Before {
            project: ProjectId(7),
            started_by: None,
            request: BuildRequest::from_json(&request).unwrap(),
            commit: Some("c0ffee".repeat(6) + "c0ff"),
            is_over: true,
            failed: failed.iter().copied().map(str::to_owned).collect(),
            quotes_atoms: true,
            children: Vec::new(),
            chosen: Vec::new(),
        }
    }

    #[test]
    fn what_another_user_brought_is_known() {
        let mut of_ben = before(&[]);
        of_ben.started_by = Some(UserId(2));
        assert!(of_ben.is_of_others(Actor::SecretHolder));
        assert!(of_ben.is_of_others(Actor::User(UserId(1))));
        assert!(!of_ben.is_of_others(Actor::User(UserId(2))));
        assert!(!before(&[]).is_of_others(Actor::User(UserId(1))));
    }

    #[test]
    fn tokens_that_only_submit_are_told_apart() {
        let user = |role| {
            Caller::User(UserCaller {
                id: UserId(1),
                is_superuser: true,
                role,
            })
        };
        assert!(only_submits(user(Role::Submit)));
        assert!(!only_submits(user(Role::Admin)));
        assert!(!only_submits(Caller::Nobody));
    }

    fn again(fields: Value) -> Again {
        Again::from_json(&fields).unwrap().unwrap()
    }

    /// What failed of a matrix is chosen with its atoms, and a build of one runs again alone.
    #[test]
    fn a_matrix_runs_again_as_far_as_it_failed() {
        let combination = |value: &str| -> Combination {
            let variable = ("PY".to_owned(), value.to_owned());
            [variable].into_iter().collect()
        };
        let of_matrix = || {
            let mut parent = before(&[]);
            // A build that has no plan says nothing of how atoms are written, wherever it stands.
            parent.take_choice(combination("0"), Some((Vec::new(), false)));
            parent.take_choice(combination("1"), Some((vec!["$(a)".to_owned()], true)));
            parent.take_choice(combination("2"), None);
            parent
        };
        let fields = json!({"retry_of": 5, "only_failed": true});
        let request = again(fields).request(of_matrix()).unwrap();
        let atoms: Vec<_> = request.matrix.iter().map(|one| one.atoms.clone()).collect();
        assert_eq!(atoms, [None, Some(vec!["$(a)".to_owned()]), None]);
        assert!(request.matrix.iter().all(|one| one.is_exact));
        assert!(request.quotes_atoms && request.atoms_override.is_none());

        let chosen = || json!({"retry_of": 5, "matrix": [{"PY": "2"}]});
        let request = again(chosen()).request(of_matrix()).unwrap();
        assert_eq!((request.matrix.len(), request.quotes_atoms), (1, false));
        let mut both = chosen();
        both["only_failed"] = json!(true);
        let refused = again(both).request(of_matrix()).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("Field 'matrix' must be left out")
        );

        let alone = || {
            let mut alone = before(&[]);
            let (parent, combination) = (Some(BuildId(3)), combination("1"));
            alone.request.part = Some(Part {
                parent,
                combination,
            });
            alone
        };
        let part = again(json!({"retry_of": 5}))
            .request(alone())
            .unwrap()
            .part
            .unwrap();
        assert_eq!((part.parent, part.combination), (None, combination("1")));
        let refused = again(chosen()).request(alone()).unwrap_err();
        assert!(refused.to_string().contains("one combination of a matrix"));
    }

    #[test]
    fn the_same_commit_is_built_with_the_same_variables() {
        let request = again(json!({"retry_of": 5})).request(before(&[])).unwrap();
        // The master has found it on the branch.
        assert!(request.is_commit_found);
        let mut named = before(&[]);
        if let ProjectSource::Git { hash, .. } = &mut named.request.project {
            *hash = Some("c0ffee".to_owned());
        }
        let of_named = again(json!({"retry_of": 5})).request(named).unwrap();
        assert!(!of_named.is_commit_found);
        let body = Value::Object(request.to_body());
        assert_eq!(
            body,
            json!({
                "type": "git", "url": "u", "branch": "main", "job_name": "Unit", "env": {"A": "1"}, "retries": 3,
                "hash": "c0ffee".repeat(6) + "c0ff", "retry_of": 5,
            })
        );
    }

    #[test]
    fn the_newest_commit_and_other_limits_are_taken_on_request() {
        let fields = json!({"retry_of": 5, "newest": true, "retries": 0, "max_fail": 2});
        let request = again(fields).request(before(&[])).unwrap();
        let body = request.to_body();
        assert_eq!(body.get("hash"), None);
        assert_eq!(
            (&body["retries"], &body["max_fail"]),
            (&json!(0), &json!(2))
        );
    }

    #[test]
    fn only_what_failed_is_run_where_that_is_asked_for() {
        let fields = || json!({"retry_of": 5, "only_failed": true});
        let atoms = ["export T=\"a\";"];
        let request = again(fields()).request(before(&atoms)).unwrap();
        assert_eq!(request.atoms_override, Some(vec![atoms[0].to_owned()]));
        assert!(request.quotes_atoms);
        let refused = |before| again(fields()).request(before).unwrap_err().to_string();
        assert_eq!(refused(before(&[])), "Build 5 has no failed atoms.");
        let running = Before {
            is_over: false,
            ..before(&atoms)
        };
        assert!(refused(running).starts_with("Build 5 is not over yet"));
    }

    #[test]
    fn some_atoms_run_one_after_the_other_where_that_is_asked_for() {
        let atoms = json!(["export T=\"b\";", "export T=\"a\";"]);
        let fields = |only_failed: bool| json!({"retry_of": 5, "atoms_override": atoms, "in_order": true, "only_failed": only_failed});
        let request = again(fields(false)).request(before(&["x"])).unwrap();
        let body = request.to_body();
        assert_eq!(
            (
                &body["atoms_override"],
                &body["in_order"],
                &body["quotes_atoms"]
            ),
            (&atoms, &json!(true), &json!(true))
        );
        let refused = again(fields(true)).request(before(&["x"])).unwrap_err();
        assert!(refused.to_string().starts_with("Field 'atoms_override'"));
        let request = again(json!({"retry_of": 5})).request(before(&[])).unwrap();
        assert!(!request.in_order && !request.quotes_atoms);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |fields: Value| Again::from_json(&fields).unwrap_err().to_string();
        assert_eq!(
            refused(json!({"retry_of": "five"})),
            "Field 'retry_of' must be the number of a build."
        );
        assert_eq!(
            refused(json!({"retry_of": 5, "newest": 1})),
            "Field 'newest' must be true or false."
        );
        assert!(refused(json!({"retry_of": 5, "retries": 11})).contains("between 0 and 10"));
        let unknown = refused(json!({"retry_of": 5, "branch": "main"}));
        assert!(
            unknown.starts_with("Field 'branch' must be left out"),
            "{unknown}"
        );
        assert!(
            Again::from_json(&json!({"type": "git", "retry_of": 5}))
                .unwrap()
                .is_none()
        );
        assert!(Again::from_json(&json!({"type": "git"})).unwrap().is_none());
    }
}
