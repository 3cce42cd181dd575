//! Apps: which of its instances a request of an app goes to.

use super::route::{Route, Target};
use clusterrunner_common::ids::{InstanceId, ProjectId};
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::app::{App, CMD, WEB};
use clusterrunner_core::instances::instance::Instance;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long an instance that is retired may go on with what it was asked before.
const DRAINS: Duration = Duration::from_secs(30);

/// All apps, by the names that lead to them.
#[derive(Debug, Default)]
pub(super) struct Apps {
    by_id: HashMap<String, ProjectId>,
    by_domain: HashMap<String, ProjectId>,
    all: HashMap<ProjectId, AppRoutes>,
}

/// The instances of an app.
#[derive(Debug)]
struct AppRoutes {
    id: String,
    domains: Vec<String>,
    /// The routes to all instances, also those that get no new requests.
    all: BTreeMap<InstanceId, Arc<Route>>,
    /// The routes to those that get requests.
    up: Vec<Arc<Route>>,
    absence: Absence,
    /// Whose turn it is.
    turn: AtomicUsize,
}

/// Why no instance of an app gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Some are on their way.
    Starting,
    /// None can be started.
    Failed,
    /// None is wanted.
    Nothing,
}

impl Apps {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn of_id(&self, id: &str) -> Option<ProjectId> {
        self.by_id.get(id).copied()
    }

    pub(super) fn of_domain(&self, domain: &str) -> Option<ProjectId> {
        self.by_domain.get(domain).copied()
    }

    /// Takes the app of a project as it is now, if there is one.
    pub(super) fn put(&mut self, project: ProjectId, cluster: &Cluster) {
        let before = self.all.remove(&project);
        if let Some(before) = &before {
            self.by_id.remove(&before.id);
            for domain in &before.domains {
                self.by_domain.remove(domain);
            }
        }
        let Some(app) = cluster.app(project) else {
            return;
        };
        let app = AppRoutes::new(app, cluster, before.as_ref());
        self.by_id.insert(app.id.clone(), project);
        let domains = app.domains.iter();
        let domains = domains.map(|domain| (domain.clone(), project));
        self.by_domain.extend(domains);
        self.all.insert(project, app);
    }

    /// The instance of an app whose turn it is, without those that were tried.
    pub(super) fn next(
        &self,
        project: ProjectId,
        tried: &[InstanceId],
    ) -> Result<&Arc<Route>, Absence> {
        let app = self.all.get(&project).ok_or(Absence::Nothing)?;
        app.next(tried).ok_or(app.absence)
    }

    /// The routes to all instances.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.values().flat_map(|app| app.all.values())
    }

    /// The retired instances that have answered all that they were asked, or had the time for it.
    pub(super) fn drained(&self) -> Vec<InstanceId> {
        let instances = self.all.values().flat_map(|app| &app.all);
        let drained = instances.filter(|(_, route)| {
            let is_over = |since: Instant| !route.uses.are_under_way() || since.elapsed() > DRAINS;
            route.retired.is_some_and(is_over)
        });
        drained.map(|(id, _)| *id).collect()
    }
}

impl AppRoutes {
    fn new(app: &App, cluster: &Cluster, before: Option<&Self>) -> Self {
        let instances: Vec<&Instance> = cluster.app_instances(app.project).collect();
        let all: BTreeMap<InstanceId, Arc<Route>> = instances
            .iter()
            .map(|instance| {
                let before = before.and_then(|before| before.all.get(&instance.id));
                (instance.id, Route::to(cluster, instance, before))
            })
            .collect();
        let takes_new: Vec<&Instance> = instances.into_iter().filter(|one| !one.retired).collect();
        let of = |process: &str| -> Vec<&Arc<Route>> {
            let of_process = takes_new
                .iter()
                .filter(|one| one.purpose.process() == Some(process));
            of_process.filter_map(|one| all.get(&one.id)).collect()
        };
        let web = of(WEB);
        let routes = if web.is_empty() { of(CMD) } else { web };
        let is_starting = |route: &&Arc<Route>| matches!(route.target, Target::Starting { .. });
        let absence = match routes.iter().any(is_starting) {
            true => Absence::Starting,
            false if routes.is_empty() => Absence::Nothing,
            false => Absence::Failed,
        };
        let is_up = |route: &&Arc<Route>| matches!(route.target, Target::Up { .. });
        Self {
            id: app.id.clone(),
            domains: app.domains.keys().cloned().collect(),
            up: routes.into_iter().filter(is_up).map(Arc::clone).collect(),
            absence,
            turn: before.map_or_else(AtomicUsize::default, |before| {
                before.turn.load(Ordering::Relaxed).into()
            }),
            all,
        }
    }

    fn next(&self, tried: &[InstanceId]) -> Option<&Arc<Route>> {
        let number = self.up.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..number).filter_map(|at| self.up.get(first.wrapping_add(at) % number));
        let mut untried = in_turn.filter(|route| !tried.contains(&route.instance));
        // One that has just refused a connection is asked when all others have refused one, too.
        let sound = untried.clone().find(|route| !route.refuses());
        sound.or_else(|| untried.next())
    }
}
