//! Many hand-outs in one call, and how they share the executors.

use super::*;

#[test]
fn many_hand_outs_in_one_call_are_taken_all_or_none() {
    let mut scenario = Scenario::ready(2);
    let (first, second, third) = (hand_out(B, 5, 1), hand_out(B, 3, 1), hand_out(B, 4, 1));
    scenario.check(start(hand_out(B, 9, 2)), &["run 7/9.2 on 0"]);
    let old = hand_out(B, 9, 1);
    let newest = Attempt(2);
    scenario.check_refused(
        start_all(&[first, second, old]),
        Refusal::OldAttempt {
            hand_out: old,
            newest,
        },
    );
    let again = hand_out(B, 3, 2);
    scenario.check_refused(
        start_all(&[again, second]),
        Refusal::OldAttempt {
            hand_out: second,
            newest,
        },
    );
    // Nothing of the refused ones was taken; what is here already does no harm.
    let call = start_all(&[first, second, hand_out(B, 9, 2), third, first]);
    scenario.check(call.clone(), &["run 7/5.1 on 1"]);
    scenario.check(call, &[]);
    let done = || RunOutcome::Completed(Vec::new());
    scenario.check(ran(first, done()), &["deliver 7/5.1", "run 7/3.1 on 1"]);
    scenario.check(ran(second, done()), &["deliver 7/3.1", "run 7/4.1 on 1"]);
    scenario.check(ran(third, done()), &["deliver 7/4.1"]);
}

#[test]
fn a_free_executor_goes_to_the_build_that_has_the_fewest() {
    let mut scenario = Scenario::ready(3);
    scenario.check(Command::SetUp(order(OTHER)), &["set up 8"]);
    scenario.check(set_up_ended(OTHER), &["report 8 set up"]);
    let of = |build| {
        (0..4)
            .map(|subjob| hand_out(build, subjob, 1))
            .collect::<Vec<_>>()
    };
    let all_three = ["run 7/0.1 on 0", "run 7/1.1 on 1", "run 7/2.1 on 2"];
    scenario.check(start_all(&of(B)), &all_three);
    scenario.check(start_all(&of(OTHER)), &[]);
    let canceled = |subjob| ran(hand_out(B, subjob, 1), RunOutcome::Canceled);
    // The other build waits for less long, but has none.
    scenario.check(canceled(0), &["run 8/0.1 on 0"]);
    scenario.check(canceled(1), &["run 7/3.1 on 1"]);
    scenario.check(canceled(2), &["run 8/1.1 on 2"]);
}

#[test]
fn a_build_has_no_more_executors_than_its_job_allows() {
    let mut scenario = Scenario::new(3);
    let mut limited = order(B);
    let JobSource::Order(job) = &mut limited.job else {
        panic!("{limited:?}");
    };
    job.max_executors = std::num::NonZeroU32::new(1);
    scenario.check(Command::SetUp(limited), &["set up 7"]);
    scenario.check(set_up_ended(B), &["report 7 set up"]);
    let (first, second) = (hand_out(B, 0, 1), hand_out(B, 1, 1));
    scenario.check(start_all(&[first, second]), &["run 7/0.1 on 0"]);
    scenario.check(
        ran(first, RunOutcome::Completed(Vec::new())),
        &["deliver 7/0.1", "run 7/1.1 on 0"],
    );
}

#[test]
fn nothing_is_begun_while_too_much_waits_to_be_packed() {
    let mut scenario = Scenario::ready(1);
    let (first, second) = (hand_out(B, 0, 1), hand_out(B, 1, 1));
    scenario.check(start_all(&[first, second]), &["run 7/0.1 on 0"]);
    let much = RunOutcome::Completed(ends(MAX_UNPACKED + 1));
    scenario.check(ran(first, much), &["deliver 7/0.1"]);
    scenario.check(packed(first), &["run 7/1.1 on 0"]);
    scenario.check(delivered(first), &[]);
}

#[test]
fn a_full_queue_is_worked_off_in_order() {
    let mut scenario = Scenario::ready(1);
    let all: Vec<HandOut> = (0..u32::try_from(MAX_WAITING).unwrap())
        .rev()
        .map(|subjob| hand_out(B, subjob, 1))
        .collect();
    let (answer, mut effects) = scenario.work.handle(start_all(&all)).unwrap();
    assert_eq!(answer, Answer::Subjobs(Some(ExecutorIndex(0))));
    for hand_out in all {
        let [Effect::Run(order)] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(order.hand_out, hand_out);
        let ended = ran(hand_out, RunOutcome::Canceled);
        (_, effects) = scenario.work.handle(ended).unwrap();
    }
    assert_eq!(effects, []);
}
