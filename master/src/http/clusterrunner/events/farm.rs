//! What is told of the whole farm: builds, slaves, instances and apps, each as it is when it has changed.

use super::super::lists::shown_now;
use super::super::shapes;
use super::Farm;
use super::frames::{Audience, Frame};
use super::room::{Changes, Cursor, Looked, Scene};
use crate::coordinator::Gone;
use clusterrunner_common::api::launching::{InstanceBody, InstanceView};
use clusterrunner_common::api::{BuildBody, BuildView, SlaveBody, SlaveView};
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::{BuildId, InstanceId, ProjectId, SlaveId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use clusterrunner_core::slaves::slave::Slave;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many of a kind a look takes along.
const AT_ONCE: usize = 64;

/// A reader that comes back and has missed more of a kind is told to read anew.
const MOST_MISSED: usize = 128;

/// How often slaves are told of: those of a busy farm change all the time.
const SLAVES: Duration = Duration::from_secs(1);

/// What has changed on the farm.
#[derive(Debug, Default)]
pub(super) struct FarmChanges {
    builds: BTreeSet<BuildId>,
    deleted: BTreeSet<BuildId>,
    slaves: BTreeSet<SlaveId>,
    instances: BTreeSet<InstanceId>,
    apps: BTreeSet<ProjectId>,
}

impl Changes for FarmChanges {
    fn note(&mut self, event: &Event) {
        self.slaves.extend(event.fact.subject().slave);
        match &event.fact {
            Fact::Build(build, BuildFact::Deleted | BuildFact::Forgotten { .. }) => {
                self.builds.remove(build);
                self.deleted.insert(*build);
            }
            Fact::Build(_, BuildFact::Retired | BuildFact::Cleared) => {}
            Fact::Build(build, fact) => {
                self.builds.insert(*build);
                if let BuildFact::Split { children, .. } = fact {
                    self.builds.extend(children.iter().map(|(child, _)| *child));
                }
            }
            Fact::Instance(instance, _) => {
                self.instances.insert(*instance);
            }
            Fact::App(project, _) => {
                self.apps.insert(*project);
            }
            Fact::Slave(..)
            | Fact::Farm(_)
            | Fact::Account(..)
            | Fact::Project(..)
            | Fact::Template(..)
            | Fact::SlaveKey(_)
            | Fact::SignIn(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.builds.is_empty()
            && self.deleted.is_empty()
            && self.slaves.is_empty()
            && self.instances.is_empty()
            && self.apps.is_empty()
    }
}

impl FarmChanges {
    /// How many there are of the largest kind; slaves, which are small, aside.
    fn most(&self) -> usize {
        let others = self.instances.len().max(self.apps.len());
        self.builds.len().max(others)
    }

    fn extend(&mut self, other: &Self) {
        self.builds.extend(&other.builds);
        self.slaves.extend(&other.slaves);
        self.instances.extend(&other.instances);
        self.apps.extend(&other.apps);
    }

    fn add_parents(&mut self, cluster: &Cluster) {
        let builds = self.builds.iter();
        let parents = builds.filter_map(|id| cluster.build(*id)?.parent());
        let parents: Vec<BuildId> = parents.collect();
        self.builds.extend(parents);
    }

    /// What the next look is about; the rest stays.
    fn take(&mut self, with_slaves: bool) -> Self {
        Self {
            builds: first(&mut self.builds, AT_ONCE),
            deleted: std::mem::take(&mut self.deleted),
            slaves: match with_slaves {
                true => std::mem::take(&mut self.slaves),
                false => BTreeSet::new(),
            },
            instances: first(&mut self.instances, AT_ONCE),
            apps: first(&mut self.apps, AT_ONCE),
        }
    }
}

/// Takes the first ones out of a set.
fn first<T: Ord + Copy>(set: &mut BTreeSet<T>, number: usize) -> BTreeSet<T> {
    let rest = match set.iter().nth(number).copied() {
        Some(next) => set.split_off(&next),
        None => BTreeSet::new(),
    };
    std::mem::replace(set, rest)
}

/// The farm and the readers that follow it.
pub(super) struct WholeFarm {
    farm: Farm,
    slaves_told: Instant,
}

/// What one look takes along.
struct Seen {
    id: u64,
    room: Cursor<FarmChanges>,
    joining: Vec<Cursor<FarmChanges>>,
    /// What the room is told of.
    told: FarmChanges,
    builds: BTreeMap<BuildId, (Audience, Option<BuildView>)>,
    slaves: BTreeMap<SlaveId, SlaveView>,
    instances: BTreeMap<InstanceId, (Audience, InstanceView)>,
    apps: BTreeMap<ProjectId, (Audience, String)>,
}

/// The events of a look.
#[derive(Default)]
struct Frames {
    builds: BTreeMap<BuildId, Frame>,
    slaves: BTreeMap<SlaveId, Frame>,
    instances: BTreeMap<InstanceId, Frame>,
    apps: BTreeMap<ProjectId, Frame>,
}

impl WholeFarm {
    pub(super) fn new(farm: Farm) -> Self {
        Self {
            farm,
            slaves_told: Instant::now(),
        }
    }

    /// Builds that have left memory meanwhile are read from the disk.
    async fn read_archived(&self, seen: &mut Seen) {
        for (id, (_, view)) in &mut seen.builds {
            if view.is_none() {
                let read = self.farm.builds.archived(*id).await;
                *view = read.ok().map(|ended| shapes::ended_build(&ended));
            }
            if let Some(view) = view {
                view.warnings.extend(self.farm.results.damages(*id));
            }
        }
    }
}

impl Frames {
    fn of(seen: &mut Seen) -> Result<Self, serde_json::Error> {
        let mut frames = Self::default();
        for (id, (audience, view)) in std::mem::take(&mut seen.builds) {
            let Some(view) = view else { continue };
            let build = shapes::in_version(view, ApiVersion::V2);
            let frame = Frame::new(audience, "build", &BuildBody { build })?;
            frames.builds.insert(id, frame);
        }
        for (id, slave) in std::mem::take(&mut seen.slaves) {
            let frame = Frame::new(Audience::Everyone, "slave", &SlaveBody { slave })?;
            frames.slaves.insert(id, frame);
        }
        for (id, (audience, instance)) in std::mem::take(&mut seen.instances) {
            let frame = Frame::new(audience, "instance", &InstanceBody { instance })?;
            frames.instances.insert(id, frame);
        }
        for (project, (audience, id)) in std::mem::take(&mut seen.apps) {
            let frame = Frame::new(audience, "app", &json!({ "id": id }))?;
            frames.apps.insert(project, frame);
        }
        Ok(frames)
    }

    /// Those that tell of these changes.
    fn about(&self, changes: &FarmChanges) -> Vec<Frame> {
        let deleted = changes.deleted.iter();
        let deleted = deleted.map(|id| Frame::gone("build_deleted", id.0));
        let builds = changes.builds.iter();
        let builds = builds.filter_map(|id| self.builds.get(id).cloned());
        let slaves = changes.slaves.iter().map(|id| {
            let frame = self.slaves.get(id).cloned();
            frame.unwrap_or_else(|| Frame::gone("slave_gone", id.0))
        });
        let instances = changes.instances.iter();
        let instances = instances.filter_map(|id| self.instances.get(id).cloned());
        let apps = changes.apps.iter();
        let apps = apps.map(|id| {
            let gone = || Frame::gone("app_deleted", id.0).only_for(Audience::Known);
            // Who could see it is not known any more; its number says nothing to others.
            self.apps.get(id).cloned().unwrap_or_else(gone)
        });
        let live = builds.chain(slaves).chain(instances).chain(apps);
        deleted.chain(live).collect()
    }
}

impl Scene for WholeFarm {
    type Changes = FarmChanges;

    fn has_news(&mut self) -> bool {
        false
    }

    fn is_much(changes: &FarmChanges) -> bool {
        changes.most() > AT_ONCE
    }

    async fn look(
        &mut self,
        room: Cursor<FarmChanges>,
        joining: Vec<Cursor<FarmChanges>>,
    ) -> Result<Looked<FarmChanges>, Gone> {
        let with_slaves = !joining.is_empty() || self.slaves_told.elapsed() >= SLAVES;
        let shown = shown_now(&self.farm.running);
        let signs = self.farm.signs.clone();
        let look = move |cluster: &Cluster| {
            let slave = |slave: &Slave| shapes::slave_with_signs(slave, &signs);
            look(cluster, (shown, slave), with_slaves, room, joining)
        };
        let mut seen = self.farm.cluster.read(look).await?;
        if with_slaves {
            self.slaves_told = Instant::now();
        }
        self.read_archived(&mut seen).await;
        let frames = Frames::of(&mut seen).map_err(|error| {
            tracing::error!(%error, "an event could not be written");
            Gone
        })?;
        let told = match seen.room.missed {
            true => vec![Frame::reload()],
            false => frames.about(&seen.told),
        };
        let of_joining = seen.joining.iter();
        let of_joining = of_joining.map(|cursor| match (cursor.known, cursor.missed) {
            (None, _) => vec![Frame::bare("begin")],
            (Some(_), true) => vec![Frame::reload()],
            (Some(_), false) => frames.about(&cursor.changes),
        });
        let of_joining = of_joining.collect();
        let mut room = seen.room;
        room.missed = false;
        Ok(Looked {
            id: seen.id,
            room,
            frames: told,
            of_joining,
            is_over: false,
        })
    }
}

/// Takes along what has changed.
fn look(
    cluster: &Cluster,
    (shown, slave): (
        impl Fn(&Cluster, &Build) -> BuildView,
        impl Fn(&Slave) -> SlaveView,
    ),
    with_slaves: bool,
    mut room: Cursor<FarmChanges>,
    mut joining: Vec<Cursor<FarmChanges>>,
) -> Seen {
    room.catch_up();
    if room.missed {
        room.changes = FarmChanges::default();
    }
    // How far a build is shows on its parent, too.
    room.changes.add_parents(cluster);
    let told = room.changes.take(with_slaves);
    let mut wanted = FarmChanges::default();
    wanted.extend(&told);
    for cursor in &mut joining {
        cursor.catch_up();
        cursor.changes.add_parents(cluster);
        let fits = cursor.changes.most() <= MOST_MISSED && wanted.most() <= MOST_MISSED;
        cursor.missed |= !fits;
        if !cursor.missed {
            wanted.extend(&cursor.changes);
        }
    }
    let builds = wanted.builds.iter().filter_map(|id| {
        let is_there = !cluster.is_deleted(*id) && !cluster.is_forgotten(*id);
        let view = cluster.build(*id);
        let view = view.map(|build| shown(cluster, build));
        let audience = Audience::of_project(cluster.project_of(*id));
        is_there.then_some((*id, (audience, view)))
    });
    let slaves = cluster.slaves();
    let slaves = slaves.filter(|slave| wanted.slaves.contains(&slave.id));
    let instances = wanted.instances.iter().filter_map(|id| {
        let instance = cluster.instance(*id)?;
        let audience = Audience::Instance(Arc::new(instance.clone()));
        Some((*id, (audience, shapes::instance(instance))))
    });
    let apps = wanted.apps.iter().filter_map(|id| {
        let (app, project) = (cluster.app(*id)?, cluster.project(*id)?);
        let audience = Audience::App(Arc::new(project.clone()));
        Some((*id, (audience, app.id.clone())))
    });
    Seen {
        id: cluster.lineage().position(),
        builds: builds.collect(),
        slaves: slaves.map(|known| (known.id, slave(known))).collect(),
        instances: instances.collect(),
        apps: apps.collect(),
        told,
        room,
        joining,
    }
}
