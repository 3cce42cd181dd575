//! The statuses that builds go through.

use super::scenario::{Scenario, finished, hand_out, plan};
use crate::Cluster;
use crate::actor::Actor;
use crate::builds::build::{Build, BuildState};
use crate::builds::status::{PostedStatus, Status, StatusRefusal};
use crate::command::Command;
use crate::refusal::Refusal;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use std::collections::BTreeMap;

impl Scenario {
    /// The build has gone through these statuses and no others.
    #[track_caller]
    fn check_statuses(&self, build: u64, expected: &[&str]) {
        let build = self.cluster.build(BuildId(build)).unwrap();
        assert_eq!(statuses(build), expected);
        let first = build.statuses()[0];
        assert_eq!(Some(first.at), build.timestamps.queued);
    }
}

fn statuses(build: &Build) -> Vec<String> {
    let statuses = build.statuses();
    let names = statuses.iter().map(|change| {
        let name = format!("{:?}", change.status);
        name.to_lowercase()
    });
    names.collect()
}

#[test]
fn a_build_goes_from_created_to_succeeded() {
    let mut farm = Scenario::default();
    farm.build(plan(&["A"]));
    farm.check_statuses(1, &["created"]);
    farm.connect("a", "life 1", 1);
    farm.check_statuses(1, &["created", "scheduled", "building"]);
    farm.set_up(1, 1);
    let running = ["created", "scheduled", "building", "running"];
    farm.check_statuses(1, &running);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.check_statuses(1, &running);
    farm.archived(1);
    let all = ["created", "scheduled", "building", "running", "succeeded"];
    farm.check_statuses(1, &all);
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.main_slave(), Some("a"));
    let times: Vec<_> = build.statuses().iter().map(|change| change.at).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_failed_atom_fails_the_build() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[3]));
    farm.archived(1);
    let all = ["created", "scheduled", "building", "running", "failed"];
    farm.check_statuses(1, &all);
}

#[test]
fn a_build_is_stopped_at_any_moment() {
    let mut farm = Scenario::default();
    farm.queue("p");
    farm.cancel(1);
    farm.check_statuses(1, &["created", "stopped"]);
    farm.connect("a", "life 1", 1);
    farm.build(plan(&["A"]));
    farm.cancel(2);
    farm.check_statuses(2, &["created", "scheduled", "building", "stopped"]);
    farm.cancel(2);
    farm.check_statuses(2, &["created", "scheduled", "building", "stopped"]);
}

#[test]
fn a_build_is_unknown_while_its_only_slave_is_lost() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.lose(1);
    let lost = ["created", "scheduled", "building", "running", "unknown"];
    farm.check_statuses(1, &lost);
    farm.connect("a", "life 2", 1);
    farm.check_statuses(1, &lost);
    farm.set_up(2, 1);
    farm.finish(hand_out(2, 1, 0, 2));
    farm.archived(1);
    let all = [&lost[..], &["running", "succeeded"]].concat();
    farm.check_statuses(1, &all);
    let build = farm.cluster.build(BuildId(1)).unwrap();
    let lost = build.statuses()[4];
    let said = format!("{:?}", lost.cause);
    assert!(said.contains("slave a was lost: silent"), "{said}");
}

#[test]
fn a_build_goes_on_where_another_slave_has_it() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(plan(&["A", "B"]));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.lose(1);
    let running = ["created", "scheduled", "building", "running"];
    farm.check_statuses(1, &running);
    farm.lose(2);
    farm.check_statuses(1, &[&running[..], &["unknown"]].concat());
}

#[test]
fn results_that_a_slave_kept_end_an_outage() {
    let mut farm = Scenario::default();
    farm.restart();
    farm.connect("a", "life 1", 1);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.lose(1);
    farm.connect_with("a", "life 2", "life 1", &[(1, 0, 1)]);
    let back = [
        "created",
        "scheduled",
        "building",
        "running",
        "unknown",
        "running",
    ];
    farm.check_statuses(1, &back);
}

#[test]
fn outages_without_end_are_bounded_and_a_build_still_ends() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    for slave in 1..=150 {
        farm.set_up(slave, 1);
        farm.lose(slave);
        farm.connect("a", &format!("life {slave}"), 1);
        if farm.cluster.build(BuildId(1)).unwrap().is_over() {
            break;
        }
    }
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert!(build.statuses().len() < 110);
    check_history(build);
}

/// Each status may follow the one before, and the last one says whether the build is over.
pub(super) fn check_history(build: &Build) {
    let statuses = build.statuses();
    assert_eq!(statuses[0].status, Status::Created);
    for pair in statuses.windows(2) {
        assert!(pair[1].status.may_follow(pair[0].status), "{statuses:?}");
    }
    assert_eq!(build.status().0.is_final(), build.is_over(), "{statuses:?}");
}

/// Whatever happens, a status that was once told stays as it was told, and in its place.
pub(super) fn check_told(farm: &Scenario) {
    let mut cluster = Cluster::default();
    let mut told: BTreeMap<BuildId, Vec<(Status, Timestamp)>> = BTreeMap::new();
    for event in &farm.journal {
        cluster.apply(event);
        let changed = event.fact.subject();
        let may_change = |build: &&Build| changed.build.is_none_or(|id| id == build.id);
        for build in cluster.builds().filter(may_change) {
            let statuses = build.statuses();
            let now = statuses.iter().map(|change| (change.status, change.at));
            let now: Vec<_> = now.collect();
            let before = told.entry(build.id).or_default();
            assert!(now.starts_with(before), "{before:?} {now:?} {event:?}");
            *before = now;
        }
    }
    cluster.builds().for_each(check_history);
}

#[test]
fn each_status_may_follow_some_others() {
    use Status::{Building, Created, Failed, Running, Scheduled, Stopped, Succeeded, Unknown};
    let all = [
        Created, Scheduled, Building, Running, Succeeded, Failed, Stopped, Unknown,
    ];
    for (status, before) in [
        (Created, &[][..]),
        (Scheduled, &[Created, Building]),
        (Building, &[Created, Scheduled]),
        (Running, &[Created, Scheduled, Building, Unknown]),
        (Succeeded, &[Created, Scheduled, Building, Running, Unknown]),
        (Failed, &[Created, Scheduled, Building, Running, Unknown]),
        (Stopped, &[Created, Scheduled, Building, Running, Unknown]),
        (Unknown, &[Created, Scheduled, Building, Running]),
    ] {
        for other in all {
            let expected = before.contains(&other);
            assert_eq!(status.may_follow(other), expected, "{other:?} {status:?}");
        }
    }
}

fn post(build: u64, status: Status) -> Command {
    Command::PostStatus {
        by: Actor::SecretHolder,
        build: BuildId(build),
        posted: Box::new(PostedStatus {
            status,
            message: Some("it is so".to_owned()),
            traceback: None,
        }),
    }
}

fn refused(before: Option<Status>, status: Status) -> Refusal {
    StatusRefusal::NotAfter { before, status }.into()
}

#[test]
fn what_callers_post_stands_where_it_came() {
    let mut farm = Scenario::default();
    farm.build(plan(&["A"]));
    farm.tell(post(1, Status::Building));
    farm.check_refused(
        post(1, Status::Building),
        &refused(Some(Status::Building), Status::Building),
    );
    farm.check_refused(
        post(1, Status::Created),
        &refused(Some(Status::Building), Status::Created),
    );
    farm.connect("a", "life 1", 1);
    farm.check_statuses(1, &["created", "building", "scheduled", "building"]);
    farm.tell(post(1, Status::Unknown));
    farm.set_up(1, 1);
    let statuses = [
        "created",
        "building",
        "scheduled",
        "building",
        "unknown",
        "running",
    ];
    farm.check_statuses(1, &statuses);
}

#[test]
fn a_posted_end_ends_what_the_farm_runs() {
    for (status, name, state) in [
        (Status::Stopped, "stopped", BuildState::Canceled),
        (Status::Succeeded, "succeeded", BuildState::Canceled),
        (
            Status::Failed,
            "failed",
            BuildState::Error {
                reason: "it is so".to_owned(),
            },
        ),
    ] {
        let mut farm = Scenario::with_slaves(&[("a", 1)]);
        farm.build(plan(&["A"]));
        farm.set_up(1, 1);
        farm.tell(post(1, status));
        assert_eq!(*farm.state(1), state);
        let all = ["created", "scheduled", "building", "running", name];
        farm.check_statuses(1, &all);
        farm.check_refused(
            post(1, Status::Running),
            &refused(Some(status), Status::Running),
        );
        farm.torn_down(1, 1);
        farm.tell(Command::ReportKept {
            builds: vec![BuildId(1)],
        });
        farm.check_refused(post(1, Status::Running), &refused(None, Status::Running));
        farm.check_refused(post(2, Status::Running), &Refusal::UnknownBuild(BuildId(2)));
    }
}

#[test]
fn posted_statuses_are_bounded_and_an_end_always_fits() {
    let mut farm = Scenario::default();
    farm.build(plan(&["A"]));
    let mut posted = 0;
    let refusal = loop {
        let status = match posted % 2 {
            0 => Status::Building,
            _ => Status::Scheduled,
        };
        match farm.try_tell(post(1, status)) {
            Ok(_) => posted += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, StatusRefusal::TooMany.into());
    farm.tell(post(1, Status::Succeeded));
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.statuses().len(), posted + 2);
    check_history(build);
}
