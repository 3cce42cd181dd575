//! The builds that are polled, as an API shows them: the coordinator updates them after each turn and before it
//! answers, and readers take them without asking it. So what is read is never older than what an earlier answer
//! said, and waits for no disk.
//!
//! Only builds that are asked for are here, and they are made anew only while they are asked for: a
//! build that is not polled costs a look into a map for each turn that changes it. What is published of a build is for
//! the API to say: its page `P`.

use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::{read, write};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::event::{Event, Fact, SlaveFact};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

/// How many builds are remembered as looked at. Beyond it all are forgotten, and those that are asked for
/// come back.
const REMEMBERED: usize = 1024;

/// How many changes of a build are published after it was asked for last.
const PUBLISHED_UNASKED: u32 = 64;

/// The published builds. Clones share them.
#[derive(Debug)]
pub(crate) struct Published<P> {
    shown: Shown<P>,
    make: fn(&Cluster, &Build) -> P,
}

/// The builds that are asked for.
type Shown<P> = Arc<RwLock<HashMap<BuildId, Arc<ShownBuild<P>>>>>;

/// A build that was asked for.
#[derive(Debug)]
struct ShownBuild<P> {
    /// How many more changes are published without a further request.
    wanted: AtomicU32,
    latest: RwLock<Latest<P>>,
}

#[derive(Debug)]
struct Latest<P> {
    /// None where it has changed since.
    page: Option<Arc<P>>,
    /// How often it has changed. What was read elsewhere may only be put here if nothing has changed
    /// since before it was read.
    changes: u64,
}

/// A build that is asked for and not published now.
#[derive(Debug)]
pub(crate) struct Missing<P> {
    shown: Arc<ShownBuild<P>>,
    changes: u64,
    make: fn(&Cluster, &Build) -> P,
}

impl<P> Clone for Published<P> {
    fn clone(&self) -> Self {
        Self {
            shown: Arc::clone(&self.shown),
            make: self.make,
        }
    }
}

impl<P> Published<P> {
    /// Nothing is published yet; `make` makes the page of a build.
    #[must_use]
    pub(crate) fn new(make: fn(&Cluster, &Build) -> P) -> Self {
        let shown = Arc::default();
        Self { shown, make }
    }

    /// A build, if it is published; and it stays so for some time.
    ///
    /// # Errors
    /// It is not: what has to be known to publish it.
    pub(crate) fn page(&self, id: BuildId) -> Result<Arc<P>, Missing<P>> {
        let known = read(&self.shown);
        let shown = known.get(&id).map(Arc::clone);
        drop(known);
        let shown = shown.unwrap_or_else(|| self.remember(id));
        // Most of the time it is as it should be, and is not written to by many at once.
        if shown.wanted.load(Ordering::Relaxed) != PUBLISHED_UNASKED {
            shown.wanted.store(PUBLISHED_UNASKED, Ordering::Relaxed);
        }
        let latest = read(&shown.latest);
        let (page, changes) = (latest.page.clone(), latest.changes);
        drop(latest);
        let make = self.make;
        page.ok_or(Missing {
            shown,
            changes,
            make,
        })
    }

    fn remember(&self, id: BuildId) -> Arc<ShownBuild<P>> {
        let mut known = write(&self.shown);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        Arc::clone(known.entry(id).or_default())
    }

    /// Takes events in when they are on disk, before any answer tells of them.
    pub(crate) fn take_in(&self, cluster: &Cluster, events: &[Event]) {
        let known = read(&self.shown);
        if known.is_empty() {
            return;
        }
        let mut changed = BTreeSet::new();
        for event in events {
            match (event.fact.subject().build, &event.fact) {
                (Some(build), _) => {
                    changed.insert(build);
                    // How far it is shows on its parent, too.
                    changed.extend(cluster.build(build).and_then(Build::parent));
                }
                // No page tells of users, projects, templates, instances and apps.
                (
                    None,
                    Fact::Account(..)
                    | Fact::Project(..)
                    | Fact::Template(..)
                    | Fact::Instance(..)
                    | Fact::App(..)
                    | Fact::SlaveKey(_)
                    | Fact::SignIn(_)
                    | Fact::Slave(_, SlaveFact::Hosts(_) | SlaveFact::HasSnapshots { .. }),
                ) => {}
                // What happens to a slave may matter to any build, such as one that waits for a slave.
                (None, _) => {
                    for shown in known.values() {
                        shown.put(None);
                    }
                }
            }
        }
        let shown = changed.iter().filter_map(|id| Some((*id, known.get(id)?)));
        let shown: Vec<_> = shown.map(|(id, shown)| (id, Arc::clone(shown))).collect();
        // Readers may remember further builds while pages are made.
        drop(known);
        for (id, shown) in shown {
            let wanted = shown.wanted.load(Ordering::Relaxed);
            let build = cluster.build(id);
            let build = build.filter(|_| wanted > 0 && !cluster.is_deleted(id));
            shown.put(build.map(|build| (self.make)(cluster, build)));
            if wanted > 0 {
                shown.wanted.store(wanted - 1, Ordering::Relaxed);
            }
        }
    }
}

impl<P> Default for ShownBuild<P> {
    fn default() -> Self {
        Self {
            wanted: AtomicU32::default(),
            latest: RwLock::new(Latest {
                page: None,
                changes: 0,
            }),
        }
    }
}

impl<P> ShownBuild<P> {
    fn put(&self, page: Option<P>) {
        let page = page.map(Arc::new);
        let mut latest = write(&self.latest);
        latest.page = page;
        latest.changes += 1;
    }
}

impl<P> Missing<P> {
    /// Publishes a build; for a look at the cluster, between two turns. Several may look for
    /// the same build: the first one does.
    pub(crate) fn publish(&self, cluster: &Cluster, build: &Build) -> Arc<P> {
        let page = read(&self.shown.latest).page.clone();
        if let Some(page) = page {
            return page;
        }
        let page = Arc::new((self.make)(cluster, build));
        write(&self.shown.latest).page = Some(Arc::clone(&page));
        page
    }

    /// Publishes what was read elsewhere after this was made, unless something has happened since.
    pub(crate) fn publish_read(&self, page: P) -> Arc<P> {
        let page = Arc::new(page);
        let mut latest = write(&self.shown.latest);
        if latest.changes == self.changes {
            latest.page = Some(Arc::clone(&page));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::work::BuildRequest;
    use clusterrunner_core::accounts::command::ProjectCommand;
    use clusterrunner_core::accounts::projects::NewProject;
    use clusterrunner_core::actor::Actor;
    use clusterrunner_core::builds::build::BuildState;
    use clusterrunner_core::command::Command;
    use clusterrunner_core::event::BuildFact;
    use serde_json::json;

    const BUILD: BuildId = BuildId(1);

    fn state_of(_: &Cluster, build: &Build) -> BuildState {
        build.state.clone()
    }

    struct Farm {
        cluster: Cluster,
        published: Published<BuildState>,
    }

    impl Farm {
        fn with_a_build() -> Self {
            let mut farm = Self {
                cluster: Cluster::default(),
                published: Published::new(state_of),
            };
            let request = json!({"type": "directory", "project_directory": "/p"});
            let request = Box::new(BuildRequest::from_json(&request).unwrap());
            farm.give(Command::QueueBuild {
                by: Actor::SecretHolder,
                request,
            });
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
                key: None,
            });
        }

        fn status(&self) -> Option<BuildState> {
            let page = self.published.page(BUILD).ok();
            page.map(|page| BuildState::clone(&page))
        }

        fn look(&self) {
            if let Err(missing) = self.published.page(BUILD) {
                let build = self.cluster.build(BUILD).unwrap();
                missing.publish(&self.cluster, build);
            }
        }
    }

    #[test]
    fn what_happens_to_projects_is_on_no_page() {
        let mut farm = Farm::with_a_build();
        farm.look();
        let page = farm.published.page(BUILD).ok().unwrap();
        let project = NewProject {
            name: "hill".to_owned(),
            description: None,
            tags: None,
            is_public: true,
            git_url: None,
        };
        farm.give(Command::Project {
            by: Actor::SecretHolder,
            command: ProjectCommand::Create(Box::new(project)),
        });
        let same = farm.published.page(BUILD).ok().unwrap();
        assert!(Arc::ptr_eq(&page, &same));
        farm.connect();
        assert!(farm.published.page(BUILD).is_err());
    }

    #[test]
    fn a_build_that_is_asked_for_stays_as_it_is() {
        let mut farm = Farm::with_a_build();
        assert_eq!(farm.status(), None);
        farm.look();
        assert_eq!(farm.status(), Some(BuildState::Queued));
        farm.give(Command::CancelBuild {
            by: Actor::SecretHolder,
            build: BUILD,
        });
        assert_eq!(farm.status(), Some(BuildState::Canceled));
        farm.connect();
        assert_eq!(farm.status(), None, "a slave may matter to any build");
    }

    fn warned() -> Vec<Event> {
        let fact = Fact::Build(
            BUILD,
            BuildFact::Warned {
                warning: "it is odd".to_owned(),
            },
        );
        let at = Timestamp(2);
        let by = Actor::Master;
        vec![Event { at, by, fact }]
    }

    #[test]
    fn a_build_that_nobody_asks_for_any_more_is_left_alone() {
        let mut farm = Farm::with_a_build();
        farm.look();
        for _ in 0..PUBLISHED_UNASKED {
            farm.happen(warned());
        }
        let known = farm.published.shown.read().unwrap();
        let latest = |known: &HashMap<BuildId, Arc<ShownBuild<BuildState>>>| {
            let shown = &known[&BUILD];
            shown.latest.read().unwrap().page.clone()
        };
        assert!(latest(&known).is_some());
        drop(known);
        farm.happen(warned());
        assert!(latest(&farm.published.shown.read().unwrap()).is_none());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_published() {
        let mut farm = Farm::with_a_build();
        let missing = farm.published.page(BUILD).unwrap_err();
        let build = farm.cluster.build(BUILD).unwrap();
        let state = build.state.clone();
        farm.give(Command::CancelBuild {
            by: Actor::SecretHolder,
            build: BUILD,
        });
        missing.publish_read(state.clone());
        assert_eq!(farm.status(), Some(BuildState::Canceled));
        farm.connect();
        let missing = farm.published.page(BUILD).unwrap_err();
        missing.publish_read(state);
        assert_eq!(farm.status(), Some(BuildState::Queued));
    }

    #[test]
    fn the_number_of_remembered_builds_is_bounded() {
        let published = Published::new(state_of);
        for id in 0..3 * REMEMBERED as u64 {
            assert!(published.page(BuildId(id)).is_err());
        }
        assert!(published.shown.read().unwrap().len() <= REMEMBERED);
    }
}
