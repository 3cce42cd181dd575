//! Preloading: all slaves fetch a template before anybody launches it.

use super::Api;
use super::callers::{KeyHolder, Starter};
use super::error::BinderError;
use super::times;
use super::visible::may_see;
use crate::http::caller::actor;
use axum::Json;
use axum::extract::{Path, State};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::Caller;
use clusterrunner_core::command::Command;
use serde_json::{Value, json};
use std::sync::Arc;

/// Has all slaves fetch a template now.
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    Starter(caller): Starter,
    Path(template): Path<String>,
) -> Result<Json<Value>, BinderError> {
    check(&api, caller, &template).await?;
    let answer = json!({"template": template});
    let by = actor(caller);
    api.cluster
        .command(Command::Preload { by, template })
        .await?;
    Ok(Json(answer))
}

/// A caller launches or preloads only what the caller may see.
pub(super) async fn check(api: &Api, caller: Caller, template: &str) -> Result<(), BinderError> {
    let name = template.to_owned();
    let look = move |cluster: &Cluster| {
        let known = cluster.template_name(&name);
        known.is_some_and(|known| known.template.is_some() && may_see(cluster, caller, known))
    };
    match api.cluster.read(look).await? {
        true => Ok(()),
        false => Err(BinderError::unknown_template(template)),
    }
}

/// How far the last preloading of a template is.
pub(super) async fn state(
    State(api): State<Arc<Api>>,
    KeyHolder(caller): KeyHolder,
    Path(name): Path<String>,
) -> Result<Json<Value>, BinderError> {
    let look = move |cluster: &Cluster| {
        let known = cluster.template_name(&name)?;
        let template = cluster.template(known.template?)?;
        let begun = known.preload.filter(|_| may_see(cluster, caller, known))?;
        let status = match cluster.is_preloaded(template) {
            true => "completed",
            false => "loading",
        };
        Some(json!({"name": name, "start-time": times::shown(begun), "status": status}))
    };
    let found = api.cluster.read(look).await?;
    Ok(Json(found.unwrap_or_else(|| json!({}))))
}
