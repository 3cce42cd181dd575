//! How long the commands of a job may run: `600`, `10m` or `1h30m`, and 0 for no limit.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// About 31 years: beyond any command, and far from what a clock can not add.
const LONGEST: u64 = 1_000_000_000;

/// A limit in whole seconds; zero stands for "as long as it likes".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeLimit(u64);

impl TimeLimit {
    /// A limit of so many seconds. What is longer than 31 years is cut to that.
    #[must_use]
    pub(crate) fn from_seconds(seconds: u64) -> Self {
        Self(seconds.min(LONGEST))
    }

    /// Reads `600`, `90s`, `10m`, `1h30m` or `1d`; each unit once, the larger one first.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
        if let Some(seconds) = digits(text) {
            return Some(Self::from_seconds(seconds));
        }
        let mut rest = text;
        let mut seconds = 0_u64;
        for (unit, length) in UNITS {
            if let Some((number, after)) = rest.split_once(unit) {
                seconds = seconds.saturating_add(digits(number)?.saturating_mul(length));
                rest = after;
            }
        }
        let is_read = rest.is_empty() && !text.is_empty();
        is_read.then(|| Self::from_seconds(seconds))
    }

    /// The seconds; `None` where there is no limit.
    #[must_use]
    pub fn seconds(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }

    /// The limit; `None` where there is none.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        self.seconds().map(Duration::from_secs)
    }
}

/// `600 s`, or `no limit`.
impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds() {
            Some(seconds) => write!(f, "{seconds} s"),
            None => f.write_str("no limit"),
        }
    }
}

/// A whole number that is written in digits alone; too large ones count as the largest.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The limits of a job; what is not said is left to the farm's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// The limit of each atom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atom: Option<TimeLimit>,
    /// The limit of each atomizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomizer: Option<TimeLimit>,
    /// Of `setup_build` on one slave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<TimeLimit>,
    /// Of `teardown_build` on one slave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown: Option<TimeLimit>,
}

impl Timeouts {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, with `defaults` for what they do not say.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            atom: self.atom.or(defaults.atom),
            atomizer: self.atomizer.or(defaults.atomizer),
            setup: self.setup.or(defaults.setup),
            teardown: self.teardown.or(defaults.teardown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_seconds_or_numbers_with_units() {
        let seconds = |text: &str| TimeLimit::parse(text).map(|limit| limit.0);
        for (text, expected) in [
            ("600", 600),
            ("0", 0),
            ("90s", 90),
            ("10m", 600),
            ("1h30m", 5400),
            ("1d1h1m1s", 90_061),
            ("99999999999999999999", LONGEST),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for wrong in [
            "", "m", "1.5h", "-1", "+1", "1h 30m", "30m1h", "10m5", "1h1h", "ten", "5 m",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        assert_eq!(TimeLimit(0).duration(), None);
        assert_eq!(TimeLimit(0).to_string(), "no limit");
        assert_eq!(TimeLimit(90).to_string(), "90 s");
    }

    #[test]
    fn a_job_overrules_the_defaults_also_with_no_limit() {
        let limit = |seconds| Some(TimeLimit(seconds));
        let job = Timeouts {
            atom: limit(0),
            ..Timeouts::default()
        };
        let defaults = Timeouts {
            atom: limit(5),
            setup: limit(6),
            ..Timeouts::default()
        };
        let both = job.or(defaults);
        assert_eq!(
            (both.atom, both.setup, both.teardown),
            (limit(0), limit(6), None)
        );
    }
}
