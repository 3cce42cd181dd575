//! Which instances of apps follow from what is wanted: the newest release in the numbers of the structure. It looks at the
//! state alone, so an order that is lost, late or repeated does no harm.

use super::app::App;
use crate::Cluster;
use crate::event::Fact;
use crate::instances::facts::InstanceFact;
use crate::instances::instance::{Instance, InstanceState, Purpose, Runs};
use clusterrunner_common::ids::{InstanceId, ProjectId};
use std::collections::BTreeMap;

/// A process type and a number: a place that one instance has at a time, and a second one while a release takes the place
/// of another.
type ProcessPlace<'a> = (&'a str, u32);

impl Cluster {
    /// Costs builds nothing: only what happens to an app or its instances makes it due.
    pub(crate) fn next_of_apps(&mut self) -> Option<Fact> {
        while let Some(project) = self.dirty.apps.first().copied() {
            let next = self.app(project).and_then(|app| self.next_of_app(app));
            if next.is_some() {
                return next;
            }
            self.dirty.apps.remove(&project);
        }
        None
    }

    fn next_of_app(&self, app: &App) -> Option<Fact> {
        let mut places: BTreeMap<ProcessPlace<'_>, Vec<&Instance>> = BTreeMap::new();
        for instance in self.app_instances(app.project) {
            if let Purpose::App { process, num, .. } = &instance.purpose {
                places.entry((process, *num)).or_default().push(instance);
            }
        }
        let of_places = || places.iter();
        let next = of_places().find_map(|(place, those)| self.next_of_place(app, *place, those));
        let (id, fact) = next.or_else(|| {
            let mut wanted = app.structure.keys().flat_map(|process| {
                let number = app.num_wanted(process);
                (1..=number).map(move |num| (process.as_str(), num))
            });
            let (process, num) = wanted.find(|place| {
                let there = places.get(place);
                there.is_none_or(|there| current(app, there).is_none())
            })?;
            let launch = Box::new(self.app_launch(app, process, num));
            Some((self.instances.next_id(), InstanceFact::Launched(launch)))
        })?;
        Some(Fact::Instance(id, fact))
    }

    /// What is to happen to those that have a place.
    fn next_of_place(
        &self,
        app: &App,
        (process, num): ProcessPlace<'_>,
        those: &[&Instance],
    ) -> Option<(InstanceId, InstanceFact)> {
        let is_wanted = num <= app.num_wanted(process);
        let current = current(app, those).filter(|_| is_wanted);
        // What is dropped does not come up any more, so nothing waits for it.
        let waits_for_successor = is_wanted && !app.drops(process);
        let stays = |instance: &Instance| {
            current.is_some_and(|current| current.id == instance.id)
                || (waits_for_successor && has_worked(instance) && !is_replaced(instance, those))
        };
        let ended = those.iter().filter(|instance| !stays(instance));
        let mut ended = ended.filter_map(|instance| Some((instance.id, end_of(instance)?)));
        ended.next().or_else(|| {
            let current = current?;
            let waits = current.state == InstanceState::Initialized;
            let has_nothing = matches!(current.runs(), Runs::Nothing(_));
            let reason = self.unstartable(current).filter(|_| waits && has_nothing)?;
            Some((current.id, InstanceFact::Failed { reason }))
        })
    }
}

/// The one of the newest release.
fn current<'a>(app: &App, those: &[&'a Instance]) -> Option<&'a Instance> {
    let newest = app.newest().version;
    let is_it =
        |instance: &&&Instance| !instance.retired && instance.purpose.release() == Some(newest);
    those.iter().find(is_it).copied()
}

/// Whether it was ever up, and still may be.
fn has_worked(instance: &Instance) -> bool {
    instance.answered.is_some() && !instance.is_over() && !instance.retired
}

/// Whether one of a later release answers in its place: a release that does not come up takes none down that did.
fn is_replaced(instance: &Instance, those: &[&Instance]) -> bool {
    let answers = |other: &Instance| other.state == InstanceState::Up && !other.retired;
    let is_later = |other: &Instance| other.purpose.release() > instance.purpose.release();
    those.iter().any(|other| is_later(other) && answers(other))
}

/// How one ends whose place is taken, or not wanted any more. What answers may have requests under way: it gets no new
/// ones, and is stopped when these are answered. None where that is under way.
fn end_of(instance: &Instance) -> Option<InstanceFact> {
    match (instance.state, instance.retired) {
        (InstanceState::Up, true) => None,
        (InstanceState::Up, false) => Some(InstanceFact::Retired),
        _ => Some(InstanceFact::Stopped),
    }
}

impl Cluster {
    /// An app is looked at again because of what happened to it or to one of its instances.
    pub(crate) fn attend_to_app(&mut self, project: Option<ProjectId>) {
        self.dirty.apps.extend(project);
    }

    pub(crate) fn attend_to_apps(&mut self) {
        self.dirty.apps.extend(self.apps.projects());
    }
}
