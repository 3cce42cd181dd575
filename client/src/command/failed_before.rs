//! What failed in an earlier build: what `build --failed` and `retry --failed` run.

use super::send::Here;
use super::standing::working_tree;
use crate::output;
use crate::output::again::command;
use crate::output::text::count;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{AtomView, BuildStatus, BuildView, SubjobFilter};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Makes a request one for the atoms that failed in the last build of its job; where none did, the exit code that the
/// command ends with. `local`: the directory on this machine that the request is of.
pub(super) async fn only_failed(
    client: &Client,
    request: BuildRequest,
    local: Option<&Path>,
) -> Result<Result<BuildRequest, ExitCode>, Trouble> {
    let here = match local {
        Some(directory) => Some(Here::at(directory).await),
        None => None,
    };
    let builds = client.builds().await?;
    let before = last_of(&builds, &request, here.as_ref())?;
    if !before.children.is_empty() {
        let retry = command(format!("retry {} --failed", before.id));
        return Err(Trouble::usage(format!(
            "build {}, the last one of this job, was split into the builds of a matrix",
            before.id
        ))
        .hint(format!("`{retry}` runs what failed in these")));
    }
    let failed = failed_atoms(client, before.id).await?;
    if failed.is_empty() {
        return Ok(Err(nothing_failed(before)));
    }
    say_what_runs(&failed, before);
    Ok(Ok(of_failed(request, before, failed)))
}

/// The request for atoms that failed in a build before.
fn of_failed(request: BuildRequest, before: &BuildView, failed: Vec<AtomView>) -> BuildRequest {
    let named = before
        .request_params
        .get("job_name")
        .and_then(Value::as_str);
    let named = named.filter(|_| request.config.is_none());
    // Atoms that are shell text have no name.
    let quotes_atoms = failed.iter().all(|atom| atom.name.is_some());
    let failed = failed.into_iter().map(|atom| atom.command_string);
    BuildRequest {
        // A project with several jobs needs the one that they are of.
        job_name: request.job_name.or_else(|| named.map(str::to_owned)),
        atoms_override: Some(failed.collect()),
        quotes_atoms,
        retry_of: Some(before.id),
        ..request
    }
}

/// The last build that tells which atoms of a request's job fail. A request that names no job means the project's only
/// one; where builds of several jobs are known nobody knows which.
fn last_of<'a>(
    builds: &'a [BuildView],
    request: &BuildRequest,
    here: Option<&Here>,
) -> Result<&'a BuildView, Trouble> {
    newest_of(builds, request, here)?.ok_or_else(|| {
        Trouble::usage("there is no finished build of this job, so nothing is known to fail").hint(
            format!(
                "leave --failed out, or name a build with `{}`",
                command("retry BUILD --failed")
            ),
        )
    })
}

/// The newest finished build of a request's job, if there is one. `here`: the directory on this machine that the request is
/// of, whose builds count however they were started.
pub(super) fn newest_of<'a>(
    builds: &'a [BuildView],
    request: &BuildRequest,
    here: Option<&Here>,
) -> Result<Option<&'a BuildView>, Trouble> {
    let of_project = builds
        .iter()
        .rev()
        .filter(|build| build.status == BuildStatus::Finished && build.matrix.is_none())
        .filter(|build| {
            here.is_some_and(|here| here.can_have_started(build))
                || (is_of_the_same_project(build, request) && is_of_the_same_sender(build, request))
        });
    let of_project: Vec<&BuildView> = of_project.collect();
    let found = match (&request.job_name, &request.config) {
        (Some(name), _) => of_project.iter().find(|build| job_of(build) == Some(name)),
        // A job of the request has no name that counts.
        (None, Some(_)) => of_project.iter().find(|build| is_nameless(build)),
        (None, None) => {
            let of_file = || of_project.iter().filter(|build| !is_of_request(build));
            let unnamed = of_file().find(|build| !build.request_params.contains_key("job_name"));
            let jobs: BTreeSet<Option<&str>> = match unnamed {
                // It was the only one then.
                Some(build) => [job_of(build)].into(),
                None => of_file().map(|build| job_of(build)).collect(),
            };
            if jobs.len() > 1 {
                let jobs: Vec<&str> = jobs.into_iter().flatten().collect();
                return Err(Trouble::usage(format!(
                    "there are builds of several jobs of this project: {}",
                    plain(&jobs.join(", "))
                ))
                .hint("name the job with -j"));
            }
            of_file().find(|build| jobs.contains(&job_of(build)))
        }
    };
    Ok(found.copied())
}

/// The job of a build, where it is one of a `clusterrunner.yaml`.
fn job_of(build: &BuildView) -> Option<&str> {
    build.job_name.as_deref().filter(|_| !is_of_request(build))
}

/// Whether the job of a build came with its request.
fn is_of_request(build: &BuildView) -> bool {
    build.request_params.contains_key("config")
}

fn is_nameless(build: &BuildView) -> bool {
    is_of_request(build) && !build.request_params.contains_key("job_name")
}

/// Whether a build is of the project that a request names.
fn is_of_the_same_project(build: &BuildView, request: &BuildRequest) -> bool {
    let params = &build.request_params;
    let text = |field: &str| params.get(field).and_then(Value::as_str);
    match &request.project {
        ProjectSource::Git {
            url,
            project_directory,
            ..
        } => text("url") == Some(url) && text("project_directory") == project_directory.as_deref(),
        ProjectSource::Directory { project_directory } => {
            text("type") == Some("directory")
                && text("project_directory") == Some(project_directory)
        }
        ProjectSource::Own { .. } => false,
    }
}

/// Whether a build is of a commit, or of a working tree of who asks: what others try says nothing of the files here.
fn is_of_the_same_sender(build: &BuildView, request: &BuildRequest) -> bool {
    let Some(tree) = working_tree(build) else {
        return true;
    };
    let asking = request.working_tree.as_ref();
    asking.is_some_and(|asking| asking.by == tree.by)
}

/// The atoms of a build that failed.
pub(super) async fn failed_atoms(
    client: &Client,
    build: BuildId,
) -> Result<Vec<AtomView>, ClientError> {
    let subjobs = client.filtered_subjobs(build, SubjobFilter::Failed).await?;
    let atoms = subjobs.into_iter().flat_map(|subjob| subjob.atoms);
    Ok(atoms.filter(AtomView::has_failed).collect())
}

pub(super) fn say_what_runs(failed: &[AtomView], before: &BuildView) {
    let number = u64::try_from(failed.len()).unwrap_or(u64::MAX);
    let (atoms, id) = (count(number, "atom"), before.id);
    output::note(format!("running the {atoms} that failed in build {id}"));
    if let Some(rest) = before.num_atoms_not_run.filter(|rest| *rest > 0) {
        let (rest, all) = (count(rest, "atom"), command(format!("retry {id}")));
        output::note(format!(
            "not the {rest} that build {id} did not get to; `{all}` runs all"
        ));
    }
}

/// Says that there is nothing to run. The command then ends as the build did, which need not have passed.
pub(super) fn nothing_failed(before: &BuildView) -> ExitCode {
    let id = before.id;
    output::note(format!(
        "no atom of build {id} has failed, so there is nothing to run"
    ));
    let ended = ExitCode::of(before).unwrap_or(ExitCode::Trouble);
    if ended != ExitCode::Success {
        let all = command(format!("retry {id}"));
        output::complain(format!(
            "build {id} did not pass all the same; `{all}` runs it again as a whole"
        ));
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Builds of `/project` with these ids, jobs and requests, the oldest first.
    fn builds(of: &[(u64, &str, Value)]) -> Vec<BuildView> {
        let build = |(id, job, more): &(u64, &str, Value)| {
            let mut params = json!({"type": "directory", "project_directory": "/project"});
            for (name, value) in more.as_object().unwrap() {
                params[name] = value.clone();
            }
            let view = json!({
                "id": id, "status": "FINISHED", "details": null, "error_message": null, "num_atoms": 1,
                "num_subjobs": 1, "failed_atoms": [], "result": "FAILURE", "request_params": params,
                "state_timestamps": {}, "artifacts": null, "job_name": job,
            });
            serde_json::from_value(view).unwrap()
        };
        of.iter().map(build).collect()
    }

    fn found(builds: &[BuildView], job: Option<&str>) -> Result<u64, String> {
        let mut request = json!({"type": "directory", "project_directory": "/project"});
        if let Some(job) = job {
            request["job_name"] = json!(job);
        }
        let request = BuildRequest::from_json(&request).unwrap();
        let found = last_of(builds, &request, None);
        found
            .map(|build| build.id.0)
            .map_err(|trouble| trouble.message)
    }

    #[test]
    fn a_build_of_the_only_job_is_found_whether_it_was_named_or_not() {
        let named = json!({"job_name": "A"});
        let known = builds(&[(1, "A", json!({})), (2, "A", named.clone())]);
        assert_eq!(found(&known, None), Ok(2));
        assert_eq!(found(&known, Some("A")), Ok(2));
        assert_eq!(found(&known[..1], Some("A")), Ok(1));
        found(&known, Some("B")).unwrap_err();
        let own = builds(&[(1, "A", named), (2, "None", json!({"config": {}}))]);
        assert_eq!(found(&own, None), Ok(1));
        found(&[], None).unwrap_err();
    }

    #[test]
    fn what_runs_is_of_the_job_that_was_named() {
        let known = builds(&[(1, "A", json!({"job_name": "A"})), (2, "A", json!({}))]);
        let job_of = |before: &BuildView, more: Value| {
            let mut request = json!({"type": "directory", "project_directory": "/project"});
            for (name, value) in more.as_object().unwrap() {
                request[name] = value.clone();
            }
            let request = BuildRequest::from_json(&request).unwrap();
            of_failed(request, before, Vec::new()).job_name
        };
        assert_eq!(job_of(&known[0], json!({})).as_deref(), Some("A"));
        assert_eq!(job_of(&known[1], json!({})), None, "it was the only one");
        let own = json!({"config": {"commands": ["a"], "atomizers": [{"N": "b"}]}});
        assert_eq!(job_of(&known[0], own), None);
    }

    #[test]
    fn where_there_are_several_jobs_one_must_be_named() {
        let several = builds(&[
            (1, "A", json!({"job_name": "A"})),
            (2, "B", json!({"job_name": "B"})),
        ]);
        let why = found(&several, None).unwrap_err();
        assert!(why.ends_with(": A, B"), "{why}");
        assert_eq!(found(&several, Some("A")), Ok(1));
        // A job that was the only one once has another name by now, or is the only one still.
        let renamed = builds(&[
            (1, "Old", json!({"job_name": "Old"})),
            (2, "New", json!({})),
        ]);
        assert_eq!(found(&renamed, None), Ok(2));
    }
}
