//! What is still to be told to one receiver, and what is told next. Pure: moments and chance come in as arguments.
//!
//! The notices of a build are told in their order. Where the receiver can not be reached all wait, and the next one that is
//! tried is of another build; where it refuses one, the others of that build wait behind it, until so many tries were refused
//! that the notice is given up.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::BuildEvent;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The first pause after a failure; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// The longest pause that a receiver can ask for.
const LONGEST_WISH: Duration = Duration::from_secs(60 * 60);

/// How often a receiver may refuse a notice before it is given up. With the pauses between the tries that takes two to four
/// minutes, in which a receiver may be set right that was only about to begin.
pub(super) const MOST_REFUSALS: u32 = 9;

/// How much waits at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many notices; beyond that the oldest are given up.
    pub(super) number: usize,
    /// How old they may be.
    pub(super) age: Duration,
}

/// Something that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// Of which build.
    pub(super) build: BuildId,
    /// What it has come to.
    pub(super) event: BuildEvent,
    /// When that happened.
    pub(super) at: Timestamp,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This is to be told, for the so-manieth time.
    Tell(Notice, u32),
    /// All wait for this long.
    Wait(Duration),
    /// Nothing waits.
    Idle,
}

/// Why a notice was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The receiver could not be reached, or has trouble of its own, and perhaps asks for a pause.
    Unreachable(Option<Duration>),
    /// What is to be told can not be read here, which says nothing of the receiver.
    Unreadable,
    /// It was reached and does not want this notice.
    Refused,
    /// It was reached and does not know who asks, so it takes no notice at all until somebody sets that right. Only where it
    /// takes others meanwhile it is this notice that it does not want.
    Unknown,
}

/// The builds of one receiver of which something is to be told.
#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    /// Whether of a build only what it has come to last is told.
    is_only_latest: bool,
    lanes: BTreeMap<BuildId, Lane>,
    /// How many notices wait in all lanes.
    length: usize,
    receiver: Pause,
    /// How many notices the receiver has taken.
    taken: u64,
    /// What needs a mark: nothing up to it is to be told any more.
    settled: Vec<(BuildId, BuildEvent)>,
    /// How many notices were given up since the last look.
    given_up: u64,
}

/// What is to be told of one build.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Notice>,
    /// When the latest of them is too old, as the caller counts time.
    too_old: Duration,
    /// The build is over: when nothing waits any more, it is settled up to this.
    end: Option<BuildEvent>,
    pause: Pause,
    refusals: Refusals,
}

/// How often the next notice of a build was refused.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    number: u32,
    /// How many notices the receiver had taken before the last failed try, if there was one.
    taken: Option<u64>,
}

/// How long nothing is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    failures: u32,
    /// Since the beginning of time, as the caller counts it.
    until: Duration,
}

impl Queue {
    pub(super) fn new(bounds: Bounds, is_only_latest: bool) -> Self {
        Self {
            bounds,
            is_only_latest,
            lanes: BTreeMap::new(),
            length: 0,
            receiver: Pause::default(),
            taken: 0,
            settled: Vec::new(),
            given_up: 0,
        }
    }

    /// Takes in what a build has come to, later than all that was taken in of it before, and whether that is its end. What is
    /// old already, by the clock on the wall, is kept for a shorter time; from then on that clock does not count.
    pub(super) fn push(
        &mut self,
        build: BuildId,
        wanted: &[Notice],
        end: Option<BuildEvent>,
        (wall, now): (Timestamp, Duration),
    ) {
        let lane = self.lanes.entry(build).or_default();
        for notice in wanted {
            let left = self.bounds.age.saturating_sub(notice.at.until(wall));
            lane.too_old = now + left;
            if self.is_only_latest {
                self.length -= lane.waiting.len();
                lane.waiting.clear();
                lane.refusals = Refusals::default();
            }
            lane.waiting.push_back(*notice);
            self.length += 1;
        }
        lane.end = lane.end.or(end);
        self.close(build, None);
        while self.length > self.bounds.number {
            self.give_up_oldest();
        }
    }

    /// What is told now.
    pub(super) fn next(&self, now: Duration) -> Next {
        if self.length == 0 {
            return Next::Idle;
        }
        if let Some(wait) = self.receiver.left(now) {
            return Next::Wait(wait);
        }
        let lanes = self.lanes.values();
        let waiting = lanes.filter(|lane| !lane.waiting.is_empty());
        let ready = waiting
            .clone()
            .filter(|lane| lane.pause.left(now).is_none());
        // Of those that failed equally often the oldest build.
        let next = ready.min_by_key(|lane| lane.pause.failures);
        if let Some(lane) = next
            && let Some(notice) = lane.waiting.front()
        {
            let failures = lane.pause.failures.max(self.receiver.failures);
            return Next::Tell(*notice, failures + 1);
        }
        let shortest = waiting.filter_map(|lane| lane.pause.left(now)).min();
        shortest.map_or(Next::Idle, Next::Wait)
    }

    /// The receiver has a notice.
    pub(super) fn settle(&mut self, notice: &Notice) {
        self.receiver = Pause::default();
        self.taken += 1;
        self.drop_through(notice);
    }

    /// A notice is of no use to the receiver, which was not asked.
    pub(super) fn skip(&mut self, notice: &Notice) {
        self.drop_through(notice);
    }

    /// The receiver does not have a notice; `chance` is from 0 to 1. Others are tried before it is the turn of this one
    /// again, so that a single notice that the receiver fails on keeps up nobody else. Returns whether the notice is given
    /// up, since it was refused too often.
    pub(super) fn fail(
        &mut self,
        notice: &Notice,
        failure: Failure,
        now: Duration,
        chance: f64,
    ) -> bool {
        let taken = self.taken;
        let lane = self.lanes.get_mut(&notice.build);
        let is_refused_for_good = lane.is_some_and(|lane| {
            lane.pause.begin(now, chance, Duration::ZERO);
            lane.refuse(failure, taken)
        });
        self.pause_after(failure, now, chance);
        if is_refused_for_good {
            self.drop_through(notice);
        }
        is_refused_for_good
    }

    fn pause_after(&mut self, failure: Failure, now: Duration, chance: f64) {
        match failure {
            Failure::Unreachable(wish) => {
                let wish = wish.unwrap_or_default().min(LONGEST_WISH);
                self.receiver.begin(now, chance, wish);
            }
            Failure::Unknown => self.receiver.begin(now, chance, Duration::ZERO),
            Failure::Unreadable => {}
            // It was reached.
            Failure::Refused => self.receiver = Pause::default(),
        }
    }

    /// Gives up what is too old: all that waits of a build together, since the latest of it says most.
    pub(super) fn expire(&mut self, now: Duration) {
        let lanes = self.lanes.values().filter(|lane| lane.too_old <= now);
        let last = lanes.filter_map(|lane| lane.waiting.back());
        let expired: Vec<Notice> = last.copied().collect();
        for notice in expired {
            self.given_up += self.drop_through(&notice);
        }
    }

    /// What needs a mark since the last call.
    pub(super) fn take_settled(&mut self) -> Vec<(BuildId, BuildEvent)> {
        std::mem::take(&mut self.settled)
    }

    /// How many notices were given up since the last call.
    pub(super) fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// How long nothing is tried, where something waits.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        match self.next(now) {
            Next::Wait(pause) => Some(pause),
            Next::Tell(..) => Some(Duration::ZERO),
            Next::Idle => None,
        }
    }

    /// How many notices wait.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The first build of which something waits, or needs a mark.
    pub(super) fn first_unsettled(&self) -> Option<BuildId> {
        let waiting = self.lanes.iter();
        let waiting = waiting.filter(|(_, lane)| !lane.waiting.is_empty());
        let marks = self.settled.iter().map(|(build, _)| *build);
        waiting.map(|(build, _)| *build).chain(marks).min()
    }

    fn give_up_oldest(&mut self) {
        let mut lanes = self.lanes.values();
        let oldest = lanes.find_map(|lane| lane.waiting.front()).copied();
        match oldest {
            Some(notice) => self.given_up += self.drop_through(&notice),
            None => self.length = 0,
        }
    }

    /// Drops what waits of a build up to a notice; how much that was.
    fn drop_through(&mut self, notice: &Notice) -> u64 {
        let Some(lane) = self.lanes.get_mut(&notice.build) else {
            return 0;
        };
        let before = lane.waiting.len();
        lane.waiting.retain(|waiting| waiting.event > notice.event);
        lane.pause = Pause::default();
        lane.refusals = Refusals::default();
        let dropped = before - lane.waiting.len();
        self.length -= dropped;
        self.close(notice.build, Some(notice.event));
        dropped as u64
    }

    /// Notes what needs a mark, and forgets the build if nothing of it is to come.
    fn close(&mut self, build: BuildId, through: Option<BuildEvent>) {
        let Some(lane) = self.lanes.get(&build) else {
            return;
        };
        let end = lane.end.filter(|_| lane.waiting.is_empty());
        let mark = end.or(through);
        self.settled.extend(mark.map(|event| (build, event)));
        if lane.waiting.is_empty() {
            self.lanes.remove(&build);
        }
    }
}

impl Lane {
    /// Counts a failure if it is a refusal of this notice; whether there were so many that there is no use in another try.
    /// Where the receiver does not know who asks, it is one only if others were taken since the last try.
    fn refuse(&mut self, failure: Failure, taken: u64) -> bool {
        let before = self.refusals.taken.replace(taken);
        let is_its_own = match failure {
            Failure::Unreachable(_) | Failure::Unreadable => false,
            Failure::Refused => true,
            Failure::Unknown => before.is_some_and(|before| taken > before),
        };
        self.refusals.number += u32::from(is_its_own);
        is_its_own && self.refusals.number >= MOST_REFUSALS
    }
}

impl Pause {
    /// After one more failure.
    fn begin(&mut self, now: Duration, chance: f64, at_least: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.until = now + pause_after(self.failures, chance).max(at_least);
    }

    fn left(&self, now: Duration) -> Option<Duration> {
        let left = self.until.saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }
}

/// How long nothing is tried after so many failures in a row: between half of the pause and the whole, as chance has
/// it, so that many receivers behind one broken machine are not all tried at once.
fn pause_after(failures: u32, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE);
    whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
