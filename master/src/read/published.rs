//! The builds that somebody looks at, as they are shown: the coordinator keeps them up to date after each
//! turn and before it answers anybody, and readers take them without asking it. So what is read is never
//! older than what somebody was told before, and waits for no disk.
//!
//! Only builds that are asked for are here, and they are made anew only while they are asked for: a
//! build that nobody polls costs a look into a map for each turn that changes it.

use crate::core::Cluster;
use crate::core::event::{Event, Fact};
use crate::read::views;
use axum::body::Bytes;
use axum::http::HeaderValue;
use clusterrunner_common::api::{BuildBody, BuildView};
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::rules;
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::BuildId;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// How many builds are remembered as looked at. Beyond it all are forgotten, and those that are asked for
/// come back.
const REMEMBERED: usize = 1024;

/// How many changes of a build are published after it was asked for last.
const PUBLISHED_UNASKED: u32 = 64;

/// How many failed atoms a build may have that stays published after it was put away: it stays long.
const FAILED_HELD: usize = 100;

/// The published builds. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<RwLock<HashMap<BuildId, Arc<Shown>>>>);

/// A build that was asked for.
#[derive(Debug, Default)]
struct Shown {
    /// How many more changes are published though nobody asks.
    wanted: AtomicU32,
    latest: RwLock<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    /// None where it has changed since.
    page: Option<Arc<Page>>,
    /// How often it has changed. What was read elsewhere may only be put here if nothing has changed
    /// since before it was read.
    changes: u64,
}

/// A build as it stood at a moment; its bytes are made by the first who reads them.
#[derive(Debug)]
pub struct Page {
    body: BuildBody,
    /// By the version of the path and the version that is asked for, which decide what is listed as
    /// below it.
    made: [OnceLock<Made>; 4],
}

/// The bytes of an answer, and their ETag.
#[derive(Clone, Debug)]
pub struct Made {
    /// The whole body.
    pub body: Bytes,
    /// See [`rules::etag_of`].
    pub etag: HeaderValue,
}

/// A build that is asked for and not published now.
#[derive(Debug)]
pub struct Missing {
    shown: Arc<Shown>,
    changes: u64,
}

impl Page {
    /// A page that nobody else is shown.
    #[must_use]
    pub fn new(build: BuildView) -> Self {
        Self {
            body: BuildBody { build },
            made: Default::default(),
        }
    }

    /// The answer to a request that has reached `reached` and speaks `version`.
    ///
    /// # Errors
    /// The build can not be written as JSON.
    pub fn made(&self, reached: &Reached, version: ApiVersion) -> Result<Made, serde_json::Error> {
        let index = |version| match version {
            ApiVersion::V1 => 0,
            ApiVersion::V2 => 1,
        };
        let made = &self.made[2 * index(reached.version()) + index(version)];
        if let Some(made) = made.get() {
            return Ok(made.clone());
        }
        let body = serde_json::to_vec(&self.body)?;
        let body = rules::with_children(&body, reached.children(version));
        let etag = rules::etag_of(&body);
        Ok(made.get_or_init(|| Made { body, etag }).clone())
    }
}

impl Published {
    /// A build, if it is published; and it stays so for some time.
    ///
    /// # Errors
    /// It is not: what has to be known to publish it.
    pub fn page(&self, id: BuildId) -> Result<Arc<Page>, Missing> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let shown = known.get(&id).map(Arc::clone);
        drop(known);
        let shown = shown.unwrap_or_else(|| self.remember(id));
        // Most of the time it is as it should be, and is not written to by many at once.
        if shown.wanted.load(Ordering::Relaxed) != PUBLISHED_UNASKED {
            shown.wanted.store(PUBLISHED_UNASKED, Ordering::Relaxed);
        }
        let latest = shown.latest.read().unwrap_or_else(PoisonError::into_inner);
        let (page, changes) = (latest.page.clone(), latest.changes);
        drop(latest);
        page.ok_or(Missing { shown, changes })
    }

    fn remember(&self, id: BuildId) -> Arc<Shown> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        Arc::clone(known.entry(id).or_default())
    }

    /// What brings events here; called when they are on disk and before anybody is told.
    pub fn listener(&self) -> impl FnMut(&Cluster, &[Event]) + Send + 'static {
        let published = self.clone();
        move |cluster, events| published.take_in(cluster, events)
    }

    fn take_in(&self, cluster: &Cluster, events: &[Event]) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return;
        }
        let mut changed = BTreeSet::new();
        for event in events {
            match changed_build(&event.fact) {
                Some(build) => {
                    changed.insert(build);
                }
                None => {
                    for shown in known.values() {
                        shown.put(None);
                    }
                }
            }
        }
        let shown = changed.iter().filter_map(|id| Some((*id, known.get(id)?)));
        let shown: Vec<_> = shown.map(|(id, shown)| (id, Arc::clone(shown))).collect();
        // Readers may remember further builds while views are made.
        drop(known);
        for (id, shown) in shown {
            let wanted = shown.wanted.load(Ordering::Relaxed);
            let build = cluster.build(id).filter(|_| wanted > 0);
            shown.put(build.map(|build| Page::new(views::build_of(cluster, build))));
            if wanted > 0 {
                shown.wanted.store(wanted - 1, Ordering::Relaxed);
            }
        }
    }
}

impl Shown {
    fn put(&self, page: Option<Page>) {
        let page = page.map(Arc::new);
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        latest.page = page;
        latest.changes += 1;
    }
}

impl Missing {
    /// Publishes what `view` sees; for a look at the cluster, between two turns. Several may look for
    /// the same build: the first one does.
    pub fn publish(&self, view: impl FnOnce() -> BuildView) -> Arc<Page> {
        let latest = self.shown.latest.read();
        let page = latest.unwrap_or_else(PoisonError::into_inner).page.clone();
        if let Some(page) = page {
            return page;
        }
        let page = Arc::new(Page::new(view()));
        let latest = self.shown.latest.write();
        latest.unwrap_or_else(PoisonError::into_inner).page = Some(Arc::clone(&page));
        page
    }

    /// Publishes what was read elsewhere after this was made, unless something has happened since, or
    /// it is big.
    pub fn publish_read(&self, view: BuildView) -> Arc<Page> {
        let page = Arc::new(Page::new(view));
        let latest = self.shown.latest.write();
        let mut latest = latest.unwrap_or_else(PoisonError::into_inner);
        let failed = page.body.build.failed_atoms.as_ref().map_or(0, Vec::len);
        if latest.changes == self.changes && failed <= FAILED_HELD {
            latest.page = Some(Arc::clone(&page));
        }
        page
    }
}

/// The one build that is shown differently after an event; `None` where it may be any, such as those
/// that wait for a slave.
fn changed_build(fact: &Fact) -> Option<BuildId> {
    match fact {
        Fact::BuildQueued { build, .. }
        | Fact::PreparationStarted { build, .. }
        | Fact::PreparationStopped { build }
        | Fact::BuildPrepared { build, .. }
        | Fact::BuildFailed { build, .. }
        | Fact::BuildCanceled { build }
        | Fact::ArchivingStarted { build }
        | Fact::BuildFinished { build }
        | Fact::BuildRetired { build }
        | Fact::BuildForgotten { build, .. }
        | Fact::BuildCleared { build }
        | Fact::SetupRequested { build, .. }
        | Fact::SetupCompleted { build, .. }
        | Fact::SetupFailed { build, .. }
        | Fact::TeardownRequested { build, .. }
        | Fact::TeardownCompleted { build, .. }
        | Fact::SubjobSuspected { build, .. }
        | Fact::SubjobPoisoned { build, .. }
        | Fact::BuildWarned { build, .. }
        | Fact::SubjobHandedOut { build, .. }
        | Fact::SubjobFinished { build, .. }
        | Fact::ResultDoubted { build, .. }
        | Fact::SubjobReturned { build, .. } => Some(*build),
        Fact::MasterStarted { .. }
        | Fact::IncarnationBegun { .. }
        | Fact::IdsReserved { .. }
        | Fact::SlaveForgotten { .. }
        | Fact::SlaveConnected { .. }
        | Fact::SlaveLost { .. }
        | Fact::ShutdownRequested { .. }
        | Fact::EndRequested { .. }
        | Fact::SlaveEnded { .. }
        | Fact::DrainRequested { .. }
        | Fact::DrainEnded { .. }
        | Fact::SlaveQuarantined { .. }
        | Fact::SlaveReleased { .. }
        | Fact::ProbeStarted { .. }
        | Fact::SlaveReserved { .. }
        | Fact::HandOutsKept { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::Command;
    use clusterrunner_common::api::BuildStatus;
    use clusterrunner_common::api::build_request::BuildRequest;
    use clusterrunner_common::clock::Timestamp;
    use serde_json::json;

    const BUILD: BuildId = BuildId(1);

    struct Farm {
        cluster: Cluster,
        published: Published,
    }

    impl Farm {
        fn with_a_build() -> Self {
            let mut farm = Self {
                cluster: Cluster::default(),
                published: Published::default(),
            };
            let request = json!({"type": "directory", "project_directory": "/p"});
            let request = Box::new(BuildRequest::from_json(&request).unwrap());
            farm.give(Command::QueueBuild { request });
            farm
        }

        fn give(&mut self, command: Command) {
            let events = self.cluster.decide(command, Timestamp(1)).unwrap();
            self.happen(events);
        }

        fn happen(&mut self, events: Vec<Event>) {
            for event in &events {
                self.cluster.apply(event);
            }
            self.published.take_in(&self.cluster, &events);
        }

        fn connect(&mut self) {
            self.give(Command::ConnectSlave {
                url: "a:1".to_owned(),
                session: clusterrunner_common::ids::SessionId("a".to_owned()),
                num_executors: 1,
                labels: BTreeSet::new(),
                known_as: None,
                finished: Vec::new(),
                seen: Vec::new(),
                fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
            });
        }

        fn status(&self) -> Option<BuildStatus> {
            let page = self.published.page(BUILD).ok();
            page.map(|page| page.body.build.status)
        }

        fn look(&self) {
            if let Err(missing) = self.published.page(BUILD) {
                let build = self.cluster.build(BUILD).unwrap();
                missing.publish(|| views::build_of(&self.cluster, build));
            }
        }
    }

    #[test]
    fn a_build_that_is_asked_for_stays_as_it_is() {
        let mut farm = Farm::with_a_build();
        assert_eq!(farm.status(), None);
        farm.look();
        assert_eq!(farm.status(), Some(BuildStatus::Queued));
        farm.give(Command::CancelBuild { build: BUILD });
        assert_eq!(farm.status(), Some(BuildStatus::Canceled));
        farm.connect();
        assert_eq!(farm.status(), None, "a slave may matter to any build");
    }

    fn warned() -> Vec<Event> {
        let fact = Fact::BuildWarned {
            build: BUILD,
            warning: "it is odd".to_owned(),
        };
        let at = Timestamp(2);
        vec![Event { at, fact }]
    }

    #[test]
    fn a_build_that_nobody_asks_for_any_more_is_left_alone() {
        let mut farm = Farm::with_a_build();
        farm.look();
        for _ in 0..PUBLISHED_UNASKED {
            farm.happen(warned());
        }
        let known = farm.published.0.read().unwrap();
        let latest = |known: &HashMap<BuildId, Arc<Shown>>| {
            let shown = &known[&BUILD];
            shown.latest.read().unwrap().page.clone()
        };
        assert!(latest(&known).is_some());
        drop(known);
        farm.happen(warned());
        assert!(latest(&farm.published.0.read().unwrap()).is_none());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_published() {
        let mut farm = Farm::with_a_build();
        let missing = farm.published.page(BUILD).unwrap_err();
        let build = farm.cluster.build(BUILD).unwrap();
        let view = views::build_of(&farm.cluster, build);
        farm.give(Command::CancelBuild { build: BUILD });
        missing.publish_read(view.clone());
        assert_eq!(farm.status(), Some(BuildStatus::Canceled));
        farm.connect();
        let missing = farm.published.page(BUILD).unwrap_err();
        missing.publish_read(view);
        assert_eq!(farm.status(), Some(BuildStatus::Queued));
    }

    #[test]
    fn the_number_of_remembered_builds_is_bounded() {
        let published = Published::default();
        for id in 0..3 * REMEMBERED as u64 {
            assert!(published.page(BuildId(id)).is_err());
        }
        assert!(published.0.read().unwrap().len() <= REMEMBERED);
    }
}
