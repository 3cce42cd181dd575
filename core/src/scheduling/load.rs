//! The load of a slave: its hand-outs by build, derived from what it runs and kept for speed.

use clusterrunner_common::ids::BuildId;

/// A slave is crowded where this many more builds have something there than two for each executor.
const CROWD: usize = 8;

/// Whether so many builds are more than so many executors soon get to.
pub(crate) fn is_crowd(num_builds: usize, num_executors: u32) -> bool {
    num_builds > 2 * num_executors as usize + CROWD
}

/// The hand-outs of a slave, and the executors that set-ups under way are for: [`crate::Cluster::check`] compares it with
/// what it is derived from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// One for each build that has hand-outs on the slave, in the order of the ids.
    portions: Vec<Portion>,
    /// Whether not all of them weigh the same.
    is_uneven: bool,
    /// For how many of its idle executors set-ups are under way.
    pub(crate) promised: usize,
    /// How many builds the slave is ready for.
    pub(crate) ready: usize,
}

/// What the share of a build depends on: its priority, and its weight beside builds of that priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) priority: i32,
    pub(crate) weight: u32,
}

impl Rank {
    /// The rank of a job that names neither.
    pub(crate) const USUAL: Self = Self {
        priority: 0,
        weight: 1,
    };
}

/// The weight of a build that weighs as much as others of its priority.
const MEAN_WEIGHT: u64 = 1 << 16;

/// The hand-outs of one build on a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    pub(crate) build: BuildId,
    pub(crate) rank: Rank,
    /// Its weight, relative to the mean of the builds of its priority on the slave, which is [`MEAN_WEIGHT`].
    weight: u64,
    /// The number of hand-outs.
    pub(crate) held: usize,
    /// How many executors are expected to work on them; the other hand-outs are prefetch.
    pub(crate) executors: usize,
    /// The expected duration of all hand-outs that have one, in microseconds.
    pub(crate) known_us: u64,
    /// How many hand-outs have no expected duration.
    pub(crate) unknown: usize,
    /// How many hand-outs are expected to take so long that they are never prefetched.
    pub(crate) long: usize,
}

impl Portion {
    fn empty(build: BuildId, rank: Rank) -> Self {
        Self {
            build,
            rank,
            weight: MEAN_WEIGHT,
            held: 0,
            executors: 0,
            known_us: 0,
            unknown: 0,
            long: 0,
        }
    }

    /// How many hand-outs are expected to wait for an executor.
    pub(crate) fn waiting(&self) -> usize {
        self.held - self.executors
    }
}

impl Load {
    pub(crate) fn portions(&self) -> &[Portion] {
        &self.portions
    }

    pub(crate) fn of(&self, build: BuildId) -> Option<&Portion> {
        let index = self.index(build).ok()?;
        self.portions.get(index)
    }

    fn index(&self, build: BuildId) -> Result<usize, usize> {
        self.portions.binary_search_by_key(&build, |p| p.build)
    }

    /// Adds a hand-out with its expected duration, if there is one, and whether that is long.
    pub(crate) fn add(&mut self, build: BuildId, rank: Rank, known_us: Option<u64>, is_long: bool) {
        let known = self.index(build);
        let (Ok(index) | Err(index)) = known;
        if known.is_err() {
            self.portions.insert(index, Portion::empty(build, rank));
        }
        let portion = &mut self.portions[index];
        portion.held += 1;
        portion.known_us += known_us.unwrap_or(0);
        portion.unknown += usize::from(known_us.is_none());
        portion.long += usize::from(is_long);
        if known.is_err() {
            self.weigh();
        }
    }

    /// Removes a hand-out that was added with the same arguments.
    pub(crate) fn remove(&mut self, build: BuildId, known_us: Option<u64>, is_long: bool) {
        if let Ok(index) = self.index(build) {
            let portion = &mut self.portions[index];
            portion.held -= 1;
            portion.known_us -= known_us.unwrap_or(0);
            portion.unknown -= usize::from(known_us.is_none());
            portion.long -= usize::from(is_long);
        }
    }

    /// The part of the slave's executors that a build gets if it has hand-outs there: numerator and denominator.
    pub(crate) fn part_of(&self, build: BuildId, rank: Rank) -> (u64, u64) {
        let others = self.portions.iter().filter(|other| other.build != build);
        let (mut all, mut peers, mut sum) = (1, 1, u64::from(rank.weight));
        for other in others {
            all += 1;
            if other.rank.priority == rank.priority {
                peers += 1;
                sum += u64::from(other.rank.weight);
            }
        }
        (u64::from(rank.weight) * peers, sum * all)
    }

    /// Computes the weights: relative among builds of one priority, and even between priorities. Builds without
    /// hand-outs do not count.
    fn weigh(&mut self) {
        let there = self.portions.iter().filter(|portion| portion.held > 0);
        let mut ranks = there.map(|portion| portion.rank);
        let usual = ranks.next().map_or(1, |rank| rank.weight);
        let was_uneven = self.is_uneven;
        self.is_uneven = ranks.any(|rank| rank.weight != usual);
        if !self.is_uneven && !was_uneven {
            return;
        }
        let mut priorities: Vec<(i32, u64, u64)> = Vec::new();
        let there = self.portions.iter().filter(|portion| portion.held > 0);
        for rank in there.map(|portion| portion.rank) {
            let weight = u64::from(rank.weight);
            let mut known = priorities.iter_mut();
            match known.find(|(priority, ..)| *priority == rank.priority) {
                Some((_, number, sum)) => (*number, *sum) = (*number + 1, *sum + weight),
                None => priorities.push((rank.priority, 1, weight)),
            }
        }
        for Portion { rank, weight, .. } in &mut self.portions {
            let mut known = priorities.iter();
            let own = known.find(|(priority, ..)| *priority == rank.priority);
            *weight = own.map_or(MEAN_WEIGHT, |(_, number, sum)| {
                (u64::from(rank.weight) * number * MEAN_WEIGHT / sum).max(1)
            });
        }
    }

    /// How many executors each build has if there are more hand-outs than executors: the build with the fewest for its
    /// weight gets the next.
    fn by_weight(&self, num_executors: usize) -> Vec<usize> {
        let all: u64 = self.portions.iter().map(|portion| portion.weight).sum();
        // Each build has at least its share, rounded down; less than one executor for each build is left over.
        let sure = num_executors.saturating_sub(self.portions.len()) as u64;
        let shares = self.portions.iter().map(|portion| {
            let share = sure * portion.weight / all;
            usize::try_from(share).map_or(portion.held, |share| share.min(portion.held))
        });
        let mut shares: Vec<usize> = shares.collect();
        let left = num_executors - shares.iter().sum::<usize>();
        for _ in 0..left {
            let wanting = self.portions.iter().zip(&mut shares);
            let wanting = wanting.filter(|(portion, share)| **share < portion.held);
            let next = wanting.min_by(|(one, has), (other, has_other)| {
                let (has, has_other) = (**has as u64, **has_other as u64);
                (has * other.weight).cmp(&(has_other * one.weight))
            });
            if let Some((_, share)) = next {
                *share += 1;
            }
        }
        shares
    }

    /// Whether no build has an executor that a build with waiting hand-outs should have instead.
    pub(crate) fn is_fair(&self) -> bool {
        self.portions.iter().all(|waiting| {
            let has = waiting.executors as u64;
            let gives = |other: &Portion| {
                let left = other.executors.saturating_sub(1) as u64;
                left * waiting.weight > has * other.weight
            };
            waiting.waiting() == 0 || !self.portions.iter().any(gives)
        })
    }

    /// Shares the executors out anew, much as slaves do: each goes to the build with the fewest for its weight, the
    /// older one where two are equal. `changed` is told each build whose executors change, and how many it had and has.
    pub(crate) fn share_out(
        &mut self,
        num_executors: usize,
        mut changed: impl FnMut(BuildId, usize, usize),
    ) {
        if self.is_uneven && self.portions.iter().any(|portion| portion.held == 0) {
            self.weigh();
        }
        let total: usize = self.portions.iter().map(|portion| portion.held).sum();
        let up_to = |portions: &[Portion], level: usize| -> usize {
            portions.iter().map(|p| p.held.min(level)).sum()
        };
        let (mut level, mut left) = (usize::MAX, 0);
        let mut by_weight = None;
        if total > num_executors && self.is_uneven {
            by_weight = Some(self.by_weight(num_executors).into_iter());
        } else if total > num_executors {
            level = num_executors / self.portions.len();
            while up_to(&self.portions, level + 1) <= num_executors {
                level += 1;
            }
            left = num_executors - up_to(&self.portions, level);
        }
        for portion in &mut self.portions {
            let before = portion.executors;
            portion.executors = portion.held.min(level);
            if let Some(shares) = &mut by_weight {
                portion.executors = shares.next().unwrap_or(0);
            } else if left > 0 && portion.held > level {
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

    const USUAL: Rank = Rank::USUAL;

    fn shared(held: &[usize], num_executors: usize) -> Vec<usize> {
        let mut load = Load::default();
        for (id, held) in (1..).zip(held) {
            (0..*held).for_each(|_| load.add(BuildId(id), USUAL, None, false));
        }
        load.share_out(num_executors, |_, _, _| {});
        assert!(load.is_fair());
        load.portions().iter().map(|p| p.executors).collect()
    }

    /// Of builds of this priority, weight and number of hand-outs.
    fn weighted(builds: &[(i32, u32, usize)], num_executors: usize) -> Vec<usize> {
        let mut load = Load::default();
        for (id, (priority, weight, held)) in (1..).zip(builds) {
            let (priority, weight) = (*priority, *weight);
            let rank = Rank { priority, weight };
            (0..*held).for_each(|_| load.add(BuildId(id), rank, None, false));
        }
        load.share_out(num_executors, |_, _, _| {});
        assert!(load.is_fair(), "{load:?}");
        load.portions().iter().map(|p| p.executors).collect()
    }

    #[test]
    fn executors_are_shared_out_by_weight() {
        assert_eq!(weighted(&[(0, 3, 50), (0, 1, 50)], 4), [3, 1]);
        assert_eq!(weighted(&[(0, 1, 50), (0, 3, 50)], 16), [4, 12]);
        assert_eq!(weighted(&[(0, 1, 50), (0, 100, 50)], 4), [1, 3]);
        assert_eq!(weighted(&[(0, 1, 50), (0, 3, 2)], 8), [6, 2]);
        assert_eq!(
            weighted(&[(0, 1000, 1), (0, 1, 9), (0, 1, 9)], 64),
            [1, 9, 9]
        );
        assert_eq!(weighted(&[(0, 1, 9), (0, 1, 9), (0, 2, 9)], 2), [1, 1, 0]);
        // Weights count among builds of one priority only.
        assert_eq!(weighted(&[(5, 1, 50), (0, 100, 50)], 4), [2, 2]);
        assert_eq!(
            weighted(&[(5, 1, 50), (5, 3, 50), (0, 9, 50)], 12),
            [2, 6, 4]
        );
    }

    #[test]
    fn a_build_that_has_nothing_any_more_does_not_weigh() {
        let mut load = Load::default();
        for (build, priority, weight) in [(1, 1, 1), (2, 0, 2), (3, 0, 3), (1, 1, 1), (3, 0, 3)] {
            let rank = Rank { priority, weight };
            load.add(BuildId(build), rank, None, false);
        }
        load.share_out(3, |_, _, _| {});
        load.remove(BuildId(2), None, false);
        load.share_out(3, |_, _, _| {});
        let shares: Vec<usize> = load.portions().iter().map(|p| p.executors).collect();
        assert_eq!(shares, [2, 1]);
    }

    #[test]
    fn the_sure_ones_are_no_more_than_is_due_whoever_is_there() {
        for seed in 0..500_u64 {
            let draw = |number: u64, limit: u64| {
                let mixed = (seed * 31 + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed >> 40) % limit
            };
            let builds: Vec<_> = (0..2 + draw(0, 8))
                .map(|build| {
                    let held = usize::try_from(1 + draw(3 * build + 1, 40)).unwrap();
                    let weight = u32::try_from(1 + draw(3 * build + 2, 20)).unwrap();
                    (i32::from(draw(3 * build + 3, 3) == 0), weight, held)
                })
                .collect();
            let num_executors = usize::try_from(1 + draw(99, 30)).unwrap();
            let all: usize = builds.iter().map(|(.., held)| held).sum();
            let shares = weighted(&builds, num_executors);
            assert_eq!(shares.iter().sum::<usize>(), all.min(num_executors));
        }
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
        (0..9).for_each(|_| load.add(BuildId(1), USUAL, Some(10), false));
        load.share_out(4, |_, _, _| {});
        load.add(BuildId(2), USUAL, None, false);
        let mut told = Vec::new();
        load.share_out(4, |build, before, after| {
            told.push((build.0, before, after));
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
