//! What a build has come to. Pure.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::work::BuildEvent;
use clusterrunner_core::builds::build::{Build, BuildState};

/// All events of a build so far, each with its moment, in their order. When a first atom failed is not stored: `now` stands
/// for it while the build goes on, and later the build's end.
pub(super) fn events(build: &Build, now: Timestamp) -> Vec<(BuildEvent, Timestamp)> {
    let times = &build.timestamps;
    let end = match build.state {
        BuildState::Finished => Some((BuildEvent::Finished, times.finished)),
        BuildState::Error { .. } => Some((BuildEvent::Error, times.error)),
        BuildState::Canceled => Some((BuildEvent::Canceled, times.canceled)),
        BuildState::Queued
        | BuildState::Preparing
        | BuildState::Prepared
        | BuildState::Building(_)
        | BuildState::Split
        | BuildState::Archiving => None,
    };
    let end = end.map(|(event, at)| (event, at.unwrap_or(now)));
    let failing = (build.atoms_failed > 0).then(|| end.map_or(now, |(_, at)| at));
    let all = [
        (BuildEvent::Queued, times.queued),
        (BuildEvent::Preparing, times.preparing),
        (BuildEvent::Prepared, times.prepared),
        (BuildEvent::Building, times.building),
        (BuildEvent::Failing, failing),
    ];
    let all = all.into_iter();
    let all = all.filter_map(|(event, at)| Some((event, at?)));
    all.chain(end).collect()
}

/// The latest event of a build, which is the last one of [`events`].
pub(super) fn latest(build: &Build) -> BuildEvent {
    let times = &build.timestamps;
    match build.state {
        BuildState::Finished => BuildEvent::Finished,
        BuildState::Error { .. } => BuildEvent::Error,
        BuildState::Canceled => BuildEvent::Canceled,
        // By the times, not by the state: where the master died meanwhile a build is prepared again.
        BuildState::Queued
        | BuildState::Preparing
        | BuildState::Prepared
        | BuildState::Building(_)
        | BuildState::Split
        | BuildState::Archiving => match (times.building, times.prepared, times.preparing) {
            _ if build.atoms_failed > 0 => BuildEvent::Failing,
            (Some(_), _, _) => BuildEvent::Building,
            (None, Some(_), _) => BuildEvent::Prepared,
            (None, None, Some(_)) => BuildEvent::Preparing,
            (None, None, None) => BuildEvent::Queued,
        },
    }
}
