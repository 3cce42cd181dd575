//! How a build is split, how far its children are, and its end.

use super::{Child, ChildState, Counts, stopping};
use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::builds::plan::Plan;
use crate::event::{BuildFact, Fact};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::matrix::{Chosen, Combination, Part, chosen};
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use std::collections::BTreeSet;

/// How many archived builds before one are looked at for its parent.
const PARENTS_LOOKED_AT: usize = 1000;

/// What a child is asked to do: what its parent is, at the commit that was found, in its combination.
fn request_of_child(
    base: &BuildRequest,
    parent: BuildId,
    combination: &Combination,
    atoms: Option<&[String]>,
) -> BuildRequest {
    let mut request = base.clone();
    if let Some(atoms) = atoms {
        request.atoms_override = Some(atoms.to_vec());
    }
    request.part = Some(Part {
        parent: Some(parent),
        combination: combination.clone(),
    });
    request
}

/// What all children are asked to do: the parent's request at the commit that was found, without what was chosen for each.
fn request_of_all(parent: &BuildRequest, commit: Option<&str>) -> BuildRequest {
    let mut request = BuildRequest {
        matrix: Vec::new(),
        ..parent.clone()
    };
    match (&mut request.project, commit) {
        (ProjectSource::Git { hash, .. }, Some(commit)) => {
            request.is_commit_found |= hash.is_none();
            *hash = Some(commit.to_owned());
        }
        (ProjectSource::Git { .. }, None)
        | (ProjectSource::Directory { .. } | ProjectSource::Own { .. }, _) => {}
    }
    request
}

impl Cluster {
    /// A build is split into those of its matrix: in one fact, so that no child is missing or there twice whenever the
    /// master dies. An error of the build where what was chosen of the matrix is not there.
    pub(crate) fn split(&self, build: &Build, mut plan: Box<Plan>) -> BuildFact {
        let all = std::mem::take(&mut plan.matrix);
        let built = match chosen(&all, &build.request.matrix) {
            Ok(built) => built,
            Err(odd) => return not_there(&plan.job_name, &all, build.request.matrix.get(odd)),
        };
        let first = self.next_build_id().0;
        let children = (first..).map(BuildId).zip(built);
        let children = children.map(|(id, (combination, _))| (id, combination.clone()));
        BuildFact::Split {
            children: children.collect(),
            plan,
        }
    }

    pub(crate) fn take_split(
        &mut self,
        id: BuildId,
        plan: &Plan,
        children: &[(BuildId, Combination)],
        at: Timestamp,
    ) {
        self.stop_preparing(id);
        let parent = self.build_mut(id);
        parent.state = BuildState::Split;
        parent.timestamps.prepared = Some(at);
        parent.timestamps.building = Some(at);
        parent.plan = Some(plan.clone());
        let child = |(id, combination): &(BuildId, Combination)| Child {
            id: *id,
            combination: combination.clone(),
            state: ChildState::default(),
            counts: Counts::default(),
        };
        parent.children = children.iter().map(child).collect();
        let parent = parent.clone();
        let base = request_of_all(&parent.request, plan.commit.as_deref());
        for (child, combination) in children {
            let mut choices = parent.request.matrix.iter();
            let choice = choices.find(|choice| choice.fits(combination));
            let atoms = choice.and_then(|choice| choice.atoms.as_deref());
            let request = request_of_child(&base, id, combination, atoms);
            let (project, owner) = (parent.project, parent.owner);
            self.begin_build(Build {
                started_by: parent.started_by,
                ..Build::new(*child, project, owner, request, at)
            });
        }
    }

    /// Notes on the parent of a build, if it has one, how far the build is.
    pub(crate) fn note_on_parent(&mut self, id: BuildId) {
        let Some(build) = self.builds.get(&id) else {
            return;
        };
        let Some(parent) = build.parent() else {
            return;
        };
        let (state, counts) = (ChildState::of(build), Counts::of(build));
        let known = self.builds.get(&parent).and_then(|build| build.child(id));
        if known.is_none_or(|known| known.state == state && known.counts == counts) {
            return;
        }
        self.build_mut(parent).take_child(id, state, counts);
        self.settle_parent(parent);
    }

    /// Keeps the lists of parents that are to end, or whose children are.
    pub(crate) fn settle_parent(&mut self, id: BuildId) {
        let parent = self.builds.get(&id);
        match parent.is_some_and(|build| is_to_end(build)) {
            true => self.ripe.insert(id),
            false => self.ripe.remove(&id),
        };
        match parent.is_some_and(|build| stopping::is_to_stop(build)) {
            true => self.failed_enough.insert(id),
            false => self.failed_enough.remove(&id),
        };
    }

    /// The end of a parent whose children are all over.
    pub(crate) fn next_end_of_matrix(&self) -> Option<Fact> {
        let id = *self.ripe.first()?;
        let parent = self.builds.get(&id)?;
        Some(Fact::Build(id, parent.verdict()))
    }

    /// Cancels what is not over of a parent and its children. The parent comes last: so it is never over before them.
    pub(crate) fn canceled_with_children(&self, parent: &Build) -> Vec<Fact> {
        let mut facts = self.canceled_children(parent);
        if !parent.is_over() {
            facts.push(Fact::Build(parent.id, BuildFact::Canceled));
        }
        facts
    }

    /// Cancels the children of a build that are not over.
    pub(crate) fn canceled_children(&self, parent: &Build) -> Vec<Fact> {
        let children = parent.children.iter().map(|child| child.id);
        let is_open = |id: &BuildId| self.builds.get(id).is_some_and(|build| !build.is_over());
        let open = children.filter(is_open);
        open.map(|id| Fact::Build(id, BuildFact::Canceled))
            .collect()
    }

    /// The children of a build that are kept, whatever became of the build.
    pub(crate) fn kept_children(&self, id: BuildId) -> Vec<BuildId> {
        let live = self.builds.get(&id);
        let live = live.and_then(|parent| parent.first_and_last_child());
        let archived = self.ended.get(&id).and_then(|ended| ended.children);
        let Some((first, last)) = live.or(archived) else {
            return Vec::new();
        };
        let ids = (first.0..=last.0).map(BuildId);
        let is_kept = |id: &BuildId| self.builds.contains_key(id) || self.is_ended(*id);
        ids.filter(|id| is_kept(id) && !self.is_deleted(*id))
            .collect()
    }

    /// The build whose matrix a build is of, as long as it is shown; else the build itself.
    #[must_use]
    pub fn whole_of(&self, id: BuildId) -> BuildId {
        let live = self.builds.get(&id).and_then(|build| build.parent());
        // Few other builds come between a parent and its children.
        let archived = || {
            let before = self.ended.range(..id).rev().take(PARENTS_LOOKED_AT);
            let mut parents = before.filter(|(_, ended)| {
                let children = ended.children;
                children.is_some_and(|(first, last)| (first..=last).contains(&id))
            });
            parents.next().map(|(parent, _)| *parent)
        };
        let parent = live.or_else(archived);
        let is_shown = |parent: &BuildId| {
            let is_kept = self.builds.contains_key(parent) || self.is_ended(*parent);
            is_kept && !self.is_deleted(*parent)
        };
        parent.filter(is_shown).unwrap_or(id)
    }

    pub(crate) fn derived_ripe(&self) -> BTreeSet<BuildId> {
        let builds = self.builds.values().filter(|build| is_to_end(build));
        builds.map(|build| build.id).collect()
    }

    /// Children that a damaged journal has lost end, since their parents wait for them.
    pub(crate) fn lose_children(&mut self) {
        let parents = self
            .builds
            .values()
            .filter(|b| b.state == BuildState::Split);
        let parents: Vec<BuildId> = parents.map(|build| build.id).collect();
        for parent in parents {
            let children = self.build_mut(parent).children.clone();
            for child in children {
                match self.builds.get(&child.id) {
                    Some(_) => self.note_on_parent(child.id),
                    None if child.state.is_over() => {}
                    None => {
                        let reason = "it was lost with a part of the journal".to_owned();
                        let state = ChildState::Error { reason };
                        self.build_mut(parent)
                            .take_child(child.id, state, child.counts);
                    }
                }
            }
            self.settle_parent(parent);
        }
    }
}

fn is_to_end(build: &Build) -> bool {
    build.state == BuildState::Split && build.all_children_are_over()
}

fn not_there(job: &str, all: &[Combination], odd: Option<&Chosen>) -> BuildFact {
    const SHOWN: usize = 20;
    let odd = odd.map(|odd| odd.variables.to_string()).unwrap_or_default();
    let shown: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let reason = match all.is_empty() {
        true => format!("The job \"{job}\" has no matrix, of which to build {odd}."),
        false => format!(
            "The matrix of the job \"{job}\" has no combination that fits {odd}. It has: {}{more}.",
            shown.join(", ")
        ),
    };
    BuildFact::Failed { reason }
}
