//! Which signatures were used already.

use super::{ClaimedSignature, SignatureError};
use crate::clock::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// How many milliseconds a second has.
const SECOND_MS: u64 = 1000;

/// Remembers the signatures of the last while, so that each is good once.
///
/// The memory does not survive a restart, and need not: a new life has a new session, and what was signed for the
/// old one is refused for that.
#[derive(Debug)]
pub(crate) struct SeenSignatures {
    max_age: Duration,
    /// The end of what was forgotten: a clock that is set back makes nothing of it good again.
    forgotten_to: Timestamp,
    /// Nonces as numbers: there may be a million and more of them.
    seen: HashSet<u128>,
    /// The same, by the second in which they were made.
    by_second: BTreeMap<u64, Vec<u128>>,
}

impl SeenSignatures {
    /// Nothing seen yet.
    #[must_use]
    pub(crate) fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            forgotten_to: Timestamp(0),
            seen: HashSet::new(),
            by_second: BTreeMap::new(),
        }
    }

    /// Whether a signature may still be used, if it is one. Changes nothing that counts, so that strangers may
    /// ask.
    ///
    /// # Errors
    /// Too old, too new, or used before.
    pub(crate) fn check(
        &mut self,
        signature: &ClaimedSignature,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.forget_before(now);
        let time = signature.time;
        if time < self.forgotten_to || time.until(now) > self.max_age {
            return Err(SignatureError::TooOld);
        }
        if now.until(time) > self.max_age {
            return Err(SignatureError::TooNew);
        }
        if self.seen.contains(&signature.nonce_number()) {
            return Err(SignatureError::Replayed);
        }
        Ok(())
    }

    /// Uses a *verified* signature up. Call only after [`ClaimedSignature::verify`], so that
    /// strangers can not fill the memory.
    ///
    /// # Errors
    /// Too old, too new, or used before.
    pub(crate) fn use_up(
        &mut self,
        signature: &ClaimedSignature,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.check(signature, now)?;
        let nonce = signature.nonce_number();
        self.seen.insert(nonce);
        self.by_second
            .entry(signature.time.0 / SECOND_MS)
            .or_default()
            .push(nonce);
        Ok(())
    }

    /// What is so old that its age alone has it refused.
    fn forget_before(&mut self, now: Timestamp) {
        while let Some(oldest) = self.by_second.first_entry() {
            let last = Timestamp(*oldest.key() * SECOND_MS + SECOND_MS - 1);
            if last.until(now) <= self.max_age {
                break;
            }
            self.forgotten_to = self.forgotten_to.max(Timestamp(last.0 + 1));
            for nonce in oldest.remove() {
                self.seen.remove(&nonce);
            }
            // What a rush needed is given back after it.
            if self.seen.len() < self.seen.capacity() / 8 {
                self.seen.shrink_to(self.seen.len() * 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, signature_at};
    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(300);

    #[test]
    fn a_signature_is_good_once_and_for_a_while() {
        let mut seen = SeenSignatures::new(MAX_AGE);
        assert_eq!(seen.use_up(&signature_at(NOW, 1), NOW), Ok(()));
        assert_eq!(
            seen.use_up(&signature_at(NOW, 1), NOW),
            Err(SignatureError::Replayed)
        );
        let old = Timestamp(NOW.0 - 300_001);
        assert_eq!(
            seen.use_up(&signature_at(old, 2), NOW),
            Err(SignatureError::TooOld)
        );
        let new = Timestamp(NOW.0 + 300_001);
        assert_eq!(
            seen.use_up(&signature_at(new, 3), NOW),
            Err(SignatureError::TooNew)
        );
        let later = Timestamp(NOW.0 + 301_000);
        assert_eq!(seen.use_up(&signature_at(later, 4), later), Ok(()));
        assert_eq!(seen.seen.len(), 1, "what is too old anyway is forgotten");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_signature_good_again() {
        let mut seen = SeenSignatures::new(MAX_AGE);
        let early = signature_at(NOW, 1);
        assert_eq!(seen.use_up(&early, NOW), Ok(()));
        let later = Timestamp(NOW.0 + 400_000);
        assert_eq!(seen.use_up(&signature_at(later, 2), later), Ok(()));
        assert_eq!(seen.use_up(&early, NOW), Err(SignatureError::TooOld));
        let again = Timestamp(NOW.0 + 1000);
        assert_eq!(seen.use_up(&signature_at(again, 3), again), Ok(()));
    }

    #[test]
    fn who_only_asks_uses_nothing_up() {
        let mut seen = SeenSignatures::new(MAX_AGE);
        let signature = signature_at(NOW, 1);
        assert_eq!(seen.check(&signature, NOW), Ok(()));
        assert_eq!(seen.use_up(&signature, NOW), Ok(()));
        assert_eq!(seen.check(&signature, NOW), Err(SignatureError::Replayed));
    }
}
