//! The projects that slaves get from here.

use super::error::ApiError;
use super::sender::Sender;
use super::{Api, Path};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::SourceRequest;
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::git::PackRequest;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::build::BuildState;
use clusterrunner_core::refusal::Refusal;

/// More submodules in submodules, or commits, than any slave of ours tells.
const MAX_SUBMODULES: usize = 10;
const MAX_COMMITS: usize = 1000;

/// A slave asks for the objects of a build's commit.
pub(super) async fn give(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    sender: Sender,
    Signed(request): Signed<SourceRequest>,
) -> Result<Response, ApiError> {
    let SourceRequest {
        slave_id,
        session_id,
        packs: request,
    } = request;
    sender.check(slave_id)?;
    check(&request)?;
    let wanted = api.cluster.read(move |cluster| {
        let slave = cluster.known_slave(slave_id, &session_id)?;
        if slave.key.is_some() && !slave.builds.contains_key(&build) {
            return Err(Refusal::UnknownBuild(build));
        }
        if cluster.is_ended(build) {
            return Ok(None);
        }
        let known = cluster.build(build).ok_or(Refusal::UnknownBuild(build))?;
        let commit = known.plan.as_ref().map(|plan| plan.commit.clone());
        Ok::<_, Refusal>(match (&known.state, commit) {
            (BuildState::Building { .. }, Some(commit)) => {
                let is_sent = known.request.working_tree.is_some();
                Some((known.request.project.clone(), is_sent, commit))
            }
            _ => None,
        })
    });
    let (project, is_sent, commit) = wanted.await??.ok_or(ApiError::NotBuilding(build))?;
    api.heard(slave_id).await?;
    let bytes = api.sources.give(
        (&project, is_sent),
        commit.as_deref().unwrap_or_default(),
        request,
    )?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(bytes)).into_response())
}

fn check(request: &PackRequest) -> Result<(), ApiError> {
    let invalid = |field, most| {
        let error = format!("Field '{field}' may have at most {most} entries.");
        Err(ApiError::Invalid(error))
    };
    if request.submodule.len() > MAX_SUBMODULES {
        return invalid("submodule", MAX_SUBMODULES);
    }
    if request.have.len() > MAX_COMMITS {
        return invalid("have", MAX_COMMITS);
    }
    Ok(())
}
