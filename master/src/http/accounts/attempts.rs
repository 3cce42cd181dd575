//! How often log-ins may be tried: so often for each user, and so often from each address. A try counts when it begins and
//! not at all if it is right, so those who know their password are never kept out by themselves.
//!
//! One address alone gets fewer tries than a user has, so it can not keep a user out who logs in from elsewhere.

use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many tries there are at once, and after what time there is one more.
#[derive(Clone, Copy, Debug)]
struct Rate {
    at_once: u32,
    one_more: Duration,
}

const OF_A_USER: Rate = Rate {
    at_once: 20,
    one_more: Duration::from_secs(3),
};

const OF_AN_ADDRESS: Rate = Rate {
    at_once: 10,
    one_more: Duration::from_secs(6),
};

/// How many users and how many addresses are remembered. Beyond that those are forgotten that tried least.
const MOST_REMEMBERED: usize = 10_000;

/// Too many tries; there is one more after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many log-ins were tried; the next may come in {} s", .0.as_secs())]
pub(crate) struct TooMany(pub Duration);

impl TooMany {
    /// Whole seconds after which it is worth trying again, at least one.
    #[must_use]
    pub(crate) fn seconds(self) -> u64 {
        let begun = u64::from(self.0.subsec_nanos() > 0);
        (self.0.as_secs() + begun).max(1)
    }
}

/// Counts tries. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Names are long and of strangers: only a hash of each is kept, which nobody can foretell.
    hasher: RandomState,
    users: Table,
    addresses: Table,
}

/// A try that counts unless it turns out right.
#[derive(Debug)]
#[must_use]
pub(super) struct Attempt {
    counts: Arc<Mutex<Counts>>,
    user: u64,
    address: Option<u64>,
}

impl Attempts {
    /// Counts a try to log in as a user, from an address if it is known.
    ///
    /// # Errors
    /// There were too many of this user or from this address.
    pub(super) fn begin(
        &self,
        user: &str,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Attempt, TooMany> {
        let mut counts = lock(&self.counts);
        let user = counts.hash(user.to_lowercase());
        let address = address.map(|address| counts.hash(network(address)));
        // Both or none: a try that is refused costs nothing.
        if let Some(address) = address {
            counts.addresses.check(address, OF_AN_ADDRESS, now)?;
        }
        counts.users.check(user, OF_A_USER, now)?;
        counts.users.add(user, OF_A_USER, now);
        if let Some(address) = address {
            counts.addresses.add(address, OF_AN_ADDRESS, now);
        }
        Ok(Attempt {
            counts: Arc::clone(&self.counts),
            user,
            address,
        })
    }
}

impl Attempt {
    /// The password was right, or it was never looked at: the try does not count.
    pub(super) fn forgive(self) {
        let mut counts = lock(&self.counts);
        counts.users.take_back(self.user, OF_A_USER);
        if let Some(address) = self.address {
            counts.addresses.take_back(address, OF_AN_ADDRESS);
        }
    }
}

impl Counts {
    fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// What one subscriber has of the internet: the address itself, or 64 bits of one that is longer.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(long) => {
            let network = long.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        short @ IpAddr::V4(_) => short,
    }
}

/// For each key when all its tries are forgotten. What lies in the past says nothing.
#[derive(Debug, Default)]
struct Table(HashMap<u64, Instant>);

impl Table {
    fn check(&self, key: u64, rate: Rate, now: Instant) -> Result<(), TooMany> {
        let Some(forgotten) = self.0.get(&key) else {
            return Ok(());
        };
        let counted = forgotten.saturating_duration_since(now) + rate.one_more;
        let allowed = rate.one_more * rate.at_once;
        match counted.checked_sub(allowed) {
            Some(wait) if !wait.is_zero() => Err(TooMany(wait)),
            Some(_) | None => Ok(()),
        }
    }

    fn add(&mut self, key: u64, rate: Rate, now: Instant) {
        if self.0.len() >= MOST_REMEMBERED && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let forgotten = self.0.entry(key).or_insert(now);
        *forgotten = (*forgotten).max(now) + rate.one_more;
    }

    fn take_back(&mut self, key: u64, rate: Rate) {
        if let Some(forgotten) = self.0.get_mut(&key)
            && let Some(earlier) = forgotten.checked_sub(rate.one_more)
        {
            *forgotten = earlier;
        }
    }

    /// Forgets what says nothing any more, and at least half.
    fn make_room(&mut self, now: Instant) {
        let mut times: Vec<Instant> = self.0.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let oldest_kept = (*median).max(now);
        self.0.retain(|_, forgotten| *forgotten > oldest_kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn wrong_tries(attempts: &Attempts, user: &str, from: Option<IpAddr>, now: Instant) -> u32 {
        let tries = (0..1_000).map_while(|_| attempts.begin(user, from, now).ok());
        u32::try_from(tries.count()).unwrap()
    }

    #[test]
    fn an_address_has_some_tries_at_once_and_then_one_more_after_a_time() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        assert_eq!(wrong_tries(&attempts, "a", Some(HERE), start), 10);
        let refused = attempts.begin("b", Some(HERE), start).unwrap_err();
        assert_eq!(refused.seconds(), 6, "of whichever user");
        let elsewhere = "10.0.0.1".parse().unwrap();
        assert_eq!(wrong_tries(&attempts, "b", Some(elsewhere), start), 10);
        assert_eq!(wrong_tries(&attempts, "a", Some(HERE), after(start, 5)), 0);
        assert_eq!(wrong_tries(&attempts, "a", Some(HERE), after(start, 6)), 1);
        assert_eq!(
            wrong_tries(&attempts, "c", Some(HERE), after(start, 600)),
            10
        );
    }

    #[test]
    fn a_user_has_some_tries_however_many_addresses_try() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let tried = (0..100_u32).filter(|last| {
            let from = IpAddr::V4((0x0a00_0000 + last).into());
            attempts
                .begin(["user", "USER"][*last as usize % 2], Some(from), start)
                .is_ok()
        });
        assert_eq!(tried.count(), 20);
        assert_eq!(wrong_tries(&attempts, "other", None, start), 20);
    }

    #[test]
    fn one_address_does_not_keep_a_user_out() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        for second in 0..600 {
            wrong_tries(&attempts, "user", Some(HERE), after(start, second));
        }
        let elsewhere = Some("10.0.0.1".parse().unwrap());
        assert!(attempts.begin("user", elsewhere, after(start, 600)).is_ok());
    }

    #[test]
    fn right_passwords_do_not_count() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..1_000 {
            attempts.begin("user", Some(HERE), now).unwrap().forgive();
        }
        assert_eq!(wrong_tries(&attempts, "user", Some(HERE), now), 10);
    }

    #[test]
    fn a_long_address_counts_with_its_network() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let long = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(wrong_tries(&attempts, "a", long("2001:db8::1"), now), 10);
        assert_eq!(
            wrong_tries(&attempts, "a", long("2001:db8::ffff:0:1:2"), now),
            0
        );
        assert_eq!(
            wrong_tries(&attempts, "b", long("2001:db8:0:1::1"), now),
            10
        );
        assert_eq!(
            network("::ffff:10.0.0.1".parse().unwrap()).to_string(),
            "10.0.0.1"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        wrong_tries(&attempts, "user", Some(HERE), now);
        for number in 0..25_000_u32 {
            let from = Some(IpAddr::V4(number.into()));
            drop(attempts.begin(&number.to_string(), from, now).unwrap());
        }
        let counts = lock(&attempts.counts);
        assert!(counts.users.0.len() <= MOST_REMEMBERED);
        assert!(counts.addresses.0.len() <= MOST_REMEMBERED);
        drop(counts);
        assert_eq!(
            wrong_tries(&attempts, "user", Some(HERE), now),
            0,
            "who tried most is not forgotten"
        );
    }
}
