//! Which jobs projects get.

use super::*;
use clusterrunner_common::job::config::JobConfig;

/// The names of the jobs of a project, each of which must be a valid one without warnings.
fn names<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
    let jobs = jobs(&Project::of(files));
    let text: String = jobs.iter().map(|job| job.yaml.as_str()).collect();
    if jobs.is_empty() {
        return Vec::new();
    }
    let config = JobConfig::parse(&text, "clusterrunner.yaml").unwrap();
    assert_eq!(config.problems().count(), 0, "{text}");
    assert_eq!(config.warnings().count(), 0, "{text}");
    config.names().map(str::to_owned).collect()
}

fn only<const N: usize>(files: [(&str, &str); N]) -> String {
    names(files);
    let mut jobs = jobs(&Project::of(files));
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0).yaml
}

#[test]
fn python_is_tested_by_what_its_tests_are_written_for() {
    let unittest = "import unittest\nclass A(unittest.TestCase):\n    def test_a(self): pass\n";
    assert_eq!(names([("tests/test_a.py", unittest)]), ["Unittest"]);
    for files in [
        [("tests/test_a.py", "def test_a(): pass"), ("x", "")],
        [("tests/test_a.py", unittest), ("conftest.py", "")],
        [("tests/test_a.py", unittest), ("pytest.ini", "")],
        [
            ("tests/test_a.py", unittest),
            ("requirements-dev.txt", "pytest>=8"),
        ],
        [
            ("tests/test_a.py", unittest),
            ("pyproject.toml", "[tool.pytest.ini_options]"),
        ],
        [("a/b_test.py", "import pytest"), ("x", "")],
    ] {
        assert_eq!(names(files), ["Pytest"], "{files:?}");
    }
    assert_eq!(names([("src/testing.py", ""), ("setup.py", "")]), [""; 0]);
}

#[test]
fn packages_of_python_are_told_how_to_get_to_other_machines() {
    let test = ("test_a.py", "import pytest");
    assert!(only([test, ("requirements.txt", "")]).contains("install -r requirements.txt\n"));
    assert!(only([test, ("pyproject.toml", "")]).contains("install .\n"));
    assert!(!only([test, ("setup.cfg", "")]).contains("install"));
}

#[test]
fn cargo_has_packages_of_a_workspace_or_programs_of_a_package_as_atoms() {
    assert!(only([("Cargo.toml", "[workspace]\nmembers = []")]).contains("--package \"$PACKAGE\""));
    let package = "[package]\nname = \"a\"";
    let atoms = only([
        ("Cargo.toml", package),
        ("src/lib.rs", ""),
        ("tests/a.rs", ""),
    ]);
    assert!(
        atoms.contains("--lib --doc") && atoms.contains("--test=") && !atoms.contains("--bins")
    );
    let atoms = only([
        ("Cargo.toml", package),
        ("src/bin/a.rs", ""),
        ("tests/a/b.rs", ""),
    ]);
    assert!(atoms.contains("--bins") && !atoms.contains("--test=") && !atoms.contains("--lib"));
    assert_eq!(names([("Cargo.toml", package)]), [""; 0]);
}

#[test]
fn javascript_is_tested_by_the_runner_that_its_script_names() {
    let package = |script: &str| format!(r#"{{"scripts": {{"test": "{script}"}}}}"#);
    let test = ("src/a.test.ts", "");
    for (script, job) in [
        ("vitest run", "Vitest"),
        ("jest --ci", "Jest"),
        ("mocha -R dot", "Mocha"),
        ("node --test", "Node"),
        ("tape tests", "Npm"),
    ] {
        assert_eq!(names([("package.json", &package(script)), test]), [job]);
    }
    assert_eq!(names([("package.json", &package("jest"))]), ["Npm"]);
    let none = package("echo \\\"Error: no test specified\\\" && exit 1");
    assert_eq!(names([("package.json", &none)]), [""; 0]);
    assert_eq!(names([("package.json", "no JSON")]), [""; 0]);
}

#[test]
fn runners_whose_reports_name_files_get_batches() {
    let mocha = r#"{"scripts": {"test": "mocha"}}"#;
    for files in [
        [("test_a.py", "import pytest"), ("x", "")],
        [("test_a.py", "import unittest"), ("x", "")],
        [("package.json", mocha), ("a.test.js", "")],
    ] {
        let job = only(files);
        let (commands, batch) = job.split_once("  batch_command:\n").unwrap();
        assert!(commands.contains("$TEST_FILE") && batch.contains("$ATOMS_FILE"));
        assert!(batch.contains("\n  atomizers:\n"), "{job}");
    }
}

#[test]
fn packages_of_javascript_are_installed_where_there_are_some() {
    let package = r#"{"scripts": {"test": "tape"}, "devDependencies": {"tape": "5"}}"#;
    assert!(only([("package.json", package)]).contains("|| npm install\n"));
    let locked = only([("package.json", package), ("package-lock.json", "")]);
    assert!(locked.contains("|| npm ci\n"));
    assert!(
        locked
            .contains("  cache: {paths: [node_modules], key: [package.json, package-lock.json]}\n")
    );
    // What else they make nobody knows.
    for package in [
        r#"{"workspaces": ["a"], "scripts": {"test": "tape"}, "devDependencies": {"tape": "5"}}"#,
        r#"{"scripts": {"test": "tape", "prepare": "tsc"}, "devDependencies": {"tape": "5"}}"#,
    ] {
        let job = only([("package.json", package), ("package-lock.json", "")]);
        assert!(
            job.contains("|| npm ci\n") && !job.contains("cache:"),
            "{job}"
        );
    }
    assert!(!only([("package.json", r#"{"scripts": {"test": "tape"}}"#)]).contains("npm i"));
}

#[test]
fn make_counts_where_nothing_else_is_found() {
    for (text, target) in [
        ("all: a\ntest: all\n", "test"),
        ("check :\n\ttrue\n", "check"),
    ] {
        let job = only([("Makefile", text)]);
        assert!(job.contains(&format!("echo {target}\n")), "{job}");
    }
    for text in ["test := 1\n", "testing: x\n", "\ttest: x\n"] {
        assert_eq!(names([("Makefile", text)]), [""; 0], "{text}");
    }
    let go = [("go.mod", ""), ("a_test.go", ""), ("Makefile", "test:\n")];
    assert_eq!(names(go), ["Go"]);
}

#[test]
fn a_project_of_several_kinds_has_several_jobs() {
    let files = [
        ("Cargo.toml", "[workspace]"),
        ("test_a.py", "import pytest"),
        ("package.json", r#"{"scripts": {"test": "jest"}}"#),
    ];
    assert_eq!(names(files), ["Pytest", "Cargo", "Npm"]);
}
