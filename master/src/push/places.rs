//! How many pushes and fetches are under way: each takes processes, memory, and files of the master.

use clusterrunner_common::ids::{ProjectId, UserId};
use clusterrunner_common::lock::lock;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// How many a user may have under way at a time.
const OF_A_USER: usize = 8;

/// How many all users may have under way at a time.
const IN_ALL: usize = 64;

/// The places. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    of_users: Arc<Mutex<HashMap<UserId, usize>>>,
    pushed: Arc<Mutex<HashSet<ProjectId>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct PushPlace {
    user: UserId,
    of_users: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// The right to push to a project, until it is dropped.
#[derive(Debug)]
pub(super) struct Only {
    project: ProjectId,
    pushed: Arc<Mutex<HashSet<ProjectId>>>,
}

impl Places {
    /// A place for what this user wants, if there is one.
    pub(super) fn place(&self, user: UserId) -> Option<PushPlace> {
        let mut of_users = lock(&self.of_users);
        let in_all: usize = of_users.values().sum();
        let of_user = of_users.get(&user).copied().unwrap_or_default();
        if in_all >= IN_ALL || of_user >= OF_A_USER {
            return None;
        }
        of_users.insert(user, of_user + 1);
        Some(PushPlace {
            user,
            of_users: Arc::clone(&self.of_users),
        })
    }

    /// The right to push to a project; none while somebody has it.
    pub(super) fn only(&self, project: ProjectId) -> Option<Only> {
        let is_free = lock(&self.pushed).insert(project);
        is_free.then(|| Only {
            project,
            pushed: Arc::clone(&self.pushed),
        })
    }

    /// Whether somebody has the right to push to a project.
    pub(super) fn is_pushed_to(&self, project: ProjectId) -> bool {
        lock(&self.pushed).contains(&project)
    }
}

impl Drop for PushPlace {
    fn drop(&mut self) {
        let mut of_users = lock(&self.of_users);
        if let Some(number) = of_users.get_mut(&self.user) {
            *number -= 1;
            if *number == 0 {
                of_users.remove(&self.user);
            }
        }
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        lock(&self.pushed).remove(&self.project);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_user_and_in_all() {
        let places = Places::default();
        let of = |user: u64| -> Vec<PushPlace> {
            std::iter::from_fn(|| places.place(UserId(user))).collect()
        };
        let all: Vec<Vec<PushPlace>> = (1..=9).map(of).collect();
        let numbers: Vec<usize> = all.iter().map(Vec::len).collect();
        assert_eq!(numbers, [8, 8, 8, 8, 8, 8, 8, 8, 0]);
        drop(all);
        assert!(lock(&places.of_users).is_empty());
    }

    #[test]
    fn a_project_is_pushed_to_once_at_a_time() {
        let places = Places::default();
        let only = places.only(ProjectId(1)).unwrap();
        assert!(places.only(ProjectId(1)).is_none());
        assert!(places.is_pushed_to(ProjectId(1)));
        assert!(!places.is_pushed_to(ProjectId(2)));
        let other = places.only(ProjectId(2)).unwrap();
        drop(only);
        assert!(places.only(ProjectId(1)).is_some());
        drop(other);
        assert!(lock(&places.pushed).is_empty());
    }
}
