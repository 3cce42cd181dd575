//! Where each instance is, for the requests to it, and when it was last used.

use super::apps::{Absence, Apps};
use super::hosts::{Hosts, host_of};
use super::route::{Route, Target};
use super::uses::Use;
use axum::http::{HeaderMap, Uri};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{InstanceId, ProjectId};
use clusterrunner_common::lock::{read, write};
use clusterrunner_core::Cluster;
use clusterrunner_core::event::{Event, Fact, FarmFact};
use clusterrunner_core::instances::instance::Instance;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    table: Arc<RwLock<Table>>,
    hosts: Hosts,
    /// Since when uses are noted.
    since: Timestamp,
}

#[derive(Debug, Default)]
struct Table {
    routes: HashMap<String, Arc<Route>>,
    keys: HashMap<InstanceId, String>,
    apps: Apps,
}

/// What a host leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The app of a project.
    App(ProjectId),
    /// Nothing, although only apps may have such a name.
    NoApp,
}

impl Routes {
    /// An empty table. Uses are noted from now on.
    #[must_use]
    pub(crate) fn new(hosts: Hosts, since: Timestamp) -> Self {
        Self {
            table: Arc::default(),
            hosts,
            since,
        }
    }

    /// A table with one instance.
    #[cfg(test)]
    pub(super) fn to(key: &str, target: Target) -> Self {
        let routes = Self::new(Hosts::default(), Timestamp(0));
        let route = Route {
            instance: InstanceId(1),
            target,
            uses: super::uses::Uses::default(),
            retired: None,
        };
        let route = Arc::new(route);
        write(&routes.table).routes.insert(key.to_owned(), route);
        routes
    }

    /// The uses of the instance with a key.
    #[cfg(test)]
    pub(super) fn uses(&self, key: &str) -> super::uses::Uses {
        read(&self.table).routes[key].uses.clone()
    }

    /// Takes events in when they are on disk, before any answer tells of them.
    pub(crate) fn take_in(&self, cluster: &Cluster, events: &[Event]) {
        let mut apps = BTreeSet::new();
        for event in events {
            match &event.fact {
                Fact::Instance(id, _) => {
                    let instance = cluster.instance(*id);
                    match instance.and_then(|instance| instance.purpose.project()) {
                        Some(project) => drop(apps.insert(project)),
                        None => write(&self.table).put(*id, instance.map(|it| (cluster, it))),
                    }
                }
                Fact::App(project, _) => drop(apps.insert(*project)),
                // What was before this life of the master.
                Fact::Farm(FarmFact::MasterStarted { .. }) => {
                    let mut table = write(&self.table);
                    let launches = cluster.instances();
                    for instance in launches.filter(|instance| instance.purpose.is_launch()) {
                        table.put(instance.id, Some((cluster, instance)));
                    }
                    apps.extend(cluster.apps().map(|app| app.project));
                }
                Fact::Build(..)
                | Fact::Slave(..)
                | Fact::Farm(_)
                | Fact::Account(..)
                | Fact::Project(..)
                | Fact::SlaveKey(_)
                | Fact::SignIn(_)
                | Fact::Template(..) => {}
            }
        }
        if !apps.is_empty() {
            let mut table = write(&self.table);
            for project in apps {
                table.apps.put(project, cluster);
            }
        }
    }

    /// The instance with a key, and that it is used.
    pub(super) fn find(&self, key: &str) -> Option<(Arc<Route>, Use)> {
        let table = read(&self.table);
        let route = table.routes.get(key)?;
        Some((Arc::clone(route), route.uses.begin()))
    }

    /// What a host leads to; none where it is for the APIs.
    pub(super) fn by_host(&self, uri: &Uri, headers: &HeaderMap) -> Option<Found> {
        let table = read(&self.table);
        if table.apps.is_empty() && !self.hosts.has_app_domain() {
            return None;
        }
        let host = host_of(uri, headers)?;
        let named = self.hosts.named(&host)?;
        let by_id = named.label.and_then(|label| table.apps.of_id(label));
        // No domain of an app hides another app.
        let found = by_id.or_else(|| table.apps.of_domain(named.host));
        match (found, named.label) {
            (Some(project), _) => Some(Found::App(project)),
            (None, Some(_)) => Some(Found::NoApp),
            (None, None) => None,
        }
    }

    /// The instance of an app whose turn it is, and that it is used: it is not ended before the use is.
    pub(super) fn next(
        &self,
        project: ProjectId,
        tried: &[InstanceId],
    ) -> Result<(Arc<Route>, Use), Absence> {
        let table = read(&self.table);
        let route = table.apps.next(project, tried)?;
        Ok((Arc::clone(route), route.uses.begin()))
    }

    /// The retired instances that nobody waits for any more.
    pub(super) fn drained(&self) -> Vec<InstanceId> {
        read(&self.table).apps.drained()
    }

    /// Closes the connections to programs that nobody has used for too long.
    pub(super) fn close_idle(&self) {
        let table = read(&self.table);
        let routes = table.routes.values().chain(table.apps.routes());
        let programs = routes.filter_map(|route| route.target.program());
        programs.for_each(|program| program.close_idle());
    }

    /// Since when uses are noted.
    pub(super) fn noted_since(&self) -> Timestamp {
        self.since
    }

    /// When each launch was last used; without those that nobody has used. None where no instance may ever be idle.
    pub(super) fn active(&self) -> Option<BTreeMap<InstanceId, Timestamp>> {
        let table = read(&self.table);
        let is_over = |route: &Route| matches!(route.target, Target::Over | Target::Failed { .. });
        let living = table.keys.iter().filter_map(|(id, key)| {
            let route = table.routes.get(key)?;
            (!is_over(route)).then(|| (*id, route.uses.last()))
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
        let route = Route::to(cluster, instance, self.routes.get(&instance.key));
        self.routes.insert(instance.key.clone(), route);
        self.keys.insert(id, instance.key.clone());
    }
}
