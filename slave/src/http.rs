//! The slave's HTTP API. Orders are taken from holders of the secret only; reads are open.

mod api;
mod console;
mod error;
mod legacy;
mod orders;
mod reads;
mod routes;

pub(crate) use api::Api;
pub(crate) use legacy::{LEGACY_WARNING, legacy_proof};

use clusterrunner_common::auth::gate::{Gate, Guarded};
use clusterrunner_common::http::clusterrunner::rules::{Ruled, Rules};
use clusterrunner_common::http::cors::AllowedOrigins;
use error::ApiError;
use std::sync::Arc;

/// All routes, behind the gate and the rules that hold for every request.
pub(crate) fn router(api: Api, gate: &Arc<Gate>, origins: AllowedOrigins) -> Ruled<Guarded> {
    let session = api.session.clone();
    let (router, routes) = routes::table().build();
    let router = router
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .with_state(api);
    let rules = Rules {
        session,
        routes,
        origins,
        observer: None,
    };
    rules.around(gate.before(router))
}
