//! Who may read a build, and change it. Builds of private projects are only for those who may read the project, however
//! open other reads are. A farm without private projects pays nothing for it.

use super::Api;
use super::error::ApiError;
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::http::around::{Answering, Inside};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::refusal::Refusal;
use futures_util::future::Either;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// Stands between the admission and the routes.
#[derive(Clone)]
pub(crate) struct Private<S> {
    pub(super) api: Arc<Api>,
    /// Whether everyone may read what is not private.
    pub(super) reads_are_open: bool,
    pub(super) inside: S,
}

impl<S: Inside> Service<Request> for Private<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Answering>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let build = (is_read && self.api.private.exist())
            .then(|| build_of(request.uri().path()))
            .flatten();
        let Some(build) = build else {
            return Either::Left(self.inside.call(request));
        };
        let caller = request.extensions().get().copied();
        let caller = caller.unwrap_or(Caller::Nobody);
        let (api, is_open) = (Arc::clone(&self.api), self.reads_are_open);
        let mut inside = self.inside.clone();
        Either::Right(Box::pin(async move {
            match check(&api, caller, build, is_open).await {
                Ok(()) => inside.call(request).await,
                Err(error) => Ok(error.into_response()),
            }
        }))
    }
}

async fn check(
    api: &Api,
    caller: Caller,
    build: BuildId,
    reads_are_open: bool,
) -> Result<(), ApiError> {
    let look = move |cluster: &Cluster| may_read(cluster, caller, build, reads_are_open);
    match (api.cluster.read(look).await?, caller) {
        (true, _) => Ok(()),
        (false, Caller::User(_)) => Err(Refusal::UnknownBuild(build).into()),
        (false, _) => Err(ApiError::PrivateBuild(build)),
    }
}

/// What is of no project is not there, which the route says itself.
fn may_read(cluster: &Cluster, caller: Caller, build: BuildId, reads_are_open: bool) -> bool {
    let project = cluster.project_of(build);
    project.is_none_or(|project| {
        access(caller, Subject::Project(project), reads_are_open) >= Access::Read
    })
}

/// Whether there is this build and the caller may change it, or run it again.
pub(super) async fn may_change(
    api: &Arc<Api>,
    caller: Caller,
    build: BuildId,
) -> Result<(), ApiError> {
    api.builds.check(build).await?;
    let Caller::User(_) = caller else {
        return Ok(());
    };
    let look = move |cluster: &Cluster| {
        let project = cluster.project_of(build);
        project.map_or(Access::None, |project| {
            access(caller, Subject::Project(project), true)
        })
    };
    match api.cluster.read(look).await? {
        Access::None => Err(Refusal::UnknownBuild(build).into()),
        Access::Read => Err(ApiError::Forbidden(NOT_YOURS)),
        Access::Use | Access::Own | Access::Admin => Ok(()),
    }
}

const NOT_YOURS: &str = "This build is another user's, or the token's role is read: only users of its project, \
                         superusers and the holder of the farm's secret may change it.";

/// Those of some builds that the caller may not see; a list has the others.
pub(super) async fn hidden(
    api: &Api,
    caller: Caller,
    builds: impl Iterator<Item = BuildId>,
) -> Result<BTreeSet<BuildId>, ApiError> {
    if !api.private.exist() {
        return Ok(BTreeSet::new());
    }
    let builds: Vec<BuildId> = builds.collect();
    // Whoever has come here may read what is public.
    let look = move |cluster: &Cluster| {
        let hidden = |build: &BuildId| !may_read(cluster, caller, *build, true);
        builds.into_iter().filter(hidden).collect()
    };
    Ok(api.cluster.read(look).await?)
}

/// The build that a path is about, if it is about one.
pub(super) fn build_of(path: &str) -> Option<BuildId> {
    let unversioned = ["/v1", "/v2"].iter().find_map(|v| path.strip_prefix(v));
    let mut parts = unversioned.unwrap_or(path).split('/').skip(1);
    match parts.next() {
        Some("build" | "builds") => parts.next()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_about_a_build_or_not() {
        for (path, expected) in [
            ("/v1/build/7", Some(7)),
            ("/v2/builds/7/subjobs/1", Some(7)),
            ("/build/7", Some(7)),
            ("/v1/build", None),
            ("/v1/slave/7", None),
            ("/v1/build/x", None),
            ("/", None),
        ] {
            assert_eq!(build_of(path), expected.map(BuildId), "{path}");
        }
    }
}
