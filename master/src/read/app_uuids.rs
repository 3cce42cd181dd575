//! The UUIDs of what an app has, made of what never changes about it. API and log show the same.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::ProjectId;
use sha2::{Digest as _, Sha256};

/// That of a config.
#[must_use]
pub(crate) fn of_config(project: ProjectId, number: u64, created: Timestamp) -> String {
    dashed("config", project, number, created)
}

/// That of an app build.
#[must_use]
pub(crate) fn of_build(project: ProjectId, number: u64, created: Timestamp) -> String {
    dashed("build", project, number, created)
}

/// Of version 4, as the API promises, and the usual variant, as RFC 9562 says.
fn dashed(kind: &str, project: ProjectId, number: u64, created: Timestamp) -> String {
    let at = created.0;
    let digest = Sha256::digest(format!("{kind} of app {project} of {at}: {number}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = hex::encode(bytes);
    for place in [20, 16, 12, 8] {
        text.insert(place, '-');
    }
    text
}
