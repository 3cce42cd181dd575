//! Builds of a matrix: a build whose job has one is split, once its job is read, into a build for each combination.
//!
//! The build that was submitted is their parent. It runs nothing: how far its children are is noted on it with each fact
//! about one of them, so that whoever looks at it need not look at them, and so that it knows how they ended when they
//! are long archived. When all of them are over, its own end follows.

mod check;
mod splitting;
mod stopping;

use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::builds::children::{Child, ChildState, Counts};
use crate::event::BuildFact;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::matrix::folders;
use clusterrunner_common::work::ProjectSource;

/// How many characters of why a child could not be run its parent keeps.
const MAX_REASON: usize = 500;

impl Counts {
    fn of(build: &Build) -> Self {
        Self {
            num_subjobs: build.subjobs.len() as u64,
            num_finished: build.num_finished as u64,
            num_atoms: build.num_atoms,
            atoms_completed: build.atoms_completed,
            atoms_failed: build.atoms_failed,
            atoms_in_trouble: build.atoms_in_trouble,
            atoms_flaky: build.atoms_flaky,
        }
    }

    fn sum(children: &[Child]) -> Self {
        let all = children.iter().map(|child| child.counts);
        all.fold(Self::default(), |sum, one| Self {
            num_subjobs: sum.num_subjobs + one.num_subjobs,
            num_finished: sum.num_finished + one.num_finished,
            num_atoms: sum.num_atoms + one.num_atoms,
            atoms_completed: sum.atoms_completed + one.atoms_completed,
            atoms_failed: sum.atoms_failed + one.atoms_failed,
            atoms_in_trouble: sum.atoms_in_trouble + one.atoms_in_trouble,
            atoms_flaky: sum.atoms_flaky + one.atoms_flaky,
        })
    }
}

impl ChildState {
    fn of(build: &Build) -> Self {
        match &build.state {
            BuildState::Queued
            | BuildState::Preparing
            | BuildState::Prepared
            | BuildState::Split => Self::Waiting,
            BuildState::Building(_) | BuildState::Archiving => Self::Building,
            BuildState::Finished => Self::Finished {
                lacks_atoms: build.lacks_atoms(),
            },
            BuildState::Error { reason } => Self::Error {
                reason: reason.chars().take(MAX_REASON).collect(),
            },
            BuildState::Canceled => Self::Canceled,
        }
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Finished { .. } | Self::Error { .. } | Self::Canceled => true,
            Self::Waiting | Self::Building => false,
        }
    }
}

impl Cluster {
    /// Whether a build of a matrix waits for an earlier one of it: in a directory that all of them share each would find what
    /// the set-ups of the others left.
    pub(crate) fn waits_for_sibling(&self, id: BuildId) -> bool {
        let Some(build) = self.builds.get(&id) else {
            return false;
        };
        let shares_directory = matches!(build.request.project, ProjectSource::Directory { .. });
        let parent = build.parent().filter(|_| shares_directory);
        let Some(parent) = parent.and_then(|parent| self.builds.get(&parent)) else {
            return false;
        };
        let mut earlier = parent.children.iter().filter(|child| child.id < id);
        earlier.any(|child| !child.state.is_over())
    }
}

impl Build {
    /// The build whose matrix it is of.
    #[must_use]
    pub fn parent(&self) -> Option<BuildId> {
        self.request.part.as_ref()?.parent
    }

    /// Whether it was split into builds of a matrix.
    #[must_use]
    pub fn is_parent(&self) -> bool {
        !self.children.is_empty()
    }

    /// How many subjobs it has; of a parent those of its children.
    #[must_use]
    pub fn num_subjobs(&self) -> u64 {
        match self.is_parent() {
            true => Counts::sum(&self.children).num_subjobs,
            false => self.subjobs.len() as u64,
        }
    }

    /// The children that failed, could not be run, or were canceled, and whether all atoms of each have run.
    #[must_use]
    pub fn children_that_did_not_pass(&self) -> Vec<(&Child, bool)> {
        let did_not_pass = |child: &&Child| match child.state {
            ChildState::Waiting | ChildState::Building => false,
            ChildState::Finished { lacks_atoms } => lacks_atoms || child.counts.atoms_failed > 0,
            ChildState::Error { .. } | ChildState::Canceled => true,
        };
        let children = self.children.iter().filter(did_not_pass);
        let has_run = |child: &Child| child.counts.atoms_completed == child.counts.num_atoms;
        let is_whole =
            |child: &Child| matches!(child.state, ChildState::Finished { .. }) && has_run(child);
        children.map(|child| (child, is_whole(child))).collect()
    }

    /// The children, each with its variables in one line.
    #[must_use]
    pub fn names_of_children(&self) -> Vec<(BuildId, String)> {
        let children = self.children.iter();
        let named = children.map(|child| (child.id, child.combination.to_string()));
        named.collect()
    }

    /// The children, and the name of the folder that each has in an archive of all.
    #[must_use]
    pub fn folders(&self) -> Vec<(BuildId, String)> {
        let children = || self.children.iter();
        let names = folders(children().map(|child| (child.id, &child.combination)));
        children().map(|child| child.id).zip(names).collect()
    }

    /// Whether it may end without some of its results: so many atoms failed of it, or of all of the matrix that it is of.
    /// Its parent says the latter, as long as that is there.
    pub(crate) fn may_be_cut_short(&self, parent: Option<&Build>) -> bool {
        let may_be_by_parent = self.parent().is_some() && self.atoms_failed > 0;
        self.has_failed_enough()
            || (may_be_by_parent && parent.is_none_or(Build::has_failed_enough))
    }

    /// How many of its children could not be run.
    #[must_use]
    pub fn num_children_in_error(&self) -> u64 {
        let children = self.children.iter();
        let in_error = children.filter(|child| matches!(child.state, ChildState::Error { .. }));
        in_error.count() as u64
    }

    fn all_children_are_over(&self) -> bool {
        self.children.iter().all(|child| child.state.is_over())
    }

    /// How a parent ends whose children are all over: what could not be run comes before what failed, that before what
    /// was canceled. Only where all have run and passed it passes.
    fn verdict(&self) -> BuildFact {
        let errors = self.children.iter().filter_map(|child| match &child.state {
            ChildState::Error { reason } => Some((child, reason)),
            _ => None,
        });
        let mut errors = errors.peekable();
        if let Some((child, reason)) = errors.peek() {
            let first = format!("Build {} ({}): {reason}", child.id, child.combination);
            let reason = format!(
                "{} of {} builds of the matrix could not be run. {first}",
                errors.count(),
                self.children.len()
            );
            return BuildFact::Failed { reason };
        }
        let mut canceled = self.children.iter();
        match canceled.any(|child| child.state == ChildState::Canceled) {
            true if self.atoms_failed == 0 => BuildFact::Canceled,
            _ => BuildFact::Finished,
        }
    }

    /// Takes in how far a child is.
    fn take_child(&mut self, id: BuildId, state: ChildState, counts: Counts) {
        let Some(child) = self.children.iter_mut().find(|child| child.id == id) else {
            return;
        };
        let before = std::mem::replace(&mut child.counts, counts);
        child.state = state;
        // The difference alone: there may be many children, and this follows each result.
        let count = |own: u64, before: u64, now: u64| own.saturating_sub(before) + now;
        let finished = self.num_finished as u64;
        let finished = count(finished, before.num_finished, counts.num_finished);
        self.num_finished = usize::try_from(finished).unwrap_or(usize::MAX);
        self.num_atoms = count(self.num_atoms, before.num_atoms, counts.num_atoms);
        self.atoms_completed = count(
            self.atoms_completed,
            before.atoms_completed,
            counts.atoms_completed,
        );
        self.atoms_failed = count(self.atoms_failed, before.atoms_failed, counts.atoms_failed);
        self.atoms_in_trouble = count(
            self.atoms_in_trouble,
            before.atoms_in_trouble,
            counts.atoms_in_trouble,
        );
        self.atoms_flaky = count(self.atoms_flaky, before.atoms_flaky, counts.atoms_flaky);
    }

    /// Its children have all ids from the first to the second one.
    pub(crate) fn first_and_last_child(&self) -> Option<(BuildId, BuildId)> {
        Some((self.children.first()?.id, self.children.last()?.id))
    }

    fn child(&self, id: BuildId) -> Option<&Child> {
        self.children.iter().find(|child| child.id == id)
    }

    /// Whether its counts are those of its children.
    pub(crate) fn counts_its_children(&self) -> bool {
        let own = Counts {
            num_subjobs: self.num_subjobs(),
            ..Counts::of(self)
        };
        own == Counts::sum(&self.children)
    }
}
