//! The config of an app: variables, limits, and tags of slaves.

use super::Api;
use super::body::Fields;
use super::error::DeisError;
use super::granted::{Granted, Reading, Using, released};
use super::settling::settled;
use super::shapes::apps::{ConfigView, X_DEIS_RELEASE};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::command::{AppCommand, ConfigChange};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The config of the newest release.
pub(super) async fn newest(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
) -> Result<Json<ConfigView>, DeisError> {
    shown(&api, granted.project, None).await
}

/// Merges a change into the config of the newest release, and deploys that.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    fields: Fields,
) -> Result<(StatusCode, [(&'static str, String); 1], Json<ConfigView>), DeisError> {
    let project = granted.project;
    let change = Box::new(ConfigChange {
        values: entries(&fields, "values")?,
        memory: entries(&fields, "memory")?,
        cpu: entries(&fields, "cpu")?,
        tags: entries(&fields, "tags")?,
    });
    let configure = AppCommand::Configure { project, change };
    let version = released(&granted.order(&api, configure).await?)?;
    let view = shown(&api, project, Some(version)).await?;
    settled(&api, project).await?;
    let head = [(X_DEIS_RELEASE, version.to_string())];
    Ok((StatusCode::CREATED, head, view))
}

/// The config of a release; of the newest where none is named.
async fn shown(
    api: &Api,
    project: ProjectId,
    version: Option<u64>,
) -> Result<Json<ConfigView>, DeisError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app(project)?;
        let release = match version {
            Some(version) => app.release(version)?,
            None => app.newest(),
        };
        Some(ConfigView::of(cluster, app, app.config_of(release)))
    };
    let view = api.cluster.read(look).await?;
    view.map(Json).ok_or(DeisError::NotFound)
}

/// One of the maps; a key with null is to be removed.
fn entries(fields: &Fields, name: &str) -> Result<BTreeMap<String, Option<Value>>, DeisError> {
    let map = fields.map(name)?.unwrap_or_default();
    let entries = map.into_iter();
    Ok(entries
        .map(|(key, value)| (key, Some(value).filter(|value| !value.is_null())))
        .collect())
}

impl Fields {
    /// A map: an object, or a string that holds one, as the command line sends it; none where it is left out or null.
    pub(super) fn map(&self, name: &str) -> Result<Option<Map<String, Value>>, DeisError> {
        let wrong = || {
            let sentence = "This must be an object, or a string that holds an object in JSON.";
            DeisError::field(name, sentence)
        };
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Object(map)) => Ok(Some(map)),
                Ok(_) | Err(_) => Err(wrong()),
            },
            Some(_) => Err(wrong()),
        }
    }
}
