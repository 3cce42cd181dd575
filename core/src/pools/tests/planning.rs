use super::*;
use crate::pools::memory::Part;
use crate::pools::planning::End;

fn reasons(plan: &PoolPlan) -> Vec<EndReason> {
    plan.end
        .iter()
        .map(|end: &End| end.reason.clone())
        .collect()
}

#[test]
fn so_many_are_started_that_what_waits_is_done_in_time() {
    for (waiting, each_secs, slaves) in [
        (1, 1, 1),
        (10, 10, 1),
        (40, 10, 2),
        (40, 25, 5),
        (3, 1000, 2),
    ] {
        let mut farm = Farm::new([terms("a")]);
        let plan = farm.waits(&[], waiting, each_secs).plan();
        assert_eq!(plan.start, slaves, "{waiting} of {each_secs} s");
        assert_eq!(plan.standing, Standing::Starting { slaves, waiting });
    }
}

#[test]
fn no_more_are_started_than_the_pool_may_have_and_that_is_said() {
    let mut farm = Farm::new([terms("a")]);
    farm.joined("a", 2);
    let plan = farm.waits(&[], 1000, 100).plan();
    assert_eq!((plan.start, plan.wanted_slaves), (7, 8));
    let said = plan.standing.to_string();
    assert!(said.starts_with("max_slaves = 8 is reached; "), "{said}");
}

#[test]
fn what_comes_and_what_is_free_is_counted_on() {
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 40, 10);
    farm.asked("a", Some(ListedState::Running));
    farm.asked("a", None);
    assert_eq!(farm.plan().start, 0);
    // A slave that belongs to no pool is as good.
    let mut farm = Farm::new([terms("a")]);
    let other = slave_with(&labels(&[]), 0);
    farm.scene.slaves.insert(SlaveId(77), other);
    assert_eq!(farm.waits(&[], 40, 10).plan().start, 1);
}

#[test]
fn what_is_done_before_a_new_slave_could_begin_starts_none() {
    let mut farm = Farm::new([terms("a")]);
    farm.joined("a", 2);
    farm.waits(&[], 20, 15);
    let demand = &mut farm.scene.demands[0];
    (demand.busy, demand.setup_ms) = (2, 200_000);
    assert_eq!(farm.plan().start, 0);
    farm.scene.demands[0].setup_ms = 1000;
    assert_eq!(farm.plan().start, 1);
}

#[test]
fn labels_lead_to_the_pool_that_has_them_and_others_go_to_the_plainest() {
    let big = PoolTerms {
        labels: labels(&["gpu"]),
        ..terms("big")
    };
    let mut farm = Farm::new([big, terms("plain")]);
    farm.waits(&["gpu"], 1, 1)
        .waits(&[], 1, 1)
        .waits(&["tpu"], 9, 9);
    let starts: Vec<u64> = farm.plans().iter().map(|plan| plan.start).collect();
    assert_eq!(starts, [1, 1]);
    // Where the plain one is full the other helps out.
    farm.pools[1].terms.max_slaves = 0;
    let starts: Vec<u64> = farm.plans().iter().map(|plan| plan.start).collect();
    assert_eq!(starts, [1, 0], "one slave has room for both");
}

#[test]
fn a_build_that_may_have_few_executors_starts_no_more() {
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 1000, 100);
    farm.scene.demands[0].most = Some(3);
    assert_eq!(farm.plan().start, 2);
}

#[test]
fn idle_slaves_are_ended_after_their_time_and_none_below_the_least() {
    let mut farm = Farm::new([PoolTerms {
        min_slaves: 1,
        ..terms("a")
    }]);
    let first = farm.joined("a", 0);
    farm.plan();
    let second = farm.joined("a", 1);
    assert_eq!(farm.after(59).plan().end, []);
    let plan = farm.after(1).plan();
    let ended: Vec<_> = plan.end.iter().map(|end| (end.token, end.slave)).collect();
    assert_eq!(ended, [(Some(first), Some(SlaveId(first.0)))]);
    assert_eq!(reasons(&plan), [EndReason::Idle { for_ms: 60_000 }]);
    // The other one is the last, and stays.
    farm.presence(first, PoolPresence::Leaving);
    farm.listed.clear();
    farm.works(second, 0);
    let plan = farm.after(1000).plan();
    assert_eq!((plan.end.len(), plan.forget.len()), (0, 1));
    assert_eq!(farm.after(1000).plan().end, []);
}

#[test]
fn the_least_are_started_where_nothing_waits() {
    let mut farm = Farm::new([PoolTerms {
        min_slaves: 3,
        ..terms("a")
    }]);
    farm.joined("a", 0);
    let plan = farm.plan();
    assert_eq!((plan.start, plan.wanted_slaves), (2, 3));
}

#[test]
fn a_slave_is_not_ended_that_gets_work_or_has_begun_again() {
    let mut farm = Farm::new([terms("a")]);
    let token = farm.joined("a", 0);
    farm.plan();
    farm.after(50).works(token, 1);
    farm.plan();
    farm.works(token, 0);
    assert_eq!(farm.after(30).plan().end, []);
    // What waits is for it.
    let plan = farm.after(100).waits(&[], 1, 1).plan();
    assert_eq!((plan.start, plan.end.len()), (0, 0));
}

#[test]
fn a_sick_slave_goes_when_it_is_idle() {
    let mut farm = Farm::new([terms("a")]);
    let token = farm.joined("a", 1);
    let slave = farm.scene.slaves.get_mut(&SlaveId(token.0)).unwrap();
    (slave.is_sick, slave.takes_work) = (true, false);
    assert_eq!(farm.plan().end, []);
    farm.works(token, 0);
    assert_eq!(reasons(&farm.plan()), [EndReason::Sick]);
}

#[test]
fn slaves_that_fall_sick_one_after_the_other_are_replaced_ever_later() {
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 100, 100);
    for failures in 1..=4 {
        let token = farm.after(601).joined("a", 0);
        farm.plan();
        let slave = farm.scene.slaves.get_mut(&SlaveId(token.0)).unwrap();
        (slave.is_sick, slave.takes_work) = (true, false);
        let plan = farm.plan();
        assert_eq!(reasons(&plan), [EndReason::Sick]);
        assert_eq!(plan.start, 0);
        // Planned again, it is no other failure.
        let standing = farm.plan().standing;
        let expected =
            matches!(&standing, Standing::Paused { failures: of, .. } if *of == failures);
        assert!(expected, "{standing:?}");
        farm.scene.slaves.clear();
        farm.scene.tokens.clear();
        farm.listed.clear();
    }
    // One that is healthy for long ends that.
    farm.after(601).joined("a", 2);
    farm.plan();
    farm.after(600).plan();
    let now = farm.scene.now;
    farm.pools[0].memory.note_sick("another", now);
    let standing = farm.plan().standing;
    assert!(
        matches!(standing, Standing::Paused { failures: 1, .. }),
        "{standing:?}"
    );
}

#[test]
fn a_slave_that_never_appears_is_given_up_once_and_the_pool_pauses() {
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 1, 1).asked("a", Some(ListedState::Running));
    farm.plan();
    assert_eq!(farm.after(119).plan().end, []);
    let plan = farm.after(1).plan();
    assert_eq!(
        reasons(&plan),
        [EndReason::NeverAppeared { for_ms: 120_000 }]
    );
    let said = plan.standing.to_string();
    assert!(said.contains("no slave has joined within 120 s"), "{said}");
    farm.scene.tokens.clear();
    farm.listed.clear();
    assert_eq!(farm.plan().start, 0, "it pauses");
    assert_eq!(farm.after(5).plan().start, 1);
}

#[test]
fn pauses_grow_and_end_with_a_slave_that_joins() {
    let mut memory = Memory::default();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        memory.note_failure(Part::Starts, Timestamp(0), "no".to_owned());
        pauses.push(memory.pause(Timestamp(0)).unwrap().paused_until.0 / 1000);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
    memory.note_joined(Timestamp(0));
    assert!(
        memory.is_paused(Timestamp(1)),
        "it was asked for before the failure"
    );
    memory.note_joined(Timestamp(1));
    assert!(!memory.is_paused(Timestamp(1)));
    // A slave that joins says nothing of what lists and ends.
    memory.note_failure(Part::Lists, Timestamp(2), "no".to_owned());
    memory.note_joined(Timestamp(3));
    assert!(memory.is_paused(Timestamp(3)));
    memory.note_success(Part::Stops);
    assert!(memory.is_paused(Timestamp(3)));
    memory.note_success(Part::Lists);
    assert!(!memory.is_paused(Timestamp(3)));
}

#[test]
fn what_is_still_listed_is_ended_again_after_a_while() {
    let mut farm = Farm::new([terms("a")]);
    farm.listed.push(Listed {
        name: "cr-a-old".to_owned(),
        id: "7".to_owned(),
        state: ListedState::Running,
    });
    assert_eq!(reasons(&farm.plan()), [EndReason::Unknown]);
    assert_eq!(
        reasons(&farm.plan()),
        [EndReason::Unknown],
        "it was only planned"
    );
    let now = farm.scene.now;
    farm.pools[0].memory.note_ending("cr-a-old", now);
    assert_eq!(farm.after(29).plan().end, []);
    assert_eq!(reasons(&farm.after(1).plan()), [EndReason::Unknown]);
}

#[test]
fn a_pool_that_pauses_ends_what_is_too_much() {
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 1, 1).asked("a", Some(ListedState::Running));
    farm.plan();
    let now = farm.after(100).scene.now;
    for _ in 0..10 {
        farm.pools[0]
            .memory
            .note_failure(Part::Lists, now, "no".to_owned());
    }
    let plan = farm.after(20).plan();
    assert_eq!(
        reasons(&plan),
        [EndReason::NeverAppeared { for_ms: 120_000 }]
    );
}

#[test]
fn what_ends_before_it_joins_or_soon_after_is_a_failure() {
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 1, 1).asked("a", None);
    assert_eq!(farm.after(29).plan().forget, []);
    let plan = farm.after(1).plan();
    let failures: Vec<_> = plan
        .forget
        .iter()
        .map(|one| one.failure.as_deref())
        .collect();
    assert_eq!(failures, [Some("it ended before a slave had joined")]);
    assert!(matches!(
        plan.standing,
        Standing::Paused { failures: 1, .. }
    ));

    let mut farm = Farm::new([terms("a")]);
    let token = farm.joined("a", 1);
    farm.plan();
    let at = farm.after(10).scene.now;
    farm.presence(token, PoolPresence::Lost(at));
    farm.listed.clear();
    let plan = farm.plan();
    assert!(matches!(plan.standing, Standing::Paused { .. }), "{plan:?}");
    assert_eq!(plan.forget.len(), 1);
}

#[test]
fn what_is_in_the_way_of_a_start_is_said_at_once_and_when_it_is_given_up() {
    let mut farm = Farm::new([terms("a")]);
    let why = "no such image".to_owned();
    let state = ListedState::Hindered { why };
    farm.waits(&[], 1, 1).asked("a", Some(state));
    let plan = farm.plan();
    let said = plan.standing.to_string();
    assert_eq!(said, "1 slave can not start (no such image)");
    assert_eq!((plan.start, plan.counts.starting), (0, 1));
    let said = farm.after(120).plan().standing.to_string();
    assert!(
        said.contains("no slave has joined within 120 s (no such image)"),
        "{said}"
    );
}

#[test]
fn how_something_ended_is_told_in_the_words_of_its_provider() {
    let ended = |why: Option<&str>| ListedState::Ended {
        why: why.map(str::to_owned),
    };
    let failures = |plan: &PoolPlan| -> Vec<Option<String>> {
        let forgotten = plan.forget.iter();
        forgotten.map(|one| one.failure.clone()).collect()
    };
    // Before a slave has joined: no list lags behind where the end is listed.
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 1, 1)
        .asked("a", Some(ended(Some("evicted"))));
    let plan = farm.plan();
    let expected = "it ended before a slave had joined (evicted)";
    assert_eq!(failures(&plan), [Some(expected.to_owned())]);
    assert!(matches!(plan.standing, Standing::Paused { .. }), "{plan:?}");

    // After it has worked for long: another one is started at once.
    for (why, failure) in [
        (Some("evicted"), Some("its slave is gone (evicted)")),
        (None, None),
    ] {
        let mut farm = Farm::new([terms("a")]);
        let token = farm.joined("a", 1);
        farm.plan();
        let at = farm.waits(&[], 1, 1).after(3600).scene.now;
        farm.listed[0].state = ended(why);
        assert_eq!(farm.plan().counts.joined, 1, "its slave was not missed yet");
        farm.presence(token, PoolPresence::Lost(at));
        let plan = farm.plan();
        assert_eq!(failures(&plan), [failure.map(str::to_owned)]);
        assert_eq!((plan.start, plan.counts.leaving), (1, 0), "{plan:?}");
        let told = farm.pools[0].memory.last_failure();
        let told = told.map(|(_, what)| what.ends_with("its slave is gone (evicted)"));
        assert_eq!(told, failure.map(|_| true));
        farm.plan();
        assert!(farm.pools[0].memory.failed() <= 1, "it is noted once");
    }
}

#[test]
fn what_ended_in_an_earlier_life_is_nothing_to_end() {
    let mut farm = Farm::new([terms("a")]);
    farm.listed.push(Listed {
        name: "cr-a-old".to_owned(),
        id: "7".to_owned(),
        state: ListedState::Ended { why: None },
    });
    let plan = farm.plan();
    assert_eq!((plan.end.len(), plan.counts.leaving), (0, 0));
}

#[test]
fn a_queue_that_does_not_move_is_reported_and_not_flooded() {
    let mut farm = Farm::new([terms("a")]);
    farm.waits(&[], 4, 100);
    let why = Some("Resources".to_owned());
    for _ in 0..2 {
        farm.asked("a", Some(ListedState::Queued { why: why.clone() }));
    }
    farm.plan();
    let plan = farm.after(3600).plan();
    assert_eq!((plan.start, plan.end.len()), (0, 0));
    let queue = Standing::QueueStands {
        queued: 2,
        for_ms: 3_600_000,
        why,
    };
    assert_eq!(plan.standing, queue);
    // Once nobody needs them they are taken back, after a while.
    farm.scene.demands.clear();
    assert_eq!(farm.plan().end, []);
    let plan = farm.after(60).plan();
    assert_eq!(reasons(&plan), [EndReason::Unneeded, EndReason::Unneeded]);
}

#[test]
fn nothing_is_started_before_it_is_known_what_runs() {
    let mut farm = Farm::new([terms("a")]);
    farm.pools[0].is_listed = false;
    let plan = farm.waits(&[], 1, 1).plan();
    assert_eq!((plan.start, plan.standing), (0, Standing::NotListed));
}

#[test]
fn what_this_journal_does_not_know_is_ended_unless_a_slave_of_it_may_work() {
    let mut farm = Farm::new([terms("a")]);
    farm.listed.push(Listed {
        name: "cr-a-old".to_owned(),
        id: "7".to_owned(),
        state: ListedState::Running,
    });
    farm.listed.push(Listed {
        name: "cr-b-other".to_owned(),
        id: "8".to_owned(),
        state: ListedState::Running,
    });
    farm.scene.has_strays = true;
    assert_eq!(farm.plan().end, []);
    farm.scene.has_strays = false;
    let plan = farm.plan();
    assert_eq!(reasons(&plan), [EndReason::Unknown]);
    assert_eq!(plan.end[0].name, "cr-a-old");
    assert_eq!(plan.counts.leaving, 1);
}

#[test]
fn what_stays_listed_after_its_slave_is_ended() {
    let mut farm = Farm::new([terms("a")]);
    let (left, lost) = (farm.joined("a", 1), farm.joined("a", 1));
    let at = farm.scene.now;
    farm.presence(left, PoolPresence::Leaving);
    farm.presence(lost, PoolPresence::Lost(at));
    assert_eq!(farm.plan().end, []);
    assert_eq!(reasons(&farm.after(60).plan()), [EndReason::SlaveEnded]);
    let both = [
        EndReason::SlaveEnded,
        EndReason::SlaveLost { for_ms: 120_000 },
    ];
    assert_eq!(reasons(&farm.after(60).plan()), both);
}

#[test]
fn what_a_slave_that_ends_still_runs_is_waited_for() {
    let mut farm = Farm::new([terms("a")]);
    let token = farm.joined("a", 1);
    farm.presence(token, PoolPresence::Finishing);
    farm.plan();
    let plan = farm.after(3600).plan();
    assert_eq!(reasons(&plan), []);
    assert_eq!(plan.counts.leaving, 1);
    // Its key is good until it has said that it ends, whether its job is listed or not.
    farm.presence(token, PoolPresence::Ending);
    let listed = std::mem::take(&mut farm.listed);
    assert_eq!(farm.plan().forget, []);
    farm.listed = listed;
    // From its end on its job has a while.
    farm.presence(token, PoolPresence::Leaving);
    assert_eq!(farm.plan().end, []);
    assert_eq!(reasons(&farm.after(60).plan()), [EndReason::SlaveEnded]);
}

#[test]
fn reasons_are_sentences() {
    let paused = Standing::Paused {
        failures: 2,
        left_ms: 9_500,
        what: "start_command exited with 1".to_owned(),
    };
    for (said, expected) in [
        (
            paused.to_string(),
            "2 failures in a row, the next attempt in 9 s: start_command exited with 1",
        ),
        (
            Standing::Starting {
                slaves: 1,
                waiting: 1,
            }
            .to_string(),
            "1 slave is started for 1 subjob that waits",
        ),
        (
            Standing::Idle { slaves: 3 }.to_string(),
            "nothing waits; 3 slaves are idle",
        ),
        (
            EndReason::NeverAppeared { for_ms: 7_300_000 }.to_string(),
            "no slave of it has joined within 2 h",
        ),
    ] {
        assert_eq!(said, expected);
    }
}
