//! What a slave has been given, by build: derived from what it runs, kept for speed.

use clusterrunner_common::ids::BuildId;

/// What a slave has, and what it will get once set-ups under way are done.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    /// By build, in the order of their ids; none that has nothing.
    portions: Vec<Portion>,
    /// How many of its free executors set-ups under way are meant for.
    pub(super) promised: usize,
    /// How many builds it is ready for.
    pub(super) ready: usize,
}

/// Derived: [`super::Cluster::check`] compares it with what it is derived from.
impl PartialEq for Load {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Load {}

/// What a slave has of one build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    pub(super) build: BuildId,
    /// How many hand-outs.
    pub(super) held: usize,
    /// How many executors are taken to work on them, the others wait.
    pub(super) executors: usize,
    /// What those are expected to take of which something is known.
    pub(super) known_us: u64,
    /// How many of which nothing is known.
    pub(super) unknown: usize,
    /// How many are known and take so long that they would never wait for an executor.
    pub(super) long: usize,
}

impl Portion {
    fn empty(build: BuildId) -> Self {
        Self {
            build,
            held: 0,
            executors: 0,
            known_us: 0,
            unknown: 0,
            long: 0,
        }
    }

    /// How many are taken to wait for an executor.
    pub(super) fn waiting(&self) -> usize {
        self.held - self.executors
    }
}

impl Load {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.portions, self.promised, self.ready)
            == (&other.portions, other.promised, other.ready)
    }

    pub(super) fn portions(&self) -> &[Portion] {
        &self.portions
    }

    pub(super) fn of(&self, build: BuildId) -> Option<&Portion> {
        let index = self.index(build).ok()?;
        self.portions.get(index)
    }

    fn index(&self, build: BuildId) -> Result<usize, usize> {
        self.portions.binary_search_by_key(&build, |p| p.build)
    }

    /// Takes a hand-out in: how long it is expected to take, if that is known, and whether that is long.
    pub(super) fn add(&mut self, build: BuildId, known_us: Option<u64>, is_long: bool) {
        let index = self.index(build).unwrap_or_else(|index| {
            self.portions.insert(index, Portion::empty(build));
            index
        });
        let portion = &mut self.portions[index];
        portion.held += 1;
        portion.known_us += known_us.unwrap_or(0);
        portion.unknown += usize::from(known_us.is_none());
        portion.long += usize::from(is_long);
    }

    /// Lets a hand-out go that was taken in the same way.
    pub(super) fn remove(&mut self, build: BuildId, known_us: Option<u64>, is_long: bool) {
        if let Ok(index) = self.index(build) {
            let portion = &mut self.portions[index];
            portion.held -= 1;
            portion.known_us -= known_us.unwrap_or(0);
            portion.unknown -= usize::from(known_us.is_none());
            portion.long -= usize::from(is_long);
        }
    }

    /// Shares the executors out anew, as slaves do: to whichever build has the fewest, the older one
    /// where they are equal. `changed` hears of each build how many executors it had and has.
    pub(super) fn share_out(
        &mut self,
        num_executors: usize,
        mut changed: impl FnMut(BuildId, usize, usize),
    ) {
        let total: usize = self.portions.iter().map(|portion| portion.held).sum();
        let up_to = |portions: &[Portion], level: usize| -> usize {
            portions.iter().map(|p| p.held.min(level)).sum()
        };
        let (mut level, mut left) = (usize::MAX, 0);
        if total > num_executors {
            level = num_executors / self.portions.len();
            while up_to(&self.portions, level + 1) <= num_executors {
                level += 1;
            }
            left = num_executors - up_to(&self.portions, level);
        }
        for portion in &mut self.portions {
            let before = portion.executors;
            portion.executors = portion.held.min(level);
            if left > 0 && portion.held > level {
                portion.executors += 1;
                left -= 1;
            }
            if portion.executors != before {
                changed(portion.build, before, portion.executors);
            }
        }
        self.portions.retain(|portion| portion.held > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(held: &[usize], num_executors: usize) -> Vec<usize> {
        let mut load = Load::default();
        for (id, held) in (1..).zip(held) {
            (0..*held).for_each(|_| load.add(BuildId(id), None, false));
        }
        load.share_out(num_executors, |_, _, _| {});
        load.portions().iter().map(|p| p.executors).collect()
    }

    #[test]
    fn executors_are_shared_out_evenly_and_none_is_left_over() {
        assert_eq!(shared(&[3], 4), [3]);
        assert_eq!(shared(&[500], 4), [4]);
        assert_eq!(shared(&[500, 1], 4), [3, 1]);
        assert_eq!(shared(&[500, 500], 4), [2, 2]);
        assert_eq!(shared(&[500, 500], 5), [3, 2]);
        assert_eq!(shared(&[1, 9, 9], 6), [1, 3, 2]);
        assert_eq!(shared(&[9, 9, 9], 2), [1, 1, 0]);
    }

    #[test]
    fn who_gains_and_who_loses_is_told() {
        let mut load = Load::default();
        (0..9).for_each(|_| load.add(BuildId(1), Some(10), false));
        load.share_out(4, |_, _, _| {});
        load.add(BuildId(2), None, false);
        let mut told = Vec::new();
        load.share_out(4, |build, before, after| {
            told.push((build.0, before, after))
        });
        assert_eq!(told, [(1, 4, 3), (2, 0, 1)]);
        load.remove(BuildId(2), None, false);
        load.share_out(4, |_, _, _| {});
        let left = load.of(BuildId(1)).unwrap();
        assert_eq!(
            (load.portions().len(), left.known_us, left.waiting()),
            (1, 90, 5)
        );
    }
}
