//! What is remembered of a pool between two looks. After a restart of the master it begins anew: idle slaves stay a little
//! longer then, and a provider that failed is tried once more.

use super::reason::since;
use super::requests::Stage;
use super::terms::ms;
use clusterrunner_common::clock::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a provider is left alone after its first failure; twice as long after each further one.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest that it is left alone.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is remembered of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Where what was started stands and since when, by its name.
    pub(super) seen: BTreeMap<String, (Stage, Timestamp)>,
    /// Since when more is queued than is wanted.
    pub(super) surplus_since: Option<Timestamp>,
    /// How often in a row something failed.
    pub(super) failures: u32,
    /// How often something failed in this life of the master.
    pub(super) failed: u64,
    /// Until when nothing is started.
    pub(super) paused_until: Option<Timestamp>,
    /// What failed last, and when.
    pub(super) last_failure: Option<(Timestamp, String)>,
}

impl Memory {
    /// Something failed: the provider, or a slave that it was to bring.
    pub fn note_failure(&mut self, at: Timestamp, what: String) {
        self.failures = self.failures.saturating_add(1);
        self.failed += 1;
        let doublings = (self.failures - 1).min(16);
        let pause = ms(FIRST_PAUSE)
            .saturating_mul(1 << doublings)
            .min(ms(LONGEST_PAUSE));
        self.paused_until = Some(Timestamp(at.0.saturating_add(pause)));
        self.last_failure = Some((at, what));
    }

    /// Something went wrong with a slave that had worked for a while: told, and no reason to pause.
    pub(super) fn note_mishap(&mut self, at: Timestamp, what: String) {
        self.failed += 1;
        self.last_failure = Some((at, what));
    }

    /// A slave has joined that was asked for at this time.
    pub(super) fn note_joined(&mut self, asked: Timestamp) {
        if self.last_failure.as_ref().is_none_or(|(at, _)| asked > *at) {
            self.failures = 0;
            self.paused_until = None;
        }
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
        self.paused_until.is_some_and(|until| now < until)
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
