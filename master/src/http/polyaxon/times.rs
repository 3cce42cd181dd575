//! Times as this API shows them and takes them: ISO 8601 with microseconds and an offset.

use clusterrunner_common::clock::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 60 * 60 * SECOND;

/// The forms of a date with a time, the shortest first, and how many microseconds each leaves open. A space may stand in
/// the place of `T`.
const FORMS: [(&str, i64); 3] = [
    ("%Y-%m-%dT%H:%M", 60 * SECOND),
    ("%Y-%m-%dT%H:%M:%S", SECOND),
    ("%Y-%m-%dT%H:%M:%S%.f", 1),
];

/// A time as it is shown.
pub(super) fn shown(at: Timestamp) -> String {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// What a caller means by a time: the whole day where only the date is said, the whole second where no fraction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// Its first microsecond since 1970.
    start: i64,
    /// The first one behind it.
    end: i64,
}

impl Period {
    /// A date, or a date and a time, with or without an offset; without one, UTC is meant.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (date, time) = (text.get(..10)?, text.get(10..)?);
        if !text.is_ascii() {
            return None;
        }
        let (time, offset) = split_offset(time)?;
        let (civil, length) = match time {
            "" => (date.parse::<Date>().ok()?.into(), DAY),
            time => date_and_time(&format!("{date}{}", time.replacen(' ', "T", 1)))?,
        };
        let start = offset.to_timestamp(civil).ok()?.as_microsecond();
        let end = start.saturating_add(length);
        Some(Self { start, end })
    }

    /// Whether it begins after a time.
    pub(super) fn is_after(self, at: Timestamp) -> bool {
        microseconds(at) < self.start
    }

    /// Whether it ends before a time.
    pub(super) fn is_before(self, at: Timestamp) -> bool {
        microseconds(at) >= self.end
    }
}

fn microseconds(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// A date with a time, and how many microseconds it leaves open.
fn date_and_time(text: &str) -> Option<(DateTime, i64)> {
    let mut forms = FORMS.iter();
    forms.find_map(|(form, length)| Some((DateTime::strptime(form, text).ok()?, *length)))
}

/// Divides what follows a date into the time and the offset behind it.
fn split_offset(time: &str) -> Option<(&str, Offset)> {
    if let Some(utc) = time.strip_suffix(['Z', 'z']) {
        return Some((utc, Offset::UTC));
    }
    // A plus sign that was not encoded in a URL arrives as a space.
    let Some(sign) = time.rfind(['+', '-', ' ']).filter(|at| *at > 0) else {
        return Some((time, Offset::UTC));
    };
    let digits = time[sign + 1..].replacen(':', "", 1);
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = |digits: &str| digits.parse::<i32>().ok();
    let (hours, minutes) = (number(&digits[..2])?, number(&digits[2..])?);
    let seconds = 60 * (60 * hours + minutes);
    let seconds = match &time[sign..=sign] {
        "-" => -seconds,
        _ => seconds,
    };
    let offset = Offset::from_seconds(seconds)
        .ok()
        .filter(|_| minutes < 60)?;
    Some((&time[..sign], offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_has_microseconds_and_an_offset() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (1_534_709_195_963, "2018-08-19T20:06:35.963000+00:00"),
            (951_782_400_001, "2000-02-29T00:00:00.001000+00:00"),
        ] {
            assert_eq!(shown(Timestamp(milliseconds)), text);
        }
        assert!(shown(Timestamp(u64::MAX)).starts_with("9999-12-3"));
    }

    fn has(period: Period, milliseconds: u64) -> bool {
        let at = Timestamp(milliseconds);
        !period.is_after(at) && !period.is_before(at)
    }

    #[track_caller]
    fn check(text: &str, first: u64, last: u64) {
        let period = Period::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert!(has(period, first), "{text}");
        assert!(has(period, last), "{text}");
        assert!(period.is_after(Timestamp(first - 1)), "{text}");
        assert!(period.is_before(Timestamp(last + 1)), "{text}");
    }

    #[test]
    fn a_time_is_taken_as_exactly_as_it_is_said() {
        let midnight = 1_534_636_800_000;
        check("2018-08-19", midnight, midnight + 86_399_999);
        let minute = 1_534_709_160_000;
        check("2018-08-19 20:06", minute, minute + 59_999);
        let second = minute + 35_000;
        for text in [
            "2018-08-19T20:06:35",
            "2018-08-19 20:06:35",
            " 2018-08-19T20:06:35Z ",
            "2018-08-19T22:06:35+02:00",
            "2018-08-19T22:06:35+0200",
            "2018-08-19T22:06:35 02:00",
            "2018-08-19T15:36:35-04:30",
        ] {
            check(text, second, second + 999);
        }
        let exact = second + 963;
        for text in [
            "2018-08-19T20:06:35.963",
            "2018-08-19T22:06:35.963000+02:00",
        ] {
            check(text, exact, exact);
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2018",
            "2018-08",
            "2018-13-01",
            "2018-02-30",
            "2018-08-19T",
            "2018-08-19T25:00",
            "2018-08-19T20:06:35+25:99",
            "2018-08-19T20:06:35+2",
            "2018-08-19+02:00x",
            "2018-08-1９T20:06",
            "2018-08-19T20:06:35.",
            "ÄÄÄÄÄÄÄÄÄÄÄÄ",
        ] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_taken(milliseconds in 0_u64..253_000_000_000_000) {
            let at = Timestamp(milliseconds);
            let period = Period::parse(&shown(at)).unwrap();
            prop_assert!(has(period, milliseconds));
            prop_assert!(period.is_before(Timestamp(milliseconds + 1)));
        }

        #[test]
        fn any_text_is_a_time_or_not(text in ".{0,40}") {
            let period = Period::parse(&text);
            prop_assert!(period.is_none_or(|period| period.start < period.end));
        }
    }
}
