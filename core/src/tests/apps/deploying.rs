//! Releases and scaling: which instances follow, and when the earlier ones end.

use super::super::instances::{UP, crashed};
use super::super::scenario::{Scenario, fresh};
use super::{HILL, build, configure, procfile, rollback, scale};
use crate::apps::app::{DEIS_APP, DEIS_RELEASE};
use crate::apps::command::{AppCommand, AppRefusal, NewAppBuild};
use crate::effect::Effect;
use crate::instances::instance::InstanceState;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::work::ReportedState;
use serde_json::json;
use std::collections::BTreeMap;

const RETIRED: &str = "instance 1 retired: it gets no new requests";

fn failed() -> ReportedState {
    let reason = "it never listens".to_owned();
    ReportedState::Failed { reason }
}

/// A farm with one slave, and with so many `web` up on release v2.
fn deployed(number: u32) -> Scenario {
    let mut farm = Scenario::with_app(&[("a:1", 16)]);
    farm.order(build("app", &["web", "worker"]));
    farm.order(scale(&[("cmd", 0), ("web", number)]));
    let listed = farm.listed();
    let starting = listed.iter().filter(|text| text.starts_with("web"));
    assert_eq!(starting.count(), number as usize, "{listed:?}");
    farm.comes_up(2);
    farm
}

#[test]
fn the_first_release_is_placed_and_comes_up() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.order(configure(
        json!({"values": {"A": 1, "B": "x y", "C": true}}),
    ));
    farm.order(build("app", &[])).check(
        &[
            "app of project 3 has build 1: app",
            "app of project 3 has release v3: clusterrunner deployed c0ffee",
            "app of project 3 scaled: web=1",
            "instance 1 launched: web.1 of project 3 v3: app, template 1",
            "instance 1 to slave 2, generation 1",
        ],
        &["slave 2: run [1@1]"],
    );
    let variables = &farm.one(1).environment;
    let expected = [
        ("A", "1"),
        ("B", "x y"),
        ("C", "true"),
        (DEIS_APP, "hill"),
        (DEIS_RELEASE, "v3"),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(*variables, expected);
    let key = &farm.one(1).key;
    assert_eq!((key.len(), &key[12..13], &key[16..17]), (32, "4", "8"));
    assert_eq!(farm.listed(), ["web.1 v3 created"]);
    farm.comes_up(2)
        .check_facts(&["instance 1 up at port 8000, restarts: 0"]);
    farm.check_snapshots();
}

#[test]
fn a_successor_is_up_before_the_old_one_is_retired() {
    let mut farm = deployed(2);
    farm.order(configure(json!({"values": {"A": 1}})))
        .check_facts(&[
            "app of project 3 has config 2",
            "app of project 3 has release v3: clusterrunner added A",
            "instance 3 launched: web.1 of project 3 v3: app, template 1",
            "instance 4 launched: web.2 of project 3 v3: app, template 1",
            "instance 3 to slave 2, generation 1",
            "instance 4 to slave 2, generation 1",
        ]);
    farm.say(2, 16, &[(3, 1, 0, UP)]).check(
        &[
            "instance 3 up at port 8000, restarts: 0",
            "instance 1 retired: it gets no new requests",
        ],
        &[],
    );
    let both = [
        "web.1 v2 up retired",
        "web.2 v2 up",
        "web.1 v3 up",
        "web.2 v3 created",
    ];
    assert_eq!(farm.listed(), both);
    // Requests that were under way are answered.
    farm.stop(1)
        .check(&["instance 1 stopped"], &["slave 2: run [2@1, 3@1, 4@1]"]);
    farm.say(2, 16, &[(4, 1, 0, UP)]).check_facts(&[
        "instance 4 up at port 8000, restarts: 0",
        "instance 2 retired: it gets no new requests",
    ]);
    farm.stop(2);
    assert_eq!(farm.listed(), ["web.1 v3 up", "web.2 v3 up"]);
    farm.check_snapshots();
}

#[test]
fn a_process_type_ends_with_the_release_that_drops_it() {
    let mut farm = Scenario::with_app(&[("a:1", 16)]);
    farm.order(build("app", &["web"]));
    farm.order(build("app", &["web", "worker"]));
    farm.order(scale(&[("cmd", 0), ("web", 1), ("worker", 1)]));
    farm.comes_up(2);
    assert_eq!(farm.listed(), ["web.1 v3 up", "worker.1 v3 up"]);
    farm.order(rollback(Some(2)));
    let listed = farm.listed();
    // The other one waits for its successor.
    assert!(listed.contains(&"web.1 v3 up".to_owned()), "{listed:?}");
    assert!(
        listed.contains(&"worker.1 v3 up retired".to_owned()),
        "{listed:?}"
    );
    assert!(
        listed.contains(&"worker.1 v4 error".to_owned()),
        "{listed:?}"
    );
    farm.check_snapshots();
}

#[test]
fn a_release_without_any_process_type_that_is_wanted_takes_nothing_down() {
    let mut farm = Scenario::with_app(&[("a:1", 16)]);
    farm.order(build("app", &["web"]));
    farm.order(scale(&[("cmd", 0), ("web", 0)]));
    farm.order(build("app", &["worker"]));
    farm.order(scale(&[("worker", 1)]));
    farm.comes_up(2);
    farm.order(build("app", &["wroker"]));
    let listed = farm.listed();
    assert!(listed.contains(&"worker.1 v3 up".to_owned()), "{listed:?}");
}

#[test]
fn a_release_that_does_not_come_up_takes_nothing_down() {
    let mut farm = deployed(1);
    farm.order(configure(json!({"values": {"A": 1}})));
    farm.say(2, 16, &[(2, 1, 0, failed())]).check(
        &["instance 2 failed: it never listens"],
        &["slave 2: run [1@1]"],
    );
    assert_eq!(farm.listed(), ["web.1 v2 up", "web.1 v3 error"]);
    // Nor is it tried again by itself.
    farm.say(2, 16, &[]).check_nothing();
    // The next release takes the failed one's place at once, not the working one's.
    farm.order(configure(json!({"values": {"A": 2}})))
        .check_facts(&[
            "app of project 3 has config 3",
            "app of project 3 has release v4: clusterrunner changed A",
            "instance 2 stopped",
            "instance 3 launched: web.1 of project 3 v4: app, template 1",
            "instance 3 to slave 2, generation 1",
        ]);
    farm.say(2, 16, &[(3, 1, 0, crashed())]);
    assert_eq!(farm.listed(), ["web.1 v2 up", "web.1 v4 crashed"]);
    farm.order(rollback(Some(2)));
    assert_eq!(farm.listed(), ["web.1 v2 up", "web.1 v5 created"]);
    farm.comes_up(2);
    assert_eq!(farm.listed(), ["web.1 v2 up retired", "web.1 v5 up"]);
    farm.check_snapshots();
}

#[test]
fn the_latest_that_worked_stays_until_its_successor_works() {
    let mut farm = deployed(1);
    farm.order(configure(json!({})));
    farm.comes_up(2);
    farm.stop(1);
    assert_eq!(farm.listed(), ["web.1 v3 up"]);
    // It is started again by its slave; the release after it never worked.
    farm.say(2, 16, &[(2, 1, 0, crashed())]);
    farm.order(configure(json!({})));
    assert_eq!(farm.listed(), ["web.1 v3 crashed", "web.1 v4 created"]);
    farm.order(configure(json!({})));
    assert_eq!(farm.listed(), ["web.1 v3 crashed", "web.1 v5 created"]);
    farm.comes_up(2);
    assert_eq!(farm.listed(), ["web.1 v5 up"]);
}

/// A damaged journal can end in the middle of a turn: with the start of the successor, without the end of what it replaced.
#[test]
fn of_two_that_worked_both_stay_until_a_later_one_is_up() {
    let mut farm = deployed(1);
    farm.order(configure(json!({})));
    farm.comes_up(2)
        .check_facts(&["instance 2 up at port 8000, restarts: 0", RETIRED]);
    farm.truncate(farm.journal.len() - 1);
    farm.cluster = farm.replayed();
    farm.begin_incarnation(fresh());
    farm.connect("a:1", "life 1", 1);
    farm.hosts(3, 16);
    assert_eq!(farm.listed(), ["web.1 v2 created", "web.1 v3 created"]);
    let generation = farm.one(1).generation.0;
    farm.say(3, 16, &[(1, generation, 0, UP)]);
    farm.order(configure(json!({})));
    let listed = ["web.1 v2 up", "web.1 v3 created", "web.1 v4 created"];
    assert_eq!(farm.listed(), listed);
    farm.say(3, 16, &[(1, generation, 0, UP), (2, generation, 0, UP)])
        .check_facts(&["instance 2 up at port 8000, restarts: 0", RETIRED]);
    farm.check_snapshots();
}

#[test]
fn a_retired_one_that_stops_to_be_up_is_stopped() {
    let mut farm = deployed(1);
    farm.order(configure(json!({})));
    farm.comes_up(2);
    farm.say(2, 16, &[(1, 1, 0, crashed()), (2, 1, 0, UP)])
        .check_facts(&[
            "instance 1 crashed, restarts: 0: exit code 1",
            "instance 1 stopped",
        ]);
    // Nor does one run elsewhere when its slave is lost.
    farm.order(configure(json!({})));
    farm.comes_up(2);
    assert_eq!(farm.listed(), ["web.1 v3 up retired", "web.1 v4 up"]);
    farm.die(2);
    assert_eq!(farm.listed(), ["web.1 v4 initialized"]);
}

#[test]
fn scaling_adds_above_and_takes_the_newest_away() {
    let mut farm = deployed(1);
    farm.order(scale(&[("web", 3), ("worker", 1)]));
    let listed = [
        "web.1 v2 up",
        "web.2 v2 created",
        "web.3 v2 created",
        "worker.1 v2 created",
    ];
    assert_eq!(farm.listed(), listed);
    farm.comes_up(2);
    // Types that are not named stay, and the structure is merged.
    farm.order(scale(&[("web", 1)])).check_facts(&[
        "app of project 3 scaled: web=1",
        "instance 2 retired: it gets no new requests",
        "instance 3 retired: it gets no new requests",
    ]);
    assert_eq!(
        json!(farm.hill().structure),
        json!({"cmd": 0, "web": 1, "worker": 1})
    );
    // Wanted again while the old ones end: new ones take the places.
    farm.order(scale(&[("web", 2)]));
    let again = farm.listed();
    assert!(again.contains(&"web.2 v2 created".to_owned()), "{again:?}");
    farm.check_snapshots();
}

#[test]
fn what_can_not_be_scaled_changes_nothing() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.refuses(scale(&[("web", 1)]), AppRefusal::NoBuild);
    farm.order(build("busybox", &["web"]));
    for (numbers, refusal) in [
        (
            vec![("web", 1), ("nope", 1)],
            AppRefusal::UnknownProcess("nope".to_owned()),
        ),
        (
            vec![("nope", 0)],
            AppRefusal::UnknownProcess("nope".to_owned()),
        ),
        (vec![("web", 1001)], AppRefusal::TooManyInstances(1000)),
        (
            vec![("web", u32::MAX), ("cmd", u32::MAX)],
            AppRefusal::TooManyInstances(1000),
        ),
    ] {
        farm.refuses(scale(&numbers), refusal);
    }
    // A type that was wanted before can always be wanted no more.
    farm.order(scale(&[("web", 2)]));
    farm.order(build("busybox", &["worker"]));
    farm.refuses(
        scale(&[("web", 1)]),
        AppRefusal::UnknownProcess("web".to_owned()),
    );
    farm.order(scale(&[("web", 0)]));
}

#[test]
fn the_instances_of_all_apps_are_bounded() {
    let mut farm = Scenario::with_app(&[("a:1", 1)]);
    farm.order(build("busybox", &["web"]));
    farm.order(scale(&[("cmd", 0)]));
    for number in 0..4 {
        let id = format!("other-{number}");
        farm.order(AppCommand::Create { id: id.clone() });
        let project = farm.cluster.app_of_id(&id).unwrap().project;
        let build = Box::new(super::build_of("busybox", &["web"]));
        farm.order(AppCommand::Build { project, build });
        // What follows from it is not the point here, and much.
        let numbers = [("cmd".to_owned(), 0), ("web".to_owned(), 999)].into();
        let scale = super::ordered(AppCommand::Scale { project, numbers });
        for event in farm.cluster.decide(scale, Timestamp(9)).unwrap() {
            farm.cluster.apply(&event);
            farm.journal.push(event);
        }
        farm.cluster.dirty.apps.clear();
    }
    let decided = |numbers: &[(&str, u32)]| {
        let decided = farm
            .cluster
            .decide(super::ordered(scale(numbers)), Timestamp(9));
        decided.map(|events| events.len())
    };
    assert_eq!(decided(&[("web", 4)]), Ok(1));
    let full = AppRefusal::FarmFull(4000);
    assert_eq!(decided(&[("web", 5)]), Err(full.into()));
}

#[test]
fn scaling_starts_again_what_could_not_be_started() {
    let mut farm = deployed(2);
    farm.order(configure(json!({})));
    farm.say(2, 16, &[(3, 1, 0, failed()), (4, 1, 0, failed())]);
    farm.order(scale(&[("worker", 0)]));
    let failed = [
        "web.1 v2 up",
        "web.2 v2 up",
        "web.1 v3 error",
        "web.2 v3 error",
    ];
    assert_eq!(farm.listed(), failed);
    farm.order(scale(&[("web", 2)])).check_facts(&[
        "app of project 3 scaled: web=2",
        "instance 3 stopped",
        "instance 4 stopped",
        "instance 5 launched: web.1 of project 3 v3: app, template 1",
        "instance 6 launched: web.2 of project 3 v3: app, template 1",
        "instance 5 to slave 2, generation 1",
        "instance 6 to slave 2, generation 1",
    ]);
}

#[test]
fn a_release_without_a_build_runs_nothing_and_the_structure_stays() {
    let mut farm = deployed(2);
    farm.order(rollback(Some(1)));
    assert_eq!(
        farm.listed(),
        ["web.1 v2 up retired", "web.2 v2 up retired"]
    );
    assert_eq!(json!(farm.hill().structure), json!({"cmd": 0, "web": 2}));
    farm.order(rollback(Some(2)));
    farm.comes_up(2);
    let listed = farm.listed();
    assert_eq!(listed[2..], ["web.1 v4 up", "web.2 v4 up"], "{listed:?}");
}

#[test]
fn what_has_nothing_to_run_is_listed_with_the_reason() {
    let mut farm = deployed(1);
    farm.order(build("No Image", &["web"]));
    assert_eq!(farm.listed(), ["web.1 v2 up", "web.1 v3 error"]);
    let reason = farm.one(2).reason.clone().unwrap();
    assert!(reason.contains("\"No Image\" is no template"), "{reason}");
    // The structure of earlier releases may name other types than this one has.
    farm.order(build("other", &["worker"]));
    assert_eq!(farm.listed(), ["web.1 v2 up", "web.1 v4 error"]);
    let reason = farm.one(3).reason.as_deref();
    assert_eq!(reason, Some("the process type web has no command"));
    farm.order(build("No Image", &[]));
    let reason = farm.one(4).reason.clone().unwrap();
    assert!(reason.contains("\"No Image\" is no template"), "{reason}");
    farm.check_snapshots();
}

#[test]
fn processes_have_their_commands_limits_and_patience() {
    let mut farm = Scenario::with_app(&[("a:1", 8)]);
    farm.order(configure(json!({
        "memory": {"web": "512M", "worker": "0B"},
        "cpu": {"web": 512, "cmd": "7"},
    })));
    let turn = farm.order(AppCommand::Build {
        project: HILL,
        build: Box::new(NewAppBuild {
            image: "app".to_owned(),
            procfile: procfile(&[("web", "serve $PORT"), ("worker", "work")]),
            ..NewAppBuild::default()
        }),
    });
    drop(turn);
    let turn = farm.order(scale(&[("web", 1), ("worker", 1), ("cmd", 1)]));
    let wanted = turn.effects.iter().rev().find_map(|effect| match effect {
        Effect::OrderInstances { instances, .. } => Some(instances.clone()),
        _ => None,
    });
    let wanted = wanted.unwrap();
    let of = |process: &str| {
        let found = wanted
            .iter()
            .find(|it| it.purpose.process() == Some(process));
        let it = found.unwrap();
        let text = it.command.last().cloned().unwrap_or_default();
        (
            text,
            it.max_memory_bytes,
            it.cpu_shares,
            it.settles_after_ms,
        )
    };
    assert_eq!(
        of("web"),
        ("serve $PORT".to_owned(), Some(512 << 20), Some(512), None)
    );
    assert_eq!(of("worker"), ("work".to_owned(), None, None, Some(3000)));
    assert_eq!(of("cmd"), (String::new(), None, Some(7), Some(3000)));
}

#[test]
fn an_instance_that_a_user_stops_comes_again() {
    let mut farm = deployed(1);
    farm.stop(1).check_facts(&[
        "instance 1 stopped",
        "instance 2 launched: web.1 of project 3 v2: app, template 1",
        "instance 2 to slave 2, generation 1",
    ]);
}

#[test]
fn no_release_is_made_where_no_slave_is_there_for_what_ran() {
    let mut farm = deployed(1);
    farm.die(1);
    farm.die(2);
    for command in [configure(json!({})), build("app", &[]), rollback(Some(1))] {
        farm.refuses(command, AppRefusal::NoSlave);
    }
    assert_eq!(farm.one(1).state, InstanceState::Initialized);
    // An app that never ran waits for one.
    let mut farm = Scenario::with_app(&[]);
    farm.die(1);
    farm.order(build("app", &[]));
    assert_eq!(farm.listed(), ["web.1 v2 initialized"]);
}

#[test]
fn a_master_that_starts_goes_on_with_a_deploy() {
    let mut farm = deployed(1);
    farm.order(configure(json!({})));
    farm.restart();
    farm.comes_up(2);
    assert_eq!(farm.listed(), ["web.1 v2 up retired", "web.1 v3 up"]);
    assert_eq!(farm.replayed(), farm.cluster);
}
