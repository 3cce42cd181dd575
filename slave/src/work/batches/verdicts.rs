//! What the end of a batch says of each of its atoms. Pure.
//!
//! A batch can only pass an atom. What failed in it, or is not named in what it left, runs again alone, and that counts.
//! So a batch turns no green atom red, whatever its tests do to each other. And it turns no red one green:
//!
//! * An atom passes only in a batch that exits with 0, if it is named there and no test of it failed.
//! * In a batch that exits with anything else nothing passes: its runner may have stopped in the middle of an atom. Where
//!   a test failed, the others run again in a batch without the atoms that failed.
//! * Else all run again in batches of half the size: a batch that failed as a whole, died or ran out of time.
//! * In a batch that exits with 0 and tells of a failure that is of none of its atoms, nothing passes: nobody knows whose it
//!   is. The same holds where its reports or its plan say that something is missing. All run again alone.

use super::naming::Names;
use super::tap;
use clusterrunner_common::junit::{ReportedTest, TestOutcome};
use std::time::Duration;

/// How a batch ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchEnding<'a> {
    /// Of the process; of one that a signal ended it is that signal, negative.
    pub(crate) exit_code: i32,
    /// Whether it ran too long.
    pub(crate) timed_out: bool,
    /// How long it ran.
    pub(crate) took: Duration,
    /// The tests of its reports.
    pub(crate) tests: &'a [ReportedTest],
    /// Whether its reports tell of a failure that is of no test, or not all was read that it reports and prints.
    pub(crate) failed_beside: bool,
    /// What it printed.
    pub(crate) console: &'a str,
}

/// What it says of an atom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Passed {
        /// Its tests, by their places among those of the batch.
        tests: Vec<usize>,
        /// What it took of the time of the batch.
        took: Duration,
    },
    Again {
        how: Again,
        /// Its tests, as above.
        tests: Vec<usize>,
    },
}

/// How an atom runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Alone: a test of it failed.
    Failed,
    /// Alone: nothing names it.
    Unnamed,
    /// Alone: something failed, or is missing, of which nobody knows whose it is.
    Doubted,
    /// With at most so many atoms; alone where that is one.
    Within(usize),
}

impl Again {
    /// In how many atoms' company.
    pub(crate) fn most(self) -> usize {
        match self {
            Self::Failed | Self::Unnamed | Self::Doubted => 1,
            Self::Within(most) => most,
        }
    }
}

/// What is known of an atom.
#[derive(Clone, Debug, Default)]
struct Told {
    tests: Vec<usize>,
    passed: bool,
    failed: bool,
    took: Duration,
}

/// From this exit code on no test runner said it: a shell says so that there was no such program, or that a signal ended
/// it.
const NOT_BY_TESTS: i32 = 126;

/// One verdict for each atom, in the order of their values; and how long the tests took, where the batch says so.
pub(crate) fn judge(
    project_directory: &str,
    values: &[&str],
    ending: &BatchEnding<'_>,
) -> (Vec<Verdict>, Option<Duration>) {
    let names = Names::new(project_directory, values.iter().copied());
    let mut told = vec![Told::default(); values.len()];
    let names_atom = |word: &str| names.is_word_for_atoms(word);
    let spoken = tap::spoken(ending.console, values, names_atom);
    let mut is_doubted = ending.failed_beside || spoken.broke_off;
    for (place, test) in ending.tests.iter().enumerate() {
        let has_failed = test.outcome == TestOutcome::Failed;
        let Some(atom) = names.atom_of(test).and_then(|atom| told.get_mut(atom)) else {
            is_doubted |= has_failed;
            continue;
        };
        atom.tests.push(place);
        atom.failed |= has_failed;
        atom.passed |= !has_failed;
        let took = test
            .time
            .and_then(|time| Duration::try_from_secs_f64(time).ok());
        atom.took = atom.took.saturating_add(took.unwrap_or_default());
    }
    for line in spoken.said {
        let atom = line.of.iter().find_map(|word| names.atom_of_word(word));
        let Some(atom) = atom.and_then(|atom| told.get_mut(atom)) else {
            is_doubted |= !line.passed && !line.is_inside;
            continue;
        };
        atom.failed |= !line.passed;
        atom.passed |= line.passed;
        if atom.tests.is_empty() {
            atom.took = atom.took.saturating_add(line.took.unwrap_or_default());
        }
    }
    let has_succeeded = !ending.timed_out && ending.exit_code == 0;
    let died = ending.timed_out || !(0..NOT_BY_TESTS).contains(&ending.exit_code);
    let failed = told.iter().filter(|atom| atom.failed).count();
    // Fewer each time, so that it ends.
    let most = match died || failed == 0 {
        true => values.len().div_ceil(2),
        false => (values.len() - failed).max(1),
    };
    let tests = told
        .iter()
        .map(|atom| atom.took)
        .fold(Duration::ZERO, Duration::saturating_add);
    let shares = Shares::of(ending.took, tests, told.len());
    let verdicts = told.into_iter().map(|atom| {
        let Told { tests, took, .. } = atom;
        let how = match (atom.failed, atom.passed) {
            (true, _) => Again::Failed,
            _ if has_succeeded && is_doubted => Again::Doubted,
            (false, true) if has_succeeded => {
                let took = shares.share(took);
                return Verdict::Passed { tests, took };
            }
            _ if has_succeeded => Again::Unnamed,
            _ => Again::Within(most),
        };
        Verdict::Again { how, tests }
    });
    (
        verdicts.collect(),
        (!tests.is_zero()).then_some(tests.min(ending.took)),
    )
}

/// How the time of a batch is shared: each atom has what its tests took and an even part of the rest. Where tests ran side
/// by side, and so took longer than the batch, each has its part of the batch.
#[derive(Clone, Copy, Debug)]
struct Shares {
    whole: Duration,
    tests: Duration,
    beside: Duration,
}

impl Shares {
    fn of(whole: Duration, tests: Duration, number: usize) -> Self {
        let number = u32::try_from(number.max(1)).unwrap_or(u32::MAX);
        Self {
            whole,
            tests,
            beside: whole.saturating_sub(tests) / number,
        }
    }

    fn share(&self, took: Duration) -> Duration {
        if self.tests <= self.whole {
            return took + self.beside;
        }
        let part = took.as_secs_f64() / self.tests.as_secs_f64();
        self.whole.mul_f64(part.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUES: [&str; 4] = ["t/a.py", "t/b.py", "t/c.py", "t/d.py"];

    fn test(class: &str, outcome: TestOutcome) -> ReportedTest {
        ReportedTest {
            name: "test_x".to_owned(),
            class: Some(class.to_owned()),
            file: None,
            time: Some(0.25),
            outcome,
            message: None,
        }
    }

    fn ending(exit_code: i32, tests: &[ReportedTest]) -> BatchEnding<'_> {
        BatchEnding {
            exit_code,
            timed_out: false,
            took: Duration::from_secs(3),
            tests,
            failed_beside: false,
            console: "",
        }
    }

    /// The verdicts in short: passed, failed, unnamed, or the size of the next batch.
    fn short(ending: &BatchEnding<'_>) -> String {
        let (verdicts, _) = judge("/p", &VALUES, ending);
        let short = verdicts.iter().map(|verdict| match verdict {
            Verdict::Passed { .. } => "P".to_owned(),
            Verdict::Again { how, .. } => match how {
                Again::Failed => "F".to_owned(),
                Again::Unnamed => "U".to_owned(),
                Again::Doubted => "D".to_owned(),
                Again::Within(most) => most.to_string(),
            },
        });
        short.collect()
    }

    #[test]
    fn only_what_is_said_to_have_passed_has() {
        use TestOutcome::{Failed, Flaky, Passed, Skipped};
        let all: Vec<_> = ["t.a", "t.b", "t.c", "t.d"]
            .iter()
            .zip([Passed, Skipped, Flaky, Passed])
            .map(|(class, outcome)| test(class, outcome))
            .collect();
        assert_eq!(short(&ending(0, &all)), "PPPP");
        assert_eq!(short(&ending(0, &all[..3])), "PPPU");
        assert_eq!(short(&ending(0, &[])), "UUUU");
        // Something else failed than a test.
        assert_eq!(short(&ending(1, &all)), "2222");
        assert_eq!(short(&ending(139, &all)), "2222");
        // The others run again without the one that failed: the runner may have stopped in the middle of one of them.
        let failed = [&all[..3], &[test("t.d", Failed)]].concat();
        assert_eq!(short(&ending(1, &failed)), "333F");
        assert_eq!(short(&ending(2, &failed[1..])), "333F");
        // Its runner does not say by its exit code that a test failed: the atom alone will tell.
        assert_eq!(short(&ending(0, &failed)), "PPPF");
        let strange = [&failed[..], &[test("other", Failed)]].concat();
        assert_eq!(short(&ending(1, &strange)), "333F");
        let timed_out = BatchEnding {
            timed_out: true,
            ..ending(124, &failed)
        };
        assert_eq!(short(&timed_out), "222F");
        // One test of several failed.
        let both = [&all[..], &[test("t.a.TestB", Failed)]].concat();
        assert_eq!(short(&ending(1, &both)), "F333");
    }

    #[test]
    fn lines_name_atoms_as_well() {
        let printed = |console| BatchEnding {
            console,
            ..ending(0, &[])
        };
        assert_eq!(
            short(&printed(
                "ok t/a.py\nok 2 - t/b.py\nok /p/t/c.py\nok other\n"
            )),
            "PPPU"
        );
        let failed = BatchEnding {
            exit_code: 1,
            ..printed("ok t/a.py\nnot ok t/a.py\nok t/b.py\nok t/c.py\nok t/d.py\n")
        };
        assert_eq!(short(&failed), "F333");
    }

    /// Of a batch that exits with 0, what it prints and what becomes of its atoms.
    #[test]
    fn nothing_passes_beside_a_failure_that_is_of_no_atom() {
        const ALL: &str = "ok t/a.py\nok t/b.py\nok t/c.py\nok t/d.py\n";
        for (more, expected) in [
            ("", "PPPP"),
            ("ok other\n", "PPPP"),
            ("not ok other # TODO\n    not ok part\n", "PPPP"),
            ("test of not ok words\n", "PPPP"),
            ("Bail out! x\n", "DDDD"),
            ("1..9\n", "DDDD"),
            ("1..4\n", "PPPP"),
            ("1..3\nok 1\nok 2 - died\nok t/d.py\n", "DDDD"),
            ("1..3\nok 1\nok 2\nok 3\nok t/d.py\n", "PPPP"),
            ("FAIL\tt/b.py [build failed]\n", "PFPP"),
            ("not ok\n", "DDDD"),
            ("not ok 4\n", "DDDD"),
            ("not ok 4 - t/b.py/x\n", "DDDD"),
            ("not ok 4 - t/b.py broke\n", "DDDD"),
            ("not ok other\nnot ok t/b.py\n", "DFDD"),
            ("foonot ok t/b.py\n", "PFPP"),
            ("not ok t/b.py\n", "PFPP"),
            ("FAIL\tother\t0.1s\n", "DDDD"),
            ("test other ... FAILED\n", "DDDD"),
        ] {
            let console = format!("{ALL}{more}");
            let printed = BatchEnding {
                console: &console,
                ..ending(0, &[])
            };
            assert_eq!(short(&printed), expected, "{more}");
        }
        let stray = [test("t/b.py broke in teardown", TestOutcome::Failed)];
        let reported = BatchEnding {
            console: ALL,
            ..ending(0, &stray)
        };
        assert_eq!(short(&reported), "DDDD");
        let beside = BatchEnding {
            console: ALL,
            failed_beside: true,
            ..ending(0, &[])
        };
        assert_eq!(short(&beside), "DDDD");
        assert_eq!(
            short(&BatchEnding {
                exit_code: 1,
                ..beside
            }),
            "2222"
        );
    }

    #[test]
    fn the_count_of_tests_is_no_name() {
        let printed = BatchEnding {
            console: "ok 1\nnot ok 2\nok 3\n",
            ..ending(0, &[])
        };
        let passed = |values: &[&str]| {
            let (verdicts, _) = judge("/p", values, &printed);
            let passed = |verdict: &Verdict| matches!(verdict, Verdict::Passed { .. });
            verdicts.iter().map(passed).collect::<Vec<_>>()
        };
        assert_eq!(passed(&["3", "2", "1"]), [false; 3]);
        assert_eq!(passed(&["1", "2", "3"]), [true, false, true]);
    }

    #[test]
    fn the_time_of_a_batch_is_shared() {
        let mut tests: Vec<_> = ["t.a", "t.b", "t.c", "t.d"]
            .iter()
            .map(|class| test(class, TestOutcome::Passed))
            .collect();
        tests[0].time = Some(1.25);
        let took = |tests: &[ReportedTest]| -> Vec<u128> {
            let (verdicts, _) = judge("/p", &VALUES, &ending(0, tests));
            verdicts
                .iter()
                .map(|verdict| match verdict {
                    Verdict::Passed { took, .. } => took.as_millis(),
                    Verdict::Again { .. } => panic!("{verdict:?}"),
                })
                .collect()
        };
        assert_eq!(took(&tests), [1500, 500, 500, 500]);
        tests[0].time = Some(5.25);
        assert_eq!(took(&tests), [2625, 125, 125, 125]);
        tests[0].time = Some(f64::MAX);
        assert_eq!(took(&tests)[0], 562);
    }

    fn outcome() -> impl Strategy<Value = TestOutcome> {
        prop::sample::select(TestOutcome::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn every_atom_has_one_verdict_and_its_tests_are_its_own(
            values in prop::collection::vec("[a-c/.]{1,4}", 1..9),
            tests in prop::collection::vec(("[a-c.]{0,4}", "[a-c/]{1,3}", prop::option::of("[a-c/.]{1,4}"), outcome(), prop::option::of(-1.0_f64..1e9)), 0..30),
            lines in "((not )?ok [1-9]? ?-? ?[a-c/.]{1,4}( # (TODO|time=[0-9]{1,9}ms))?\n){0,6}",
            exit_code in prop::sample::select(vec![0, 1, 2, 124, 127, 137, -1]),
            timed_out in any::<bool>(),
            failed_beside in any::<bool>(),
        ) {
            let tests: Vec<ReportedTest> = tests.into_iter().map(|(class, name, file, outcome, time)| ReportedTest {
                name, class: Some(class), file, time, outcome, message: None,
            }).collect();
            let took = Duration::from_millis(1500);
            let ending = BatchEnding { exit_code, timed_out, took, tests: &tests, failed_beside, console: &lines };
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let (verdicts, _) = judge("/p", &values, &ending);
            prop_assert_eq!(verdicts.len(), values.len());
            let mut seen = std::collections::BTreeSet::new();
            let mut sum = Duration::ZERO;
            for verdict in &verdicts {
                match verdict {
                    Verdict::Passed { tests: own, took } => {
                        prop_assert!(!timed_out && exit_code == 0 && !failed_beside);
                        sum += *took;
                        for place in own {
                            prop_assert!(seen.insert(*place));
                            prop_assert!(tests[*place].outcome != TestOutcome::Failed);
                        }
                    }
                    // Smaller each time, so that it ends.
                    Verdict::Again { how, tests } => {
                        prop_assert!(how.most() >= 1);
                        prop_assert!(how.most() < values.len() || values.len() == 1);
                        for place in tests {
                            prop_assert!(seen.insert(*place));
                        }
                    }
                }
            }
            prop_assert!(sum <= took + Duration::from_micros(50), "{sum:?}");
        }

        #[test]
        fn a_failed_batch_without_a_failed_test_passes_nothing(
            passed in prop::collection::vec(0_usize..4, 0..9), exit_code in 1_i32..200,
        ) {
            let classes = ["t.a", "t.b", "t.c", "t.d"];
            let tests: Vec<_> = passed.iter().map(|index| test(classes[*index], TestOutcome::Passed)).collect();
            prop_assert_eq!(short(&ending(exit_code, &tests)), "2222");
        }
    }
}
