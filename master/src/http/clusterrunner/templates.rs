//! Templates: list them, have one built.

use super::accounts::Asking;
use super::error::ApiError;
use super::{Api, shapes};
use crate::coordinator::Gone;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_common::api::launching::{
    BuildTemplate, TemplateAccepted, TemplateBody, TemplatesBody,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::process::variables::Variables;
use clusterrunner_common::settings::ImagePolicy;
use clusterrunner_common::templates::{Recipe, SourceName};
use clusterrunner_common::work::ProjectSource;
use clusterrunner_common::work::product_build::product_build;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Subject};
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Fact};
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::templates::refusal::TemplateRefusal;
use clusterrunner_core::templates::template::Name;
use serde_json::Value;
use std::sync::Arc;

/// The templates that the caller may see, by name.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<TemplatesBody>, ApiError> {
    let look = move |cluster: &Cluster| {
        let seen = cluster
            .template_names()
            .filter(|(_, known)| may_see(cluster, asking, known));
        let views = seen.map(|(name, known)| shapes::template(cluster, name, known));
        TemplatesBody {
            templates: views.collect(),
        }
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// What one name points at.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(name): Path<String>,
) -> Result<Json<TemplateBody>, ApiError> {
    let named = name.clone();
    let look = move |cluster: &Cluster| {
        let known = cluster.template_name(&named)?;
        let is_seen = may_see(cluster, asking, known);
        is_seen.then(|| shapes::template(cluster, &named, known))
    };
    let template = api.cluster.read(look).await?;
    let unknown = || Refusal::Template(TemplateRefusal::UnknownTemplate { name });
    Ok(Json(TemplateBody {
        template: template.ok_or_else(unknown)?,
    }))
}

/// Deletes a name and the templates that were built under it, unless something uses them. The answer is what it was.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(name): Path<String>,
    Signed(_): Signed<Value>,
) -> Result<Json<TemplateBody>, ApiError> {
    let named = name.clone();
    let look = move |cluster: &Cluster| {
        let unknown = || {
            Refusal::Template(TemplateRefusal::UnknownTemplate {
                name: named.clone(),
            })
        };
        let known = cluster.template_name(&named).ok_or_else(unknown)?;
        let template = cluster.template_named(&named).ok_or_else(unknown)?;
        let is_owned = match cluster.project(template.project) {
            Some(project) => asking.may(Subject::Project(project)) >= Access::Own,
            None => asking.may(Subject::Templates) >= Access::Own,
        };
        match (may_see(cluster, asking, known), is_owned) {
            (false, _) => Err(unknown().into()),
            (true, false) => Err(ApiError::Forbidden(NOT_YOURS)),
            (true, true) => Ok(shapes::template(cluster, &named, known)),
        }
    };
    let template = api.cluster.read(look).await??;
    let by = asking.actor();
    api.cluster
        .command(Command::DeleteTemplate { by, name })
        .await?;
    Ok(Json(TemplateBody { template }))
}

/// Whether the caller may see a name, and launch what it points at: whoever may see the project of its template, or of
/// its build.
pub(super) fn may_see(cluster: &Cluster, asking: Asking, known: &Name) -> bool {
    let template = known.template.and_then(|id| cluster.template(id));
    let project = match template {
        Some(template) => cluster.project(template.project),
        None => cluster.project_of(known.build),
    };
    match project {
        Some(project) => asking.may(Subject::Project(project)) >= Access::Read,
        None => asking.may(Subject::Templates) >= Access::Read,
    }
}

/// Makes a template of a repository: answered once the build is on disk.
pub(super) async fn build(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Signed(body): Signed<BuildTemplate>,
) -> Result<(StatusCode, Json<TemplateAccepted>), ApiError> {
    if asking.may(Subject::Templates) < Access::Use {
        return Err(ApiError::Forbidden(READ_ONLY));
    }
    let source = SourceName::of_url(&body.repository);
    let checked = GitUrl::parse(&source.url, api.remote_files.allow_local_sources);
    checked.map_err(|source| ApiError::InvalidUrl {
        field: "repository",
        source,
    })?;
    let project = ProjectSource::Git {
        url: source.url,
        remote: None,
        branch: body.branch.or(source.branch),
        hash: body.commit,
        project_directory: None,
    };
    let recipe = Recipe {
        needs_image: api.image_policy == ImagePolicy::Require,
        ..Recipe::default()
    };
    let request = product_build(
        project,
        &source.name,
        &recipe,
        Variables::default(),
        body.force,
    );
    api.space.check(0)?;
    let queue = Command::QueueBuild {
        by: asking.actor(),
        request: Box::new(request),
    };
    let events = api.cluster.command(queue).await?;
    let queued = events.iter().find_map(|event| match &event.fact {
        Fact::Build(build, BuildFact::Queued { request, .. }) => {
            let product = request.product.as_ref()?;
            Some((*build, product.name.clone()))
        }
        _ => None,
    });
    let (build_id, name) = queued.ok_or(Gone)?;
    let accepted = TemplateAccepted { build_id, name };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// Why a user does not delete a template.
const NOT_YOURS: &str = "The template is another user's.";

/// Why a token does not build or launch.
pub(super) const READ_ONLY: &str = "The role of this token is read: building and launching needs one whose role is submit or admin.";
