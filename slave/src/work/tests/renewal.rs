//! Projects whose directory is gone.

use super::*;

/// With build 7 set up, which is of a repository.
fn ready(num_executors: u32) -> Scenario {
    let mut scenario = Scenario::new(num_executors);
    let mut order = order(B);
    order.source = repository();
    scenario.check(Command::SetUp(order), &["set up 7"]);
    scenario.check(set_up_ended(B), &["report 7 set up"]);
    scenario
}

fn no_project(hand_out: HandOut) -> Command {
    let outcome = RunOutcome::NoProject {
        atomic_commands: vec!["true".to_owned()],
        timeout: None,
    };
    ran(hand_out, outcome)
}

#[test]
fn the_build_is_set_up_again_when_nothing_of_it_runs() {
    let mut scenario = ready(2);
    let [guilty, late, other] = [0, 1, 2].map(|subjob| hand_out(B, subjob, 1));
    scenario.check(start(guilty), &["run 7/0.1 on 0"]);
    scenario.check(start(late), &["run 7/1.1 on 1"]);
    scenario.check(no_project(late), &[]);
    scenario.check(start(other), &[]);
    // Its own result stands, and what waits runs after the set-up.
    let done = ran(guilty, RunOutcome::Completed(Vec::new()));
    scenario.check(done, &["deliver 7/0.1", "set up 7 again"]);
    scenario.check(packed(guilty), &[]);
    scenario.check(delivered(guilty), &[]);
    let again = ["report 7 set up", "run 7/1.1 on 0", "run 7/2.1 on 1"];
    scenario.check(set_up_ended(B), &again);
    for hand_out in [late, other] {
        let name = format!("deliver {}", short(hand_out));
        scenario.check(ran(hand_out, RunOutcome::Completed(Vec::new())), &[&name]);
        scenario.check(packed(hand_out), &[]);
        scenario.check(delivered(hand_out), &[]);
    }
    scenario.check(Command::TearDown(B), &["cancel 7", "clean up 7"]);
    let (_, effects) = scenario.work.handle(cleaned_up()).unwrap();
    let Effect::Report(_, BuildReport::TornDown { trouble }) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert!(
        trouble
            .as_ref()
            .unwrap()
            .contains("removed the project's directory")
    );
}

#[test]
fn a_result_that_can_not_be_delivered_meanwhile_is_told() {
    let mut scenario = ready(1);
    let [first, second] = [0, 1].map(|subjob| hand_out(B, subjob, 1));
    scenario.check(start(first), &["run 7/0.1 on 0"]);
    let done = ran(first, RunOutcome::Completed(Vec::new()));
    scenario.check(done, &["deliver 7/0.1"]);
    scenario.check(start(second), &["run 7/1.1 on 0"]);
    scenario.check(no_project(second), &["set up 7 again"]);
    let rejected = DeliveryOutcome::Rejected("no".to_owned());
    let effects = ["report 7 failed", "cancel 7", "hurry 7"];
    scenario.check(Command::DeliveriesEnded(vec![(first, rejected)]), &effects);
    scenario.check(set_up_ended(B), &["clean up 7"]);
}

#[test]
fn a_set_up_that_removes_its_own_project_is_not_repeated_for_ever() {
    let mut scenario = ready(1);
    let subjob = hand_out(B, 0, 1);
    scenario.check(start(subjob), &["run 7/0.1 on 0"]);
    for _ in 0..MAX_RENEWALS {
        scenario.check(no_project(subjob), &["set up 7 again"]);
        let again = ["report 7 set up", "run 7/0.1 on 0"];
        scenario.check(set_up_ended(B), &again);
    }
    let effects = ["report 7 failed", "cancel 7", "clean up 7"];
    scenario.check(no_project(subjob), &effects);
}

#[test]
fn a_directory_that_is_used_in_place_is_not_ours_to_make() {
    let mut scenario = Scenario::ready(1);
    let subjob = hand_out(B, 0, 1);
    scenario.check(start(subjob), &["run 7/0.1 on 0"]);
    let effects = ["report 7 failed", "cancel 7", "clean up 7"];
    scenario.check(no_project(subjob), &effects);
}
