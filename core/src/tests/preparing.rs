//! Builds over whose preparing the master dies.

use super::scenario::{Scenario, plan};
use crate::MAX_DEATHS;
use crate::command::Command;
use crate::event::{BuildFact, Event, Fact};
use clusterrunner_common::ids::{Attempt, BuildId};

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
        Fact::Build(_, BuildFact::PreparationStarted { attempt, .. }) => Some(*attempt),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [Attempt(1), Attempt(2)]);
    let last = farm.restart();
    let [_, Event { fact, .. }] = last.events.as_slice() else {
        panic!("{last:?}");
    };
    let text = fact.to_string();
    assert!(text.starts_with(&format!("build {}", reason())), "{text}");
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
    let facts: Vec<String> = facts.iter().map(super::scenario::fact_text).collect();
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
