//! Runs: one command in an instance of its own, once.

use super::super::instances::UP;
use super::super::scenario::Scenario;
use super::{HILL, build, configure, rollback, run, text_of};
use crate::apps::command::{AppCommand, AppRefusal};
use crate::instances::instance::{InstanceRefusal, InstanceState};
use clusterrunner_common::work::ReportedState;
use serde_json::json;

fn exited(code: i32) -> ReportedState {
    ReportedState::Exited { code, printed: 3 }
}

fn runs(farm: &Scenario) -> Vec<String> {
    farm.cluster.runs_of(HILL).map(text_of).collect()
}

/// A farm with an app whose `web` is up as instance 1.
fn deployed() -> Scenario {
    let mut farm = Scenario::with_app(&[("a:1", 4), ("b:1", 4)]);
    farm.order(configure(
        json!({"values": {"A": "x"}, "memory": {"run": "1M"}}),
    ));
    farm.order(build("app", &["web"]));
    farm.comes_up(2);
    farm
}

#[test]
fn a_run_ends_with_its_command() {
    let mut farm = deployed();
    farm.order(run(1, "echo hi")).check(
        &[
            "app of project 3 runs a command: run 1, instance 2",
            "instance 2 launched: run 1 of project 3 v3: app, template 1",
            "instance 2 to slave 3, generation 1",
        ],
        &["slave 3: run [2@1]"],
    );
    let it = farm.one(2);
    assert_eq!(it.command.last().map(String::as_str), Some("echo hi"));
    assert_eq!(
        (it.environment["A"].as_str(), it.max_memory_bytes),
        ("x", Some(1 << 20))
    );
    // Asked for again, it is the same run.
    farm.order(run(1, "echo hi")).check_nothing();
    farm.say(3, 4, &[(2, 1, 0, UP)]);
    farm.say(3, 4, &[(2, 1, 0, exited(137))])
        .check(&["instance 2 exited with code 137"], &["slave 3: run []"]);
    assert_eq!(
        (farm.one(2).state, farm.one(2).exit),
        (InstanceState::Destroyed, Some(137))
    );
    farm.say(3, 4, &[(2, 1, 0, exited(137))]).check_nothing();
    farm.order(run(2, "true"));
    assert_eq!(runs(&farm), ["run.1 v3 destroyed", "run.2 v3 created"]);
    // They are no containers of the app.
    assert_eq!(farm.listed().len(), 1);
    farm.check_snapshots();
}

#[test]
fn a_run_is_never_begun_twice() {
    let lost = |lose: &dyn Fn(&mut Scenario)| {
        let mut farm = deployed();
        farm.order(run(1, "migrate"));
        lose(&mut farm);
        assert_eq!(farm.one(2).state, InstanceState::Error);
        let waiting = farm.cluster.waiting_instances();
        assert!(waiting.map(|id| id.0).all(|id| id != 2));
        farm.check_snapshots();
        farm.one(2).reason.clone().unwrap()
    };
    let reason = lost(&|farm| {
        farm.die(3);
    });
    assert_eq!(reason, "slave b:1 was lost: silent");
    lost(&|farm| {
        farm.shut_down(&[3]);
    });
    let reason = lost(&|farm| {
        farm.say(3, 4, &[(2, 1, 0, ReportedState::Ended)]);
    });
    assert_eq!(reason, "its slave ended it");
    let reason = lost(&|farm| {
        farm.begin_incarnation(super::super::scenario::fresh());
    });
    assert_eq!(reason, "the master's journal lost its end");
}

#[test]
fn a_run_that_no_slave_has_yet_waits() {
    let mut farm = Scenario::with_app(&[("a:1", 1)]);
    farm.order(build("app", &["web"]));
    farm.order(run(1, "true"));
    assert_eq!(farm.one(2).state, InstanceState::Initialized);
    farm.stop(2).check_facts(&["instance 2 stopped"]);
}

#[test]
fn what_can_not_be_run_is_refused() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.refuses(run(1, "true"), AppRefusal::NoBuild);
    farm.order(build("No Image", &[]));
    let refused = farm.try_tell(super::ordered(run(1, "true"))).unwrap_err();
    assert!(refused.to_string().contains("is no template"), "{refused}");
    farm.order(build("app", &[]));
    let expected = "a text of 1 to 65536 bytes without NUL";
    for command in ["", "a\0", &"x".repeat(65_537)] {
        let field = "command";
        farm.refuses(
            run(1, command),
            AppRefusal::InvalidField { field, expected },
        );
    }
    let wrong = InstanceRefusal::InvalidField {
        field: "key",
        expected: "32 lower-case hexadecimal digits",
    };
    let (project, key, command) = (HILL, "A".repeat(32), "true".to_owned());
    let command = AppCommand::Run {
        project,
        key,
        command,
    };
    farm.check_refused(super::ordered(command), &wrong.into());
    farm.die(1);
    farm.die(2);
    farm.refuses(run(1, "true"), AppRefusal::NoSlave);
    assert_eq!(farm.hill().last_run, 0);
}

#[test]
fn runs_go_on_beside_releases_and_end_with_the_app() {
    let mut farm = deployed();
    farm.order(run(1, "sleep 100"));
    farm.order(rollback(Some(1)));
    assert_eq!(runs(&farm), ["run.1 v3 created"]);
    farm.order(AppCommand::Destroy { project: HILL });
    assert_eq!(farm.one(2).state, InstanceState::Destroyed);
    farm.check_snapshots();
}
