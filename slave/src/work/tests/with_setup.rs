//! What is handed out together with a set-up.

use super::*;

/// A set-up with these hand-outs.
fn set_up(hand_outs: &[HandOut]) -> Command {
    let mut order = order(B);
    order.subjobs = ordered(hand_outs);
    Command::SetUp(order)
}

#[test]
fn it_runs_as_soon_as_the_build_is_set_up_and_is_taken_once() {
    let mut scenario = Scenario::new(2);
    let both = [hand_out(B, 0, 1), hand_out(B, 1, 1)];
    scenario.check(set_up(&both), &["set up 7"]);
    scenario.check(set_up(&both), &[]);
    let runs = ["report 7 set up", "run 7/0.1 on 0", "run 7/1.1 on 1"];
    scenario.check(set_up_ended(B), &runs);
    scenario.check(set_up(&both), &["report 7 set up"]);
    let more = [both[0], hand_out(B, 2, 1)];
    scenario.check(set_up(&more), &["report 7 set up"]);
    scenario.check(ran(both[0], RunOutcome::Canceled), &["run 7/2.1 on 0"]);
}

#[test]
fn it_goes_where_the_set_up_fails() {
    let mut scenario = Scenario::new(1);
    scenario.check(set_up(&[hand_out(B, 0, 1)]), &["set up 7"]);
    let failed = Command::SetupEnded {
        build: B,
        outcome: SetupOutcome::Failed {
            reason: "no".to_owned(),
            left: None,
        },
    };
    let effects = ["report 7 failed", "hurry 7", "clean up 7"];
    scenario.check(failed, &effects);
    scenario.check(cleaned_up(), &[]);
    assert_eq!(scenario.work.num_waiting, 0);
}

#[test]
fn it_waits_for_the_end_of_an_earlier_life_of_the_build() {
    let mut scenario = Scenario::ready(1);
    scenario.check(Command::TearDown(B), &["cancel 7", "clean up 7"]);
    scenario.check(set_up(&[hand_out(B, 0, 2)]), &[]);
    scenario.check(cleaned_up(), &["set up 7"]);
    let runs = ["report 7 set up", "run 7/0.2 on 0"];
    scenario.check(set_up_ended(B), &runs);
}

#[test]
fn what_can_not_be_taken_refuses_the_set_up_too() {
    let mut scenario = Scenario::new(1);
    let wrong = [hand_out(B, 0, 2), hand_out(B, 0, 1)];
    let refusal = Refusal::OldAttempt {
        hand_out: wrong[1],
        newest: Attempt(2),
    };
    scenario.check_refused(set_up(&wrong), refusal);
    assert!(scenario.work.builds.is_empty());
    // Where it is found out late, the master hears of it.
    scenario.check(Command::SetUp(order(B)), &["set up 7"]);
    scenario.check(set_up_ended(B), &["report 7 set up"]);
    scenario.check(Command::TearDown(B), &["cancel 7", "clean up 7"]);
    scenario.check(set_up(&wrong), &[]);
    scenario.check(cleaned_up(), &["report 7 failed"]);
    assert!(scenario.work.builds.is_empty());
}

#[test]
fn hand_outs_that_follow_a_set_up_wait_with_it_for_the_end_of_the_build_before() {
    let mut scenario = Scenario::ready(2);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    // Another incarnation of the master gives the same numbers again.
    let connected = Command::Connected { resumed: false };
    scenario.check(connected, &["forget reports", "cancel 7", "hurry 7"]);
    scenario.check_refused(
        start(hand_out(B, 0, 1)),
        Refusal::BuildEnding {
            build: B,
            subjob: SubjobId(0),
        },
    );
    scenario.check(set_up(&[]), &[]);
    scenario.check(start(hand_out(B, 0, 1)), &[]);
    scenario.check(start(hand_out(B, 1, 1)), &[]);
    scenario.check(start(hand_out(B, 1, 1)), &[]);
    scenario.check(
        ran(hand_out(B, 0, 1), RunOutcome::Canceled),
        &["clean up 7"],
    );
    scenario.check(cleaned_up(), &["set up 7"]);
    let runs = ["report 7 set up", "run 7/0.1 on 0", "run 7/1.1 on 1"];
    scenario.check(set_up_ended(B), &runs);
}
