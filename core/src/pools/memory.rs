//! What is remembered of a pool between two looks. After a restart of the master it begins anew: idle slaves stay a little
//! longer then, and a provider that failed is tried once more.

use super::reason::since;
use super::requests::Stage;
use super::terms::ms;
use clusterrunner_common::clock::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long nothing is started after a first failure; twice as long after each further one.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest that nothing is started.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// After which time something is ended once more that is still there.
pub const END_AGAIN: Duration = Duration::from_secs(30);

/// What can fail of a pool. A success of one says nothing of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What is started: the command that does so, or a slave that does not come.
    Starts,
    /// Slaves that have come: they are quarantined.
    Slaves,
    /// What ends machines and jobs.
    Stops,
    /// What lists them.
    Lists,
}

/// Failures of one part in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many.
    pub(super) failures: u32,
    /// When the last one was.
    pub(super) last: Timestamp,
    /// Until when nothing is started for it.
    pub(super) paused_until: Timestamp,
    /// What the last one was.
    pub(super) what: String,
}

/// What is remembered of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Where what was started stands and since when, by its name.
    pub(super) seen: BTreeMap<String, (Stage, Timestamp)>,
    /// Since when more is queued than is wanted.
    pub(super) surplus_since: Option<Timestamp>,
    /// What fails, and how often in a row.
    runs: BTreeMap<Part, Run>,
    /// What was to end by its provider, and when that was asked for last.
    ended: BTreeMap<String, Timestamp>,
    /// Those whose slaves were noted as quarantined.
    sick: BTreeSet<String>,
    /// How often something failed in this life of the master.
    pub(super) failed: u64,
    /// What failed last, and when.
    pub(super) last_failure: Option<(Timestamp, String)>,
}

impl Memory {
    /// Something failed. Nothing is started for a while then; what is there is listed and ended all the same.
    pub fn note_failure(&mut self, part: Part, at: Timestamp, what: String) {
        self.failed += 1;
        self.last_failure = Some((at, what.clone()));
        let before = self.runs.get(&part).map_or(0, |run| run.failures);
        let pause = ms(FIRST_PAUSE)
            .saturating_mul(1 << before.min(16))
            .min(ms(LONGEST_PAUSE));
        let run = Run {
            failures: before.saturating_add(1),
            last: at,
            paused_until: Timestamp(at.0.saturating_add(pause)),
            what,
        };
        self.runs.insert(part, run);
    }

    /// A part does what it should.
    pub fn note_success(&mut self, part: Part) {
        self.runs.remove(&part);
    }

    /// Something went well of what was asked for at this time: what had failed before does so no more.
    fn note_success_of(&mut self, part: Part, asked: Timestamp) {
        self.runs
            .retain(|failed, run| *failed != part || asked <= run.last);
    }

    /// Something went wrong with a slave that had worked for a while: told, and no reason to pause.
    pub(super) fn note_mishap(&mut self, at: Timestamp, what: String) {
        self.failed += 1;
        self.last_failure = Some((at, what));
    }

    /// A slave has joined that was asked for at this time.
    pub(super) fn note_joined(&mut self, asked: Timestamp) {
        self.note_success_of(Part::Starts, asked);
    }

    /// A slave was healthy all its time, or for long, that was asked for at this time.
    pub(super) fn note_healthy(&mut self, asked: Timestamp) {
        self.note_success_of(Part::Slaves, asked);
    }

    /// The slave of this name is quarantined: noted once.
    pub(super) fn note_sick(&mut self, name: &str, now: Timestamp) {
        if self.sick.insert(name.to_owned()) {
            let what = format!("{name}: its slave was quarantined");
            self.note_failure(Part::Slaves, now, what);
        }
    }

    /// The provider is asked to end this.
    pub fn note_ending(&mut self, name: &str, now: Timestamp) {
        self.ended.insert(name.to_owned(), now);
    }

    /// Whether the provider was asked a moment ago to end this.
    pub(super) fn is_ending(&self, name: &str, now: Timestamp) -> bool {
        let asked = self.ended.get(name);
        asked.is_some_and(|asked| since(*asked, now) < ms(END_AGAIN))
    }

    /// Forgets what is not there any more. Where all has gone that was to end, nothing keeps failing to.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.ended.retain(|name, _| is_there(name));
        self.sick.retain(|name| is_there(name));
        if self.ended.is_empty() {
            self.runs.remove(&Part::Stops);
        }
    }

    /// What keeps the pool from starting slaves for longest.
    pub(super) fn pause(&self, now: Timestamp) -> Option<&Run> {
        let runs = self.runs.values().filter(|run| now < run.paused_until);
        runs.max_by_key(|run| run.paused_until)
    }

    /// For how long something stands where it does, in milliseconds.
    pub(super) fn seen_for(&self, name: &str, now: Timestamp) -> u64 {
        let seen = self.seen.get(name);
        seen.map_or(0, |(_, entered)| since(*entered, now))
    }

    /// Whether a slave has not come in time, and that was noted.
    pub(super) fn is_given_up(&self, name: &str) -> bool {
        let seen = self.seen.get(name);
        seen.is_some_and(|(stage, _)| *stage == Stage::GivenUp)
    }

    /// For how long a slave is idle, in milliseconds; 0 where it is not.
    pub(super) fn idle_for(&self, name: &str, now: Timestamp) -> u64 {
        let seen = self.seen.get(name);
        let idle = seen.filter(|(stage, _)| *stage == Stage::Idle);
        idle.map_or(0, |(_, entered)| since(*entered, now))
    }

    /// Whether nothing is started now because of what failed.
    #[must_use]
    pub fn is_paused(&self, now: Timestamp) -> bool {
        self.pause(now).is_some()
    }

    /// How often something failed in this life of the master.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// What failed last, and when.
    #[must_use]
    pub fn last_failure(&self) -> Option<&(Timestamp, String)> {
        self.last_failure.as_ref()
    }
}
