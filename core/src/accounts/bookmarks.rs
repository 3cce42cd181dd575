//! Bookmarks: builds and projects that users mark. They go with the user, the build or the project.

use crate::Cluster;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How many builds and how many projects a user may mark.
pub const MAX_BOOKMARKS: usize = 10_000;

/// What can be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Markable {
    /// A build.
    Build(BuildId),
    /// A project.
    Project(ProjectId),
}

impl fmt::Display for Markable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(id) => write!(f, "build {id}"),
            Self::Project(id) => write!(f, "project {id}"),
        }
    }
}

/// A mark, or what is left of it: APIs tell what was never marked from what is no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// Whether it is set; else it was taken back.
    pub is_set: bool,
    /// When it was.
    pub at: Timestamp,
}

/// All bookmarks, by user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Bookmarks {
    builds: BTreeMap<UserId, BTreeMap<BuildId, Bookmark>>,
    projects: BTreeMap<UserId, BTreeMap<ProjectId, Bookmark>>,
}

impl Bookmarks {
    pub(crate) fn is_empty(&self) -> bool {
        self.builds.is_empty() && self.projects.is_empty()
    }

    fn get(&self, user: UserId, what: Markable) -> Option<Bookmark> {
        let bookmark = match what {
            Markable::Build(id) => self.builds.get(&user)?.get(&id),
            Markable::Project(id) => self.projects.get(&user)?.get(&id),
        };
        bookmark.copied()
    }

    /// How many things of this kind a user has marked, at any time.
    pub(super) fn number(&self, user: UserId, what: Markable) -> usize {
        match what {
            Markable::Build(_) => self.builds.get(&user).map_or(0, BTreeMap::len),
            Markable::Project(_) => self.projects.get(&user).map_or(0, BTreeMap::len),
        }
    }

    pub(super) fn put(&mut self, user: UserId, what: Markable, bookmark: Bookmark) {
        match what {
            Markable::Build(id) => self.builds.entry(user).or_default().insert(id, bookmark),
            Markable::Project(id) => self.projects.entry(user).or_default().insert(id, bookmark),
        };
    }

    pub(super) fn leave_user_out(&mut self, user: UserId) {
        self.builds.remove(&user);
        self.projects.remove(&user);
    }

    pub(crate) fn leave_build_out(&mut self, build: BuildId) {
        leave_out(&mut self.builds, &build);
    }

    pub(crate) fn leave_project_out(&mut self, project: ProjectId) {
        leave_out(&mut self.projects, &project);
    }
}

fn leave_out<K: Ord>(of: &mut BTreeMap<UserId, BTreeMap<K, Bookmark>>, key: &K) {
    of.retain(|_, marked| {
        marked.remove(key);
        !marked.is_empty()
    });
}

/// What is set, the latest first; of what was marked in the same millisecond, the newest first.
fn set<K: Copy + Ord>(marked: Option<&BTreeMap<K, Bookmark>>) -> Vec<K> {
    let marked = marked.into_iter().flatten();
    let set = marked.filter(|(_, bookmark)| bookmark.is_set);
    let mut set: Vec<(K, Timestamp)> = set.map(|(id, bookmark)| (*id, bookmark.at)).collect();
    set.sort_by_key(|(id, at)| std::cmp::Reverse((*at, *id)));
    set.into_iter().map(|(id, _)| id).collect()
}

impl Cluster {
    /// Whether a user has marked something, or once had.
    #[must_use]
    pub fn bookmark(&self, user: UserId, what: Markable) -> Option<Bookmark> {
        self.bookmarks.get(user, what)
    }

    /// Whether a user has marked something.
    #[must_use]
    pub fn is_bookmarked(&self, user: UserId, what: Markable) -> bool {
        self.bookmark(user, what).is_some_and(|mark| mark.is_set)
    }

    /// The builds that a user has marked, the latest mark first.
    #[must_use]
    pub fn bookmarked_builds(&self, user: UserId) -> Vec<BuildId> {
        set(self.bookmarks.builds.get(&user))
    }

    /// The projects that a user has marked, the latest mark first.
    #[must_use]
    pub fn bookmarked_projects(&self, user: UserId) -> Vec<ProjectId> {
        set(self.bookmarks.projects.get(&user))
    }

    /// A user that is gone has no bookmarks, and works on no project of others any more.
    pub(super) fn leave_user_out(&mut self, user: UserId) {
        self.bookmarks.leave_user_out(user);
        self.projects.leave_out(user);
    }

    /// Whether all that is marked is there, and all who marked it are.
    pub(crate) fn are_bookmarks_right(&self) -> bool {
        let is_user = |user: &UserId| self.accounts().user(*user).is_some();
        let builds = &self.bookmarks.builds;
        let projects = &self.bookmarks.projects;
        let mut marked = builds.values().flat_map(BTreeMap::keys);
        let mut of = projects.values().flat_map(BTreeMap::keys);
        builds.keys().chain(projects.keys()).all(is_user)
            && marked.all(|id| self.project_of(*id).is_some())
            && of.all(|id| self.project(*id).is_some())
    }

    /// Drops bookmarks of what a damaged journal does not have any more.
    pub(crate) fn restore_bookmarks(&mut self) {
        let Bookmarks { builds, projects } = std::mem::take(&mut self.bookmarks);
        for (user, marked) in builds {
            for (id, bookmark) in marked {
                self.restore_bookmark(user, Markable::Build(id), bookmark);
            }
        }
        for (user, marked) in projects {
            for (id, bookmark) in marked {
                self.restore_bookmark(user, Markable::Project(id), bookmark);
            }
        }
    }

    fn restore_bookmark(&mut self, user: UserId, what: Markable, bookmark: Bookmark) {
        if self.accounts().user(user).is_some() && self.is_markable(what) {
            self.bookmarks.put(user, what, bookmark);
        }
    }

    /// Whether it is there.
    pub(super) fn is_markable(&self, what: Markable) -> bool {
        match what {
            Markable::Build(id) => self.project_of(id).is_some(),
            Markable::Project(id) => self.project(id).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BEN: UserId = UserId(2);

    fn mark(number: u64, is_set: bool) -> Bookmark {
        let at = Timestamp(number);
        Bookmark { is_set, at }
    }

    #[test]
    fn what_was_taken_back_is_told_from_what_never_was() {
        let mut bookmarks = Bookmarks::default();
        let (one, two) = (Markable::Build(BuildId(1)), Markable::Build(BuildId(2)));
        bookmarks.put(ANN, one, mark(1, true));
        bookmarks.put(ANN, two, mark(2, true));
        bookmarks.put(ANN, one, mark(3, false));
        assert_eq!(bookmarks.get(ANN, one), Some(mark(3, false)));
        assert_eq!(bookmarks.get(BEN, one), None);
        assert_eq!(bookmarks.number(ANN, one), 2);
        assert_eq!(set(bookmarks.builds.get(&ANN)), [BuildId(2)]);
        bookmarks.put(ANN, one, mark(4, true));
        assert_eq!(set(bookmarks.builds.get(&ANN)), [BuildId(1), BuildId(2)]);
        bookmarks.put(ANN, two, mark(4, true));
        assert_eq!(set(bookmarks.builds.get(&ANN)), [BuildId(2), BuildId(1)]);
    }

    #[test]
    fn bookmarks_go_with_what_they_are_of() {
        let mut bookmarks = Bookmarks::default();
        let (build, project) = (BuildId(1), ProjectId(1));
        for user in [ANN, BEN] {
            bookmarks.put(user, Markable::Build(build), mark(1, true));
            bookmarks.put(user, Markable::Project(project), mark(1, true));
        }
        bookmarks.leave_build_out(build);
        assert!(bookmarks.builds.is_empty());
        bookmarks.leave_user_out(ANN);
        assert_eq!(bookmarks.projects.len(), 1);
        bookmarks.leave_project_out(project);
        assert!(bookmarks.is_empty());
    }
}
