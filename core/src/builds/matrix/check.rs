//! What must hold of builds of a matrix in every state.

use super::{ChildState, Counts};
use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::check::{Inconsistency, must};

impl Cluster {
    /// A parent is over just when all its children are, counts what they count, and has each combination once.
    pub(crate) fn check_parent(&self, parent: &Build) -> Result<(), Inconsistency> {
        let id = parent.id;
        let children = &parent.children;
        // It may be ripe between two facts, but not at rest.
        let is_over = parent.all_children_are_over();
        must(!parent.is_over() || is_over, || {
            format!("build {id} is over before its children")
        })?;
        must(
            parent.is_over() || parent.state == BuildState::Split,
            || format!("build {id} has children and was not split"),
        )?;
        must(!children.is_empty() && parent.subjobs.is_empty(), || {
            format!("build {id} was split into nothing, or runs something itself")
        })?;
        must(parent.counts_its_children(), || {
            format!("build {id} counts its children wrongly")
        })?;
        for (index, child) in children.iter().enumerate() {
            let before = children.iter().take(index);
            let mut before = before.map(|other| &other.combination);
            must(
                !before.any(|other| other.is_same(&child.combination)),
                || format!("build {id} has the combination {} twice", child.combination),
            )?;
            let follows = child.id.0 == children[0].id.0 + index as u64;
            must(follows, || {
                format!("build {id}: child {} is out of order", child.id)
            })?;
            let Some(known) = self.build(child.id) else {
                must(self.was_put_away(child.id) && child.state.is_over(), || {
                    format!("build {id}: child {} is lost", child.id)
                })?;
                continue;
            };
            let part = known.request.part.as_ref();
            let is_its = part.is_some_and(|part| {
                part.parent == Some(id) && part.combination == child.combination
            });
            let is_known =
                child.state == ChildState::of(known) && child.counts == Counts::of(known);
            must(is_its && is_known, || {
                format!("build {id} knows its child {} wrongly", child.id)
            })?;
        }
        Ok(())
    }

    /// The parent of a build, if it is there, knows the build.
    pub(crate) fn check_child(&self, build: &Build) -> Result<(), Inconsistency> {
        let parent = build.parent().and_then(|id| self.build(id));
        let is_known = parent.is_none_or(|parent| parent.child(build.id).is_some());
        must(is_known, || {
            format!("build {} is no child of its parent", build.id)
        })
    }
}
