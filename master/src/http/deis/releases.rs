//! The releases of an app.

use super::Api;
use super::body::Fields;
use super::error::DeisError;
use super::granted::{Granted, Reading, Using, released};
use super::pages::{List, Page};
use super::settling::settled;
use super::shapes::apps::{ReleaseView, X_DEIS_RELEASE};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::command::{AppCommand, AppRefusal};
use serde_json::{Value, json};
use std::sync::Arc;

/// All releases, the newest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    page: Page,
) -> Result<Json<List<ReleaseView>>, DeisError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app(granted.project).ok_or(DeisError::NotFound)?;
        let releases: Vec<_> = app.releases.iter().rev().collect();
        page.map_all(&releases, |release| ReleaseView::of(cluster, app, release))
    };
    Ok(Json(api.cluster.read(look).await??))
}

/// One release: `v3` or `3`.
pub(super) async fn release(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    Path((_, version)): Path<(String, String)>,
) -> Result<Json<ReleaseView>, DeisError> {
    let version = version.strip_prefix('v').unwrap_or(&version);
    let version: u64 = version.parse().map_err(|_| DeisError::NotFound)?;
    let look = move |cluster: &Cluster| {
        let app = cluster.app(granted.project)?;
        Some(ReleaseView::of(cluster, app, app.release(version)?))
    };
    let view = api.cluster.read(look).await?;
    view.map(Json).ok_or(DeisError::NotFound)
}

/// Deploys what an earlier release was.
pub(super) async fn roll_back(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    fields: Fields,
) -> Result<(StatusCode, [(&'static str, String); 1], Json<Value>), DeisError> {
    let (project, version) = (granted.project, version(&fields)?);
    let rollback = AppCommand::Rollback { project, version };
    let version = released(&granted.order(&api, rollback).await?)?;
    settled(&api, project).await?;
    let head = [(X_DEIS_RELEASE, version.to_string())];
    Ok((StatusCode::CREATED, head, Json(json!({"version": version}))))
}

/// The release that is meant; none for the one before the newest.
fn version(fields: &Fields) -> Result<Option<u64>, DeisError> {
    let text = match fields.get("version") {
        None => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(value) => value.to_string(),
    };
    let digits = text.strip_prefix('v').unwrap_or(&text);
    match digits.parse::<i128>() {
        Ok(..1) => Err(DeisError::App(AppRefusal::NoEarlierRelease)),
        // No release has a version that does not fit.
        Ok(version) => u64::try_from(version)
            .map(Some)
            .map_err(|_| DeisError::NotFound),
        Err(_) => Err(DeisError::field("version", "Enter a whole number.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_in(body: &str) -> Result<Option<u64>, String> {
        let fields = Fields::of_json(body.as_bytes()).unwrap();
        version(&fields).map_err(|error| error.to_string())
    }

    #[test]
    fn a_version_is_a_number_in_several_forms() {
        for body in [
            r#"{"version": 3}"#,
            r#"{"version": "3"}"#,
            r#"{"version": "v3"}"#,
        ] {
            assert_eq!(version_in(body), Ok(Some(3)), "{body}");
        }
        for body in ["", "{}", r#"{"version": null}"#, r#"{"version": ""}"#] {
            assert_eq!(version_in(body), Ok(None), "{body}");
        }
        for body in [
            r#"{"version": 0}"#,
            r#"{"version": -1}"#,
            r#"{"version": "v-7"}"#,
        ] {
            let error = version_in(body).unwrap_err();
            assert_eq!(error, "version cannot be below 0", "{body}");
        }
        for (body, said) in [
            (r#"{"version": "three"}"#, "version"),
            (r#"{"version": 1.5}"#, "version"),
            (r#"{"version": [1]}"#, "version"),
            (r#"{"version": 99999999999999999999999}"#, "version"),
            (r#"{"version": "99999999999999999999999"}"#, "Not found"),
        ] {
            assert_eq!(version_in(body).unwrap_err(), said, "{body}");
        }
    }
}
