//! Starting a build of a project: its specification says how the template is made that the build leaves.

use super::Api;
use super::body::{Body, Fields};
use super::builds;
use super::code::commit_of;
use super::error::PolyaxonError;
use super::granted::{Granted, GrantedBuild, Using};
use super::shapes::builds::BuildView;
use super::specification::{Specification, recipe};
use crate::coordinator::Gone;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::git::CommitId;
use clusterrunner_common::settings::ImagePolicy;
use clusterrunner_common::templates::usable_name;
use clusterrunner_common::work::product_build::product_build;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::accounts::projects::Project;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::details::{MAX_DESCRIPTION, MAX_NAME, NewDetails};
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Fact};
use serde_json::Value;
use std::sync::Arc;

/// The field with a specification as an object,
const CONFIG: &str = "config";

/// and that with one as a text.
const CONTENT: &str = "content";

/// Accepts a build: answered once it is on disk.
pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    of: Granted<Using>,
    Body(fields): Body,
) -> Result<(StatusCode, Json<BuildView>), PolyaxonError> {
    let (field, specification) = specification(&fields)?;
    let details = details(&fields, &specification)?;
    let source = source(&api, &of.project, &specification).await?;
    let project = source.map_err(|sentence| PolyaxonError::field(field, sentence))?;
    api.space.check(0)?;
    let request = Box::new(request(&of, project, specification, api.image_policy));
    let queue = Command::QueueBuildOf {
        by: Actor::User(of.caller.id),
        project: of.project.id,
        request,
        details,
    };
    let events = api.cluster.command(queue).await?;
    let queued = events.iter().find_map(|event| match &event.fact {
        Fact::Build(build, BuildFact::Queued { .. }) => Some(*build),
        _ => None,
    });
    let build = queued.ok_or(Gone)?;
    let view = builds::shown(&api, &GrantedBuild { of, build }).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// The build that leaves the template of a project.
fn request(
    of: &Granted<Using>,
    project: ProjectSource,
    specification: Specification,
    policy: ImagePolicy,
) -> BuildRequest {
    let name = usable_name(&format!("{}-{}", of.owner, of.project.name()));
    let recipe = recipe(&specification, policy);
    let variables = specification.variables();
    let mut request = product_build(project, &name, &recipe, variables, false);
    if let Some(product) = request.product.as_mut().filter(|_| recipe.has_no_cache) {
        // Equal to no other, so that no earlier template is used again. Builds of the project that are under way go on.
        product.recipe = hex::encode(random_bytes::<32>());
    }
    request.specification = Some(specification.config);
    request
}

/// The specification of a body, and the field that has it.
fn specification(fields: &Fields) -> Result<(&'static str, Specification), PolyaxonError> {
    let (field, read) = match (fields.get(CONFIG), fields.get(CONTENT)) {
        (Some(config), _) => (CONFIG, Specification::of_value(config.clone())),
        (None, Some(Value::String(text))) => (CONTENT, Specification::of_text(text)),
        (None, Some(_)) => {
            return Err(PolyaxonError::field(CONTENT, "Not a valid string."));
        }
        (None, None) => {
            return Err(PolyaxonError::field(CONFIG, "This field is required."));
        }
    };
    let read = read.map_err(|error| PolyaxonError::field(field, error.to_string()))?;
    Ok((field, read))
}

/// What the body says of the build, or else the specification.
fn details(fields: &Fields, specification: &Specification) -> Result<NewDetails, PolyaxonError> {
    let tags = match fields.get("tags") {
        None => None,
        Some(Value::Array(tags)) => {
            let tags = tags.iter().map(|tag| tag.as_str().map(str::to_owned));
            let tags: Option<Vec<String>> = tags.collect();
            Some(tags.ok_or_else(|| PolyaxonError::field("tags", "Not a list of strings."))?)
        }
        Some(_) => return Err(PolyaxonError::field("tags", "Not a list of strings.")),
    };
    let name = fields.text("name", MAX_NAME)?;
    let description = fields.text("description", MAX_DESCRIPTION)?;
    Ok(NewDetails {
        name: name.or_else(|| specification.name.clone()),
        description: description.or_else(|| specification.description.clone()),
        tags: tags.or_else(|| specification.tags.clone()),
    })
}

/// Where the code comes from; the inner error is for the author of the specification.
async fn source(
    api: &Api,
    project: &Project,
    specification: &Specification,
) -> Result<Result<ProjectSource, String>, PolyaxonError> {
    if !project.has_own_repository() {
        return Ok(repository(project, specification));
    }
    let asked = specification.commit.as_ref();
    let asked = asked.or(specification.reference.as_ref());
    let asked = asked.map(String::as_str).unwrap_or_default();
    let commit = commit_of(api, project, asked).await?;
    if commit.is_none() && !asked.is_empty() {
        let shown: String = asked.chars().take(80).collect();
        return Ok(Err(format!(
            "There is no commit `{shown}` in the code of this project."
        )));
    }
    Ok(Ok(ProjectSource::Own {
        project: project.id,
        commit: commit.map(|commit| commit.to_string()),
    }))
}

/// A repository elsewhere, at the commit or branch that is asked for.
fn repository(project: &Project, specification: &Specification) -> Result<ProjectSource, String> {
    let Some(url) = project.git_url() else {
        let sentence = "The code of this project is a directory: its builds are started through ClusterRunner's API.";
        return Err(sentence.to_owned());
    };
    let is_hash = |text: &&String| {
        (4..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let commit = specification.commit.as_ref();
    if commit.is_some_and(|commit| !is_hash(&commit)) {
        return Err("`commit` must be a commit id of 4 to 40 hex digits.".to_owned());
    }
    let reference = specification.reference.as_ref();
    let is_id = |text: &&String| text.parse::<CommitId>().is_ok();
    let branch = reference.filter(|reference| !is_id(reference));
    if branch.is_some_and(|branch| branch.starts_with('-') || branch.contains(char::is_whitespace))
    {
        return Err("`ref` must be the name of a branch or tag, or a commit id.".to_owned());
    }
    let hash = commit.or_else(|| reference.filter(is_id));
    Ok(ProjectSource::Git {
        url: url.to_owned(),
        remote: None,
        branch: branch.cloned(),
        hash: hash.map(|hash| hash.to_lowercase()),
        project_directory: None,
    })
}
