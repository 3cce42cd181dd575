//! Names of 32 hexadecimal digits, made of what never changes about their bearers, so that none has to be stored.

use crate::http::uuids;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId};

/// The uuid of a build that was accepted at this time.
pub(super) fn of_build(id: BuildId, created: Timestamp) -> String {
    derived("build", id.0, created, 0)
}

/// The uuid of a project that was made, or began, at this time.
pub(super) fn of_project(id: ProjectId, created: Timestamp) -> String {
    derived("project", id.0, created, 0)
}

/// The uuid of the status at this place in the list of a build.
pub(super) fn of_status(build: BuildId, created: Timestamp, place: usize) -> String {
    derived("build status", build.0, created, place as u64)
}

/// A UUID of version 8.
fn derived(kind: &str, id: u64, created: Timestamp, place: u64) -> String {
    let named = format!("{kind} {id} of {}, {place}", created.0);
    hex::encode(uuids::derived(8, &named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn uuids_differ_and_stay() {
        let at = Timestamp(1_534_709_195_963);
        let mut all = BTreeSet::new();
        for id in 1..50 {
            all.insert(of_build(BuildId(id), at));
            all.insert(of_build(BuildId(id), Timestamp(at.0 + 1)));
            all.insert(derived("project", id, at, 0));
            all.extend((0..4).map(|place| of_status(BuildId(id), at, place)));
        }
        assert_eq!(all.len(), 49 * 7);
        for uuid in &all {
            assert_eq!(uuid.len(), 32);
            assert!(
                uuid.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            );
            assert_eq!(&uuid[12..13], "8");
        }
        assert_eq!(of_build(BuildId(7), at), of_build(BuildId(7), at));
    }
}
