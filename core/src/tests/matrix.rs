//! Builds that are split into those of a matrix.

use super::scenario::{Scenario, fact_text, finished, hand_out, plan, request};
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::builds::children::ChildState;
use crate::builds::plan::Plan;
use crate::builds::status::{PostedStatus, Status};
use crate::command::Command;
use crate::refusal::Refusal;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::matrix::{Chosen, Combination};
use clusterrunner_common::work::{BuildRequest, ProjectSource};

mod failing_fast;

fn combination(variables: &[(&str, &str)]) -> Combination {
    let variables = variables.iter();
    variables
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Three combinations of two variables.
fn matrix() -> Plan {
    let combinations = [
        [("PY", "1"), ("OS", "a")],
        [("PY", "1"), ("OS", "b")],
        [("PY", "2"), ("OS", "a")],
    ];
    Plan {
        commit: Some("c0ffee".to_owned()),
        matrix: combinations.iter().map(|one| combination(one)).collect(),
        ..plan(&[])
    }
}

fn queue(farm: &mut Scenario, request: BuildRequest) {
    farm.tell(Command::QueueBuild {
        by: Actor::SecretHolder,
        request: Box::new(request),
    });
}

/// Build 1 is split into the builds 2, 3 and 4, which have an atom each and wait for the slave.
fn split(farm: &mut Scenario) {
    farm.queue("p");
    farm.prepared(1, matrix()).check(
        &["1 split into the builds 2, 3, 4", "2 preparing"],
        &["prepare 2"],
    );
}

fn prepare_all(farm: &mut Scenario) {
    for child in 2..=4 {
        farm.prepared(child, plan(&["x"]));
    }
}

/// Runs the only atom of a child.
fn run(farm: &mut Scenario, child: u64, exit_code: i32) {
    farm.tell(finished(hand_out(1, child, 0, 1), &[exit_code]));
    farm.archived(child);
}

/// Sets the children up, one after the other.
fn set_up_all(farm: &mut Scenario) {
    for child in 2..=4 {
        farm.set_up(1, child);
    }
}

fn states(farm: &Scenario) -> Vec<ChildState> {
    let parent = farm.cluster.build(BuildId(1)).unwrap();
    parent
        .children
        .iter()
        .map(|child| child.state.clone())
        .collect()
}

#[test]
fn a_build_is_split_once_at_its_commit() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    split(&mut farm);
    farm.prepared(1, matrix()).check_nothing();
    let parent = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(parent.state, BuildState::Split);
    for (child, variables) in parent.children.iter().zip(matrix().matrix) {
        assert_eq!(child.combination, variables);
        let child = farm.cluster.build(child.id).unwrap();
        let part = child.request.part.as_ref().unwrap();
        assert_eq!(
            (part.parent, &part.combination),
            (Some(BuildId(1)), &variables)
        );
        let ProjectSource::Git { hash, .. } = &child.request.project else {
            panic!("{:?}", child.request.project);
        };
        assert_eq!(hash.as_deref(), Some("c0ffee"));
        assert!(child.request.is_commit_found);
        assert_eq!((child.project, child.owner), (parent.project, parent.owner));
    }
    // A child is not split again, though its job has the matrix.
    farm.prepared(
        2,
        Plan {
            matrix: matrix().matrix,
            ..plan(&["x", "y"])
        },
    );
    let parent = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!((parent.num_atoms, parent.num_subjobs()), (2, 2));
    assert_eq!(farm.cluster.builds().count(), 4);
}

#[test]
fn a_parent_passes_when_all_have_passed() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    split(&mut farm);
    prepare_all(&mut farm);
    set_up_all(&mut farm);
    for child in [3, 2] {
        run(&mut farm, child, 0);
        assert_eq!(*farm.state(1), BuildState::Split);
    }
    farm.tell(finished(hand_out(1, 4, 0, 1), &[0]));
    farm.archived(4).check_facts(&["4 finished", "1 finished"]);
    let parent = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(
        (
            parent.num_atoms,
            parent.atoms_completed,
            parent.atoms_failed
        ),
        (3, 3, 0)
    );
    assert!(parent.timestamps.finished.is_some());
}

/// What could not be run comes before what failed, that before what was canceled.
#[test]
fn one_verdict_is_made_of_all() {
    let end = |canceled: &[u64], failed: &[u64], in_error: &[u64]| {
        let mut farm = Scenario::with_slaves(&[("a", 4)]);
        split(&mut farm);
        for child in 2..=4 {
            if in_error.contains(&child) {
                let (build, reason) = (BuildId(child), "no atoms".to_owned());
                farm.tell(Command::ReportPreparationFailed { build, reason });
            } else {
                farm.prepared(child, plan(&["x"]));
            }
        }
        for child in 2..=4 {
            if in_error.contains(&child) {
                continue;
            }
            if canceled.contains(&child) {
                farm.cancel(child);
                continue;
            }
            farm.set_up(1, child);
            run(&mut farm, child, i32::from(failed.contains(&child)));
        }
        let atoms_failed = farm.cluster.build(BuildId(1)).unwrap().atoms_failed;
        (farm.state(1).clone(), atoms_failed)
    };
    assert_eq!(end(&[], &[], &[]), (BuildState::Finished, 0));
    assert_eq!(end(&[], &[3], &[]), (BuildState::Finished, 1));
    assert_eq!(end(&[3], &[], &[]), (BuildState::Canceled, 0));
    assert_eq!(end(&[3], &[2], &[]), (BuildState::Finished, 1));
    let reason = "2 of 3 builds of the matrix could not be run. Build 2 (PY=1 OS=a): no atoms";
    let reason = reason.to_owned();
    assert_eq!(end(&[3], &[], &[2, 4]), (BuildState::Error { reason }, 0));
    let reason = "1 of 3 builds of the matrix could not be run. Build 4 (PY=2 OS=a): no atoms";
    let reason = reason.to_owned();
    assert_eq!(end(&[], &[2], &[4]), (BuildState::Error { reason }, 1));
}

#[test]
fn who_cancels_a_parent_cancels_all_that_is_not_over() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    split(&mut farm);
    prepare_all(&mut farm);
    set_up_all(&mut farm);
    run(&mut farm, 2, 0);
    farm.cancel(1).check_facts(&[
        "3 canceled",
        "4 canceled",
        "1 canceled",
        "3 off slave 1",
        "4 off slave 1",
    ]);
    farm.cancel(1).check_nothing();
    let passed = ChildState::Finished { lacks_atoms: false };
    assert_eq!(
        states(&farm),
        [passed, ChildState::Canceled, ChildState::Canceled]
    );
}

/// All of a matrix is deleted together, archived or not.
#[test]
fn who_deletes_a_parent_deletes_its_children() {
    let delete = |farm: &mut Scenario| {
        farm.tell(Command::DeleteBuild {
            by: Actor::SecretHolder,
            build: BuildId(1),
        })
    };
    let mut farm = Scenario::with_slaves(&[]);
    split(&mut farm);
    delete(&mut farm).check_facts(&[
        "2 deleted",
        "3 deleted",
        "4 deleted",
        "1 deleted",
        "4 canceled",
        "3 canceled",
        "2 canceled",
        "1 canceled",
    ]);
    let mut farm = Scenario::with_slaves(&[]);
    split(&mut farm);
    farm.cancel(1);
    let builds = [1, 2, 4].map(BuildId).to_vec();
    farm.tell(Command::ReportKept { builds });
    delete(&mut farm);
    assert!(
        (1..=4).all(
            |id| farm.cluster.is_deleted(BuildId(id)) || farm.cluster.is_forgotten(BuildId(id))
        )
    );
}

/// The parent keeps how its children ended when they are gone.
#[test]
fn a_parent_waits_for_the_last_child_though_others_are_archived() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    split(&mut farm);
    prepare_all(&mut farm);
    set_up_all(&mut farm);
    run(&mut farm, 2, 1);
    farm.torn_down(1, 2);
    farm.tell(Command::ReportKept {
        builds: vec![BuildId(2)],
    });
    assert!(farm.cluster.build(BuildId(2)).is_none());
    run(&mut farm, 3, 0);
    run(&mut farm, 4, 0);
    let parent = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(*farm.state(1), BuildState::Finished);
    assert_eq!((parent.atoms_completed, parent.atoms_failed), (3, 1));
}

/// Wherever the master dies: what is there of the journal leads to the same end, with each child once.
#[test]
fn a_master_that_dies_around_the_split_loses_no_child() {
    let events = {
        let mut farm = Scenario::with_slaves(&[("a", 4)]);
        split(&mut farm);
        prepare_all(&mut farm);
        set_up_all(&mut farm);
        farm.journal.len()
    };
    for kept in 3..=events {
        let mut farm = Scenario::with_slaves(&[("a", 4)]);
        split(&mut farm);
        prepare_all(&mut farm);
        set_up_all(&mut farm);
        farm.truncate(kept);
        farm.cluster = farm.replayed();
        farm.restart();
        let is_split = farm.cluster.builds().count() > 1;
        if farm.cluster.build(BuildId(1)).is_none() {
            continue;
        }
        if !is_split {
            farm.prepared(1, matrix());
        }
        let ids: Vec<u64> = farm.cluster.builds().map(|build| build.id.0).collect();
        assert_eq!(ids, [1, 2, 3, 4], "after {kept} events");
        farm.cancel(2);
        farm.cancel(3);
        assert_eq!(*farm.state(1), BuildState::Split);
        farm.cancel(4);
        assert_eq!(*farm.state(1), BuildState::Canceled);
    }
}

#[test]
fn some_combinations_may_be_chosen_with_their_atoms() {
    let choose = |variables: &[(&str, &str)]| Chosen {
        variables: combination(variables),
        atoms: Some(vec!["export T=\"b\";".to_owned()]),
        is_exact: false,
    };
    let mut farm = Scenario::with_slaves(&[]);
    let chosen = BuildRequest {
        matrix: vec![choose(&[("PY", "1")])],
        ..request("p")
    };
    queue(&mut farm, chosen);
    farm.prepared(1, matrix());
    let children: Vec<_> = farm.cluster.builds().skip(1).collect();
    assert_eq!(children.len(), 2);
    for child in children {
        let atoms = child.request.atoms_override.as_deref().unwrap();
        assert_eq!(atoms, ["export T=\"b\";"]);
        assert!(child.request.matrix.is_empty());
    }
    let refused = |plan: Plan| {
        let mut farm = Scenario::with_slaves(&[]);
        let chosen = BuildRequest {
            matrix: vec![choose(&[("PY", "3")])],
            ..request("p")
        };
        queue(&mut farm, chosen);
        farm.prepared(1, plan);
        match farm.state(1) {
            BuildState::Error { reason } => reason.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(matrix()),
        "The matrix of the job \"unit\" has no combination that fits PY=3. It has: PY=1 OS=a, PY=1 OS=b, PY=2 OS=a."
    );
    assert_eq!(
        refused(plan(&["x"])),
        "The job \"unit\" has no matrix, of which to build PY=3."
    );
}

#[test]
fn a_child_may_be_deleted_alone() {
    let mut farm = Scenario::with_slaves(&[]);
    split(&mut farm);
    let by = Actor::SecretHolder;
    farm.tell(Command::DeleteBuild {
        by,
        build: BuildId(3),
    });
    farm.cancel(2);
    farm.cancel(4);
    assert_eq!(*farm.state(1), BuildState::Canceled);
    let command = Command::CancelBuild {
        by,
        build: BuildId(3),
    };
    farm.check_refused(command, &Refusal::ForgottenBuild(BuildId(3)));
}

/// Whatever its children were by then.
#[test]
fn who_cancels_a_parent_hears_that_it_was_canceled() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    split(&mut farm);
    prepare_all(&mut farm);
    set_up_all(&mut farm);
    run(&mut farm, 2, 1);
    farm.cancel(1);
    let parent = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(
        (&parent.state, parent.atoms_failed),
        (&BuildState::Canceled, 1)
    );
    let did_not_pass = parent.children_that_did_not_pass();
    let has_run: Vec<bool> = did_not_pass.iter().map(|(_, has_run)| *has_run).collect();
    assert_eq!(has_run, [true, false, false]);
}

/// A user may say of a parent how it ended: nothing of it goes on then.
#[test]
fn a_posted_end_ends_the_children_first() {
    for (status, end) in [
        (Status::Stopped, "1 canceled"),
        (Status::Failed, "1 failed: A user says that it failed."),
    ] {
        let mut farm = Scenario::with_slaves(&[]);
        split(&mut farm);
        let (by, build) = (Actor::SecretHolder, BuildId(1));
        let posted = Box::new(PostedStatus {
            status,
            message: None,
            traceback: None,
        });
        let turn = farm.tell(Command::PostStatus { by, build, posted });
        let facts: Vec<String> = turn.events.iter().skip(1).map(fact_text).collect();
        assert_eq!(facts, ["2 canceled", "3 canceled", "4 canceled", end]);
    }
}

/// Builds of a matrix share the directory that they are of, and what the set-up of each leaves there.
#[test]
fn builds_of_a_directory_go_one_after_the_other() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    let request = serde_json::json!({"type": "directory", "project_directory": "/p"});
    queue(&mut farm, BuildRequest::from_json(&request).unwrap());
    farm.prepared(1, matrix());
    let preparing = |farm: &Scenario, id: u64| *farm.state(id) == BuildState::Preparing;
    farm.prepared(2, plan(&["x"]));
    assert!(!preparing(&farm, 3) && !preparing(&farm, 4));
    farm.set_up(1, 2);
    farm.tell(finished(hand_out(1, 2, 0, 1), &[1]));
    farm.archived(2);
    assert!(preparing(&farm, 3) && !preparing(&farm, 4));
    // What goes is no longer waited for.
    farm.cancel(3);
    assert!(preparing(&farm, 4));
    farm.prepared(4, plan(&["x"]));
    farm.set_up(1, 4);
    run(&mut farm, 4, 0);
    assert!(farm.cluster.build(BuildId(1)).unwrap().is_over());
    assert_eq!(farm.replayed(), farm.cluster);
}
