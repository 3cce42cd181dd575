//! Sessions whose users have signed out. Their number is bounded: beyond it those that would end first are forgotten, and
//! a restart of the master forgets all, so that a cookie that somebody has copied opens again until its own end.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::lock::lock;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

/// How many are remembered.
const MOST: usize = 10_000;

/// What has ended. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(Arc<Mutex<Remembered>>);

/// The same sessions twice: looked up with each request, and in the order in which they would end.
#[derive(Debug, Default)]
struct Remembered {
    nonces: HashSet<String>,
    by_end: BTreeSet<(Timestamp, String)>,
}

impl Ended {
    /// Ends the session with this nonce, which would have ended by itself at `expires`.
    pub(super) fn add(&self, nonce: &str, expires: Timestamp, now: Timestamp) {
        let mut ended = lock(&self.0);
        ended.nonces.insert(nonce.to_owned());
        ended.by_end.insert((expires, nonce.to_owned()));
        while let Some((expires, nonce)) = ended.by_end.pop_first() {
            if expires > now && ended.by_end.len() < MOST {
                ended.by_end.insert((expires, nonce));
                return;
            }
            ended.nonces.remove(&nonce);
        }
    }

    /// Whether the session with this nonce was ended.
    pub(super) fn has(&self, nonce: &str) -> bool {
        lock(&self.0).nonces.contains(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_remembered_until_it_would_have() {
        let ended = Ended::default();
        ended.add("a", Timestamp(10), Timestamp(1));
        ended.add("b", Timestamp(20), Timestamp(1));
        assert!(ended.has("a") && ended.has("b") && !ended.has("c"));
        ended.add("c", Timestamp(30), Timestamp(10));
        assert!(!ended.has("a") && ended.has("b") && ended.has("c"));
    }

    #[test]
    fn the_number_is_bounded() {
        let ended = Ended::default();
        for nonce in 0..=MOST as u64 {
            ended.add(&nonce.to_string(), Timestamp(nonce + 2), Timestamp(1));
        }
        assert!(!ended.has("0") && ended.has("1") && ended.has(&MOST.to_string()));
    }
}
