//! The tests of a build. Ours.

use crate::ids::{AtomId, SubjobId};
use crate::junit::TestOutcome;
use serde::{Deserialize, Serialize};

/// A test: one that a report of an atom names, or an atom itself that left no report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestView {
    /// Its name; of an atom its value.
    pub name: String,
    /// Its class, module or suite, where the report names one.
    pub class: Option<String>,
    /// The file that it is in, where the report names one.
    pub file: Option<String>,
    /// How long it took, in seconds, where that is known.
    pub time: Option<f64>,
    /// How it ended.
    pub outcome: TestOutcome,
    /// The value of the atom that ran it.
    pub atom: String,
    /// Why it did not just pass; of several lines.
    pub message: Option<String>,
    /// The subjob of that atom.
    pub subjob_id: SubjobId,
    /// Its number in the subjob.
    pub atom_id: AtomId,
}

/// How many tests of a build ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCounts {
    /// As they should.
    pub passed: u64,
    /// Not so.
    pub failed: u64,
    /// They were not run.
    pub skipped: u64,
    /// They passed when they ran again.
    pub flaky: u64,
}

impl TestCounts {
    /// Counts one more.
    pub fn add(&mut self, outcome: TestOutcome) {
        let count = match outcome {
            TestOutcome::Passed => &mut self.passed,
            TestOutcome::Failed => &mut self.failed,
            TestOutcome::Skipped => &mut self.skipped,
            TestOutcome::Flaky => &mut self.flaky,
        };
        *count += 1;
    }

    /// How many tests there are, whatever their outcome.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.passed + self.failed + self.skipped + self.flaky
    }
}

/// Answer to `GET /v2/builds/<id>/tests`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestsBody {
    /// Those of the page, in the order of the atoms.
    pub tests: Vec<TestView>,
    /// How many there are of those that are asked for.
    pub total: u64,
    /// How many tests of the build ended how so far, whatever is asked for.
    pub counts: TestCounts,
}
