//! Where each instance is, for the requests to it, and when it was last used.

use super::program::Program;
use crate::core::Cluster;
use crate::core::event::{Event, Fact, FarmFact};
use crate::core::instances::instance::{Instance, InstanceState};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::InstanceId;
use clusterrunner_common::lock::{read, write};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    table: Arc<RwLock<Table>>,
    /// Since when uses are noted.
    since: Timestamp,
}

#[derive(Debug, Default)]
struct Table {
    routes: HashMap<String, Arc<Route>>,
    keys: HashMap<InstanceId, String>,
}

/// The way to an instance.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) target: Target,
    pub(super) seen: Seen,
}

/// What becomes of requests to an instance.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The program gets them.
    Up {
        program: Arc<Program>,
        /// Whether the program sees paths with `/user/<key>` in front.
        keeps_prefix: bool,
    },
    /// The program will get those that come later.
    Starting {
        /// What is waited for.
        text: String,
    },
    /// No program will ever get them.
    Failed {
        /// Why it can not be started, for the user.
        text: String,
    },
    /// The instance has ended.
    Over,
}

/// When an instance was last used. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<AtomicU64>);

impl Seen {
    /// It is used now.
    pub(super) fn now(&self) {
        self.0.fetch_max(Timestamp::now().0, Ordering::Relaxed);
    }

    /// When it was used last.
    pub(super) fn last(&self) -> Option<Timestamp> {
        let last = self.0.load(Ordering::Relaxed);
        (last > 0).then_some(Timestamp(last))
    }
}

impl Target {
    fn program(&self) -> Option<&Arc<Program>> {
        match self {
            Self::Up { program, .. } => Some(program),
            Self::Starting { .. } | Self::Failed { .. } | Self::Over => None,
        }
    }
}

impl Routes {
    /// An empty table. Uses are noted from now on.
    #[must_use]
    pub(crate) fn since(since: Timestamp) -> Self {
        let table = Arc::default();
        Self { table, since }
    }

    /// A table with one instance.
    #[cfg(test)]
    pub(super) fn to(key: &str, target: Target) -> Self {
        let routes = Self::since(Timestamp(0));
        let seen = Seen::default();
        let route = Arc::new(Route { target, seen });
        write(&routes.table).routes.insert(key.to_owned(), route);
        routes
    }

    /// Takes events in when they are on disk, before any answer tells of them.
    pub(crate) fn take_in(&self, cluster: &Cluster, events: &[Event]) {
        for event in events {
            match &event.fact {
                Fact::Instance(id, _) => {
                    write(&self.table).put(*id, cluster.instance(*id).map(|it| (cluster, it)));
                }
                // What was before this life of the master.
                Fact::Farm(FarmFact::MasterStarted { .. }) => {
                    let mut table = write(&self.table);
                    for instance in cluster.instances() {
                        table.put(instance.id, Some((cluster, instance)));
                    }
                }
                Fact::Build(..)
                | Fact::Slave(..)
                | Fact::Farm(_)
                | Fact::Account(..)
                | Fact::Project(..)
                | Fact::Template(..)
                | Fact::App(..) => {}
            }
        }
    }

    pub(super) fn find(&self, key: &str) -> Option<Arc<Route>> {
        read(&self.table).routes.get(key).cloned()
    }

    /// Closes the connections to programs that nobody has used for too long.
    pub(super) fn close_idle(&self) {
        let table = read(&self.table);
        let programs = table
            .routes
            .values()
            .filter_map(|route| route.target.program());
        programs.for_each(|program| program.close_idle());
    }

    /// Since when uses are noted.
    pub(super) fn noted_since(&self) -> Timestamp {
        self.since
    }

    /// When each instance was last used; without those that nobody has used. None where no instance may ever be idle.
    pub(super) fn active(&self) -> Option<BTreeMap<InstanceId, Timestamp>> {
        let table = read(&self.table);
        let is_over = |route: &Route| matches!(route.target, Target::Over | Target::Failed { .. });
        let living = table.keys.iter().filter_map(|(id, key)| {
            let route = table.routes.get(key)?;
            (!is_over(route)).then(|| (*id, route.seen.last()))
        });
        let mut is_empty = true;
        let active = living
            .inspect(|_| is_empty = false)
            .filter_map(|(id, last)| Some((id, last?)))
            .collect();
        (!is_empty).then_some(active)
    }
}

impl Table {
    fn put(&mut self, id: InstanceId, known: Option<(&Cluster, &Instance)>) {
        let Some((cluster, instance)) = known else {
            if let Some(key) = self.keys.remove(&id) {
                self.routes.remove(&key);
            }
            return;
        };
        // The others are reached by the hosts of their apps.
        if !instance.purpose.is_launch() {
            return;
        }
        let before = self.routes.get(&instance.key);
        let known = before.and_then(|before| before.target.program());
        let target = target(cluster, instance, known);
        let seen = before.map_or_else(Seen::default, |before| before.seen.clone());
        let route = Arc::new(Route { target, seen });
        self.routes.insert(instance.key.clone(), route);
        self.keys.insert(id, instance.key.clone());
    }
}

/// What becomes of requests to an instance; `known` is its program so far, whose connections are kept.
fn target(cluster: &Cluster, instance: &Instance, known: Option<&Arc<Program>>) -> Target {
    let starting = |text: String| Target::Starting { text };
    let reason = instance
        .reason
        .as_deref()
        .unwrap_or("the reason is unknown");
    match instance.state {
        InstanceState::Initialized => {
            starting("It waits for a slave with a free place. This page tries again.".to_owned())
        }
        InstanceState::Created => {
            starting("Its program does not answer yet. This page tries again.".to_owned())
        }
        InstanceState::Crashed => starting(format!("Its program is started again: {reason}")),
        InstanceState::Up => {
            let slave = instance.slave.and_then(|slave| cluster.slave(slave));
            let host = slave.and_then(|slave| Some(slave.url.rsplit_once(':')?.0));
            match (host, instance.place) {
                (Some(host), Some((port, keeps_prefix))) => {
                    let address = format!("{host}:{port}");
                    let known = known.filter(|known| known.address == address);
                    Target::Up {
                        program: known.cloned().unwrap_or_else(|| Program::at(address)),
                        keeps_prefix,
                    }
                }
                _ => starting("Its slave is looked for. This page tries again.".to_owned()),
            }
        }
        InstanceState::Error => Target::Failed {
            text: format!("It can not be started: {reason}"),
        },
        InstanceState::Down | InstanceState::Destroyed => Target::Over,
    }
}
