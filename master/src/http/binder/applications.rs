//! Applications: templates that are launched, each launch an instance.

use super::Api;
use super::body::Fields;
use super::callers::{Anyone, KeyHolder};
use super::error::BinderError;
use super::host::Host;
use super::preload::check;
use super::shapes::applications::ApplicationView;
use super::visible::may_list;
use super::web_pages::OfOtherSite;
use crate::http::caller::actor;
use axum::Json;
use axum::extract::{Path, State};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::command::Command;
use clusterrunner_core::instances::instance::{Instance, NewInstance};
use serde_json::{Value, json};
use std::sync::Arc;

/// How long nobody may use an application until it is removed, where the launch does not say: an hour.
const CULL_AFTER_MS: u64 = 60 * 60 * 1000;

/// The longest such time: a hundred years.
const LONGEST_CULL_MS: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// Launches the template that the body names.
pub(super) async fn launch(
    State(api): State<Arc<Api>>,
    Anyone(caller): Anyone,
    page: OfOtherSite,
    fields: Fields,
) -> Result<Json<Value>, BinderError> {
    let caller = launcher(&api, caller, page)?;
    const FIELD: &str = "template-name";
    let template = fields.text(FIELD)?.ok_or(BinderError::Missing(FIELD))?;
    launched(&api, caller, template, &fields).await
}

/// Launches the template that the path names.
pub(super) async fn launch_named(
    State(api): State<Arc<Api>>,
    Anyone(caller): Anyone,
    page: OfOtherSite,
    Path(template): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, BinderError> {
    let caller = launcher(&api, caller, page)?;
    launched(&api, caller, &template, &fields).await
}

/// The caller that launches: where everyone may, a token that is not enough is ignored.
fn launcher(api: &Api, caller: Caller, page: OfOtherSite) -> Result<Caller, BinderError> {
    let is_open = api.launch_without_key;
    let may = |caller| access(caller, Subject::Launch { is_open }, false) >= Access::Use;
    match caller {
        Caller::User(_) | Caller::BinderKey if may(caller) => Ok(caller),
        _ if may(Caller::Nobody) && page.0 => Err(BinderError::WebPage),
        _ if may(Caller::Nobody) => Ok(Caller::Nobody),
        Caller::Nobody => Err(BinderError::KeylessLaunch),
        _ => Err(BinderError::Unauthorized),
    }
}

async fn launched(
    api: &Api,
    caller: Caller,
    template: &str,
    fields: &Fields,
) -> Result<Json<Value>, BinderError> {
    let cull_after = fields.number("cull-timeout", LONGEST_CULL_MS)?;
    check(api, caller, template).await?;
    let key = hex::encode(random_bytes::<16>());
    let answer = json!({"id": key});
    let launch = NewInstance {
        key,
        template: template.to_owned(),
        cull_after_ms: Some(cull_after.unwrap_or(CULL_AFTER_MS)),
        ..NewInstance::default()
    };
    let launch = Box::new(launch);
    let by = actor(caller);
    api.cluster.command(Command::Launch { by, launch }).await?;
    Ok(Json(answer))
}

/// An application. Whoever knows its id may see it.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    host: Host,
    Path((template, id)): Path<(String, String)>,
) -> Result<Json<ApplicationView>, BinderError> {
    let host = host.of_users(&api);
    let look = move |cluster: &Cluster| {
        let found = found(cluster, &template, &id)?;
        Some(ApplicationView::of(found, &host))
    };
    let found = api.cluster.read(look).await?;
    found.map(Json).ok_or(BinderError::NoRecord)
}

fn found<'a>(cluster: &'a Cluster, template: &str, key: &str) -> Option<&'a Instance> {
    let found = cluster.instance_of_key(key)?;
    (found.purpose.is_launch() && found.template_name == template).then_some(found)
}

/// The applications of a template, the newest last.
pub(super) async fn of_template(
    State(api): State<Arc<Api>>,
    KeyHolder(caller): KeyHolder,
    host: Host,
    Path(template): Path<String>,
) -> Result<Json<Vec<ApplicationView>>, BinderError> {
    let is_of_it = move |instance: &Instance| instance.template_name == template;
    listed(&api, caller, &host, is_of_it).await
}

/// All applications, the newest last.
pub(super) async fn all(
    State(api): State<Arc<Api>>,
    KeyHolder(caller): KeyHolder,
    host: Host,
) -> Result<Json<Vec<ApplicationView>>, BinderError> {
    listed(&api, caller, &host, |_| true).await
}

async fn listed(
    api: &Api,
    caller: Caller,
    host: &Host,
    is_asked_for: impl Fn(&Instance) -> bool + Send + 'static,
) -> Result<Json<Vec<ApplicationView>>, BinderError> {
    let host = host.of_users(api);
    let look = move |cluster: &Cluster| {
        let launched = cluster.instances();
        let launched = launched.filter(|instance| instance.purpose.is_launch());
        let asked = launched.filter(|instance| is_asked_for(instance));
        let visible = asked.filter(|instance| may_list(caller, instance));
        let views = visible.map(|instance| ApplicationView::of(instance, &host));
        views.collect()
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// Stops an application.
pub(super) async fn stop(
    State(api): State<Arc<Api>>,
    KeyHolder(caller): KeyHolder,
    host: Host,
    Path((template, id)): Path<(String, String)>,
) -> Result<Json<ApplicationView>, BinderError> {
    let (named, key) = (template.clone(), id.clone());
    let look = move |cluster: &Cluster| {
        let found = found(cluster, &named, &key)?;
        let may = access(caller, Subject::Instance(found), false);
        Some((found.id, may >= Access::Own))
    };
    let (instance, may_stop) = api.cluster.read(look).await?.ok_or(BinderError::NoRecord)?;
    if !may_stop {
        return Err(BinderError::Unauthorized);
    }
    let by = actor(caller);
    api.cluster
        .command(Command::StopInstance { by, instance })
        .await?;
    one(State(api), host, Path((template, id))).await
}
