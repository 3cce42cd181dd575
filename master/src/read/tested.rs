//! The tests of a build: what reports of its atoms say, and of an atom without reports the atom itself.

use crate::read::builds::{Builds, ReadError};
use crate::read::lists::AtSubjob;
use crate::store::results::{Results, StoredTests};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::job::config::variable_of;
use clusterrunner_common::junit::{self, ReportedTest, SuiteOfAtom, TestOutcome};
use clusterrunner_common::turns::Turn;
use clusterrunner_common::work::InWorker;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::subjob::Subjob;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::ops::{ControlFlow, Range};
use tokio::task::spawn_blocking;

/// An atom with a result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndedAtom {
    /// Its subjob.
    pub subjob: SubjobId,
    /// Its number there.
    pub atom: AtomId,
    /// The hand-out that counted.
    pub attempt: Attempt,
    /// What its atomizer printed.
    pub value: String,
    /// Its whole text, such as `export TEST="x";`.
    pub command: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// Why it did not pass.
    pub message: Option<String>,
    /// How long it took, in seconds.
    pub time: f64,
    /// The hand-outs in which it failed before it was run again, the oldest first.
    pub failed_attempts: Vec<Attempt>,
    /// Whether it passed only when it was run again, whatever that counts as.
    pub is_flaky: bool,
}

/// An atom and its tests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TestsOfAtom {
    /// The atom.
    pub atom: EndedAtom,
    /// Its tests; at least one.
    pub tests: Vec<ReportedTest>,
    /// What its reports said when it failed and was run again, for each of these attempts; none unless they are wanted.
    pub failed_before: Vec<Vec<ReportedTest>>,
}

impl TestsOfAtom {
    /// As a part of a JUnit report.
    #[must_use]
    pub(crate) fn suite(&self) -> String {
        junit::suite(SuiteOfAtom {
            name: &self.atom.value,
            time: Some(self.atom.time),
            tests: &self.tests,
        })
    }
}

/// The atoms of a subjob that have a result.
pub(crate) fn ended_atoms(build: &Build, id: SubjobId, subjob: &Subjob) -> Vec<EndedAtom> {
    let Some((attempt, outcomes)) = &subjob.result else {
        return Vec::new();
    };
    let numbered = (0..).map(AtomId).zip(&subjob.atoms);
    let atoms = numbered.zip(outcomes).map(|((atom, command), outcome)| {
        let value = value_of(build, command);
        EndedAtom {
            subjob: id,
            atom,
            attempt: *attempt,
            value: value.into_owned(),
            command: command.to_string(),
            outcome: match outcome.exit_code {
                0 if build.fails_as_flaky(subjob) => TestOutcome::Failed,
                0 if subjob.is_flaky() => TestOutcome::Flaky,
                0 => TestOutcome::Passed,
                _ => TestOutcome::Failed,
            },
            message: why(outcome)
                .or_else(|| failed_before(subjob, atom))
                .or_else(|| failed_in_worker(outcome)),
            time: outcome.duration_ms as f64 / 1000.0,
            failed_attempts: subjob
                .failed_attempts()
                .iter()
                .map(|failed| failed.attempt)
                .collect(),
            is_flaky: subjob.is_flaky(),
        }
    });
    atoms.collect()
}

/// What an atom of a build is known by: what its atomizer printed.
pub(crate) fn value_of<'a>(build: &Build, atom: &'a str) -> Cow<'a, str> {
    value_in(build.quotes_atoms(), atom)
}

/// The same of an atom of a build of which this is known: whether its atoms are quoted for the shell.
pub(crate) fn value_in(quotes_atoms: bool, atom: &str) -> Cow<'_, str> {
    let variable = variable_of(atom, !quotes_atoms);
    variable.map_or(Cow::Borrowed(atom), |(_, value)| value)
}

/// Why an atom did not pass.
fn why(outcome: &AtomOutcome) -> Option<String> {
    match (outcome.trouble, outcome.signal(), outcome.exit_code) {
        (Some(trouble), ..) => Some(trouble.to_string()),
        (None, Some(signal), _) => Some(format!("ended by signal {signal}")),
        (None, None, 0) => None,
        (None, None, code) => Some(format!("exit code {code}")),
    }
}

/// How often and how an atom failed that passed when it was run again.
fn failed_before(subjob: &Subjob, atom: AtomId) -> Option<String> {
    let failed = subjob.failed_attempts();
    let last = failed.last()?.outcomes.get(atom.0 as usize)?;
    let how = why(last)?;
    Some(match failed.len() {
        1 => format!("passed when run again, failed before: {how}"),
        number => format!("passed when run again, failed {number} times before, at last: {how}"),
    })
}

/// The same of an atom that passed only without the worker that it failed in.
fn failed_in_worker(outcome: &AtomOutcome) -> Option<String> {
    let has_failed = outcome.worker() == Some(InWorker::Failed);
    has_failed.then(|| "passed when run again, failed before in a worker".to_owned())
}

impl EndedAtom {
    /// The atom with what its reports say. Without any test it is one itself; also where it failed and none of its tests
    /// did, so that a failure never is lost among tests that passed.
    #[must_use]
    pub(crate) fn with(self, reported: Vec<ReportedTest>) -> TestsOfAtom {
        let mut tests = reported;
        let has_failed = tests.iter().any(|test| test.outcome == TestOutcome::Failed);
        if tests.is_empty() || (self.outcome == TestOutcome::Failed && !has_failed) {
            tests.push(ReportedTest {
                name: self.value.clone(),
                class: None,
                file: None,
                time: Some(self.time),
                outcome: self.outcome,
                message: self.message.clone(),
            });
        }
        TestsOfAtom {
            atom: self,
            tests,
            failed_before: Vec::new(),
        }
    }
}

/// Why the tests of a build can not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestsError {
    /// The build can not.
    #[error(transparent)]
    Build(#[from] ReadError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// A walk through the tests of a build, in the order of its atoms. What comes meanwhile may be in it or not.
#[derive(Debug)]
pub(crate) struct Walk {
    builds: Builds,
    build: BuildId,
    stored: StoredTests,
    /// Atoms that were read and not yet visited.
    waiting: VecDeque<EndedAtom>,
    next: Option<AtSubjob<All>>,
    /// Whether what failed attempts reported is read too.
    with_failed_attempts: bool,
}

/// That all subjobs of a build are wanted.
type All = fn(usize) -> Range<usize>;

fn all(length: usize) -> Range<usize> {
    0..length
}

impl Walk {
    /// Begins one.
    ///
    /// # Errors
    /// There is no such build, or the disk refuses.
    pub(crate) async fn begin(
        builds: Builds,
        results: Results,
        build: BuildId,
    ) -> Result<Self, TestsError> {
        builds.check(build).await?;
        let stored = spawn_blocking(move || results.tests(build)).await;
        Ok(Self {
            builds,
            build,
            stored: stored.map_err(io::Error::other)??,
            waiting: VecDeque::new(),
            next: Some(AtSubjob::page(all as All)),
            with_failed_attempts: false,
        })
    }

    /// The same walk, with what atoms reported when they failed and were run again.
    #[must_use]
    pub(crate) fn with_failed_attempts(self) -> Self {
        Self {
            with_failed_attempts: true,
            ..self
        }
    }

    /// Whether atoms left reports, as far as it is known.
    #[must_use]
    pub(crate) fn has_reports(&self) -> bool {
        !self.stored.is_empty()
    }

    /// Visits some atoms, until `visit` has enough or a part of them is through. Whether there may be more is
    /// [`Self::is_over`]. A `turn` is held as long as the work goes on, also where nobody waits for it any more.
    ///
    /// # Errors
    /// The build can not be read, or the disk refuses.
    pub(crate) async fn go_on<A: Send + 'static>(
        &mut self,
        turn: Option<Turn>,
        mut seen: A,
        mut visit: impl FnMut(&mut A, TestsOfAtom) -> ControlFlow<()> + Send + 'static,
    ) -> Result<A, TestsError> {
        if self.waiting.is_empty()
            && let Some(at) = self.next.take()
        {
            let of_live = |_: &_, build: &Build, numbers: Range<usize>| {
                let ids = numbers.filter_map(|number| u32::try_from(number).ok().map(SubjobId));
                let atoms = ids.filter_map(|id| Some(ended_atoms(build, id, build.subjob(id)?)));
                atoms.collect()
            };
            let part = self
                .builds
                .some_subjobs(self.build, at, of_live, ended_atoms);
            let part = part.await?;
            self.waiting.extend(part.entries.into_iter().flatten());
            self.next = part.next;
        }
        let mut stored = std::mem::take(&mut self.stored);
        let mut waiting = std::mem::take(&mut self.waiting);
        let with_failed_attempts = self.with_failed_attempts;
        let visited = spawn_blocking(move || {
            let _turn = turn;
            // A result is stored before its atoms count as ended, so what they left is here now.
            stored.refresh()?;
            while let Some(atom) = waiting.pop_front() {
                let reported = stored.of(atom.subjob, atom.attempt, atom.atom)?;
                let failed = match with_failed_attempts {
                    true => atom.failed_attempts.as_slice(),
                    false => &[],
                };
                let failed = failed
                    .iter()
                    .map(|attempt| stored.of(atom.subjob, *attempt, atom.atom));
                let failed_before = failed.collect::<io::Result<_>>()?;
                let tests = TestsOfAtom {
                    failed_before,
                    ..atom.with(reported)
                };
                if visit(&mut seen, tests).is_break() {
                    break;
                }
            }
            Ok::<_, io::Error>((stored, waiting, seen))
        });
        let visited = visited.await.map_err(io::Error::other)??;
        (self.stored, self.waiting, seen) = visited;
        Ok(seen)
    }

    /// Whether all atoms were visited.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(outcome: TestOutcome) -> EndedAtom {
        EndedAtom {
            subjob: SubjobId(3),
            atom: AtomId(0),
            attempt: Attempt(1),
            value: "test_a.py".to_owned(),
            command: "export TEST=test_a.py;".to_owned(),
            outcome,
            message: (outcome == TestOutcome::Failed).then(|| "exit code 3".to_owned()),
            time: 1.5,
            failed_attempts: Vec::new(),
            is_flaky: false,
        }
    }

    fn test(name: &str, outcome: TestOutcome) -> ReportedTest {
        ReportedTest {
            name: name.to_owned(),
            class: None,
            file: None,
            time: None,
            outcome,
            message: None,
        }
    }

    #[test]
    fn an_atom_is_a_test_where_its_reports_do_not_say_how_it_ended() {
        use TestOutcome::{Failed, Flaky, Passed, Skipped};
        for (outcome, reported, expected) in [
            (Passed, &[][..], &[("test_a.py", Passed)][..]),
            (Failed, &[], &[("test_a.py", Failed)]),
            (Flaky, &[], &[("test_a.py", Flaky)]),
            (Passed, &[Passed, Skipped], &[("t", Passed), ("t", Skipped)]),
            (Passed, &[Failed], &[("t", Failed)]),
            (Failed, &[Passed, Failed], &[("t", Passed), ("t", Failed)]),
            (Failed, &[Passed], &[("t", Passed), ("test_a.py", Failed)]),
        ] {
            let reported = reported.iter().map(|outcome| test("t", *outcome));
            let found = atom(outcome).with(reported.collect());
            let names = found.tests.iter();
            let names: Vec<_> = names.map(|test| (&*test.name, test.outcome)).collect();
            assert_eq!(names, expected);
        }
        let failed = atom(Failed).with(Vec::new()).tests.remove(0);
        assert_eq!(
            (failed.time, failed.message.as_deref()),
            (Some(1.5), Some("exit code 3"))
        );
    }
}
