//! How far a build is, in the words of this API: computed from where it stands and when. Pure.

use clusterrunner_core::builds::build::{Build, BuildState};

/// What a build is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It waits, or its repository is cloned.
    Fetching,
    /// The template is made.
    Building,
    /// The template is stored.
    Registering,
    /// The template is registered.
    Finished,
}

/// How a build goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It is not over.
    Running,
    /// The template is registered.
    Completed,
    /// Something failed.
    Failed(Cause),
}

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// As this text says.
    Said(String),
    /// What the build printed last may say it.
    Printed,
}

impl Phase {
    /// Its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Building => "building",
            Self::Registering => "registering",
            Self::Finished => "finished",
        }
    }
}

impl Course {
    /// Its word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
        }
    }
}

/// The phase of a build, or the one in which it failed, and how it goes. Phases only move forward, also where a build
/// loses its slave.
pub(super) fn of(build: &Build) -> (Phase, Course) {
    match &build.state {
        BuildState::Queued
        | BuildState::Preparing
        | BuildState::Prepared
        | BuildState::Building(_)
        | BuildState::Split
        | BuildState::Archiving => (reached(build), Course::Running),
        BuildState::Finished if build.atoms_failed > 0 => {
            (Phase::Building, Course::Failed(Cause::Printed))
        }
        BuildState::Finished => (Phase::Finished, Course::Completed),
        BuildState::Error { reason } => {
            let cause = Cause::Said(reason.clone());
            (reached(build), Course::Failed(cause))
        }
        BuildState::Canceled => {
            let cause = Cause::Said("The build was canceled.".to_owned());
            (reached(build), Course::Failed(cause))
        }
    }
}

/// The last phase that a build has begun, unless that is the final one.
fn reached(build: &Build) -> Phase {
    let is_prepared = build.timestamps.prepared.is_some();
    // Where an earlier template is used again, there is nothing to run.
    let has_run = build.num_atoms == build.atoms_completed;
    let has_begun = build.timestamps.building.is_some();
    match (is_prepared && has_run, has_begun) {
        (true, _) => Phase::Registering,
        (false, true) => Phase::Building,
        (false, false) => Phase::Fetching,
    }
}
