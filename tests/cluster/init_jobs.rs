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
    let node = Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !node.is_ok_and(|ended| ended.success()) {
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
