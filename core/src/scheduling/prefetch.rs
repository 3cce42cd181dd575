//! Prefetch: how many subjobs a slave gets beyond those that its executors can run at once.
//!
//! An executor that ends an atom goes on at once if the next subjob is already on the slave, so the round trip to the
//! master costs nothing. Prefetch is bounded by time, since only time hides a round trip: hundreds of atoms of a
//! millisecond, one of a second, none of a minute. Towards the end of a build it tapers off to nothing, so that no
//! slave has a queue while another one is idle.

use crate::builds::build::Build;
use crate::builds::subjob::Subjob;
use crate::scheduling::load::Portion;
use crate::slaves::slave::Slave;
use clusterrunner_common::ids::SubjobId;

/// How much expected work may be prefetched for each executor. It covers a round trip of 50 ms, a turn of 20 ms and a
/// slave that reports several results at a time.
const WINDOW_US: u64 = 250_000;

/// The same for a build whose slaves run many atoms in one process. A process costs the start of an interpreter, so that
/// it is worth having seconds of work for the next one, beside what runs.
const BATCHED_WINDOW_US: u64 = 30_000_000;

/// An atom that is expected to take longer is never prefetched: a round trip is nothing beside it.
pub(crate) const LONG_US: u64 = 2_000_000;

/// What starting an atom takes, beside its measured duration.
const OVERHEAD_US: u64 = 300;

/// A slave prefetches at most this part (one over it) of the rest of a build for each of its executors.
const TAPER: u64 = 4;

/// At the end of a build so much may be prefetched for each executor, as far as the rest divides evenly: with less than
/// a round trip takes, each of the last atoms would cost one.
const LAST_US: u64 = 100_000;

/// The same two for a build whose slaves run many atoms in one process.
const BATCHED_TAPER: u64 = 2;
const BATCHED_LAST_US: u64 = 4_000_000;

/// What an atom of such a build is taken to last as long as nothing is known of any: so long that a slave holds few until
/// the first batches have shown it.
const BATCHED_UNKNOWN_US: u64 = 1_000_000;

/// How many subjobs may be prefetched for each executor, and by one slave: all of them are handed out again if the slave
/// is lost.
const MAX_WAITING: usize = 256;
const MAX_BATCHED: usize = 1024;
const MAX_WAITING_ON_SLAVE: usize = 4096;

/// A subjob that was handed out so often is handed to idle executors only.
const MAX_AHEAD_AGAIN: u32 = 5;

impl Subjob {
    /// The expected duration in microseconds, if there is one.
    pub(crate) fn known_us(&self) -> Option<u64> {
        let is_known = !self.atoms_expected_ms.is_empty();
        is_known.then(|| {
            let milliseconds = self.expected_ms().min(u64::from(u32::MAX));
            milliseconds * 1000 + OVERHEAD_US
        })
    }

    /// Whether the subjob is never prefetched: it may be why a slave was lost, or it would be counted against the slave
    /// again without reason.
    pub(crate) fn is_watched(&self) -> bool {
        self.mishaps().slaves_lost > 0
            || self.mishaps().wasted > 0
            || self.attempts >= MAX_AHEAD_AGAIN
    }
}

impl Build {
    /// The expected duration of an atom without one of its own, in microseconds: the mean of those that ended.
    pub(crate) fn mean_us(&self) -> Option<u64> {
        let standing = &self.standing;
        match (standing.ended_ms * 1000).checked_div(standing.ended) {
            Some(mean) => Some(mean + OVERHEAD_US),
            None => self.has_batches().then_some(BATCHED_UNKNOWN_US),
        }
    }

    /// The expected duration of all unstarted subjobs in microseconds, as far as it is known.
    pub(crate) fn left_us(&self) -> Option<u64> {
        let unstarted = &self.progress()?.unstarted;
        let front = self.subjob(unstarted.front()?)?;
        let number = unstarted.len() as u64;
        match front.known_us() {
            Some(_) => {
                let known = unstarted.expected_ms().saturating_mul(1000);
                Some(known.saturating_add(OVERHEAD_US * number))
            }
            None => self.mean_us().map(|mean| mean.saturating_mul(number)),
        }
    }
}

/// How much is prefetched of a build.
struct Terms {
    window_us: u64,
    taper: u64,
    last_us: u64,
    most: usize,
}

impl Terms {
    fn of(build: &Build) -> Self {
        match build.has_batches() {
            true => Self {
                window_us: BATCHED_WINDOW_US,
                taper: BATCHED_TAPER,
                last_us: BATCHED_LAST_US,
                most: MAX_BATCHED,
            },
            false => Self {
                window_us: WINDOW_US,
                taper: TAPER,
                last_us: LAST_US,
                most: MAX_WAITING,
            },
        }
    }
}

/// The subjob of a build that a slave may prefetch. `mean_of` gives the expected duration of atoms of a build that have
/// none of their own.
pub(crate) fn next(
    slave: &Slave,
    build: &Build,
    mean_of: impl Fn(&Portion) -> Option<u64>,
) -> Option<SubjobId> {
    let executors = slave.num_executors as usize;
    if slave.is_legacy {
        return None;
    }
    let id = build.progress()?.unstarted.front()?;
    let subjob = build.subjob(id)?;
    let terms = Terms::of(build);
    let waiting = slave.running.len().saturating_sub(executors);
    if subjob.is_watched() || waiting >= (executors * terms.most).min(MAX_WAITING_ON_SLAVE) {
        return None;
    }
    // Executors that are busy for long take no prefetched subjob soon.
    let portions = slave.load.portions();
    let mut moving = executors;
    for portion in portions {
        let is_long = mean_of(portion).is_none_or(|mean| mean > LONG_US);
        let unknown = if is_long { portion.unknown } else { 0 };
        moving = moving.saturating_sub((portion.long + unknown).min(portion.executors));
    }
    let own = slave.load.of(build.id);
    let is_next = moving > 0 && gets_next_executor(portions, own, build);
    let may_wait = || {
        let takes = subjob.known_us().or_else(|| build.mean_us())?;
        (takes <= LONG_US && !is_limited(build, executors)).then_some(takes)
    };
    let fits = |takes: u64| {
        let moving = moving as u64;
        let (part, whole) = slave.load.part_of(build.id, build.rank());
        let waits = own.map_or(0, |own| {
            let unknown = build.mean_us().unwrap_or(0) * own.unknown as u64;
            (own.known_us + unknown) * own.waiting() as u64 / own.held as u64
        });
        let standing = &build.standing;
        let workers = standing.executors.max(executors) as u64;
        let left = build.left_us().unwrap_or(0);
        // Slaves that still set the build up will take their part of the rest.
        let all = (standing.ready_executors + standing.coming).max(executors);
        let ahead = build.num_running().saturating_sub(standing.executors) as u64;
        let even = (left + ahead * takes) / all as u64;
        let tapered = (left / (terms.taper * workers)).max(even.min(terms.last_us));
        // A slave that is the only one need leave nothing to others: it makes batches of what it has.
        let is_only = build.has_batches() && all == executors;
        let tapered = if is_only { terms.window_us } else { tapered };
        // A single subjob may be longer than the window, but not at the end of the build.
        waits + takes <= terms.window_us.min(tapered) * moving * part / whole
            || waits == 0 && takes <= tapered * moving
    };
    (is_next || may_wait().is_some_and(fits)).then_some(id)
}

/// Whether a build has so few executors of a slave beside others that the slave starts its next subjob as soon as an
/// executor is idle: then the subjob does not wait for long.
fn gets_next_executor(portions: &[Portion], own: Option<&Portion>, build: &Build) -> bool {
    let (held, executors) = own.map_or((0, 0), |own| (own.held, own.executors));
    let least = (executors + 2).min(2 * executors + 1) as u64;
    // A build that never ran anywhere has had no time of this slave yet either, whatever its weight.
    let is_new = executors == 0 && build.standing.ended == 0;
    let rank = build.rank();
    let gives = |other: &Portion| {
        if is_new || other.rank.priority != rank.priority {
            return other.executors as u64 >= least;
        }
        other.executors as u64 * u64::from(rank.weight) >= least * u64::from(other.rank.weight)
    };
    held == executors && portions.iter().any(gives)
}

/// Whether limits keep the build from all executors of its slaves: then a prefetched subjob would count as running.
fn is_limited(build: &Build, executors: usize) -> bool {
    build.max_executors() < build.standing.ready_executors
        || build.max_executors_per_slave() < executors
}
