//! How builds share the executors: by weight among those of one priority, evenly between priorities. That
//! a higher priority goes first is the master's matter: it hands out accordingly.
//!
//! Start-time fair queueing, by the time that executors spend. Each build has a clock that runs the slower
//! the more weight it has: at the end of a run it moves on by the run's time, divided by the weight. An idle executor
//! goes to the build with the lowest clock; each running subjob adds the build's usual run time. So each build gets
//! its share over time, even on one executor, even if one build has longer atoms than another.
//!
//! While other builds wait, no build has more executors than its share, rounded up. Neither a poor estimate of run
//! times nor time still due may give one build all executors.
//!
//! A build that comes, or that had nothing to run for a time, begins at the clock of the build that was next then: it
//! has saved nothing up, and owes no more than one run of what it had while no other build wanted it.

use super::{Build, Stage, Work};
use clusterrunner_common::ids::BuildId;
use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::time::Duration;

/// What a run is taken to last where none ended yet.
const UNKNOWN_NS: u128 = 1_000_000;

/// Each run moves what is taken to be the usual length by this part of the way.
const MEMORY: u128 = 8;

/// What a build had of the executors.
#[derive(Debug)]
pub(super) struct Part {
    priority: i32,
    weight: NonZeroU32,
    /// What its clock shows, in nanoseconds of an executor at the usual weight, without what runs.
    clock: u128,
    /// How long its runs take, once one ended.
    usual_ns: Option<u128>,
    /// What of it would run next, as it was when an executor was given away last.
    next: Option<u64>,
    /// Whether it has waited for its turn since then.
    waits: bool,
}

/// The same for all builds together.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// The clock of the build that was next; it never goes back.
    now: u128,
    /// How long runs of any build take, once one ended.
    usual_ns: Option<u128>,
}

/// The builds that share the executors now: how many of each priority, and how much they weigh together.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    priorities: Vec<(i32, u128, u128)>,
    num_builds: u128,
}

impl Crowd {
    fn of<'a>(parts: impl Iterator<Item = &'a Part>) -> Self {
        let mut crowd = Self::default();
        for part in parts {
            crowd.num_builds += 1;
            let weight = part.weight();
            let mut known = crowd.priorities.iter_mut();
            match known.find(|(priority, ..)| *priority == part.priority) {
                Some((_, number, sum)) => (*number, *sum) = (*number + 1, *sum + weight),
                None => crowd.priorities.push((part.priority, 1, weight)),
            }
        }
        crowd
    }

    /// The weight of a build beside the mean of its priority, as a fraction.
    fn weight(&self, part: &Part) -> (u128, u128) {
        let mut known = self.priorities.iter();
        let own = known.find(|(priority, ..)| *priority == part.priority);
        own.map_or((1, 1), |(_, number, sum)| (part.weight() * number, *sum))
    }

    /// By how much so many nanoseconds of an executor move a build's clock.
    fn cost(&self, part: &Part, nanoseconds: u128) -> u128 {
        let (weight, mean) = self.weight(part);
        nanoseconds * mean / weight
    }

    /// How many executors a build has at most while others wait.
    fn most(&self, part: &Part, num_executors: usize) -> usize {
        let (weight, mean) = self.weight(part);
        let most = (num_executors as u128 * weight).div_ceil(mean * self.num_builds.max(1));
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

/// The order of builds: the smallest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    has_its_part: bool,
    clock: u128,
    /// Builds with equal clocks, such as new builds, go by weight, then by the hand-out that has waited longest.
    weight: Reverse<NonZeroU32>,
    number: u64,
}

impl Part {
    /// Of a build of this priority and weight, that had nothing yet.
    pub(super) fn new((priority, weight): (i32, NonZeroU32)) -> Self {
        Self {
            priority,
            weight,
            clock: 0,
            usual_ns: None,
            next: None,
            waits: false,
        }
    }

    /// Whether it waits for its turn from now on.
    fn is_new(&self) -> bool {
        self.next.is_some() && !self.waits
    }

    fn weight(&self) -> u128 {
        u128::from(self.weight.get())
    }
}

impl Sharing {
    /// What the clock of a build shows, with what runs of it.
    fn clock(&self, crowd: &Crowd, part: &Part, num_running: usize) -> u128 {
        part.clock + self.run(crowd, part) * num_running as u128
    }

    /// By how much one more run is expected to move it.
    fn run(&self, crowd: &Crowd, part: &Part) -> u128 {
        let usual = part.usual_ns.or(self.usual_ns);
        crowd.cost(part, usual.unwrap_or(UNKNOWN_NS))
    }
}

impl Build {
    fn shares(&self) -> bool {
        let waits = matches!(self.stage, Stage::Ready(_)) && !self.waiting.is_empty();
        waits || self.num_running > 0
    }
}

impl Work {
    pub(super) fn crowd(&self) -> Crowd {
        let sharing = self.builds.values().filter(|build| build.shares());
        Crowd::of(sharing.map(|build| &build.part))
    }

    /// When it is the turn of a build that has so many executors, and of which this would run next.
    pub(super) fn turn_of(
        &self,
        crowd: &Crowd,
        part: &Part,
        num_running: usize,
        number: u64,
    ) -> Turn {
        Turn {
            has_its_part: num_running >= crowd.most(part, self.executors.len()),
            clock: self.sharing.clock(crowd, part, num_running),
            weight: Reverse(part.weight),
            number,
        }
    }

    /// The build that the next executor goes to, and the number of what it runs there.
    pub(super) fn next_in_turn(&mut self) -> Option<(BuildId, u64)> {
        let crowd = self.crowd();
        let Self {
            builds, sharing, ..
        } = self;
        let mut first = None;
        for (id, build) in builds.iter_mut() {
            build.part.next = build.next_number(*id);
            build.part.waits &= build.part.next.is_some();
            if build.part.waits {
                let clock = sharing.clock(&crowd, &build.part, build.num_running);
                let begun = clock.saturating_sub(sharing.run(&crowd, &build.part));
                first = Some(first.unwrap_or(begun).min(begun));
            }
        }
        sharing.now = sharing.now.max(first.unwrap_or(0));
        for build in builds.values_mut().filter(|build| build.part.is_new()) {
            let clock = sharing.clock(&crowd, &build.part, build.num_running);
            let most = sharing.now + sharing.run(&crowd, &build.part);
            build.part.clock += sharing.now.saturating_sub(clock);
            build.part.clock = build.part.clock.saturating_sub(clock.saturating_sub(most));
            build.part.waits = true;
        }
        let turns = self.builds.iter().filter_map(|(id, build)| {
            let number = build.part.next?;
            let turn = self.turn_of(&crowd, &build.part, build.num_running, number);
            Some((turn, *id))
        });
        let (mut next, mut first) = (None, u128::MAX);
        for (turn, id) in turns {
            first = first.min(turn.clock);
            if next.is_none_or(|next| (turn, id) < next) {
                next = Some((turn, id));
            }
        }
        let (turn, id) = next?;
        self.sharing.now = self.sharing.now.max(first);
        Some((id, turn.number))
    }

    /// A run of a build has ended that kept its executor for so long.
    pub(super) fn charge(&mut self, id: BuildId, took: Duration) {
        let crowd = self.crowd();
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        let took = took.as_nanos();
        build.part.clock += crowd.cost(&build.part, took);
        for usual in [&mut build.part.usual_ns, &mut self.sharing.usual_ns] {
            let before = usual.unwrap_or(took);
            *usual = Some((before * (MEMORY - 1) + took) / MEMORY);
        }
    }
}
