//! What failed in an earlier build: what `build --failed` and `retry --failed` run.

use crate::output;
use crate::output::again::command;
use crate::output::text::count;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{AtomView, BuildStatus, BuildView, SubjobFilter};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use serde_json::Value;

/// Makes a request one for the atoms that failed in the last build of its job; `None` where none did.
pub(super) async fn only_failed(
    client: &Client,
    request: BuildRequest,
) -> Result<Option<BuildRequest>, Trouble> {
    let builds = client.builds().await?;
    let mut newest_first = builds.iter().rev();
    let Some(before) = newest_first.find(|build| is_of_the_same_job(build, &request)) else {
        return Err(Trouble::usage(
            "there is no finished build of this job, so nothing is known to fail",
        )
        .hint(format!(
            "leave --failed out, or name a build with `{}`",
            command("retry BUILD --failed")
        )));
    };
    let failed = failed_atoms(client, before.id).await?;
    if failed.is_empty() {
        nothing_failed(before.id);
        return Ok(None);
    }
    say_what_runs(&failed, before.id);
    // Atoms that are shell text have no name.
    let quotes_atoms = failed.iter().all(|atom| atom.name.is_some());
    let failed = failed.into_iter().map(|atom| atom.command_string);
    Ok(Some(BuildRequest {
        atoms_override: Some(failed.collect()),
        quotes_atoms,
        retry_of: Some(before.id),
        ..request
    }))
}

/// Whether a build tells which atoms of a request's job fail.
fn is_of_the_same_job(build: &BuildView, request: &BuildRequest) -> bool {
    let params = &build.request_params;
    let text = |field: &str| params.get(field).and_then(Value::as_str);
    let is_same_project = match &request.project {
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
    };
    let is_same_job = match &request.job_name {
        Some(name) => build.job_name.as_ref() == Some(name),
        None => text("job_name").is_none(),
    };
    build.status == BuildStatus::Finished && is_same_project && is_same_job
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

pub(super) fn say_what_runs(failed: &[AtomView], before: BuildId) {
    let number = u64::try_from(failed.len()).unwrap_or(u64::MAX);
    let atoms = count(number, "atom");
    output::note(format!("running the {atoms} that failed in build {before}"));
}

pub(super) fn nothing_failed(before: BuildId) -> ExitCode {
    output::note(format!(
        "no atom of build {before} has failed, so there is nothing to run"
    ));
    ExitCode::Success
}
