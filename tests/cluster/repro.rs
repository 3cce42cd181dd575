//! `clusterrunner repro`: the script of an atom fails as the atom failed on the farm.

use crate::job::job;
use crate::machine::{Ended, Machine};
use crate::repository::Repository;
use clusterrunner_common::api::{BuildBody, BuildView};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};

/// Four atoms each of five kinds: exit codes, signals, a time limit, something that is not there, and what the set-up
/// made. Their values are as odd as values can be.
const COMMAND: &str = r#"echo "prints $X"; case "$X" in
    exit*) exit "${X##* }" ;;
    signal*) kill -"${X##* }" $$ ;;
    lacks*directory*) cat "$ARTIFACT_DIR/given/$X" ;;
    lacks*) echo "${NOT_SET?is not there}" ;;
    made*) test "$FROM_JOB" = "a 'b' \"c\" \$d" && exit "$(cat "made by set-up")" ;;
    esac"#;

/// The values of atoms that take longer than they may.
const LATE: [&str; 4] = ["late 1", "late 'it'", "late $HOME", "late \u{e9}"];

/// How long these may run, in seconds.
const LIMIT: u64 = 2;

const VALUES: [&str; 16] = [
    "exit 'one' 1",
    "exit \"two\" 2",
    "exit $(echo broken) 42",
    "exit ; & | 255",
    "signal KILL",
    "signal ` ABRT",
    "signal \\ SEGV",
    "signal TERM",
    "lacks directory",
    "lacks a directory",
    "lacks variable",
    "lacks $variable",
    "made 1",
    "made 'it'",
    "made \"it\"",
    "made $it",
];

fn build_of(machine: &Machine, build: &str) -> BuildView {
    let printed = machine.run_to(0, &["status", build, "--json"]).stdout;
    serde_json::from_str::<BuildBody>(&printed).unwrap().build
}

#[test]
fn twenty_atoms_of_five_kinds_fail_by_hand_as_on_the_farm() {
    let repository = Repository::empty();
    let odd = job(COMMAND)
        .with("atomizers", json!([{"X": "cat values"}]))
        .setup("cd \"$PROJECT_DIR\" && printf 7 >'made by set-up'")
        .with("env", json!({"FROM_JOB": "a 'b' \"c\" $d"}));
    let late = job("echo \"prints $X\"; sleep 600")
        .with("atomizers", json!([{"X": "cat late"}]))
        .with("timeout", LIMIT);
    let jobs = [("Odd", odd), ("Late", late)].map(|(name, job)| {
        let text: Value = serde_json::from_str(&job.to_string()).unwrap();
        (name.to_owned(), text["Job"].clone())
    });
    let jobs = Value::from(serde_json::Map::from_iter(jobs));
    repository.commit(&[
        ("deep er/clusterrunner.yaml", &jobs.to_string()),
        ("deep er/values", &VALUES.join("\n")),
        ("deep er/late", &LATE.join("\n")),
    ]);
    // The commit that is built is no tip any more.
    let machine = Machine::new("");
    let url = repository.path().to_str().unwrap();
    let mut failed = Vec::new();
    for (build, job) in [("1", "Odd"), ("2", "Late")] {
        let of_git = ["git", "--url", url, "--project-directory", "deep er"];
        machine.run_to(
            1,
            &[&["build", "--no-results", "-j", job][..], &of_git].concat(),
        );
        let atoms = build_of(&machine, build).failed_atoms.unwrap();
        failed.extend(atoms.into_iter().map(|atom| (build, atom)));
    }
    repository.commit(&[("deep er/values", "other"), ("deep er/late", "other")]);
    assert_eq!(failed.len(), 20, "{failed:#?}");
    // All at once, since some take as long as they may.
    let by_hand = failed.iter().map(|(build, atom)| {
        let name = format!("{}_{}", atom.subjob_id, atom.id);
        let script = format!("{build}-{name}.sh");
        let mut repro = machine.command(&["repro", build, &name, "-o", &script]);
        // As in a hook of another repository.
        let made = repro.env("GIT_DIR", machine.path("home")).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let place = machine.path(&format!("by-hand/{build}-{name}"));
        let mut bash = Command::new("bash");
        bash.env("GIT_DIR", machine.path("home"));
        bash.arg(machine.path("project").join(&script)).arg(&place);
        bash.stdout(Stdio::piped()).stderr(Stdio::piped());
        (name, bash.spawn().unwrap())
    });
    let by_hand: Vec<(String, Child)> = by_hand.collect();
    for ((build, atom), (name, bash)) in failed.iter().zip(by_hand) {
        let ended = Ended::from(bash.wait_with_output().unwrap());
        let expected = match (atom.timed_out_after, atom.exit_code.unwrap()) {
            (Some(LIMIT), _) => 124,
            (_, signal) if signal < 0 => 128 - signal,
            (_, code) => code,
        };
        assert_eq!(ended.code, Some(expected), "{atom:#?} {ended:#?}");
        // The first line has the atom's odd value.
        let console = machine.run_to(0, &["logs", build, &name]).stdout;
        let first = |text: &str| text.lines().next().map(str::to_owned);
        assert_eq!(first(&ended.stdout), first(&console), "{ended:#?}");
    }
    let kinds: Vec<i32> = failed
        .iter()
        .filter_map(|(_, atom)| atom.exit_code)
        .collect();
    for code in [1, 2, 42, 255, -9, -6, -11, -15, 7] {
        assert!(kinds.contains(&code), "{code} is not in {kinds:?}");
    }
}

#[test]
fn what_can_not_be_made_is_told() {
    let machine = Machine::new(&job("exit 3").atoms(1).to_string());
    machine.run_to(1, &["build", "--no-results", "--env", "SECRET=of somebody"]);
    let script = machine.run_to(0, &["repro", "1", "0_0"]).stdout;
    let head: Vec<&str> = script
        .lines()
        .take_while(|line| line.starts_with('#'))
        .collect();
    let head = head.join("\n");
    for text in [
        "Runs artifact_0_0 of build 1",
        "exit code 3",
        "never shown",
        "The project is the directory",
    ] {
        assert!(head.contains(text), "{text}: {script}");
    }
    assert!(!script.contains("of somebody"), "{script}");
    let mut bash = Command::new("bash");
    bash.arg("-c")
        .arg(&script)
        .env("TMPDIR", machine.path("home"));
    assert_eq!(bash.output().unwrap().status.code(), Some(3), "{script}");

    let none = machine.run_to(2, &["repro", "1", "9_0"]);
    assert!(none.stderr.contains("build 1 has no atom 9_0"), "{none:#?}");
    fs::write(machine.path("project/there"), "mine").unwrap();
    let there = machine.run_to(2, &["repro", "1", "0_0", "-o", "there"]);
    assert!(there.stderr.contains("is not replaced"), "{there:#?}");
    assert_eq!(fs::read(machine.path("project/there")).unwrap(), b"mine");
    // The job of the build is gone from its directory.
    machine.write_jobs("Other:\n  commands: [a]\n  atomizers: [{N: b}]\n");
    let gone = machine.run_to(5, &["repro", "1", "0_0"]);
    assert!(
        gone.stderr.contains("job of the build can not be read"),
        "{gone:#?}"
    );
}
