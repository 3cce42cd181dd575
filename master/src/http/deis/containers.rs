//! Containers: the instances of an app, in the words of this API; and how many there are.

use super::Api;
use super::body::Fields;
use super::error::DeisError;
use super::granted::{Granted, Reading, Using};
use super::pages::{List, Page};
use super::settling::settled;
use super::shapes::apps::{ContainerView, RUN, number_of, type_of};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::app::App;
use clusterrunner_core::apps::command::AppCommand;
use clusterrunner_core::instances::instance::Instance;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All containers but those of single commands, the oldest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    page: Page,
) -> Result<Json<List<ContainerView>>, DeisError> {
    shown(&api, granted.project, page, |_| true, false).await
}

/// The containers of a type.
pub(super) async fn of_type(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    Path((_, kind)): Path<(String, String)>,
    page: Page,
) -> Result<Json<List<ContainerView>>, DeisError> {
    let are_runs = kind == RUN;
    let is_meant = move |instance: &Instance| type_of(instance) == kind;
    shown(&api, granted.project, page, is_meant, are_runs).await
}

/// One container: the newest, where an older one of this type and number goes on until it is up.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    Path((_, kind, number)): Path<(String, String, String)>,
) -> Result<Json<ContainerView>, DeisError> {
    let number: u32 = number.parse().map_err(|_| DeisError::NotFound)?;
    let look = move |cluster: &Cluster| {
        let app = cluster.app(granted.project)?;
        let of_type = containers(cluster, app, kind == RUN);
        let of_type = of_type.filter(|one| type_of(one) == kind && number_of(one) == number);
        Some(ContainerView::of(cluster, app, of_type.last()?))
    };
    let view = api.cluster.read(look).await?;
    view.map(Json).ok_or(DeisError::NotFound)
}

async fn shown(
    api: &Api,
    project: ProjectId,
    page: Page,
    is_meant: impl Fn(&Instance) -> bool + Send + 'static,
    are_runs: bool,
) -> Result<Json<List<ContainerView>>, DeisError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app(project).ok_or(DeisError::NotFound)?;
        let all = containers(cluster, app, are_runs).filter(|one| is_meant(one));
        let all: Vec<_> = all.collect();
        page.map_all(&all, |one| ContainerView::of(cluster, app, one))
    };
    Ok(Json(api.cluster.read(look).await??))
}

/// The containers of an app, or those of its single commands.
fn containers<'c>(
    cluster: &'c Cluster,
    app: &App,
    are_runs: bool,
) -> Box<dyn Iterator<Item = &'c Instance> + 'c> {
    match are_runs {
        true => Box::new(cluster.runs_of(app.project).filter(|run| !run.is_over())),
        false => Box::new(cluster.app_instances(app.project)),
    }
}

/// Has other numbers of some types.
pub(super) async fn scale(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    fields: Fields,
) -> Result<StatusCode, DeisError> {
    let project = granted.project;
    let numbers = numbers(&fields)?;
    let wanted = numbers.iter().filter(|(_, number)| **number > 0);
    let wanted: Vec<String> = wanted.map(|(kind, _)| kind.clone()).collect();
    let scale = AppCommand::Scale { project, numbers };
    granted.order(&api, scale).await?;
    settled(&api, project).await?;
    let look = move |cluster: &Cluster| why_none_is_placed(cluster, project, &wanted);
    match api.cluster.read(look).await? {
        Some(why) => Err(DeisError::Unavailable(why)),
        None => Ok(StatusCode::NO_CONTENT),
    }
}

/// Why none of the containers that are wanted has a slave; none where some have, or none are wanted.
fn why_none_is_placed(cluster: &Cluster, project: ProjectId, types: &[String]) -> Option<String> {
    let app = cluster.app(project)?;
    let newest = app.newest().version;
    let wanted = cluster.app_instances(project);
    let wanted = wanted.filter(|one| one.purpose.release() == Some(newest));
    let wanted = wanted.filter(|one| types.iter().any(|kind| type_of(one) == kind));
    let mut first = None;
    for container in wanted {
        if container.slave.is_some() {
            return None;
        }
        first = first.or(Some(container));
    }
    let first = first?;
    let wait = cluster.waits_for(first).map(|wait| wait.to_string());
    let why = wait.or_else(|| first.reason.clone()).unwrap_or_default();
    Some(format!("None of the containers could be placed: {why}."))
}

/// The numbers in a body. Nothing is changed where one of them is none.
fn numbers(fields: &Fields) -> Result<BTreeMap<String, u32>, DeisError> {
    let numbers = fields.0.iter();
    numbers
        .map(|(kind, value)| Ok((kind.clone(), number(value)?)))
        .collect()
}

fn number(value: &Value) -> Result<u32, DeisError> {
    let number = match value {
        Value::Number(number) => match number.as_i64() {
            Some(number) => Some(number),
            // What is behind the point is cut off, and what is too large is the largest.
            #[expect(clippy::cast_possible_truncation, reason = "meant")]
            None => number.as_f64().map(|number| number as i64),
        },
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| DeisError::Operation("Invalid scaling format".to_owned()))?;
    if number < 0 {
        let sentence = "Must be greater than or equal to zero";
        return Err(DeisError::Operation(sentence.to_owned()));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_may_be_strings_and_are_cut() {
        for (value, expected) in [
            (json!(3), 3),
            (json!("3"), 3),
            (json!(" 0 "), 0),
            (json!(2.9), 2),
            (json!(-0.5), 0),
            (json!(1e300), u32::MAX),
            (json!(u64::MAX), u32::MAX),
        ] {
            assert_eq!(number(&value).unwrap(), expected, "{value}");
        }
        for value in [json!(-1), json!("-1"), json!(-1.5)] {
            let error = number(&value).unwrap_err().to_string();
            assert_eq!(error, "Must be greater than or equal to zero", "{value}");
        }
        for value in [
            json!("abc"),
            json!("1.5"),
            json!(null),
            json!(true),
            json!([1]),
        ] {
            let error = number(&value).unwrap_err().to_string();
            assert_eq!(error, "Invalid scaling format", "{value}");
        }
    }
}
