//! Builds that users describe and delete.

use super::scenario::{Scenario, Turn, finished, hand_out, plan, stale};
use crate::FORGOTTEN_AT_A_TIME;
use crate::actor::Actor;
use crate::builds::details::{Details, Merge, NewDetails, Unfit};
use crate::command::Command;
use crate::refusal::Refusal;
use clusterrunner_common::ids::BuildId;

impl Scenario {
    fn delete(&mut self, build: u64) -> Turn {
        self.tell(deletion(build))
    }

    fn describe(&mut self, build: u64, details: NewDetails) -> Turn {
        self.tell(description(build, details))
    }

    pub(super) fn put_away(&mut self, build: u64) -> Turn {
        let builds = vec![BuildId(build)];
        self.tell(Command::ReportKept { builds })
    }

    fn shown(&self) -> Vec<u64> {
        self.cluster.all_builds().map(|(id, _)| id.0).collect()
    }
}

fn deletion(build: u64) -> Command {
    Command::DeleteBuild {
        by: Actor::SecretHolder,
        build: BuildId(build),
    }
}

fn description(build: u64, details: NewDetails) -> Command {
    Command::DescribeBuild {
        by: Actor::SecretHolder,
        build: BuildId(build),
        details,
        merge: Merge::Replace,
    }
}

fn named(name: &str) -> NewDetails {
    NewDetails {
        name: Some(name.to_owned()),
        ..NewDetails::default()
    }
}

fn gone(build: u64) -> Refusal {
    Refusal::ForgottenBuild(BuildId(build))
}

#[test]
fn a_running_build_that_is_deleted_ends_is_cleared_away_and_forgotten() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.delete(1).check(
        &["1 deleted", "1 canceled", "1 off slave 1"],
        &["abandon 1", "slave 1: tear down 1"],
    );
    assert_eq!(farm.shown(), [0; 0]);
    assert_eq!(farm.cluster.projects().count(), 0);
    for command in [
        deletion(1),
        description(1, named("late")),
        Command::CancelBuild {
            by: Actor::SecretHolder,
            build: BuildId(1),
        },
        Command::NoteOnBuild {
            by: Actor::SecretHolder,
            build: BuildId(1),
            note: "late".to_owned(),
        },
    ] {
        farm.check_refused(command, &gone(1));
    }
    let late = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    // The master dies, and goes on.
    farm.restart();
    farm.put_away(1).check_nothing();
    farm.torn_down(1, 1).check_facts(&["1 gone from slave 1"]);
    farm.restart();
    farm.put_away(1)
        .check(&["1 retired", "1 forgotten: Deleted"], &["remove 1"]);
    assert!(farm.cluster.is_forgotten(BuildId(1)));
    farm.check_refused(deletion(1), &gone(1));
    farm.check_refused(deletion(2), &Refusal::UnknownBuild(BuildId(2)));
    farm.restart().check(
        &["master started"],
        &["open slave 1: a:1, life 1", "remove 1"],
    );
    farm.check_snapshots();
}

#[test]
fn a_build_that_waits_is_deleted_before_it_is_prepared() {
    let mut farm = Scenario::default();
    farm.queue("project");
    farm.queue("project").check_facts(&["2 queued"]);
    farm.delete(2).check_facts(&["2 deleted", "2 canceled"]);
    farm.delete(1)
        .check(&["1 deleted", "1 canceled"], &["abandon 1"]);
    // The next one of the same source begins a new project: nobody sees the old one.
    farm.queue("project")
        .check_facts(&["3 queued", "3 preparing"]);
    let projects: Vec<u64> = farm.cluster.projects().map(|p| p.id.0).collect();
    assert_eq!(projects, [2]);
    farm.check_snapshots();
}

#[test]
fn an_archived_build_is_forgotten_when_it_is_deleted() {
    let mut farm = Scenario::default();
    farm.queue("project");
    farm.cancel(1);
    farm.put_away(1);
    farm.delete(1)
        .check(&["1 deleted", "1 forgotten: Deleted"], &["remove 1"]);
    assert_eq!(farm.shown(), [0; 0]);
}

#[test]
fn many_deletions_go_a_few_at_a_time_and_none_is_shown() {
    let mut farm = Scenario::default();
    let number = FORGOTTEN_AT_A_TIME as u64 + 2;
    for build in 1..=number {
        farm.queue("project");
        farm.cancel(build);
        farm.put_away(build);
    }
    for build in 1..=number {
        farm.delete(build);
    }
    assert_eq!(farm.shown(), [0; 0]);
    assert_eq!(farm.cluster.to_be_cleared().len(), FORGOTTEN_AT_A_TIME);
    let build = BuildId(1);
    farm.tell(Command::ReportCleared { build })
        .check_facts(&["1 cleared", "65 forgotten: Deleted"]);
    farm.restart();
    farm.check_snapshots();
}

#[test]
fn builds_are_described_wherever_they_are() {
    let mut farm = Scenario::default();
    farm.queue("project");
    farm.describe(1, named("first"))
        .check(&["1 described"], &[]);
    farm.describe(1, named("first")).check_nothing();
    farm.describe(1, NewDetails::default()).check_nothing();
    farm.cancel(1);
    farm.put_away(1);
    let details = NewDetails {
        description: Some("archived".to_owned()),
        tags: Some(vec!["a".to_owned(), "a".to_owned()]),
        ..NewDetails::default()
    };
    farm.describe(1, details).check_facts(&["1 described"]);
    let expected = |changed| Details {
        name: Some("first".to_owned()),
        description: Some("archived".to_owned()),
        tags: Some(vec!["a".to_owned()]),
        changed,
    };
    let details = farm.cluster.details(BuildId(1)).unwrap();
    assert_eq!(*details, expected(details.changed));
    assert!(details.changed.is_some());
    let tags = NewDetails {
        tags: Some(vec!["b".to_owned(), "a".to_owned()]),
        ..NewDetails::default()
    };
    farm.tell(Command::DescribeBuild {
        by: Actor::SecretHolder,
        build: BuildId(1),
        details: tags,
        merge: Merge::Add,
    });
    let tags = farm.cluster.details(BuildId(1)).unwrap().tags.clone();
    assert_eq!(tags.unwrap(), ["a", "b"]);
    farm.check_snapshots();
}

#[test]
fn a_name_is_of_one_build_of_a_project_while_that_is_there() {
    let mut farm = Scenario::default();
    for project in ["one", "one", "two"] {
        farm.queue(project);
    }
    farm.describe(1, named("x"));
    farm.check_refused(description(2, named("x")), &Unfit::NameTaken.into());
    farm.check_refused(description(2, named("x y")), &Unfit::NoName.into());
    farm.describe(3, named("x")).check_facts(&["3 described"]);
    farm.describe(1, named("y"));
    farm.describe(2, named("x")).check_facts(&["2 described"]);
    farm.check_refused(description(2, named("y")), &Unfit::NameTaken.into());
    farm.delete(1);
    farm.describe(2, named("y")).check_facts(&["2 described"]);
    let project = farm.cluster.project_id_of(BuildId(2)).unwrap();
    assert_eq!(farm.cluster.build_named(project, "y"), Some(BuildId(2)));
    assert_eq!(farm.cluster.build_named(project, "x"), None);
    farm.check_snapshots();
}
