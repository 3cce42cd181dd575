//! The build-job API of Polyaxon, as its command line and client library of 2018 to 2020 use it.

mod attachment;
mod body;
mod bookmarks;
mod builds;
mod changing;
mod code;
mod error;
mod failures;
mod gate;
mod granted;
mod invalid;
mod log_stream;
mod logs;
pub(super) mod openapi;
mod pages;
mod projects;
mod query;
mod routes;
mod said;
mod shapes;
mod sort;
mod specification;
mod statuses;
mod stopping;
mod streams;
mod submitting;
#[cfg(test)]
mod tests;
mod times;
mod users;
mod uuids;
mod versions;

use crate::coordinator::ClusterHandle;
use crate::http::accounts::Accounts;
use crate::http::tidy_path::{Tidy, other_method};
use crate::read::builds::Builds;
use crate::store::own_repositories::OwnRepositories;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::settings::ImagePolicy;
use error::PolyaxonError;
use std::sync::Arc;

pub(crate) use streams::Streams;

/// What handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// The way to the cluster.
    pub cluster: ClusterHandle,
    /// Users, where passwords and tokens come into it.
    pub accounts: Accounts,
    /// Builds, in the cluster or archived.
    pub builds: Builds,
    /// The code of projects.
    pub own: OwnRepositories,
    /// The space that is left on the disk.
    pub space: DiskSpace,
    /// How many bytes an archive of code may have.
    pub max_upload_bytes: u64,
    /// What becomes of builds that name a container image.
    pub image_policy: ImagePolicy,
    /// What logs are read from and sent through.
    pub streams: Streams,
    /// Whether projects may name repositories of this machine by path.
    pub allow_local_sources: bool,
    /// Whether the master is reached over TLS, for the addresses in answers.
    pub is_tls: bool,
}

/// The API.
pub(crate) type Router = Tidy<axum::Router>;

/// All routes, behind the gate.
pub(crate) fn router(api: Api) -> Router {
    let api = Arc::new(api);
    let gate = axum::middleware::from_fn_with_state(Arc::clone(&api), gate::pass);
    let routes = routes::routes()
        .fallback(|| async { PolyaxonError::NotFound })
        .method_not_allowed_fallback(|method| async {
            other_method(method, PolyaxonError::MethodNotAllowed)
        })
        .layer(gate);
    Tidy(routes.with_state(api))
}
