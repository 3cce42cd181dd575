//! Times as this API shows them.

use clusterrunner_common::clock::Timestamp;

/// When something of an app, or an SSH key, was made or changed: whole seconds.
pub(super) fn shown(at: Timestamp) -> String {
    civil(at, "%Y-%m-%dT%H:%M:%SUTC")
}

/// When something happened to a user, in milliseconds.
pub(super) fn of_user(at: Timestamp) -> String {
    civil(at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn civil(at: Timestamp, form: &str) -> String {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
    at.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_two_forms_of_the_original() {
        let at = Timestamp(1_413_756_060_601);
        assert_eq!(shown(at), "2014-10-19T22:01:00UTC");
        assert_eq!(of_user(at), "2014-10-19T22:01:00.601Z");
        assert_eq!(of_user(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert!(shown(Timestamp(u64::MAX)).starts_with("9999-12-"));
    }
}
