//! Atoms that run once more while nothing else is to do.

use super::*;

pub(super) const FIRST: u32 = 1 << 31;

fn hunt_of(build: BuildId) -> Command {
    hunt_in(build, 0)
}

fn hunt_in(build: BuildId, subjob: u32) -> Command {
    Command::Hunt(HuntOrder {
        build,
        subjob: SubjobId(subjob),
        attempt: Attempt(2),
        command: "true".to_owned(),
        timeout: None,
    })
}

fn numbered(hunt: u32) -> HandOut {
    hand_out(B, 0, FIRST + hunt)
}

fn hunted(hunt: u32, subjob: u32, outcome: RunOutcome) -> Command {
    ran(hand_out(B, subjob, FIRST + hunt), outcome)
}

fn with_code(exit_code: i32) -> RunOutcome {
    let mut atoms = ends(0);
    atoms[0].exit_code = exit_code;
    RunOutcome::Completed(atoms)
}

const NO_ROOM: Refusal = Refusal::NoRoomToHunt { build: B };

#[test]
fn a_hunt_takes_an_idle_executor_and_its_end_is_told_and_not_delivered() {
    let mut scenario = Scenario::ready(2);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    let (answer, effects) = scenario.work.handle(hunt_of(B)).unwrap();
    assert_eq!(answer, Answer::Hunting(numbered(1)));
    let [Effect::Run(order)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((order.executor.0, order.hunt), (1, Some(Attempt(2))));
    assert_eq!(order.build_executor_index, 11);
    let running = |work: &Work| {
        work.executors()
            .iter()
            .filter_map(|now| now.running)
            .count()
    };
    assert_eq!(running(&scenario.work), 1, "nobody is shown a hunt");
    scenario.check_refused(hunt_of(B), NO_ROOM);
    scenario.check(ran(numbered(1), with_code(0)), &["hunt 1 Passed"]);
    scenario.check(hunt_of(B), &["run hunt 2 on 1"]);
    scenario.check(ran(numbered(2), with_code(1)), &["hunt 2 Failed"]);
    scenario.check(hunt_of(B), &["run hunt 3 on 1"]);
    let trouble = RunOutcome::Trouble("the disk is full".to_owned());
    scenario.check(ran(numbered(3), trouble), &["hunt 3 Dropped"]);
}

#[test]
fn work_ends_all_hunts_and_waits_for_none() {
    let mut scenario = Scenario::ready(2);
    scenario.check(hunt_in(B, 2), &["run hunt 1 on 0"]);
    scenario.check(hunt_in(B, 3), &["run hunt 2 on 1"]);
    let ended = ["cancel hunt 1", "cancel hunt 2", "run 7/1.1 on 0"];
    scenario.check(start(hand_out(B, 1, 1)), &ended);
    // The executor that only hunts is not taken for idle until that is over.
    scenario.check_refused(hunt_of(B), NO_ROOM);
    scenario.check(hunted(2, 3, RunOutcome::Canceled), &["hunt 2 Dropped"]);
    // It may have failed since it was to end.
    scenario.check(hunted(1, 2, with_code(1)), &["hunt 1 Dropped"]);
    scenario.check(hunt_of(B), &["run hunt 3 on 1"]);
    scenario.check(Command::SetUp(order(OTHER)), &["set up 8", "cancel hunt 3"]);
    scenario.check(ran(numbered(3), with_code(0)), &["hunt 3 Passed"]);
    scenario.check_refused(hunt_of(B), NO_ROOM);
    scenario.check(set_up_ended(OTHER), &["report 8 set up"]);
    scenario.check(hunt_of(B), &["run hunt 4 on 1"]);
    scenario.check(Command::EndHunts, &["cancel hunt 4"]);
    scenario.check(Command::EndHunt(numbered(4)), &[]);
}

#[test]
fn an_executor_without_a_hunt_gets_work_first() {
    let mut scenario = Scenario::ready(2);
    scenario.check(hunt_of(B), &["run hunt 1 on 0"]);
    let ended = ["cancel hunt 1", "run 7/1.1 on 1"];
    scenario.check(start(hand_out(B, 1, 1)), &ended);
}

#[test]
fn a_build_is_cleaned_up_when_its_hunts_are_over() {
    let mut scenario = Scenario::ready(1);
    scenario.check(hunt_of(B), &["run hunt 1 on 0"]);
    scenario.check(Command::TearDown(B), &["cancel 7", "cancel hunt 1"]);
    scenario.check_refused(hunt_of(B), NO_ROOM);
    let over = ["hunt 1 Dropped", "clean up 7"];
    scenario.check(ran(numbered(1), RunOutcome::Canceled), &over);
    scenario.check(cleaned_up(), &["report 7 torn down"]);
    scenario.check_refused(hunt_of(B), NO_ROOM);
}

#[test]
fn a_build_has_no_more_executors_with_its_hunts_than_it_may() {
    let mut scenario = Scenario::new(3);
    let mut limited = order(B);
    if let JobSource::Order(job) = &mut limited.job {
        job.max_executors = std::num::NonZeroU32::new(2);
    }
    scenario.check(Command::SetUp(limited), &["set up 7"]);
    scenario.check(set_up_ended(B), &["report 7 set up"]);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    scenario.check(hunt_of(B), &["run hunt 1 on 1"]);
    scenario.check_refused(hunt_of(B), NO_ROOM);
}

#[test]
fn a_stop_waits_for_hunts_to_be_killed() {
    let mut scenario = Scenario::ready(1);
    scenario.check(hunt_of(B), &["run hunt 1 on 0"]);
    let stopped = ["cancel 7", "hurry 7", "cancel hunt 1"];
    scenario.check(Command::Stop, &stopped);
    scenario.check_refused(hunt_of(B), NO_ROOM);
    let over = ["hunt 1 Dropped", "clean up 7"];
    scenario.check(ran(numbered(1), RunOutcome::Canceled), &over);
    scenario.check(cleaned_up(), &[]);
    assert!(scenario.work.is_over());
}

#[test]
fn no_atom_is_hunted_twice_at_once_and_a_master_that_comes_back_waits_for_no_hunt() {
    let mut scenario = Scenario::ready(2);
    scenario.check(hunt_of(B), &["run hunt 1 on 0"]);
    scenario.check_refused(hunt_of(B), NO_ROOM);
    let resumed = ["cancel hunt 1", "report 7 set up"];
    scenario.check(Command::Connected { resumed: true }, &resumed);
    scenario.check_refused(hunt_of(B), NO_ROOM);
    scenario.check(ran(numbered(1), RunOutcome::Canceled), &["hunt 1 Dropped"]);
    scenario.check(hunt_of(B), &["run hunt 2 on 0"]);
}
