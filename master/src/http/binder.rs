//! The API of Binder, as its client and its command line use it: repositories become templates, and templates are
//! launched.

mod applications;
mod body;
mod builds;
mod callers;
mod error;
mod health;
mod host;
mod key;
pub(super) mod openapi;
mod phases;
mod preload;
mod routes;
mod shapes;
mod source;
mod templates;
#[cfg(test)]
mod tests;
mod times;
mod visible;
mod web_pages;

use crate::consoles::Consoles;
use crate::coordinator::ClusterHandle;
use crate::http::shared_key::SharedKey;
use crate::http::tidy_path::{Tidy, other_method};
use crate::read::builds::Builds;
use crate::store::results::Results;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::settings::ImagePolicy;
use clusterrunner_common::turns::Turns;
use error::BinderError;
use std::sync::Arc;

/// What handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// The way to the cluster.
    pub cluster: ClusterHandle,
    /// Builds, in the cluster or archived.
    pub builds: Builds,
    /// What builds print.
    pub printed: Printed,
    /// The space that is left on the disk.
    pub space: DiskSpace,
    /// What opens the API beside tokens of users.
    pub key: SharedKey,
    /// Whether everyone may launch templates.
    pub launch_without_key: bool,
    /// Whether everyone may read.
    pub reads_are_open: bool,
    /// Whether builds may name repositories of this machine by path.
    pub allow_local_sources: bool,
    /// What becomes of builds that need a container image where there is no container runtime.
    pub image_policy: ImagePolicy,
    /// The name of the farm, for the names of images.
    pub farm: String,
    /// The port at which users reach applications.
    pub router_port: u16,
}

/// What builds print.
#[derive(Clone, Debug)]
pub(crate) struct Printed(Consoles);

impl Printed {
    /// Output of these builds, on the disk or on slaves; `turns` bounds how much is read at a time.
    #[must_use]
    pub(crate) fn new(builds: Builds, (results, caller, turns): (Results, Caller, Turns)) -> Self {
        Self(Consoles {
            builds,
            results,
            caller,
            turns,
        })
    }
}

/// The API.
pub(crate) type Router = Tidy<axum::Router>;

/// All routes.
pub(crate) fn router(api: Api) -> Router {
    let routes = routes::routes()
        .fallback(|| async { BinderError::DoesNotExist })
        .method_not_allowed_fallback(|method| async { other_method(method, BinderError::Method) });
    Tidy(routes.with_state(Arc::new(api)))
}
