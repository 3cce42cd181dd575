//! How builds leave a slave, and how a slave ends.

use super::*;

#[test]
fn a_tear_down_waits_for_what_it_cancels() {
    let mut scenario = Scenario::ready(1);
    let (first, second) = (hand_out(B, 0, 1), hand_out(B, 1, 1));
    scenario.check(start(first), &["run 7/0.1 on 0"]);
    scenario.check(
        ran(first, RunOutcome::Completed(Vec::new())),
        &["deliver 7/0.1"],
    );
    scenario.check(packed(first), &[]);
    scenario.check(start(second), &["run 7/1.1 on 0"]);
    scenario.check(start(hand_out(B, 2, 1)), &[]);
    scenario.check(Command::TearDown(B), &["cancel 7", "hurry 7"]);
    scenario.check(delivered(first), &[]);
    scenario.check(ran(second, RunOutcome::Canceled), &["clean up 7"]);
    scenario.check(cleaned_up(), &["report 7 torn down"]);
}

#[test]
fn a_tear_down_stops_a_set_up() {
    let mut scenario = Scenario::new(1);
    scenario.check(Command::SetUp(order(B)), &["set up 7"]);
    scenario.check(Command::TearDown(B), &["cancel 7", "hurry 7"]);
    let failed = SetupOutcome::Failed {
        reason: "canceled".to_owned(),
        left: None,
    };
    let ended = Command::SetupEnded {
        build: B,
        outcome: failed,
    };
    scenario.check(ended, &["clean up 7"]);
    scenario.check(cleaned_up(), &["report 7 torn down"]);
}

#[test]
fn a_failed_set_up_is_reported_and_cleaned_up() {
    let mut scenario = Scenario::new(1);
    scenario.check(Command::SetUp(order(B)), &["set up 7"]);
    scenario.check(start(hand_out(B, 0, 1)), &[]);
    let ended = Command::SetupEnded {
        build: B,
        outcome: SetupOutcome::Failed {
            reason: "no such branch".to_owned(),
            left: Some(project()),
        },
    };
    scenario.check(ended, &["report 7 failed", "hurry 7", "clean up 7"]);
    // The master may tear down, or try again, before we are through.
    scenario.check(Command::SetUp(order(B)), &[]);
    scenario.check(cleaned_up(), &["set up 7"]);
    scenario.check(set_up_ended(B), &["report 7 set up"]);
}

#[test]
fn trouble_of_our_own_gives_the_build_back() {
    let mut scenario = Scenario::ready(2);
    let (first, second) = (hand_out(B, 0, 1), hand_out(B, 1, 1));
    scenario.check(start(first), &["run 7/0.1 on 0"]);
    scenario.check(start(second), &["run 7/1.1 on 1"]);
    scenario.check(
        ran(first, RunOutcome::Trouble("disk full".to_owned())),
        &["report 7 failed", "cancel 7", "hurry 7"],
    );
    scenario.check(
        ran(second, RunOutcome::Trouble("disk full".to_owned())),
        &["clean up 7"],
    );
    scenario.check(Command::TearDown(B), &[]);
    scenario.check(cleaned_up(), &["report 7 torn down"]);
}

#[test]
fn a_master_that_forgot_us_frees_us_of_all_work() {
    let mut scenario = Scenario::ready(1);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    scenario.check(Command::Connected { resumed: true }, &["report 7 set up"]);
    scenario.check(
        Command::Connected { resumed: false },
        &["forget reports", "cancel 7", "hurry 7"],
    );
    // The same build may come again at once.
    scenario.check(Command::SetUp(order(B)), &[]);
    scenario.check(
        ran(hand_out(B, 0, 1), RunOutcome::Canceled),
        &["clean up 7"],
    );
    scenario.check(cleaned_up(), &["set up 7"]);
    scenario.check(set_up_ended(B), &["report 7 set up"]);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
}

#[test]
fn a_stop_ends_everything_and_takes_no_more() {
    let mut scenario = Scenario::ready(1);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    scenario.check(Command::Stop, &["cancel 7", "hurry 7"]);
    assert!(!scenario.work.is_over());
    scenario.check_refused(Command::SetUp(order(OTHER)), Refusal::Ending);
    scenario.check_refused(start(hand_out(B, 1, 1)), Refusal::Ending);
    scenario.check(
        ran(hand_out(B, 0, 1), RunOutcome::Canceled),
        &["clean up 7"],
    );
    scenario.check(cleaned_up(), &[]);
    assert!(scenario.work.is_over());
    let mut idle = Scenario::new(1);
    idle.check(Command::Stop, &[]);
    assert!(idle.work.is_over());
}
