//! Templates: what finished builds have left.

use super::Api;
use super::callers::{KeyHolder, Reader};
use super::error::BinderError;
use super::shapes::templates::TemplateView;
use super::visible::may_see;
use axum::Json;
use axum::extract::{Path, State};
use clusterrunner_core::Cluster;
use std::sync::Arc;

/// The template that a name points at.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Reader(caller): Reader,
    Path(name): Path<String>,
) -> Result<Json<TemplateView>, BinderError> {
    let farm = api.farm.clone();
    let look = move |cluster: &Cluster| {
        let known = cluster.template_name(&name)?;
        let template = cluster.template(known.template?)?;
        let may = may_see(cluster, caller, known);
        may.then(|| TemplateView::of(&farm, &name, known, template))
    };
    let found = api.cluster.read(look).await?;
    found.map(Json).ok_or(BinderError::DoesNotExist)
}

/// The template of each name.
pub(super) async fn all(
    State(api): State<Arc<Api>>,
    KeyHolder(caller): KeyHolder,
) -> Result<Json<Vec<TemplateView>>, BinderError> {
    let farm = api.farm.clone();
    let look = move |cluster: &Cluster| {
        let names = cluster.template_names();
        let visible = names.filter(|(_, known)| may_see(cluster, caller, known));
        let views = visible.filter_map(|(name, known)| {
            let template = cluster.template(known.template?)?;
            Some(TemplateView::of(&farm, name, known, template))
        });
        views.collect()
    };
    Ok(Json(api.cluster.read(look).await?))
}
