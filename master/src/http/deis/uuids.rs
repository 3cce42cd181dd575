//! UUIDs as this API shows them: dashed, and of the form of version 4.

use crate::http::uuids;
use crate::read::app_uuids;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{InstanceId, UserId};
use clusterrunner_core::apps::app::{App, AppBuild, AppConfig};
use std::fmt::Display;

/// The uuid of an SSH key that a user added at this time.
pub(super) fn of_key(owner: UserId, id: &str, created: Timestamp) -> String {
    derived("SSH key", owner, created, id)
}

/// The uuid of an app.
pub(super) fn of_app(app: &App) -> String {
    derived("app", app.project, app.created, "")
}

/// The uuid of a config of an app: the log names it, too.
pub(super) fn of_config(app: &App, config: &AppConfig) -> String {
    app_uuids::of_config(app.project, config.number, config.created)
}

/// The uuid of a build of an app: the log names it, too.
pub(super) fn of_build(app: &App, build: &AppBuild) -> String {
    app_uuids::of_build(app.project, build.number, build.created)
}

/// The uuid of a release of an app.
pub(super) fn of_release(app: &App, version: u64) -> String {
    derived("release", app.project, app.created, version)
}

/// The uuid of a container that was asked for at this time.
pub(super) fn of_container(id: InstanceId, created: Timestamp) -> String {
    derived("container", id, created, "")
}

fn derived(kind: &str, of: impl Display, created: Timestamp, name: impl Display) -> String {
    let named = format!("{kind} of {of} of {}: {name}", created.0);
    let digits = hex::encode(uuids::derived(4, &named));
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn uuids_differ_and_stay() {
        let key = |user, id, at| of_key(UserId(user), id, Timestamp(at));
        let all = [
            key(1, "a", 1),
            key(2, "a", 1),
            key(1, "b", 1),
            key(1, "a", 2),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        for uuid in &all {
            let places: Vec<usize> = uuid.match_indices('-').map(|(place, _)| place).collect();
            assert_eq!((uuid.len(), places), (36, vec![8, 13, 18, 23]));
            assert_eq!(&uuid[14..15], "4");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
        assert_eq!(all[0], key(1, "a", 1));
    }
}
