//! Builds as this API shows them. Pure.

use super::statuses::word;
use crate::http::polyaxon::query::Row;
use crate::http::polyaxon::sort::Moments;
use crate::http::polyaxon::specification::{Specification, dockerfile};
use crate::http::polyaxon::{times, uuids};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, UserId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::UserCaller;
use clusterrunner_core::accounts::bookmarks::Markable;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::status::Status;
use serde::Serialize;
use serde_json::{Value, json};

/// What a build itself says, wherever it is; enough for lists.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::http::polyaxon) struct Known {
    id: BuildId,
    started_by: Option<UserId>,
    owner: Owner,
    created: Timestamp,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    status: Status,
    status_since: Timestamp,
    commit: Option<String>,
}

/// What only the object of one build shows.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::http::polyaxon) struct Details {
    config: Value,
    node_scheduled: Option<String>,
    dockerfile: Option<String>,
    commit: Option<String>,
}

/// What the cluster says about a build beside the build.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::http::polyaxon) struct Around {
    /// The name of the user who started it.
    user: String,
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    /// When a user changed one of these.
    changed: Option<Timestamp>,
    /// Whether the caller has bookmarked it.
    is_bookmarked: bool,
}

/// The names of a build's project.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::polyaxon) struct ProjectNames<'a> {
    /// The name of the project's owner.
    pub(in crate::http::polyaxon) owner: &'a str,
    /// The name of the project.
    pub(in crate::http::polyaxon) project: &'a str,
}

/// A build in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::polyaxon) struct ListedBuild {
    #[serde(flatten)]
    head: Head,
    bookmarked: bool,
}

/// A build by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::polyaxon) struct BuildView {
    #[serde(flatten)]
    head: Head,
    config: Value,
    resources: Option<Value>,
    node_scheduled: Option<String>,
    num_jobs: u64,
    num_experiments: u64,
    dockerfile: Option<String>,
    commit: Option<String>,
    bookmarked: bool,
}

/// What both show.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Head {
    id: BuildId,
    uuid: String,
    name: Option<String>,
    unique_name: String,
    user: String,
    description: Option<String>,
    created_at: String,
    updated_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    last_status: &'static str,
    tags: Option<Vec<String>>,
    project: String,
}

impl Known {
    /// What a build says.
    pub(in crate::http::polyaxon) fn of(build: &Build) -> Self {
        let statuses = build.statuses();
        let first = statuses.first();
        let started = statuses
            .iter()
            .find(|change| change.status != Status::Created);
        let last = statuses.last();
        let (status, status_since) = last.map_or((Status::Created, Timestamp(0)), |last| {
            (last.status, last.at)
        });
        Self {
            id: build.id,
            started_by: build.started_by,
            owner: build.owner,
            created: first.map_or(Timestamp(0), |first| first.at),
            started: started.map(|change| change.at),
            finished: status.is_final().then_some(status_since),
            status,
            status_since,
            commit: build.plan.as_ref().and_then(|plan| plan.commit.clone()),
        }
    }

    /// Its times, with what users have changed.
    pub(in crate::http::polyaxon) fn moments(&self, around: &Around) -> Moments {
        let changed = around.changed.unwrap_or(self.status_since);
        Moments {
            created: self.created,
            updated: self.status_since.max(changed),
            started: self.started,
            finished: self.finished,
        }
    }

    /// What a query may ask of it.
    pub(in crate::http::polyaxon) fn row<'a>(
        &'a self,
        around: &'a Around,
        place: ProjectNames<'a>,
    ) -> Row<'a> {
        Row {
            id: self.id,
            name: around.name.as_deref(),
            user: &around.user,
            project: place.project,
            owner: place.owner,
            status: word(self.status),
            tags: around.tags.as_deref().unwrap_or_default(),
            commit: self.commit.as_deref(),
            moments: self.moments(around),
        }
    }

    fn head(&self, around: &Around, ProjectNames { owner, project }: ProjectNames<'_>) -> Head {
        let moments = self.moments(around);
        let id = self.id;
        Head {
            id,
            uuid: uuids::of_build(id, self.created),
            name: around.name.clone(),
            unique_name: unique_name(owner, project, id),
            user: around.user.clone(),
            description: around.description.clone(),
            created_at: times::shown(moments.created),
            updated_at: times::shown(moments.updated),
            started_at: moments.started.map(times::shown),
            finished_at: moments.finished.map(times::shown),
            last_status: word(self.status),
            tags: around.tags.clone(),
            project: format!("{owner}.{project}"),
        }
    }

    /// As lists show it.
    pub(in crate::http::polyaxon) fn listed(
        &self,
        around: &Around,
        place: ProjectNames<'_>,
    ) -> ListedBuild {
        let head = self.head(around, place);
        let bookmarked = around.is_bookmarked;
        ListedBuild { head, bookmarked }
    }
}

impl Details {
    /// What a build says.
    pub(in crate::http::polyaxon) fn of(build: &Build) -> Self {
        // Building begins when a slave is chosen.
        let specification = build.request.specification.as_ref();
        let begun = specification.filter(|_| build.timestamps.building.is_some());
        let begun = begun.map(Specification::stored);
        Self {
            config: config(build),
            node_scheduled: build.main_slave().map(str::to_owned),
            dockerfile: begun.as_ref().and_then(dockerfile),
            commit: build.plan.as_ref().and_then(|plan| plan.commit.clone()),
        }
    }

    /// The whole object.
    pub(in crate::http::polyaxon) fn view(
        self,
        known: &Known,
        around: &Around,
        place: ProjectNames<'_>,
    ) -> BuildView {
        BuildView {
            head: known.head(around, place),
            config: self.config,
            resources: None,
            node_scheduled: self.node_scheduled,
            num_jobs: 0,
            num_experiments: 0,
            dockerfile: self.dockerfile,
            commit: self.commit,
            bookmarked: around.is_bookmarked,
        }
    }
}

impl Around {
    /// What the cluster says about a build for a caller.
    pub(in crate::http::polyaxon) fn of(
        cluster: &Cluster,
        known: &Known,
        caller: UserCaller,
    ) -> Self {
        // A user that is gone started it for the owner.
        let user = known
            .started_by
            .and_then(|id| cluster.owner_name(Owner::User(id)));
        let user = user
            .or_else(|| cluster.owner_name(known.owner))
            .unwrap_or_default();
        let details = cluster.details(known.id).cloned().unwrap_or_default();
        Self {
            user: user.to_owned(),
            name: details.name,
            description: details.description,
            tags: details.tags,
            changed: details.changed,
            is_bookmarked: cluster.is_bookmarked(caller.id, Markable::Build(known.id)),
        }
    }
}

/// The name of a build that no other has.
pub(in crate::http::polyaxon) fn unique_name(owner: &str, project: &str, id: BuildId) -> String {
    format!("{owner}.{project}.builds.{id}")
}

/// The specification of a build. One that came through another API has one that is made from its job.
fn config(build: &Build) -> Value {
    if let Some(specification) = &build.request.specification {
        return Value::Object(specification.clone());
    }
    let steps = given_commands(build).unwrap_or_else(|| {
        let command = build.plan.as_ref().map(|plan| plan.command.clone());
        command.into_iter().collect()
    });
    json!({
        "version": 1,
        "kind": "build",
        "build": {"image": null, "build_steps": steps},
    })
}

/// The commands of the job that the request brings, if it brings one: the plan has them joined.
fn given_commands(build: &Build) -> Option<Vec<String>> {
    let jobs = build.request.config.as_ref()?;
    let job_name = build.request.job_name.as_deref();
    let job = match job_name {
        Some(name) => jobs.get(name)?,
        None => jobs.values().next()?,
    };
    let commands = job.get("commands")?.as_array()?;
    let commands = commands
        .iter()
        .map(|command| command.as_str().map(str::to_owned));
    commands.collect()
}
