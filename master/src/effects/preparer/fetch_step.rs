//! The fetch of a project as a step of its build: what was fetched, or why that failed.
//!
//! The build does not depend on it: what can not be written is missing.

use super::error::PreparationError;
use crate::store::results::StoredStep;
use clusterrunner_common::api::{StepEnd, StepKind};
use clusterrunner_common::clock::Timestamp;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

/// Where it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FetchFiles {
    /// What there is to say.
    pub(super) output: PathBuf,
    /// What becomes the description once it is whole.
    pub(super) begun: PathBuf,
    /// How it ended, as [`StoredStep`].
    pub(super) description: PathBuf,
}

/// A fetch that is under way.
#[derive(Debug)]
pub(super) struct FetchStep {
    files: FetchFiles,
    began_at: Timestamp,
}

impl FetchStep {
    pub(super) fn begin(files: FetchFiles) -> Self {
        Self {
            files,
            began_at: Timestamp::now(),
        }
    }

    /// All is here: the project at this commit, and these files.
    pub(super) fn succeeded(self, commit: Option<&str>, files: &IndexMap<String, String>) {
        let mut text = String::new();
        if let Some(commit) = commit {
            writeln!(text, "Checked out commit {commit}.").ok();
        }
        for name in files.keys() {
            writeln!(text, "Fetched the remote file {name}.").ok();
        }
        self.write(&text, Some(0)).ok();
    }

    /// Something could not be fetched.
    pub(super) fn failed(self, error: &PreparationError) {
        self.write(&format!("{error}\n"), None).ok();
    }

    fn write(self, text: &str, exit_code: Option<i32>) -> io::Result<()> {
        let step = StoredStep {
            kind: StepKind::Fetch,
            slave: None,
            end: StepEnd {
                exit_code,
                trouble: exit_code.is_none().then(|| "failed".to_owned()),
                began_at_ms: self.began_at,
                ended_at_ms: Timestamp::now(),
                output_bytes: text.len() as u64,
            },
        };
        let description = serde_json::to_vec(&step)?;
        if let Some(directory) = self.files.output.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&self.files.output, text)?;
        if let Some(directory) = self.files.begun.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&self.files.begun, description)?;
        std::fs::rename(&self.files.begun, &self.files.description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::results::{FETCH, Results};
    use clusterrunner_common::ids::BuildId;

    const BUILD: BuildId = BuildId(7);

    /// What is stored of a fetch: its exit code and its output.
    fn stored(end: impl FnOnce(FetchStep)) -> (Option<i32>, String) {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        let [output, begun, description] = results.fetch_files(BUILD);
        let step = FetchStep::begin(FetchFiles {
            output,
            begun,
            description,
        });
        assert_eq!(results.steps(BUILD).unwrap(), []);
        end(step);
        let steps = results.steps(BUILD).unwrap();
        let [(FETCH, step)] = &steps[..] else {
            panic!("{steps:?}");
        };
        assert_eq!(step.kind, StepKind::Fetch);
        let output = results.step_output(BUILD, FETCH).unwrap();
        (step.end.exit_code, io::read_to_string(output).unwrap())
    }

    #[test]
    fn a_fetch_is_a_step_with_what_it_says() {
        let files = IndexMap::from([("a.zip".to_owned(), "https://h/a".to_owned())]);
        assert_eq!(
            stored(|step| step.succeeded(Some("c0ffee"), &files)),
            (
                Some(0),
                "Checked out commit c0ffee.\nFetched the remote file a.zip.\n".to_owned()
            )
        );
        let error = PreparationError::NoProjectDirectory("x".to_owned());
        let (exit_code, output) = stored(|step| step.failed(&error));
        assert_eq!(exit_code, None);
        assert!(output.contains("no directory \"x\""), "{output}");
    }
}
