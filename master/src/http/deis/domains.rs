//! Domains: host names by which an app is reached.

use super::Api;
use super::body::Fields;
use super::error::DeisError;
use super::granted::{Granted, Reading, Using};
use super::hosts::Hosts;
use super::pages::{List, Page};
use super::shapes::apps::DomainView;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::command::{AppCommand, AppRefusal};
use std::sync::Arc;

/// The most characters that are looked at; the core knows how many a domain may have.
const LONGEST: usize = 4096;

/// The domains of an app, the oldest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    page: Page,
) -> Result<Json<List<DomainView>>, DeisError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app(granted.project).ok_or(DeisError::NotFound)?;
        let mut domains: Vec<_> = app.domains.iter().collect();
        domains.sort_by_key(|(_, domain)| domain.created);
        page.map_all(&domains, |(name, domain)| {
            DomainView::of(cluster, app, name, domain)
        })
    };
    Ok(Json(api.cluster.read(look).await??))
}

/// Leads a domain to an app.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    hosts: Hosts,
    fields: Fields,
) -> Result<(StatusCode, Json<DomainView>), DeisError> {
    let project = granted.project;
    let domain = fields.required("domain", LONGEST)?;
    if hosts.is_own(&domain, &api.own_names) {
        return Err(DeisError::App(AppRefusal::DomainTaken(domain)));
    }
    let name = domain.clone();
    let add = AppCommand::AddDomain { project, domain };
    granted.order(&api, add).await?;
    let look = move |cluster: &Cluster| {
        let app = cluster.app(project)?;
        let domain = app.domains.get(&name)?;
        Some(DomainView::of(cluster, app, &name, domain))
    };
    let view = api.cluster.read(look).await?;
    Ok((StatusCode::CREATED, Json(view.ok_or(DeisError::NotFound)?)))
}

/// Leads a domain to an app no more.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    Path((_, domain)): Path<(String, String)>,
) -> Result<StatusCode, DeisError> {
    let project = granted.project;
    let remove = AppCommand::RemoveDomain { project, domain };
    granted.order(&api, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}
