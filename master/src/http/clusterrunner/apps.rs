//! Apps: how they stand, and the log of one, its last lines or those from a line on. What changes apps is the API of the
//! Deis controller.

use super::accounts::Asking;
use super::error::ApiError;
use super::{Api, Path, shapes};
use crate::core::Cluster;
use crate::core::access::{Access, Subject};
use crate::core::apps::app::App;
use crate::store::app_logs::{AppLine, AppLines, Origin};
use axum::Json;
use axum::extract::{RawQuery, State};
use clusterrunner_common::api::apps::{AppBody, AppLogBody, AppLogLine, AppsBody};
use clusterrunner_common::ids::ProjectId;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How many bytes of a log go in one answer.
const PART: usize = 1 << 20;

/// How many of the last lines there are in one answer at most.
const MOST_LAST: u64 = 10_000;

/// For how many seconds an answer waits for lines at most.
const LONGEST_WAIT: u64 = 30;

/// How often it is looked, while an answer waits, whether the app is there and its reader may see it still.
const LOOK: Duration = Duration::from_secs(1);

/// The apps that the caller may see, by id.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<AppsBody>, ApiError> {
    let domain = api.app_domain.clone();
    let look = move |cluster: &Cluster| {
        let seen = cluster.apps().filter(|app| may_see(cluster, asking, app));
        let mut apps: Vec<_> = seen
            .map(|app| shapes::app(cluster, app, domain.as_deref()))
            .collect();
        apps.sort_by(|one, other| one.id.cmp(&other.id));
        AppsBody { apps }
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// One app, with its latest releases.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(id): Path<String>,
) -> Result<Json<AppBody>, ApiError> {
    let domain = api.app_domain.clone();
    let look = move |cluster: &Cluster| {
        let app = cluster.app_of_id(&id)?;
        may_see(cluster, asking, app)
            .then(|| shapes::app_with_releases(cluster, app, domain.as_deref()))
    };
    let shown = api.cluster.read(look).await?;
    shown.map(Json).ok_or(ApiError::NoApp)
}

fn may_see(cluster: &Cluster, asking: Asking, app: &App) -> bool {
    let project = cluster.project(app.project);
    project.is_some_and(|project| asking.may(Subject::App(project)) >= Access::Read)
}

/// A part of the log of an app; waits for one where that is asked for.
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(app): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<AppLogBody>, ApiError> {
    let wanted = wanted(query.as_deref().unwrap_or_default())?;
    // Where too many wait already, this one asks again.
    let place = api.waiting.try_take();
    let until = Instant::now() + place.as_ref().map_or(Duration::ZERO, |_| wanted.wait);
    loop {
        let project = granted(&api, asking, &app).await?;
        // Begun before the log is read, so that nothing is missed.
        let mut number = api.app_logs.num_lines(project);
        number.mark_unchanged();
        let logs = api.app_logs.clone();
        let read = spawn_blocking(move || match wanted.part {
            Part::Last(lines) => logs.read_last(project, lines),
            Part::From(first) => logs.read(project, first, PART),
        });
        let read = read
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        let part = read.map_err(|source| ApiError::Disk {
            what: "Reading the log of an app",
            source,
        })?;
        if !part.lines.is_empty() || Instant::now() >= until {
            return Ok(Json(body(part)));
        }
        let look_again = until.min(Instant::now() + LOOK);
        tokio::time::timeout_at(look_again, number.changed())
            .await
            .ok();
    }
}

/// The project of an app that the caller may see.
async fn granted(api: &Api, asking: Asking, app: &str) -> Result<ProjectId, ApiError> {
    let id = app.to_owned();
    let look = move |cluster: &Cluster| {
        let app = cluster.app_of_id(&id)?;
        may_see(cluster, asking, app).then_some(app.project)
    };
    let project = api.cluster.read(look).await?;
    project.ok_or(ApiError::NoApp)
}

fn body(part: AppLines) -> AppLogBody {
    let line = |line: AppLine| AppLogLine {
        at: line.at.as_unix_seconds(),
        process: match line.from {
            Origin::Controller => None,
            Origin::Process(process) => Some(process),
        },
        text: line.text,
    };
    AppLogBody {
        first: part.first,
        lines: part.lines.into_iter().map(line).collect(),
        next: part.next,
    }
}

/// Which part of a log is wanted, and how long to wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    part: Part,
    wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The last lines, at most so many.
    Last(usize),
    /// Those from this one on.
    From(u64),
}

/// Reads `last`, or else `first`, and `wait_s` of a query; other parameters mean nothing here.
fn wanted(query: &str) -> Result<Wanted, ApiError> {
    let number = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(key, _)| *key == name);
        let Some((_, value)) = named.next() else {
            return Ok(None);
        };
        value.parse::<u64>().map(Some).map_err(|_| {
            let shown = value.chars().take(40).collect::<String>();
            ApiError::Invalid(format!(
                "'{name}' must be a whole number of 0 or more, not '{shown}'."
            ))
        })
    };
    let wait = number("wait_s")?.unwrap_or_default().min(LONGEST_WAIT);
    Ok(Wanted {
        part: match number("last")? {
            Some(lines) => Part::Last(usize::try_from(lines.min(MOST_LAST)).unwrap_or(usize::MAX)),
            None => Part::From(number("first")?.unwrap_or_default()),
        },
        wait: Duration::from_secs(wait),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_and_the_wait_are_read_from_the_query() {
        let parse = |query: &str| wanted(query).map_err(|error| error.to_string());
        let expected = |part, seconds| {
            Ok(Wanted {
                part,
                wait: Duration::from_secs(seconds),
            })
        };
        assert_eq!(parse(""), expected(Part::From(0), 0));
        assert_eq!(parse("first=7&wait_s=5"), expected(Part::From(7), 5));
        assert_eq!(parse("last=20&first=7"), expected(Part::Last(20), 0));
        assert_eq!(parse("last=99999"), expected(Part::Last(10_000), 0));
        assert_eq!(parse("wait_s=99"), expected(Part::From(0), LONGEST_WAIT));
        for wrong in ["first=-1", "last=x", "wait_s="] {
            let name = wrong.split('=').next().unwrap();
            assert!(parse(wrong).unwrap_err().contains(name), "{wrong}");
        }
    }
}
