//! Builds as this API shows them: the newest of each name.

use crate::http::binder::phases::{self, Cause, Course, Phase};
use crate::http::binder::{source, times};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::build::Build;
use serde::Serialize;

/// The record of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::http::binder) struct BuildView {
    name: String,
    display_name: String,
    /// The repository once more, in the answer to a request for a build.
    #[serde(skip_serializing_if = "Option::is_none")]
    repo: Option<String>,
    repository: String,
    start_time: String,
    phase: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a build says, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http::binder) struct Known {
    pub(in crate::http::binder) build: BuildId,
    source: Option<(String, String)>,
    started: Timestamp,
    phase: Phase,
    course: Course,
}

impl Known {
    /// What a build says.
    pub(in crate::http::binder) fn of(build: &Build) -> Self {
        let (phase, course) = phases::of(build);
        Self {
            build: build.id,
            source: source::shown(&build.request.project),
            started: build.timestamps.queued.unwrap_or(Timestamp(0)),
            phase,
            course,
        }
    }

    /// Whether only what the build printed says why it failed.
    pub(in crate::http::binder) fn has_printed_cause(&self) -> bool {
        self.course == Course::Failed(Cause::Printed)
    }

    /// The record under a name; `printed` is what the build said at its end.
    pub(in crate::http::binder) fn view(self, name: &str, printed: Option<String>) -> BuildView {
        let own = || (name.to_owned(), name.to_owned());
        let (repository, display_name) = self.source.unwrap_or_else(own);
        let status = self.course.word();
        let error = match self.course {
            Course::Running | Course::Completed => None,
            Course::Failed(Cause::Said(reason)) => Some(reason),
            Course::Failed(Cause::Printed) => {
                Some(printed.unwrap_or_else(|| "The build failed; its log says why.".to_owned()))
            }
        };
        BuildView {
            name: name.to_owned(),
            display_name,
            repo: None,
            repository,
            start_time: times::shown(self.started),
            phase: self.phase.word(),
            status,
            error,
        }
    }
}

impl BuildView {
    /// The record of a build that was accepted just now.
    pub(in crate::http::binder) fn begun(
        name: &str,
        display_name: &str,
        repository: &str,
        at: Timestamp,
    ) -> Self {
        Self {
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            repo: Some(repository.to_owned()),
            repository: repository.to_owned(),
            start_time: times::shown(at),
            phase: Phase::Fetching.word(),
            status: Course::Running.word(),
            error: None,
        }
    }
}
