//! The commands that look at a farm: `status`, `slaves`, `logs`, `cancel`.

use crate::fake_master::{FakeMaster, atom_of, building, canceled, finished, view};
use crate::run::User;
use clusterrunner_common::api::{AtomState, BuildStatus, BuildView, SubjobView};
use clusterrunner_common::ids::{BuildId, SubjobId};
use serde_json::Value;

fn subjob(id: u32, exit_code: Option<i32>, state: AtomState) -> SubjobView {
    SubjobView {
        id: SubjobId(id),
        command: "make test".to_owned(),
        atoms: vec![atom_of(id, state, exit_code)],
        slave: None,
    }
}

#[test]
fn status_shows_the_farm_and_the_last_builds() {
    let user = User::new();
    let master = FakeMaster::start([
        finished(2, vec![atom_of(0, AtomState::Completed, Some(1))]),
        BuildView {
            id: BuildId(2),
            ..building(5, 3, 0)
        },
    ]);
    let ended = user.run_at(&master, &["status"]).expect_code(0).expect(
        &["(version 9.9.9): 1 slave with 8 executors, 3 in use\n"],
        &[],
    );
    let rows: Vec<Vec<&str>> = ended
        .stdout
        .lines()
        .skip(2)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..4], ["Build", "State", "Atoms", "Failed"]);
    assert_eq!(rows[2][..4], ["1", "failed", "2", "1"]);
    assert_eq!(rows[1][..5], ["2", "building", "3", "of", "5"]);
    assert!(
        rows[1].ends_with(&["Unit", "of", "/srv/project"]),
        "{rows:?}"
    );
}

#[test]
fn status_lists_the_builds_that_are_asked_for() {
    let user = User::new();
    let failed = || finished(1, vec![atom_of(0, AtomState::Completed, Some(1))]);
    let builds = (1..=15).map(|id| BuildView {
        id: BuildId(id),
        job_name: (id == 7).then(|| "Other".to_owned()),
        ..match id % 3 {
            0 => failed(),
            1 => finished(1, vec![]),
            _ => building(5, 3, 0),
        }
    });
    let master = FakeMaster::start(builds);
    let listed = |options: &[&str]| {
        let line = [&["status"], options].concat();
        let ended = user.run_at(&master, &line).expect_code(0);
        let rows = ended.stdout.lines().skip(3);
        let id = |line: &str| line.split_whitespace().next().unwrap().parse().unwrap();
        (rows.map(id).collect::<Vec<u32>>(), ended.stderr)
    };
    let all = (1..=15).rev().collect::<Vec<_>>();
    assert_eq!(listed(&["--all"]).0, all);
    assert_eq!(listed(&[]).0, all, "ten are over, five are not");
    let (three, note) = listed(&["--limit", "3"]);
    assert_eq!(three, [15, 14, 13]);
    assert!(note.contains("12 older builds not listed; --all"), "{note}");
    assert_eq!(listed(&["--state", "failed", "--limit", "2"]).0, [15, 12]);
    assert_eq!(
        listed(&["--state", "passed,building", "--job", "Other"]).0,
        [7]
    );
    assert_eq!(listed(&["--job", "Unit"]).0.len(), 14);
    let line = ["status", "--json", "--state", "failed", "--limit", "2"];
    let ended = user.run_at(&master, &line).expect_code(0);
    let body: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(body["builds"].as_array().unwrap().len(), 2);
    assert_eq!(body["builds"][1]["id"], 15);
    user.run_at(&master, &["status", "--job", "None"])
        .expect_code(0)
        .expect(&["No such builds.\n"], &[]);
}

/// Where the master is just being started, who says so waits for it.
#[test]
fn looks_wait_as_long_as_they_are_told_to() {
    let user = User::new();
    // Nothing listens at port 1: it is reserved for a service that nobody runs.
    let patiently = ["--patience", "60", "-m", "127.0.0.1:1"];
    for line in [
        &["status"][..],
        &["logs", "1"],
        &["cancel", "1"],
        &["slaves"],
    ] {
        let line = [line, &patiently].concat();
        let mut child = user.command(&line).spawn().unwrap();
        let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut note = String::new();
        std::io::BufRead::read_line(&mut stderr, &mut note).unwrap();
        assert!(note.contains("trying again for 60 s"), "{line:?}: {note}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn help_is_a_subcommand_and_unknown_ones_get_hints() {
    let user = User::new();
    let usage = ["Usage: clusterrunner "];
    user.run(&["help"]).expect_code(0).expect(&usage, &[]);
    user.run(&["help", "logs"])
        .expect_code(0)
        .expect(&["Usage: clusterrunner logs "], &[]);
    user.run(&["log", "1"]).expect_code(2).expect(
        &[],
        &["'logs'", "`clusterrunner help` lists the subcommands"],
    );
}

#[test]
fn a_wrong_command_line_gets_the_usage_of_the_help() {
    let user = User::new();
    for (arguments, help) in [
        (&["logs"][..], &["help", "logs"][..]),
        (&["logs", "-m", "127.0.0.1:1"], &["help", "logs"]),
        (&["app", "scale"], &["help", "app", "scale"]),
        (&["results", "1", "--nope"], &["help", "results"]),
    ] {
        let help = user.run(help).expect_code(0).stdout;
        let usage = help.lines().find(|line| line.starts_with("Usage: "));
        user.run(arguments)
            .expect_code(2)
            .expect(&[], &[usage.unwrap(), "[OPTIONS]"]);
    }
}

#[test]
fn status_of_a_build_shows_why_it_failed() {
    let user = User::new();
    let mut build = finished(2, vec![atom_of(1, AtomState::Completed, Some(-11))]);
    build.state_timestamps = [("queued", 100.0), ("building", 101.5), ("finished", 230.0)]
        .map(|(state, at)| (state.to_owned(), Some(at)))
        .into_iter()
        .collect();
    let master = FakeMaster::start([build]);
    user.run_at(&master, &["status", "1"])
        .expect_code(0)
        .expect(
            &[
                "Build 1: failed\n",
                "time      2 min 10 s\n",
                "queued for 1.5 s\n",
                "artifact_1_0  ended by signal 11 (SIGSEGV)  1.2 s  TEST=\"test_1\"\n",
            ],
            &["`clusterrunner logs 1 1_0 -m 127.0.0.1:"],
        );
    user.run_at(&master, &["status", "7"])
        .expect_code(2)
        .expect(
            &[],
            &[
                "error: the master ",
                " has no build 7\n",
                "hint: `clusterrunner status -m ",
            ],
        );
}

#[test]
fn json_is_what_the_api_says() {
    let user = User::new();
    let master = FakeMaster::start([view(BuildStatus::Queued)]);
    for (line, pointer, expected) in [
        (["status", "--json"].as_slice(), "/builds/0/id", 1),
        (&["status", "--json"], "/slaves/0/num_executors", 8),
        (&["status", "1", "--json"], "/build/id", 1),
        (&["slaves", "--json"], "/slaves/0/id", 1),
    ] {
        let ended = user.run_at(&master, line).expect_code(0);
        let body: Value = serde_json::from_str(&ended.stdout).unwrap();
        let found = body.pointer(pointer).and_then(Value::as_i64);
        assert_eq!(found, Some(expected), "{line:?} {body}");
    }
}

#[test]
fn slaves_are_listed() {
    let user = User::new();
    let master = FakeMaster::start([]);
    user.run_at(&master, &["slaves"]).expect_code(0).expect(
        &["Slave  Address         State  Executors      Build\n1      10.0.0.7:43001  alive  3 of 8 in use  7\n"],
        &[],
    );
    master.script().slaves[0].runs_containers = Some(false);
    user.run_at(&master, &["slaves"]).expect_code(0).expect(
        &["Build  Containers\n1      10.0.0.7:43001  alive  3 of 8 in use  7      no\n"],
        &[],
    );
    master.script().slaves.clear();
    user.run_at(&master, &["slaves"])
        .expect_code(0)
        .expect(&[], &["the master has no slaves; start one with"]);
}

#[test]
fn logs_list_the_atoms() {
    let user = User::new();
    let master = FakeMaster::start([building(3, 2, 1)]);
    master.script().subjobs = vec![
        subjob(0, Some(0), AtomState::Completed),
        subjob(1, Some(2), AtomState::Completed),
        subjob(2, None, AtomState::InProgress),
    ];
    user.run_at(&master, &["logs", "1"]).expect_code(0).expect(
        &[
            "artifact_0_0  passed       1.2 s  TEST=\"test_0\"\n",
            "artifact_1_0  exit code 2  1.2 s  TEST=\"test_1\"\n",
            "artifact_2_0  running      -      TEST=\"test_2\"\n",
        ],
        &[],
    );
}

#[test]
fn logs_print_all_of_a_long_output() {
    let user = User::new();
    let master = FakeMaster::start([building(1, 0, 0)]);
    let output: String = (0..2500)
        .map(|line| format!("\u{1b}[32mline {line}\u{1b}[0m\n"))
        .collect();
    master.script().consoles = [output.clone()].into();
    let ended = user.run_at(&master, &["logs", "1", "0.0"]).expect_code(0);
    assert_eq!(ended.stdout, output);
    user.run_at(&master, &["logs", "1", "zero"])
        .expect_code(2)
        .expect(&[], &["error: 'zero' names no atom", "hint: write S_K"]);
}

#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let user = User::new();
    let master = FakeMaster::start([building(1, 0, 0)]);
    let output: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
    master.script().consoles = [output].into();
    master.script().atoms = [atom_of(0, AtomState::InProgress, None)].into();
    for line in [&["logs", "1", "0_0"][..], &["logs", "1", "0_0", "-f"]] {
        let address = master.address.to_string();
        let line = [line, &["--master-url", &address]].concat();
        let mut child = user.command(&line).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[test]
fn following_goes_on_through_a_restart_until_the_atom_ends() {
    let user = User::new();
    let master = FakeMaster::start([building(1, 0, 0)]);
    master.script().atoms = [atom_of(0, AtomState::InProgress, None)].into();
    let mut running = user.start_at(&master, &["logs", "1", "artifact_0_0", "--follow"]);
    // Until the atom starts there is no output.
    master.script().consoles = ["one\n".to_owned()].into();
    running.wait_for_output("one");
    master.script().consoles = ["one\ntwo\n".to_owned()].into();
    running.wait_for_output("two");
    let master = master.restart(|| {
        running.wait_for_note("does not answer");
    });
    master.script().consoles = ["one\ntwo\nthree\n".to_owned()].into();
    master.script().atoms = [atom_of(0, AtomState::Completed, Some(0))].into();
    let ended = running.end().expect_code(0);
    assert_eq!(ended.stdout, "three\n");
}

#[test]
fn cancel_says_what_it_did() {
    let user = User::new();
    let master = FakeMaster::start([building(1, 0, 0)]);
    user.run_at(&master, &["cancel", "1"])
        .expect_code(0)
        .expect(&["Build 1 is canceled.\n"], &[]);
    assert!(master.script().canceled);
    let master = FakeMaster::start([finished(1, vec![])]);
    user.run_at(&master, &["cancel", "1"])
        .expect_code(0)
        .expect(&["Build 1 is over already"], &[]);
    assert!(!master.script().canceled);
    let master = FakeMaster::start([canceled()]);
    user.run_at(&master, &["cancel", "1"]).expect_code(0);
}

#[test]
fn who_only_looks_needs_no_secret_and_gets_none() {
    let user = User::new();
    let master = FakeMaster::start([building(2, 0, 0)]);
    let address = master.address.to_string();
    let ran = |arguments: &[&str]| {
        let mut command = user.command(&[arguments, &["--master-url", &address]].concat());
        command.env_remove("CLUSTERRUNNER_SECRET").output().unwrap()
    };
    for command in [
        &["status"][..],
        &["status", "1"],
        &["slaves"],
        &["logs", "1"],
    ] {
        let output = ran(command);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {complaint}");
    }
    let output = ran(&["cancel", "1"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{complaint}");
    assert!(complaint.contains("no secret is known"), "{complaint}");
    assert!(!user.path("base/clusterrunner.conf").exists());
}

#[test]
fn what_can_not_be_printed_is_no_success() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, Vec::new())]);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let address = master.address.to_string();
    let mut command = user.command(&["status", "--master-url", &address]);
    let output = command.stdout(full).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{complaint}");
    assert!(
        complaint.contains("could not write to standard output"),
        "{complaint}"
    );
}
