//! Times as this API shows them: ISO 8601 in UTC, with milliseconds.

use clusterrunner_common::clock::Timestamp;

/// A time as it is shown.
pub(super) fn shown(at: Timestamp) -> String {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_milliseconds() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_458_884_567_315, "2016-03-25T05:42:47.315Z"),
            (951_782_400_010, "2000-02-29T00:00:00.010Z"),
        ] {
            assert_eq!(shown(Timestamp(milliseconds)), text);
        }
        assert!(shown(Timestamp(u64::MAX)).starts_with("9999-12-3"));
    }
}
