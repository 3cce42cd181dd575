//! What came of a build.

use clusterrunner_common::api::{AtomView, BuildResult, BuildStatus, BuildView};
use std::ops::Deref;

/// What came of a build, for one comparison.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran, and these atoms failed: their variables' values and exit codes.
    Ran {
        failed: Vec<(String, Option<i32>)>,
    },
    /// It could not be prepared or run.
    Error,
    Canceled,
    /// What no build may end with.
    Impossible(BuildStatus, Option<BuildResult>),
}

/// A build that is over.
#[derive(Debug)]
pub(crate) struct Over(pub(crate) BuildView);

impl Deref for Over {
    type Target = BuildView;

    fn deref(&self) -> &BuildView {
        &self.0
    }
}

impl Over {
    fn outcome(&self) -> Outcome {
        let failed = self.failed_atoms.iter().flatten();
        let failed: Vec<_> = failed.map(|atom| (value(atom), atom.exit_code)).collect();
        match (self.status, self.result) {
            (BuildStatus::Finished, Some(BuildResult::NoFailures)) if failed.is_empty() => {
                Outcome::Ran { failed }
            }
            (BuildStatus::Finished, Some(BuildResult::Failure)) if !failed.is_empty() => {
                Outcome::Ran { failed }
            }
            (BuildStatus::Error, _) => Outcome::Error,
            (BuildStatus::Canceled, _) => Outcome::Canceled,
            (status, result) => Outcome::Impossible(status, result),
        }
    }

    /// Every atom passed.
    #[track_caller]
    pub(crate) fn passes(self) -> Self {
        self.fails::<u32>(&[])
    }

    /// Just these atoms failed, with these exit codes.
    #[track_caller]
    pub(crate) fn fails<N: ToString>(self, atoms: &[(N, i32)]) -> Self {
        let failed = atoms
            .iter()
            .map(|(value, code)| (value.to_string(), Some(*code)));
        let failed = failed.collect();
        assert_eq!(self.outcome(), Outcome::Ran { failed }, "{self:#?}");
        self
    }

    /// It ended in `ERROR`, and its message has all of this.
    #[track_caller]
    pub(crate) fn errs(self, parts: &[&str]) -> Self {
        assert_eq!(self.outcome(), Outcome::Error, "{self:#?}");
        let message = self.error_message.as_deref().unwrap_or_default();
        for part in parts {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        self
    }

    /// It was canceled.
    #[track_caller]
    pub(crate) fn ends_canceled(self) -> Self {
        assert_eq!(self.outcome(), Outcome::Canceled, "{self:#?}");
        self
    }
}

/// The value in `export N="value";`.
fn value(atom: &AtomView) -> String {
    let command = &atom.command_string;
    let value = command.split_once("=\"").map(|(_, value)| value);
    let value = value.and_then(|value| value.strip_suffix("\";"));
    value.unwrap_or(command).to_owned()
}
