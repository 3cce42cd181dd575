//! Tests known by their names: what real runners report is what the farm shows.

use crate::job::{Job, job};
use crate::machine::Machine;
use crate::skipping::{Lacks, skip};
use clusterrunner_common::api::{TestView, TestsBody};
use clusterrunner_common::junit::{Reported, ReportedTest, TestOutcome};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A job with an atom for each of these words, in `$N`.
fn job_of(command: &str, atoms: &[&str]) -> Job {
    job(command).atomizer(format!("printf '%s\\n' {}", atoms.join(" ")))
}

/// The tests of a build, as the command says them for programs.
fn tests_of(machine: &Machine, more: &[&str]) -> TestsBody {
    let ended = machine.run_to(0, &[&["tests", "1", "--json"], more].concat());
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Name and outcome of each test, in the order of their names.
fn outcomes(tests: &[TestView]) -> Vec<(String, TestOutcome)> {
    let outcome = |test: &TestView| (test.name.clone(), test.outcome);
    let mut outcomes: Vec<_> = tests.iter().map(outcome).collect();
    outcomes.sort_by(|(one, _), (other, _)| one.cmp(other));
    outcomes
}

fn expected(outcomes: &[(&str, TestOutcome)]) -> Vec<(String, TestOutcome)> {
    let owned = outcomes
        .iter()
        .map(|(name, outcome)| ((*name).to_owned(), *outcome));
    owned.collect()
}

fn report_in(path: &Path) -> Vec<ReportedTest> {
    let mut reported = Reported::default();
    reported.read("junit.xml", fs::read(path).unwrap());
    assert_eq!(reported.warning(), None, "{}", path.display());
    reported.tests
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The files that the job names are reports, and no others.
#[test]
fn a_job_says_which_files_are_reports() {
    let command = r#"cd "$ARTIFACT_DIR"; mkdir out; for file in out/a.xml out/b.txt junit.xml; do
        echo "<testsuite><testcase name='$file'/></testsuite>" >$file; done"#;
    let names_of = |junit: Value| {
        let machine = Machine::new(&job_of(command, &["one"]).with("junit", junit).to_string());
        let valid = machine.run_to(0, &["validate"]).stdout;
        assert!(valid.contains("reports of tests:  "), "{valid}");
        machine.run_to(0, &["build", "--no-results"]);
        let tests = tests_of(&machine, &[]).tests;
        tests.into_iter().map(|test| test.name).collect::<Vec<_>>()
    };
    assert_eq!(names_of(json!("out/*.xml")), ["out/a.xml"]);
    assert_eq!(
        names_of(json!(["**/b.txt", "junit.xml"])),
        ["junit.xml", "out/b.txt"]
    );
    assert_eq!(names_of(json!([])), ["one"], "the atom itself");
    let wrong = Machine::new(
        &job_of(command, &["one"])
            .with("junit", "../x.xml")
            .to_string(),
    );
    let told = wrong.run_to(1, &["validate"]).stdout;
    assert!(
        told.contains("\"../x.xml\"") && told.contains("reports/*.xml"),
        "{told}"
    );
}

#[test]
fn a_failed_build_says_which_tests_failed() {
    let command = r#"case "$N" in
        reports) mkdir "$ARTIFACT_DIR/deep"
            echo "<testsuite name='s'><testcase name='adds' time='0.5'/><testcase name='breaks'><failure message='1 is not 2'/></testcase></testsuite>" >"$ARTIFACT_DIR/deep/TEST-s.xml"
            exit 1 ;;
        broken) echo "<!DOCTYPE x><testsuite/>" >"$ARTIFACT_DIR/junit.xml" ;;
        plain) ;;
        esac"#;
    let machine = Machine::new(&job_of(command, &["reports", "broken", "plain"]).to_string());
    let built = machine.run_to(1, &["build", "--junit", "out/junit.xml"]);
    assert!(built.stdout.contains("1 warning"), "{built:#?}");
    let all = [
        ("adds", TestOutcome::Passed),
        ("breaks", TestOutcome::Failed),
        ("broken", TestOutcome::Passed),
        ("plain", TestOutcome::Passed),
    ];
    let found = tests_of(&machine, &[]);
    assert_eq!(outcomes(&found.tests), expected(&all));
    let breaks = found
        .tests
        .iter()
        .find(|test| test.name == "breaks")
        .unwrap();
    assert_eq!(breaks.message.as_deref(), Some("1 is not 2"));
    assert_eq!(
        (breaks.class.as_deref(), &*breaks.atom),
        (Some("s"), "reports")
    );
    let failed = tests_of(&machine, &["--failed"]);
    assert_eq!((failed.total, failed.counts.all()), (1, 4));
    // Where CI systems look, and once more by itself.
    let written = report_in(&machine.path("project/out/junit.xml"));
    let names: Vec<&str> = written.iter().map(|test| &*test.name).collect();
    assert_eq!(names.len(), 4);
    assert!(names.contains(&"breaks"), "{names:?}");
    machine.run_to(0, &["tests", "1", "--junit", "again.xml"]);
    assert_eq!(report_in(&machine.path("project/again.xml")), written);
    // And among the results.
    let archived = report_in(&machine.path("project/build_results/latest/junit.xml"));
    assert_eq!(archived, written);
    let left = fs::read_dir(machine.path("project/out")).unwrap().count();
    assert_eq!(left, 1, "nothing but the report is there");
    // The same of a build that runs again.
    machine.run_to(1, &["retry", "1", "--no-results", "--junit", "retried.xml"]);
    let retried = report_in(&machine.path("project/retried.xml"));
    assert_eq!(retried.len(), written.len());
    // For people.
    let shown = machine.run_to(0, &["tests", "1"]).stdout;
    for text in [
        "FAILED  s > breaks",
        "1 is not 2",
        "[reports]",
        "Slowest:",
        "4 tests of build 1: 1 failed, 3 passed",
    ] {
        assert!(shown.contains(text), "{shown} lacks {text}");
    }
    assert!(!shown.contains("PASSED"), "{shown}");
    let shown = machine
        .run_to(0, &["tests", "1", "--all", "--match", "PLAIN"])
        .stdout;
    assert!(
        shown.contains("PASSED  plain") && !shown.contains("breaks"),
        "{shown}"
    );
    // What could not be read is said, and did not fail its atom.
    let status = machine.run_to(0, &["status", "1"]).stdout;
    let warning = "a JUnit report was not read: artifact_";
    assert!(
        status.contains(warning) && status.contains("document type"),
        "{status}"
    );
}

#[test]
fn a_build_without_reports_has_its_atoms_for_tests() {
    let machine = Machine::new(&job_of("exit \"$N\"", &["0", "3"]).to_string());
    machine.run_to(1, &["build", "--junit", "junit.xml"]);
    let left = machine.path("project/build_results/latest");
    assert!(left.join("failures.txt").exists() && !left.join("junit.xml").exists());
    let found = tests_of(&machine, &[]);
    let all = [("0", TestOutcome::Passed), ("3", TestOutcome::Failed)];
    assert_eq!(outcomes(&found.tests), expected(&all));
    let failed = found.tests.iter().find(|test| test.name == "3").unwrap();
    assert_eq!(failed.message.as_deref(), Some("exit code 3"));
    assert_eq!(report_in(&machine.path("project/junit.xml")).len(), 2);
    // One that is not there, and a place where no file can be.
    machine.run_to(2, &["tests", "9"]);
    machine.run_to(2, &["build", "--junit", "."]);
}

#[test]
fn no_build_but_a_good_one_has_a_report_without_a_failure() {
    let machine = Machine::new(&job_of("exit \"$N\"", &["0"]).to_string());
    let report = machine.path("project/junit.xml");
    let written = |code: i32, more: &[&str]| {
        machine.run_to(
            code,
            &[&["build", "--no-results", "--junit", "junit.xml"], more].concat(),
        );
        let outcome = |test: &ReportedTest| test.outcome;
        report_in(&report).iter().map(outcome).collect::<Vec<_>>()
    };
    assert_eq!(written(0, &[]), [TestOutcome::Passed]);
    machine.write_jobs(&job("true").atomizer("exit 3").to_string());
    assert_eq!(written(3, &[]), [TestOutcome::Failed]);
    machine.write_jobs(&job("true").atomizer("true").to_string());
    assert_eq!(written(6, &[]), [TestOutcome::Failed]);
    machine.write_jobs(
        &job("false")
            .atomizer("seq 4")
            .with("max_fail", 1)
            .to_string(),
    );
    let all = written(1, &[]);
    assert!(all.contains(&TestOutcome::Failed), "{all:?}");
    // What is not there since nothing was built.
    machine.write_jobs("J:\n  foo: 1\n");
    machine.run_to(2, &["build", "--junit", "junit.xml"]);
    assert!(!report.exists());
}

#[test]
fn tests_of_pytest() {
    let directory = tempfile::tempdir().unwrap();
    let Some(python) = python_with_pytest(directory.path()) else {
        return skip(Lacks::Runtime("pytest"));
    };
    let run = format!("{python} -m pytest -q --junitxml=\"$ARTIFACT_DIR/junit.xml\" \"$N\"");
    let machine = Machine::new(&job_of(&run, &["test_sums.py", "test_words.py"]).to_string());
    let sums = "import pytest\n\ndef test_adds():\n    assert 1 + 1 == 2\n\ndef test_breaks():\n    assert 1 + 1 == 3\n\n\
                @pytest.mark.skip(reason='not now')\ndef test_later():\n    pass\n";
    fs::write(machine.path("project/test_sums.py"), sums).unwrap();
    let words = "import pytest\n\n@pytest.fixture\ndef broken():\n    raise RuntimeError('no words')\n\n\
                 def test_errs(broken):\n    pass\n\n@pytest.mark.parametrize('word', ['<a>', 'b & c'])\n\
                 def test_escapes(word):\n    assert word\n";
    fs::write(machine.path("project/test_words.py"), words).unwrap();
    machine.run_to(1, &["build"]);
    let found = tests_of(&machine, &[]);
    let all = [
        ("test_adds", TestOutcome::Passed),
        ("test_breaks", TestOutcome::Failed),
        ("test_errs", TestOutcome::Failed),
        ("test_escapes[<a>]", TestOutcome::Passed),
        ("test_escapes[b & c]", TestOutcome::Passed),
        ("test_later", TestOutcome::Skipped),
    ];
    assert_eq!(outcomes(&found.tests), expected(&all));
    let breaks = found
        .tests
        .iter()
        .find(|test| test.name == "test_breaks")
        .unwrap();
    let message = breaks.message.as_deref().unwrap();
    assert!(message.contains("assert (1 + 1) == 3"), "{message}");
    assert_eq!(breaks.class.as_deref(), Some("test_sums"));
}

/// The name of a Python that has pytest: the machine's, or one of its own in this directory.
pub(crate) fn python_with_pytest(directory: &Path) -> Option<String> {
    if succeeds(Command::new("python3").args(["-m", "pytest", "--version"])) {
        return Some("python3".to_owned());
    }
    let own = directory.join("python");
    let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&own));
    let mut install = Command::new(own.join("bin/pip"));
    install.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "pytest",
    ]);
    (made && succeeds(&mut install)).then(|| format!("'{}'", own.join("bin/python").display()))
}

#[test]
fn tests_of_node() {
    let mut node = Command::new("node");
    // Its runner has written such reports since version 21, and 20.7.
    if !succeeds(node.args([
        "--test",
        "--test-reporter=junit",
        "--test-reporter-destination=/dev/null",
        "/dev/null",
    ])) {
        return skip(Lacks::Runtime("node"));
    }
    let run = "node --test --test-reporter=junit --test-reporter-destination=\"$ARTIFACT_DIR/junit.xml\" \"$N\"";
    let machine = Machine::new(&job_of(run, &["sums.test.mjs"]).to_string());
    let tests = "import { test, describe, it } from 'node:test';\nimport assert from 'node:assert';\n\
                 test('adds', () => assert.equal(1 + 1, 2));\ntest('breaks', () => assert.equal(1 + 1, 3));\n\
                 test('later', { skip: 'not now' }, () => {});\n\
                 describe('inside', () => { it('escapes <b> & c', () => {}); \
                 it('may fail', { todo: true }, () => { throw new Error('known'); }); });\n";
    fs::write(machine.path("project/sums.test.mjs"), tests).unwrap();
    machine.run_to(1, &["build", "--no-results"]);
    let found = tests_of(&machine, &[]);
    let all = [
        ("adds", TestOutcome::Passed),
        ("breaks", TestOutcome::Failed),
        ("escapes <b> & c", TestOutcome::Passed),
        ("later", TestOutcome::Skipped),
        ("may fail", TestOutcome::Skipped),
    ];
    assert_eq!(outcomes(&found.tests), expected(&all));
}

#[test]
fn tests_of_cargo_nextest() {
    if !succeeds(Command::new("cargo").args(["nextest", "--version"])) {
        return skip(Lacks::Runtime("nextest"));
    }
    let home = |name: &str, usual: &str| {
        let home = std::env::home_dir().unwrap_or_default().join(usual);
        std::env::var_os(name).map_or(home, Into::into)
    };
    // The farm's user has no home, so the tools would not be found there.
    let run = format!(
        "export CARGO_HOME='{}' RUSTUP_HOME='{}'; cargo nextest run --profile ci --offline; ended=$?; \
         cp target/nextest/ci/junit.xml \"$ARTIFACT_DIR\"; exit $ended",
        home("CARGO_HOME", ".cargo").display(),
        home("RUSTUP_HOME", ".rustup").display(),
    );
    let machine = Machine::new(&job_of(&run, &["all"]).to_string());
    let project = machine.path("project");
    for (name, text) in [
        (
            "Cargo.toml",
            "[package]\nname = \"sums\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
        ),
        (
            ".config/nextest.toml",
            "[profile.ci]\nretries = 1\nfail-fast = false\njunit = { path = \"junit.xml\" }\n",
        ),
        (
            "src/lib.rs",
            "#[test]\nfn adds() {}\n\n#[test]\nfn breaks() {\n    panic!(\"1 is not 2\");\n}\n\n#[test]\nfn flakes() {\n    \
             let seen = std::path::Path::new(\"target/seen\");\n    if !seen.exists() {\n        \
             std::fs::write(seen, \"\").unwrap();\n        panic!(\"the first time\");\n    }\n}\n",
        ),
    ] {
        let path = project.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    machine.run_to(1, &["build", "--no-results"]);
    let found = tests_of(&machine, &[]);
    let all = [
        ("adds", TestOutcome::Passed),
        ("breaks", TestOutcome::Failed),
        ("flakes", TestOutcome::Flaky),
    ];
    assert_eq!(outcomes(&found.tests), expected(&all));
    let shown = machine.run_to(0, &["tests", "1"]).stdout;
    assert!(
        shown.contains("FLAKY   sums > flakes") && shown.contains("1 is not 2"),
        "{shown}"
    );
}
