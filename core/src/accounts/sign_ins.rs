//! Signing in to the page and out, and tries that fail. Nothing of it is a part of the state: it is told for the audit log.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::UserId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// For how long tries that fail are counted together, in milliseconds.
const WINDOW_MS: u64 = 60 * 60 * 1000;

/// How many addresses are counted each for itself within that time. All others are counted together.
const MOST_ADDRESSES: usize = 20;

/// With what somebody has signed in who logged in with no password: that is told of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedInWith {
    /// A token.
    Token,
    /// A link that somebody had made.
    Link,
}

/// What is told of signing in and out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInFact {
    /// Somebody has signed in to the page.
    SignedIn(SignedInWith),
    /// Somebody has signed out of it.
    SignedOut,
    /// Somebody has made a link that signs in once.
    LinkMade,
    /// Nobody was signed in.
    Failed(FailedSignIns),
}

/// How often nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedSignIns {
    /// How often by now, within an hour.
    pub number: u64,
    /// Whom the latest try named, if there is such a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Whether they came from many addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_many: bool,
}

impl fmt::Display for SignInFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn(SignedInWith::Token) => f.write_str("signed in with a token"),
            Self::SignedIn(SignedInWith::Link) => f.write_str("signed in with a link"),
            Self::SignedOut => f.write_str("signed out"),
            Self::LinkMade => f.write_str("made a link that signs in once"),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl fmt::Display for FailedSignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => f.write_str("1 sign-in failed")?,
            number => write!(f, "{number} sign-ins have failed within an hour")?,
        }
        if self.from_many {
            f.write_str(" from many addresses together")?;
        }
        match self.user {
            Some(user) => write!(f, ", the latest as user {user}"),
            None => Ok(()),
        }
    }
}

/// Counts tries that fail, so that strangers do not fill the audit log: of each address the 1st, the 10th, the 100th ... within
/// an hour is told.
#[derive(Debug)]
pub struct FailureCount<Address> {
    began: Option<Timestamp>,
    addresses: BTreeMap<Address, u64>,
    others: u64,
}

impl<Address> Default for FailureCount<Address> {
    fn default() -> Self {
        Self {
            began: None,
            addresses: BTreeMap::new(),
            others: 0,
        }
    }
}

impl<Address: Ord> FailureCount<Address> {
    /// Counts a try that failed, from an address if it is known; what is to be told of it, if anything is.
    pub fn note(
        &mut self,
        from: Option<Address>,
        user: Option<UserId>,
        at: Timestamp,
    ) -> Option<FailedSignIns> {
        // A clock that is set back begins anew, too.
        let passed = |began: Timestamp| at.0.checked_sub(began.0);
        if self.began.and_then(passed).is_none_or(|ms| ms >= WINDOW_MS) {
            *self = Self {
                began: Some(at),
                ..Self::default()
            };
        }
        let has_room = self.addresses.len() < MOST_ADDRESSES;
        let own = from.filter(|address| has_room || self.addresses.contains_key(address));
        let from_many = own.is_none();
        let count = match own {
            Some(address) => self.addresses.entry(address).or_default(),
            None => &mut self.others,
        };
        *count = count.saturating_add(1);
        let failed = FailedSignIns {
            number: *count,
            user,
            from_many,
        };
        is_power_of_ten(*count).then_some(failed)
    }
}

fn is_power_of_ten(mut number: u64) -> bool {
    while number >= 10 && number.is_multiple_of(10) {
        number /= 10;
    }
    number == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_1st_the_10th_and_the_100th_failure_of_an_address_are_told() {
        let mut count = FailureCount::default();
        let told = (0..500).filter_map(|_| count.note(Some(1), Some(UserId(3)), Timestamp(5)));
        let told: Vec<String> = told.map(|failed| failed.to_string()).collect();
        assert_eq!(
            told,
            [
                "1 sign-in failed, the latest as user 3",
                "10 sign-ins have failed within an hour, the latest as user 3",
                "100 sign-ins have failed within an hour, the latest as user 3",
            ]
        );
        assert_eq!(count.note(Some(1), None, Timestamp(WINDOW_MS + 4)), None);
        let later = count.note(Some(1), None, Timestamp(WINDOW_MS + 5));
        assert_eq!(later.unwrap().number, 1, "another hour");
        let earlier = count.note(Some(1), None, Timestamp(1));
        assert_eq!(earlier.unwrap().number, 1, "a clock that was set back");
    }

    #[test]
    fn however_many_addresses_fail_little_is_told() {
        let mut count = FailureCount::default();
        let tries = (0..100_000).filter_map(|number| count.note(Some(number), None, Timestamp(0)));
        let told: Vec<FailedSignIns> = tries.collect();
        let of_many = told.iter().filter(|failed| failed.from_many);
        assert_eq!(told.len() - of_many.clone().count(), MOST_ADDRESSES);
        let numbers: Vec<u64> = of_many.map(|failed| failed.number).collect();
        assert_eq!(numbers, [1, 10, 100, 1_000, 10_000]);
    }
}
