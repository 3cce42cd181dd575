//! Builds over whose preparing the master dies.

use super::scenario::{Scenario, plan};
use crate::core::builds::build::BuildState;
use crate::core::command::Command;
use crate::core::event::{Event, Fact};
use crate::core::{Cluster, MAX_DEATHS};
use clusterrunner_common::ids::{Attempt, BuildId};
use serde_json::json;

fn stopped(build: u64) -> Command {
    let build = BuildId(build);
    Command::ReportPreparationStopped { build }
}

fn reason() -> String {
    format!("1 failed: The master died {MAX_DEATHS} times while it prepared this build.")
}

#[test]
fn a_build_over_whose_preparing_the_master_dies_is_tried_twice_at_most() {
    let mut farm = Scenario::default();
    farm.queue("p");
    farm.restart()
        .check(&["master started", "1 preparing"], &["prepare 1"]);
    let attempts = farm.journal.iter().filter_map(|event| match &event.fact {
        Fact::PreparationStarted { attempt, .. } => Some(*attempt),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [Attempt(1), Attempt(2)]);
    let last = farm.restart();
    let [_, Event { fact, .. }] = last.events.as_slice() else {
        panic!("{last:?}");
    };
    let text = super::texts::fact_text(fact);
    assert!(text.starts_with(&reason()), "{text}");
    // The next of the project is not kept waiting.
    farm.queue("p")
        .check(&["2 queued", "2 preparing"], &["prepare 2"]);
    assert_eq!(farm.replayed(), farm.cluster);
}

#[test]
fn a_master_that_ends_in_order_speaks_against_no_build() {
    let mut farm = Scenario::default();
    farm.queue("p");
    for _ in 0..2 * MAX_DEATHS {
        farm.tell(stopped(1))
            .check(&["1 stops being prepared"], &[]);
        farm.tell(stopped(1)).check_nothing();
        farm.restart()
            .check(&["master started", "1 preparing"], &["prepare 1"]);
    }
    farm.prepared(1, plan(&["A"]))
        .check_facts(&["1 prepared: 1 subjobs"]);
    farm.tell(stopped(1)).check_nothing();
    farm.restart().check_facts(&["master started"]);
}

#[test]
fn of_builds_that_the_master_died_over_one_is_tried_at_a_time() {
    let mut farm = Scenario::default();
    for project in ["p", "q", "r"] {
        farm.queue(project);
    }
    farm.restart()
        .check(&["master started", "1 preparing"], &["prepare 1"]);
    // Others are not kept waiting.
    farm.queue("s")
        .check(&["4 queued", "4 preparing"], &["prepare 4"]);
    let facts = farm.restart().events;
    let facts: Vec<String> = facts
        .iter()
        .map(|e| super::texts::fact_text(&e.fact))
        .collect();
    assert!(facts[1].starts_with(&reason()), "{facts:?}");
    assert_eq!(facts[2..], ["2 preparing"]);
    farm.prepared(2, plan(&["A"]))
        .check_facts(&["2 prepared: 1 subjobs", "3 preparing"]);
    // It may be canceled as long as it waits.
    farm.cancel(4).check(&["4 canceled"], &["abandon 4"]);
    farm.prepared(3, plan(&["A"]))
        .check_facts(&["3 prepared: 1 subjobs"]);
    assert_eq!(farm.replayed(), farm.cluster);
}

#[test]
fn journals_of_masters_that_did_not_count_replay() {
    let mut cluster = Cluster::default();
    let request = super::scenario::request("p");
    let facts = [
        Fact::BuildQueued {
            build: BuildId(1),
            request: Box::new(request),
        },
        serde_json::from_value(json!({"fact": "preparation_started", "build": 1})).unwrap(),
        serde_json::from_value(json!({"fact": "master_started"})).unwrap(),
        Fact::BuildPrepared {
            build: BuildId(1),
            plan: Box::new(plan(&[])),
            subjobs: vec![vec!["A".to_owned()]],
        },
    ];
    for fact in facts {
        cluster.apply(&Event {
            at: clusterrunner_common::clock::Timestamp(1),
            fact,
        });
        cluster.check().unwrap();
    }
    let build = cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.state, BuildState::Prepared);
}
