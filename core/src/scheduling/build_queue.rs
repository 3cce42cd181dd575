//! The build queue: the order in which builds get executors.

use clusterrunner_common::ids::BuildId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The builds that could use another executor, in the order in which they get one.
///
/// A priority without an executor goes first, then the higher priority. Of one priority the build with the fewest
/// executors for its weight goes first; equal ones take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BuildQueue {
    classes: BTreeMap<Reverse<i32>, Class>,
    /// The sum of the weights of all builds that slaves may work on.
    pub(crate) weight: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Class {
    /// How many executors work on builds of this priority.
    executors: usize,
    /// Builds that no slave is ready for, and builds that some slave is ready for: only these can be handed out now.
    unready: BTreeSet<(Share, BuildId)>,
    ready: BTreeSet<(Share, BuildId)>,
}

impl Class {
    fn is_empty(&self) -> bool {
        self.unready.is_empty() && self.ready.is_empty()
    }

    /// All queued builds of this priority, in order.
    fn waiting(&self) -> impl Iterator<Item = BuildId> {
        let (mut unready, mut ready) =
            (self.unready.iter().peekable(), self.ready.iter().peekable());
        let next = move || match (unready.peek(), ready.peek()) {
            (Some(one), Some(other)) if one < other => unready.next(),
            (Some(_), None) => unready.next(),
            (_, Some(_)) => ready.next(),
            (None, None) => None,
        };
        std::iter::from_fn(next).map(|(_, build)| *build)
    }

    fn those(&mut self, is_ready: bool) -> &mut BTreeSet<(Share, BuildId)> {
        if is_ready {
            &mut self.ready
        } else {
            &mut self.unready
        }
    }
}

/// What a build has of the executors, relative to its weight, and how long it waits for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share {
    executors: u64,
    turn: u64,
}

impl Share {
    /// The share of a build that so many executors work on; `turn` is the [`Build::turn`] of that build.
    ///
    /// [`Build::turn`]: crate::builds::build::Build::turn
    pub(crate) fn of(executors: usize, weight: u32, turn: u64) -> Self {
        Self {
            executors: ((executors as u64) << 32) / u64::from(weight.max(1)),
            turn,
        }
    }
}

impl BuildQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.classes.values().all(Class::is_empty)
    }

    /// The place of a queued build: the smallest is the first of [`BuildQueue::iter`].
    pub(crate) fn place(&self, priority: i32, share: Share, build: BuildId) -> impl Ord + use<> {
        let class = self.classes.get(&Reverse(priority));
        let is_served = class.is_some_and(|class| class.executors > 0);
        (is_served, Reverse(priority), share, build)
    }

    /// All queued builds; the first gets the next executor.
    pub(crate) fn iter(&self) -> impl Iterator<Item = BuildId> {
        self.in_order().flat_map(Class::waiting)
    }

    /// The queued builds that some slave is ready for, in order.
    pub(crate) fn ready(&self) -> impl Iterator<Item = BuildId> {
        let ready = self.in_order().flat_map(|class| &class.ready);
        ready.map(|(_, build)| *build)
    }

    fn in_order(&self) -> impl Iterator<Item = &Class> {
        let unserved = self.classes.values().filter(|class| class.executors == 0);
        let served = self.classes.values().filter(|class| class.executors > 0);
        unserved.chain(served)
    }

    /// Changes how many executors work on a build of a priority, from `before` to `after`.
    pub(crate) fn serve(&mut self, priority: i32, before: usize, after: usize) {
        let class = self.classes.entry(Reverse(priority)).or_default();
        class.executors = class.executors + after - before;
        self.forget_if_unused(priority);
    }

    /// Adds a build; `is_ready` says whether some slave is ready for it.
    pub(crate) fn join(&mut self, priority: i32, share: Share, build: BuildId, is_ready: bool) {
        let class = self.classes.entry(Reverse(priority)).or_default();
        class.those(is_ready).insert((share, build));
    }

    /// Moves a queued build from one share to another.
    pub(crate) fn move_to(
        &mut self,
        priority: i32,
        (from, to): (Share, Share),
        build: BuildId,
        is_ready: bool,
    ) {
        if let Some(class) = self.classes.get_mut(&Reverse(priority)) {
            let builds = class.those(is_ready);
            builds.remove(&(from, build));
            builds.insert((to, build));
        }
    }

    /// Removes a build that was added with the same arguments.
    pub(crate) fn leave(&mut self, priority: i32, share: Share, build: BuildId, is_ready: bool) {
        if let Some(class) = self.classes.get_mut(&Reverse(priority)) {
            class.those(is_ready).remove(&(share, build));
        }
        self.forget_if_unused(priority);
    }

    fn forget_if_unused(&mut self, priority: i32) {
        let class = self.classes.get(&Reverse(priority));
        if class.is_some_and(|class| class.executors == 0 && class.is_empty()) {
            self.classes.remove(&Reverse(priority));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_shares_the_one_that_waits_longest_goes_first() {
        let mut line = BuildQueue::default();
        for (executors, weight, turn, build) in [
            (1, 1, 10, 1),
            (1, 2, 40, 2),
            (0, 1, 30, 3),
            (0, 2, 20, 4),
            (0, 1, 20, 5),
        ] {
            let share = Share::of(executors, weight, turn);
            line.join(0, share, BuildId(build), true);
        }
        let order: Vec<u64> = line.iter().map(|build| build.0).collect();
        assert_eq!(order, [4, 5, 3, 2, 1]);
    }

    #[test]
    fn the_unserved_priority_goes_first_and_then_the_smallest_share() {
        let mut line = BuildQueue::default();
        for (priority, executors, weight, build) in [
            (0, 4, 2, 1),
            (0, 3, 1, 2),
            (0, 2, 1, 3),
            (5, 9, 1, 4),
            (-1, 0, 1, 5),
        ] {
            let share = Share::of(executors, weight, 0);
            line.join(priority, share, BuildId(build), build % 2 == 0);
            line.serve(priority, 0, executors);
        }
        let order: Vec<u64> = line.iter().map(|build| build.0).collect();
        assert_eq!(order, [5, 4, 1, 3, 2]);
        let ready: Vec<u64> = line.ready().map(|build| build.0).collect();
        assert_eq!(ready, [4, 2]);
        let placed = [(5, 9, 1, 4), (-1, 0, 1, 5), (0, 3, 1, 2), (0, 4, 2, 1)];
        let mut placed = placed.map(|(priority, executors, weight, build)| {
            let share = Share::of(executors, weight, 0);
            (line.place(priority, share, BuildId(build)), build)
        });
        placed.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(placed.map(|(_, build)| build), [5, 4, 1, 2]);
        line.serve(-1, 0, 1);
        line.leave(5, Share::of(9, 1, 0), BuildId(4), true);
        let order: Vec<u64> = line.iter().map(|build| build.0).collect();
        assert_eq!(order, [1, 3, 2, 5]);
    }
}
