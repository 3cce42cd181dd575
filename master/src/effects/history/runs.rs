//! What an atom and the reports of its tests say of runs. Pure.

use crate::journal::{Kind, What};
use crate::read::tested::{EndedAtom, TestsOfAtom};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::junit::{ReportedTest, TestOutcome};
use clusterrunner_core::builds::hunted::HuntTrials;
use clusterrunner_core::history::{Ended, Run, Tag};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What an atom and its tests say.
pub(super) fn runs_of(
    build: BuildId,
    (commit, told): (Option<Tag>, u32),
    tests: TestsOfAtom,
) -> Vec<(What, Run)> {
    let TestsOfAtom {
        atom,
        tests,
        failed_before,
    } = tests;
    let run = |ended, failed_before: usize, seconds: f64| Run {
        build,
        commit,
        told,
        ended,
        failed_before: u8::try_from(failed_before).unwrap_or(u8::MAX),
        hunted: HuntTrials::default(),
        ms: Duration::try_from_secs_f64(seconds).map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        }),
    };
    let ended = match atom.outcome {
        TestOutcome::Failed if !atom.is_flaky => Ended::Failed,
        _ => Ended::Passed,
    };
    let of_atom = What {
        kind: Kind::Atom,
        name: atom.value.clone(),
        class: None,
        atom: atom.command.as_str().into(),
    };
    // A long text, perhaps of very many tests.
    let value: Arc<str> = atom.value.as_str().into();
    // One that is flaky without an earlier attempt failed in a worker.
    let num_failed = atom.failed_attempts.len().max(usize::from(atom.is_flaky));
    let mut runs = vec![(of_atom, run(ended, num_failed, atom.time))];
    let reported = tests.into_iter().filter(|test| !is_atom(test, &atom));
    let failures = failures(&failed_before);
    for ((name, class), told) in merged(reported) {
        let before = failures.get(&(&*name, class.as_deref()));
        let before = before.copied().unwrap_or_default() + usize::from(told.is_flaky);
        let what = What {
            kind: Kind::Test,
            name,
            class,
            atom: Arc::clone(&value),
        };
        runs.push((what, run(told.ended, before, told.seconds)));
    }
    runs
}

/// Whether a test stands for its atom, which reported none.
fn is_atom(test: &ReportedTest, atom: &EndedAtom) -> bool {
    test.class.is_none() && test.file.is_none() && test.name == atom.value
}

/// In how many attempts a test failed.
fn failures(attempts: &[Vec<ReportedTest>]) -> BTreeMap<(&str, Option<&str>), usize> {
    let mut failures = BTreeMap::new();
    for tests in attempts {
        let failed = tests.iter();
        let failed = failed.filter(|test| test.outcome == TestOutcome::Failed);
        let names: BTreeSet<_> = failed
            .map(|test| (&*test.name, test.class.as_deref()))
            .collect();
        for name in names {
            *failures.entry(name).or_default() += 1;
        }
    }
    failures
}

/// What the reports of an atom say of one name.
struct Told {
    ended: Ended,
    is_flaky: bool,
    seconds: f64,
}

/// Tests of one name and class in an atom count as one, which failed if any of them did.
fn merged(tests: impl Iterator<Item = ReportedTest>) -> BTreeMap<(String, Option<String>), Told> {
    let mut merged = BTreeMap::new();
    for test in tests {
        let told = merged.entry((test.name, test.class)).or_insert(Told {
            ended: Ended::Skipped,
            is_flaky: false,
            seconds: 0.0,
        });
        told.ended = match (test.outcome, told.ended) {
            (TestOutcome::Failed, _) | (_, Ended::Failed) => Ended::Failed,
            (TestOutcome::Passed | TestOutcome::Flaky, _) | (_, Ended::Passed) => Ended::Passed,
            (TestOutcome::Skipped, Ended::Skipped) => Ended::Skipped,
        };
        told.is_flaky |= test.outcome == TestOutcome::Flaky;
        told.seconds += test.time.unwrap_or_default();
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};

    const BUILD: BuildId = BuildId(4);

    fn test(name: &str, outcome: TestOutcome) -> ReportedTest {
        ReportedTest {
            name: name.to_owned(),
            class: Some("C".to_owned()),
            file: None,
            time: Some(0.25),
            outcome,
            message: None,
        }
    }

    fn atom(outcome: TestOutcome, failed_attempts: u32) -> EndedAtom {
        EndedAtom {
            subjob: SubjobId(0),
            atom: AtomId(0),
            attempt: Attempt(failed_attempts + 1),
            value: "a".to_owned(),
            command: "export A=a;".to_owned(),
            outcome,
            message: None,
            time: 1.5,
            failed_attempts: (1..=failed_attempts).map(Attempt).collect(),
            is_flaky: outcome == TestOutcome::Flaky,
        }
    }

    /// The name, how it ended, how often it had failed, and how long it took, of all that an atom and its reports say.
    fn told(
        atom: EndedAtom,
        reported: Vec<ReportedTest>,
        failed_before: Vec<Vec<ReportedTest>>,
    ) -> Vec<(String, Ended, u8, u64)> {
        let tests = TestsOfAtom {
            failed_before,
            ..atom.with(reported)
        };
        let runs = runs_of(BUILD, (None, 0), tests).into_iter();
        runs.map(|(what, run)| (what.name, run.ended, run.failed_before, run.ms))
            .collect()
    }

    fn expected(name: &str, ended: Ended, failed: u8, ms: u64) -> (String, Ended, u8, u64) {
        (name.to_owned(), ended, failed, ms)
    }

    #[test]
    fn an_atom_without_reports_says_something_of_itself_alone() {
        for (outcome, failed, ended) in [
            (TestOutcome::Passed, 0, Ended::Passed),
            (TestOutcome::Flaky, 2, Ended::Passed),
            (TestOutcome::Failed, 1, Ended::Failed),
        ] {
            let found = told(atom(outcome, failed), Vec::new(), Vec::new());
            let failed = u8::try_from(failed).unwrap();
            assert_eq!(found, [expected("a", ended, failed, 1500)]);
        }
        // Where a job says that flaky atoms count as failed.
        let strict = EndedAtom {
            is_flaky: true,
            ..atom(TestOutcome::Failed, 1)
        };
        let found = told(strict, Vec::new(), Vec::new());
        assert_eq!(found, [expected("a", Ended::Passed, 1, 1500)]);
    }

    #[test]
    fn tests_that_failed_before_are_told_from_their_neighbours() {
        use TestOutcome::{Failed, Flaky, Passed, Skipped};
        let reported = ["s", "t", "u"].map(|name| test(name, Passed));
        let before = [test("s", Passed), test("t", Failed), test("t", Failed)];
        let found = told(
            atom(Flaky, 1),
            reported.into_iter().chain([test("v", Skipped)]).collect(),
            vec![before.to_vec()],
        );
        let names = [
            expected("a", Ended::Passed, 1, 1500),
            expected("s", Ended::Passed, 0, 250),
            expected("t", Ended::Passed, 1, 250),
            expected("u", Ended::Passed, 0, 250),
            expected("v", Ended::Skipped, 0, 250),
        ];
        assert_eq!(found, names);
    }

    #[test]
    fn tests_of_one_name_count_as_one() {
        use TestOutcome::{Failed, Flaky, Passed};
        let reported = vec![test("t", Failed), test("t", Passed), test("u", Flaky)];
        let found = told(atom(Failed, 0), reported, Vec::new());
        let names = [
            expected("a", Ended::Failed, 0, 1500),
            expected("t", Ended::Failed, 0, 500),
            expected("u", Ended::Passed, 1, 250),
        ];
        assert_eq!(found, names);
    }
}
