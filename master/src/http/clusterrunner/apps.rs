//! Apps: how they stand, what is changed of them, and the log of one, its last lines or those from a line on. What creates
//! apps and deploys to them is the API of the Deis controller and `git push`.

use super::accounts::Asking;
use super::error::ApiError;
use super::{Api, Path, shapes};
use crate::store::app_logs::{AppLine, AppLines, Origin};
use axum::Json;
use axum::extract::{RawQuery, State};
use clusterrunner_common::api::Success;
use clusterrunner_common::api::apps::{
    AppBody, AppConfigBody, AppLogBody, AppLogLine, AppsBody, ChangeApp,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Subject};
use clusterrunner_core::apps::app::App;
use clusterrunner_core::apps::command::{AppCommand, ConfigChange};
use clusterrunner_core::command::Command;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

const NOT_YOURS: &str = "Only those who work on this app may change it, and only its owner and superusers may delete it; a \
                         token needs the role submit for the one and admin for the other.";

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
        let may = may(cluster, asking, app);
        let shown = || shapes::app_with_releases(cluster, app, domain.as_deref(), may);
        (may >= Access::Read).then(shown)
    };
    let shown = api.cluster.read(look).await?;
    shown.map(Json).ok_or(ApiError::NoApp)
}

/// The config of the newest release, with what its variables are.
pub(super) async fn config(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(id): Path<String>,
) -> Result<Json<AppConfigBody>, ApiError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app_of_id(&id)?;
        may_see(cluster, asking, app).then(|| shapes::app_config(app))
    };
    let config = api.cluster.read(look).await?.ok_or(ApiError::NoApp)?;
    Ok(Json(AppConfigBody { config }))
}

/// Scales, configures or rolls back an app: answered once that is on disk, with the app as it is then.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(id): Path<String>,
    Signed(change): Signed<ChangeApp>,
) -> Result<Json<AppBody>, ApiError> {
    let project = granted(&api, asking, &id, Access::Use).await?;
    let command = order(project, change).ok_or_else(|| {
        ApiError::invalid(
            "Exactly one of the fields 'structure', 'config' and 'roll_back_to' must be there.",
        )
    })?;
    let by = asking.actor();
    api.cluster.command(Command::App { by, command }).await?;
    one(State(api), asking, Path(id)).await
}

/// Deletes an app with all that it has.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(id): Path<String>,
    Signed(_): Signed<serde_json::Value>,
) -> Result<Json<Success>, ApiError> {
    let project = granted(&api, asking, &id, Access::Own).await?;
    let by = asking.actor();
    let command = AppCommand::Destroy { project };
    api.cluster.command(Command::App { by, command }).await?;
    Ok(Json(Success::default()))
}

/// The order that a change is; none where it is no single one.
fn order(project: ProjectId, change: ChangeApp) -> Option<AppCommand> {
    match change {
        ChangeApp {
            structure: Some(numbers),
            config: None,
            roll_back_to: None,
        } => Some(AppCommand::Scale { project, numbers }),
        ChangeApp {
            structure: None,
            config: Some(config),
            roll_back_to: None,
        } => Some(AppCommand::Configure {
            project,
            change: Box::new(ConfigChange {
                values: config.values,
                memory: config.memory,
                cpu: config.cpu,
                tags: config.tags,
            }),
        }),
        ChangeApp {
            structure: None,
            config: None,
            roll_back_to: version @ Some(_),
        } => Some(AppCommand::Rollback { project, version }),
        _ => None,
    }
}

fn may(cluster: &Cluster, asking: Asking, app: &App) -> Access {
    let project = cluster.project(app.project);
    project.map_or(Access::None, |project| asking.may(Subject::App(project)))
}

fn may_see(cluster: &Cluster, asking: Asking, app: &App) -> bool {
    may(cluster, asking, app) >= Access::Read
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
        let project = granted(&api, asking, &app, Access::Read).await?;
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

/// The project of an app that the caller may do so much with. Whoever may not see it is not told that it is there.
async fn granted(
    api: &Api,
    asking: Asking,
    app: &str,
    needs: Access,
) -> Result<ProjectId, ApiError> {
    let id = app.to_owned();
    let look = move |cluster: &Cluster| {
        let app = cluster.app_of_id(&id)?;
        Some((app.project, may(cluster, asking, app)))
    };
    match api.cluster.read(look).await? {
        None | Some((_, Access::None)) => Err(ApiError::NoApp),
        Some((_, may)) if may < needs => Err(ApiError::Forbidden(NOT_YOURS)),
        Some((project, _)) => Ok(project),
    }
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
