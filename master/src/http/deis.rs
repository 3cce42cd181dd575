//! The API of the Deis controller, version 1.0, as its command line uses it: users, their SSH keys, and apps.

mod admin;
mod apps;
mod auth;
mod body;
mod builds;
mod callers;
mod config;
mod containers;
mod domains;
mod error;
mod gate;
mod granted;
mod hooks;
mod hosts;
mod keys;
mod logs;
mod names;
pub(super) mod openapi;
mod pages;
mod perms;
mod releases;
mod routes;
mod run;
mod settling;
mod shapes;
#[cfg(test)]
mod tests;
mod times;
mod uuids;

use crate::coordinator::ClusterHandle;
use crate::http::accounts::Accounts;
use crate::http::tidy_path::{Tidy, other_method};
use crate::read::feed::Feed;
use crate::read::runs::Runs;
use crate::store::app_logs::AppLogs;
use axum::extract::Request;
use axum::response::Response;
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::signature::SIGNATURE_HEADER;
use clusterrunner_common::http::around::Answering;
use clusterrunner_common::settings::AppSettings;
use error::DeisError;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// The version of this API.
const VERSION: &str = "1.0";

/// What handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// The way to the cluster.
    pub cluster: ClusterHandle,
    /// Users, where passwords and tokens come into it.
    pub accounts: Accounts,
    /// The domain of apps, and how long requests wait.
    pub apps: AppSettings,
    /// Names by which the master itself is reached: no app has one of them.
    pub own_names: Vec<String>,
    /// What happens on the farm.
    pub feed: Feed,
    /// Single commands.
    pub runs: Runs,
    /// What was done with apps, and what they print.
    pub app_logs: AppLogs,
    /// Whether the master is reached over TLS, for the addresses in answers.
    pub is_tls: bool,
    /// True once it is settled whether users can push by SSH, which may be with the first app.
    pub ssh_is_settled: watch::Receiver<bool>,
}

/// The API.
pub(crate) type Router = Tidy<Doors>;

/// The routes of the API, and who opens them.
#[derive(Clone)]
pub(crate) struct Doors {
    routes: axum::Router,
    /// The same for requests that are signed with the farm's secret.
    signed: axum::Router,
}

/// All routes; `secret_holders` checks requests that are signed.
pub(crate) fn router(api: Api, secret_holders: &Arc<Gate>) -> Router {
    let api = Arc::new(api);
    let gate = axum::middleware::from_fn_with_state(Arc::clone(&api), gate::pass);
    let routes = routes::routes()
        .fallback(|| async { DeisError::NotFound })
        .method_not_allowed_fallback(|method| async { other_method(method, DeisError::Method) })
        .layer(gate)
        .with_state(api);
    Tidy(Doors {
        signed: secret_holders.guard(routes.clone()),
        routes,
    })
}

impl tower::Service<Request> for Doors {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        match request.headers().contains_key(SIGNATURE_HEADER) {
            true => Box::pin(tower::Service::call(&mut self.signed, request)),
            false => Box::pin(tower::Service::call(&mut self.routes, request)),
        }
    }
}
