//! Reports of tests in the JUnit format: bytes in, tests and what could not be read out.
//!
//! The format has no owner. Each runner writes a dialect of its own, so the reader takes what is there: it asks for an
//! element `testsuites` or `testsuite` and for nothing else. Reports come from the commands of atoms, so nothing in them
//! is trusted: no entities, no document types, and bounds for everything ([`bounds`]). A report that breaks one of these
//! rules is left out as a whole and named; it never is a reason to fail an atom.

pub mod bounds;
mod encoding;
mod files;
mod form;
mod reader;
#[cfg(test)]
mod samples;
mod text;
mod writer;

pub use files::collect;
pub use form::read_form;
pub use reader::ReportError;
pub use writer::{OfBuild, SuiteOfAtom, beginning, end, suite, suite_of_build};

use crate::text::masking::Mask;
use bounds::{MAX_REPORT, MAX_TESTS, MAX_TEXTS};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestOutcome {
    /// As it should.
    Passed,
    /// It failed, or could not be run.
    Failed,
    /// It was not run, as its author or its runner wanted.
    Skipped,
    /// It failed, ran again and passed.
    Flaky,
}

impl TestOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::Skipped, Self::Flaky];

    /// Its name in JSON and in queries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Flaky => "flaky",
        }
    }
}

/// A test as a report tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportedTest {
    /// Its name, which need not be the only one of its kind.
    pub name: String,
    /// What it is in: its class, module or suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Where its text is, as the runner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
    /// How it ended.
    pub outcome: TestOutcome,
    /// Why it did not just pass, in the runner's words; on several lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ReportedTest {
    fn masked(self, mask: &Arc<Mask>) -> Self {
        let of = |text: Option<String>| text.map(|text| mask.mask_text(text));
        Self {
            name: mask.mask_text(self.name),
            class: of(self.class),
            file: of(self.file),
            message: of(self.message),
            ..self
        }
    }

    /// How many bytes its texts have.
    fn size(&self) -> usize {
        let others = [&self.class, &self.file, &self.message];
        let others = others.into_iter().flatten().map(String::len);
        self.name.len() + others.sum::<usize>()
    }
}

/// What the reports of one atom say.
#[derive(Debug, Default)]
pub struct Reported {
    /// The tests, in the order of the reports.
    pub tests: Vec<ReportedTest>,
    /// Whether a report tells of a failure that is of none of its tests, as of a suite that could not be set up.
    pub failed_beside: bool,
    /// How many bytes their texts have.
    bytes: usize,
    unread: Unread,
    /// What is taken out of their texts.
    mask: Arc<Mask>,
}

/// What was not read, and tests for which there was no room.
#[derive(Debug, Default)]
struct Unread {
    reports: LeftOut,
    /// Who packs the artifacts names them, too.
    directories: LeftOut,
    tests: u64,
}

/// How many of a kind were left out, and the first with the reasons.
#[derive(Debug, Default)]
struct LeftOut {
    number: u64,
    first: Vec<String>,
}

impl LeftOut {
    fn add(&mut self, name: &str, why: &dyn std::fmt::Display) {
        self.number += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{name} ({why})"));
        }
    }

    /// In words for the users of a build: what is said of one and of several; nothing where there are none.
    fn told(&self, one: &str, several: &str) -> Option<String> {
        let what = match self.number {
            0 => return None,
            1 => one.to_owned(),
            more => format!("{more} {several}"),
        };
        let others = match self.number > NAMED as u64 {
            true => " and others",
            false => "",
        };
        Some(format!("{what}: {}{others}", self.first.join(", ")))
    }
}

/// How many reports that were not read are named.
const NAMED: usize = 3;

impl Reported {
    /// Nothing was read yet; of what will be, this is taken out.
    #[must_use]
    pub fn masked_by(mask: &Arc<Mask>) -> Self {
        Self {
            mask: Arc::clone(mask),
            ..Self::default()
        }
    }

    /// Reads one report more. `name` is how its users know it. One that can not be read adds no test.
    pub fn read(&mut self, name: &str, report: Vec<u8>) {
        if report.len() > MAX_REPORT {
            self.leave_out(name, &ReportError::TooLarge);
            return;
        }
        let before = (self.tests.len(), self.bytes, self.unread.tests);
        // Before anything is cut. What is written with references to characters is known only afterwards.
        let text = self.mask.mask_text(encoding::decode(report));
        let mask = Arc::clone(&self.mask);
        let (tests, bytes, unread) = (&mut self.tests, &mut self.bytes, &mut self.unread);
        let read = reader::read(&text, |test| {
            let mut test = test.masked(&mask);
            // By then there is no room for messages in the form that is kept.
            if *bytes > MAX_TEXTS / 2 {
                test.message = None;
            }
            // A short report can say a long name once for very many tests.
            if tests.len() < MAX_TESTS && *bytes < MAX_TEXTS {
                *bytes += test.size();
                tests.push(test);
            } else {
                unread.tests += 1;
            }
        });
        match read {
            Ok(failed_beside) => self.failed_beside |= failed_beside,
            Err(error) => {
                let (number, bytes, left_out) = before;
                self.tests.truncate(number);
                self.bytes = bytes;
                self.unread.tests = left_out;
                self.leave_out(name, &error);
            }
        }
    }

    /// Notes that a report was not read.
    pub fn leave_out(&mut self, name: &str, why: &dyn std::fmt::Display) {
        self.unread.reports.add(name, why);
    }

    /// Notes that there may be reports in a directory which can not be read.
    pub(crate) fn leave_out_directory(&mut self, name: &str, why: &dyn std::fmt::Display) {
        self.unread.directories.add(name, why);
    }

    /// The tests in the form in which they travel and are kept, with what had no room in it noted; nothing where there
    /// are none.
    pub fn to_form(&mut self) -> Option<Vec<u8>> {
        let (form, left_out) = form::write_form(&self.tests);
        self.unread.tests += left_out;
        (!form.is_empty()).then_some(form)
    }

    /// What was not read, in words for the users of a build.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let directories = self.unread.directories.told(
            "a directory was not searched for JUnit reports",
            "directories were not searched for JUnit reports",
        );
        let said: Vec<String> = directories
            .into_iter()
            .chain(self.warning_beside_artifacts())
            .collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// The same without directories that can not be read: they are named among the artifacts that are left out.
    #[must_use]
    pub fn warning_beside_artifacts(&self) -> Option<String> {
        let Unread { reports, tests, .. } = &self.unread;
        let reports = reports.told("a JUnit report was not read", "JUnit reports were not read");
        let tests = (*tests > 0)
            .then(|| format!("{tests} tests of JUnit reports were left out: there were too many"));
        let said: Vec<String> = reports.into_iter().chain(tests).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

#[cfg(test)]
mod tests;
