//! What `init` writes for projects without a job file is what `build` runs: their tests pass, and a fault makes just
//! the right atom fail.

use crate::job::job;
use crate::machine::{Ended, Machine};
use crate::skipping::{Lacks, skip};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

/// A machine whose project has these files and no job file.
fn machine_with(files: &[(&str, &str)]) -> Machine {
    let machine = Machine::new(&job("true").atoms(1).to_string());
    fs::remove_file(machine.path("project/clusterrunner.yaml")).unwrap();
    for file in files {
        write(&machine, file);
    }
    machine
}

fn write(machine: &Machine, (file, text): &(&str, &str)) {
    let path = machine.path("project").join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Runs a command of a user who has cargo.
fn run_to(code: i32, machine: &Machine, arguments: &[&str]) -> Ended {
    let mut command = machine.command(arguments);
    for (variable, directory) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let here = PathBuf::from(env::var_os("HOME").unwrap()).join(directory);
        command.env(variable, env::var_os(variable).map_or(here, PathBuf::from));
    }
    let ended = Ended::from(command.output().unwrap());
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:#?}");
    ended
}

/// Checks that the project passes as it is, and that the fault is found by one atom alone.
fn check(files: &[(&str, &str)], fault: (&str, &str), found_by: &str) -> Machine {
    let machine = machine_with(files);
    run_to(0, &machine, &["init"]);
    run_to(0, &machine, &["validate"]);
    run_to(0, &machine, &["build"]);
    write(&machine, &fault);
    run_to(1, &machine, &["build"]);
    let Ended { stdout, .. } = run_to(0, &machine, &["logs", "2", "--failed"]);
    assert_eq!(stdout.matches("exit code").count(), 1, "{stdout}");
    assert!(stdout.contains(found_by), "{stdout}");
    machine
}

const UNITTEST: &str =
    "import unittest\nclass A(unittest.TestCase):\n    def test_a(self): self.assertTrue(1)\n";

#[test]
fn python_with_unittest() {
    let files = [("tests/test_one.py", UNITTEST), ("test_two.py", UNITTEST)];
    let fault = UNITTEST.replace("(1)", "(0)");
    check(&files, ("test_two.py", &fault), "test_two.py");
}

#[test]
fn python_with_pytest() {
    let pytest = [
        "-c",
        "import sys, pytest; sys.exit(pytest.version_tuple < (7,))",
    ];
    if !has("python3", &pytest) {
        return skip(Lacks::Runtime("pytest"));
    }
    let plain = "import pytest\ndef test_a(): assert 1\ndef test_b(): assert 2\n";
    let files = [
        ("tests/test_one.py", plain),
        ("tests/test_two.py", plain),
        ("tests/deep/er/test_three.py", plain),
        ("test_four.py", plain),
        ("tests/conftest.py", "import os\n"),
    ];
    // Of a file that can not be collected too: the others need not run again.
    for fault in ["def test_a(): assert 0\n", "import nothing_like_that\n"] {
        let machine = check(&files, ("tests/test_two.py", fault), "tests/test_two.py");
        let tests = machine.run(&["tests", "1", "--all"]).stdout;
        assert!(tests.contains("8 passed"), "{tests}");
    }
}

#[test]
fn go_by_its_packages() {
    if !has("go", &["version"]) {
        return skip(Lacks::Runtime("go"));
    }
    let test = |package: &str| {
        format!(
            "package {package}\nimport \"testing\"\nfunc TestA(t *testing.T) {{ if false {{ t.Fail() }} }}\n"
        )
    };
    let (one, two) = (test("one"), test("two"));
    let files = [
        ("go.mod", "module example.com/m\n\ngo 1.18\n"),
        ("one/a_test.go", one.as_str()),
        ("two/a_test.go", two.as_str()),
        ("three/three.go", "package three\n"),
    ];
    let fault = two.replace("if false", "if true");
    check(&files, ("two/a_test.go", &fault), "example.com/m/two");
}

fn has(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let ended = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ended.status().is_ok_and(|ended| ended.success())
}

#[test]
fn a_cargo_package_by_its_test_programs() {
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        ),
        (
            "src/lib.rs",
            "/// ```\n/// assert_eq!(one::one(), 1);\n/// ```\npub fn one() -> u32 { 1 }\n",
        ),
        (
            "tests/first.rs",
            "#[test]\nfn is_one() { assert_eq!(one::one(), 1); }\n",
        ),
        (
            "tests/second.rs",
            "#[test]\nfn is_two() { assert_eq!(one::one() + 1, 2); }\n",
        ),
    ];
    let fault = (
        "tests/second.rs",
        "#[test]\nfn is_two() { assert_eq!(one::one(), 2); }\n",
    );
    check(&files, fault, "--test=second");
}

#[test]
fn a_cargo_workspace_by_its_packages() {
    let package = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    };
    let (one, two) = (package("one"), package("two"));
    let test = "#[test]\nfn holds() { assert!(true); }\n";
    let files = [
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"2\"\n",
        ),
        ("a/Cargo.toml", &one),
        ("a/src/lib.rs", test),
        ("b/Cargo.toml", &two),
        ("b/src/lib.rs", test),
    ];
    check(
        &files,
        ("b/src/lib.rs", &test.replace("true", "false")),
        "two",
    );
}

#[test]
fn javascript_with_node() {
    if !has("node", &["--version"]) {
        return skip(Lacks::Runtime("node"));
    }
    let test = "require('node:test')('holds', () => require('node:assert').ok(1));\n";
    let files = [
        ("package.json", r#"{"scripts": {"test": "node --test"}}"#),
        ("test/a.test.js", test),
        ("lib/b.test.js", test),
    ];
    let machine = check(
        &files,
        ("lib/b.test.js", &test.replace("ok(1)", "ok(0)")),
        "lib/b.test.js",
    );
    let tests = machine.run(&["tests", "2"]).stdout;
    assert!(
        tests.contains("FAILED  holds") || tests.contains("> holds"),
        "{tests}"
    );
    assert!(
        tests.contains("1 failed") && tests.contains("1 passed"),
        "{tests}"
    );
}

#[test]
fn a_makefile_as_one_atom() {
    check(
        &[("Makefile", "test:\n\ttrue\n")],
        ("Makefile", "test:\n\tfalse\n"),
        "test",
    );
}

#[test]
fn a_job_file_stays_unless_told_otherwise_and_nothing_is_made_up() {
    let machine = machine_with(&[("test_a.py", UNITTEST)]);
    let file = machine.path("project/clusterrunner.yaml");
    let printed = machine.run_to(0, &["init", "--print"]).stdout;
    assert!(!file.exists());
    machine.run_to(0, &["init"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    fs::write(&file, "mine").unwrap();
    let refused = machine.run_to(2, &["init"]).stderr;
    assert!(
        refused.contains("is there already") && refused.contains("--force"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    machine.run_to(0, &["init", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);

    let empty = machine_with(&[]);
    let refused = empty.run_to(2, &["init"]).stderr;
    assert!(refused.contains("no tests"), "{refused}");
    assert_eq!(fs::read_dir(empty.path("project")).unwrap().count(), 0);
    empty.run_to(2, &["init", "nowhere"]);
}
