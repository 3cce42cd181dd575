//! How busy a slave was in each minute of the last hour. Pure: times since the start of the master come in as arguments.

use std::time::Duration;

/// How many minutes are kept.
const MINUTES: usize = 60;

/// The milliseconds of a minute.
const MINUTE: u64 = 60_000;

/// The last hour of a slave. Its size does not depend on what the slave runs.
#[derive(Clone, Debug)]
pub(super) struct LoadOfHour([Minute; MINUTES]);

/// What was seen of one minute.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    /// Which one since the start of the master.
    number: u64,
    /// For how many milliseconds it is known how busy the slave was.
    seen_ms: u64,
    /// The sum of the shares of executors that worked, each times its milliseconds.
    busy_ms: f64,
}

impl Default for LoadOfHour {
    fn default() -> Self {
        Self([Minute::default(); MINUTES])
    }
}

/// Where a minute is kept.
fn slot(number: u64) -> usize {
    usize::try_from(number % MINUTES as u64).unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl LoadOfHour {
    /// From `from` until `to` this share of the executors worked. An earlier time than those before counts nothing.
    pub(super) fn add(&mut self, from: Duration, to: Duration, share: f64) {
        let (mut from, to) = (milliseconds(from), milliseconds(to));
        while from < to {
            let number = from / MINUTE;
            let end = to.min((number + 1) * MINUTE);
            let minute = &mut self.0[slot(number)];
            if minute.number < number {
                *minute = Minute {
                    number,
                    ..Minute::default()
                };
            }
            if minute.number == number {
                minute.seen_ms += end - from;
                minute.busy_ms += share * (end - from) as f64;
            }
            from = end;
        }
    }

    /// The share of executors that worked in each minute, the oldest first, from 0 to 1 with three digits; none where it
    /// is not known. The last one is the minute of `now`. Empty if nothing of it is known.
    pub(super) fn shares(&self, now: Duration) -> Vec<Option<f64>> {
        let last = milliseconds(now).saturating_sub(1) / MINUTE;
        let share = |past: usize| {
            let number = last.checked_sub(past as u64)?;
            let minute = &self.0[slot(number)];
            let is_known = minute.number == number && minute.seen_ms > 0;
            is_known.then(|| (1000.0 * minute.busy_ms / minute.seen_ms as f64).round() / 1000.0)
        };
        let shares: Vec<_> = (0..MINUTES).rev().map(share).collect();
        match shares.iter().all(Option::is_none) {
            true => Vec::new(),
            false => shares,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_time_over_several_minutes_counts_in_each() {
        let mut load = LoadOfHour::default();
        load.add(seconds(50), seconds(130), 0.5);
        load.add(seconds(130), seconds(140), 1.0);
        let shares = load.shares(seconds(140));
        assert_eq!(shares[57..], [Some(0.5), Some(0.5), Some(0.75)]);
        assert_eq!(shares.iter().flatten().count(), 3);
    }

    #[test]
    fn a_minute_that_is_over_is_the_last_one_until_the_next_is_seen() {
        let mut load = LoadOfHour::default();
        load.add(seconds(0), seconds(60), 0.25);
        assert_eq!(load.shares(seconds(60))[59], Some(0.25));
        assert_eq!(load.shares(seconds(61))[58..], [Some(0.25), None]);
    }

    #[test]
    fn after_an_hour_a_minute_is_forgotten() {
        let mut load = LoadOfHour::default();
        for minute in 0..200 {
            let share = f64::from(u32::try_from(minute).unwrap() % 2);
            load.add(seconds(60 * minute), seconds(60 * minute + 60), share);
        }
        let shares = load.shares(seconds(200 * 60));
        assert_eq!(shares.iter().flatten().sum::<f64>(), 30.0);
        assert_eq!(shares.iter().flatten().count(), 60);
        // Nobody looked since: the hour passes all the same.
        let shares = load.shares(seconds(259 * 60));
        assert_eq!(shares.iter().flatten().count(), 1);
        assert_eq!(load.shares(seconds(500 * 60)), []);
        // Time does not go back.
        load.add(seconds(0), seconds(60), 1.0);
        assert_eq!(load.shares(seconds(0)), []);
    }
}
