//! Output that is not shown as a whole, or that the master does not give.

use crate::fake_master::{FakeMaster, atom_of, building, finished};
use crate::run::User;
use axum::http::StatusCode;
use clusterrunner_common::api::{AtomState, AtomView, SubjobView};
use clusterrunner_common::ids::SubjobId;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A master with a build of one failed atom, which printed two lines, the second one too long to be given.
fn master() -> FakeMaster {
    let atom = atom_of(0, AtomState::Completed, Some(1));
    let master = FakeMaster::start([finished(1, vec![atom.clone()])]);
    {
        let mut script = master.script();
        script.subjobs = vec![SubjobView {
            id: SubjobId(0),
            command: "true".to_owned(),
            atoms: vec![atom.clone()],
            slave: None,
        }];
        script.atoms = [atom].into();
        script.consoles = ["one\nlong".to_owned()].into();
        script.console_cut = 17;
    }
    master
}

fn events(user: &User, master: &FakeMaster, line: &[&str], event: &str) -> Vec<Value> {
    let ended = user.run_at(master, line);
    let lines = ended.stdout.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<Value> = lines.filter(|line| line["event"] == event).collect();
    assert!(!events.is_empty(), "{ended:#?}");
    events
}

#[test]
fn programs_are_told_how_much_is_cut() {
    let (user, master) = (User::new(), master());
    for line in [
        &["logs", "1", "0_0", "--json"][..],
        &["logs", "1", "-f", "--json"],
    ] {
        let lines = events(&user, &master, line, "output");
        assert_eq!(
            (&lines[0]["text"], lines[0].get("num_bytes_cut")),
            (&"one".into(), None)
        );
        assert_eq!(
            (&lines[1]["text"], &lines[1]["num_bytes_cut"]),
            (&"long".into(), &17.into())
        );
    }
    for how in ["full", "tail"] {
        let line = ["attach", "1", "--json", "--failure-output", how];
        let failed = events(&user, &master, &line, "atom_failed");
        assert_eq!(failed[0]["output"], "one\nlong", "{how}");
        assert_eq!(failed[0]["num_bytes_cut"], 17, "{how}");
    }
    master.script().console_cut = 0;
    let line = ["attach", "1", "--json", "--failure-output", "full"];
    let failed = events(&user, &master, &line, "atom_failed");
    assert_eq!(failed[0].get("num_bytes_cut"), None);
}

#[test]
fn people_are_told_how_much_is_cut() {
    let (user, master) = (User::new(), master());
    let line = ["logs", "1", "--failed", "--failure-output", "full"];
    let cut = ["    long\n    ... 17 more bytes of this line, see `clusterrunner logs 1 0_0"];
    user.run_at(&master, &line).expect_code(0).expect(&cut, &[]);
    let ended = user.run_at(&master, &["logs", "1", "-f"]).expect_code(0);
    assert!(ended.stdout.contains("long"), "{ended:#?}");
    let said = ended.stdout + &ended.stderr;
    assert!(
        said.contains("-- 17 more bytes of this line are not shown --"),
        "{said}"
    );
}

/// Without an end, a command would wait for an output that nobody gives.
#[test]
fn who_may_not_read_is_told() {
    let user = User::new();
    let running = atom_of(0, AtomState::InProgress, None);
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let master = master();
        {
            let mut script = master.script();
            script.views = [building(1, 0, 0)].into();
            script.atoms = [running.clone()].into();
            script.subjobs[0].atoms = vec![running.clone()];
            script.console_refusal = Some(status);
        }
        for line in [&["logs", "1", "-f"][..], &["logs", "1", "0_0", "-f"]] {
            let ended = user.run_at(&master, line).expect_code(5);
            ended.expect(&[], &["No console for you."]);
        }
    }
}

#[test]
fn each_failed_attempt_has_its_mark() {
    let (user, master) = (User::new(), master());
    let failed = |attempts: &[u32]| {
        let attempts = attempts.iter();
        let attempts: Vec<Value> = attempts
            .map(|attempt| json!({"attempt": attempt, "exit_code": 1, "actual_time": 0.1, "slave_id": 1}))
            .collect();
        let mut atom = json!(atom_of(0, AtomState::NotStarted, None));
        atom["failed_attempts"] = attempts.into();
        vec![serde_json::from_value::<AtomView>(atom).unwrap()]
    };
    {
        let mut script = master.script();
        script.views = [building(1, 0, 0)].into();
        script.console_cut = 0;
        script.consoles = ["one\n".to_owned()].into();
        script.subjobs[0].atoms = failed(&[1]);
    }
    let mut running = user.start_at(&master, &["logs", "1", "-f"]);
    running.wait_for_output("-- attempt 1 failed --");
    {
        let mut script = master.script();
        script.consoles = [String::new()].into();
        script.subjobs[0].atoms = failed(&[1, 2]);
    }
    running.wait_for_output("-- attempt 2 failed --");
    master.script().views = [finished(1, vec![])].into();
    let ended = running.end().expect_code(0);
    assert!(!ended.stdout.contains("attempt"), "once each: {ended:#?}");
}

/// A slave that can not be asked for a while does not end what is shown of a build.
#[test]
fn a_slave_that_does_not_answer_is_asked_again() {
    let user = User::new();
    let line = ["logs", "1", "-f", "--patience", "0"];
    let master = master();
    {
        let mut script = master.script();
        script.console_cut = 0;
        script.console_failures = 2;
        let looks = [building(1, 0, 0), building(1, 0, 0), building(1, 0, 0)];
        script.views = looks.into_iter().chain([finished(1, vec![])]).collect();
    }
    let ended = user.run_at(&master, &line).expect_code(0);
    ended.expect(&["| one\n", "| long\n"], &[]);
    // What is missing at the end is told.
    master.script().console_failures = u32::MAX;
    let ended = user.run_at(&master, &line).expect_code(5);
    ended.expect(&[], &["The slave does not answer."]);
}

/// Who has waited for the end need not wait for outputs, too.
#[test]
fn an_interrupt_ends_the_wait_for_outputs() {
    let (user, master) = (User::new(), master());
    master.script().console_failures = u32::MAX;
    let line = [
        "wait",
        "1",
        "--failure-output",
        "tail",
        "--patience",
        "3600",
    ];
    let running = user.start_at(&master, &line);
    let began = Instant::now();
    while master.script().console_failures == u32::MAX {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "no output is asked for"
        );
        std::thread::yield_now();
    }
    running.signal(Signal::INT);
    let ended = running.end().expect_code(1);
    ended.expect(&["Build 1 failed: "], &[]);
}
