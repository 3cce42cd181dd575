use super::*;
use BuildEvent::{Building, Canceled, Failing, Finished, Queued};

const BOUNDS: Bounds = Bounds {
    number: 100,
    age: Duration::from_secs(24 * 60 * 60),
};

/// When all begins, on the wall and for the caller.
const START: (Timestamp, Duration) = (Timestamp(1000), Duration::ZERO);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn notice(build: u64, event: BuildEvent) -> Notice {
    Notice {
        build: BuildId(build),
        event,
        at: Timestamp(1000 * build),
    }
}

fn push(queue: &mut Queue, build: u64, events: &[BuildEvent]) {
    let wanted: Vec<Notice> = events.iter().map(|event| notice(build, *event)).collect();
    let end = events.last().copied().filter(|event| event.is_end());
    queue.push(BuildId(build), &wanted, end, START);
}

fn queue() -> Queue {
    Queue::new(BOUNDS, false)
}

fn marks(queue: &mut Queue) -> Vec<(u64, BuildEvent)> {
    let marks = queue.take_settled().into_iter();
    marks.map(|(build, event)| (build.0, event)).collect()
}

/// Tells all that can be told now, and says what that was.
fn tell_all(queue: &mut Queue, now: Duration) -> Vec<(u64, BuildEvent)> {
    let mut told = Vec::new();
    while let Next::Tell(notice, _) = queue.next(now) {
        told.push((notice.build.0, notice.event));
        queue.settle(&notice);
    }
    told
}

#[test]
fn a_build_is_told_in_its_order_and_each_notice_once() {
    let mut queue = queue();
    assert_eq!(queue.next(seconds(0)), Next::Idle);
    push(&mut queue, 2, &[Queued, Building]);
    push(&mut queue, 1, &[Queued]);
    push(&mut queue, 2, &[Failing, Finished]);
    assert_eq!(queue.length(), 5);
    let told = tell_all(&mut queue, seconds(0));
    let expected = [
        (1, Queued),
        (2, Queued),
        (2, Building),
        (2, Failing),
        (2, Finished),
    ];
    assert_eq!(told, expected);
    assert_eq!(marks(&mut queue), expected);
    assert_eq!((queue.length(), queue.first_unsettled()), (0, None));
}

#[test]
fn a_server_of_statuses_is_told_what_a_build_came_to_last() {
    let mut queue = Queue::new(BOUNDS, true);
    push(&mut queue, 1, &[Queued, Building]);
    let Next::Tell(under_way, _) = queue.next(seconds(0)) else {
        panic!("{queue:?}");
    };
    assert_eq!(under_way.event, Building);
    // The end comes while the one before is sent.
    push(&mut queue, 1, &[Canceled]);
    queue.settle(&under_way);
    assert_eq!(marks(&mut queue), [(1, Building)]);
    assert_eq!(tell_all(&mut queue, seconds(0)), [(1, Canceled)]);
    // Where the one before fails, it is not sent again.
    push(&mut queue, 2, &[Building]);
    push(&mut queue, 2, &[Finished]);
    queue.fail(&notice(2, Building), Failure::Refused, seconds(0), 0.0);
    assert_eq!(tell_all(&mut queue, seconds(10)), [(2, Finished)]);
}

#[test]
fn a_receiver_that_can_not_be_reached_is_tried_again_and_again() {
    let mut queue = queue();
    push(&mut queue, 1, &[Queued]);
    let mut now = seconds(0);
    let mut pauses = Vec::new();
    for attempt in 1..=14 {
        assert_eq!(queue.next(now), Next::Tell(notice(1, Queued), attempt));
        queue.fail(&notice(1, Queued), Failure::Unreachable(None), now, 1.0);
        let Next::Wait(pause) = queue.next(now) else {
            panic!("{queue:?}");
        };
        pauses.push(pause.as_secs());
        now += pause;
    }
    let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900];
    assert_eq!(pauses, expected);
    assert_eq!(tell_all(&mut queue, now), [(1, Queued)]);
    // It is well again: the next failure begins from the start.
    push(&mut queue, 3, &[Queued]);
    queue.fail(&notice(3, Queued), Failure::Unreachable(None), now, 0.0);
    assert_eq!(queue.next(now), Next::Wait(Duration::from_millis(500)));
}

#[test]
fn all_wait_for_a_receiver_that_can_not_be_reached() {
    let mut queue = queue();
    for build in 1..=3 {
        push(&mut queue, build, &[Queued]);
    }
    let mut now = seconds(0);
    for pause in [1, 2, 4, 8] {
        let Next::Tell(tried, _) = queue.next(now) else {
            panic!("{queue:?}");
        };
        queue.fail(&tried, Failure::Unreachable(None), now, 1.0);
        assert_eq!(queue.next(now), Next::Wait(seconds(pause)));
        now += seconds(pause);
    }
    // Those that failed less often come first: each has had its turn, and the first one two.
    let told = tell_all(&mut queue, now);
    assert_eq!(told, [(2, Queued), (3, Queued), (1, Queued)]);
}

#[test]
fn a_notice_that_the_receiver_fails_on_keeps_up_no_others() {
    let mut queue = queue();
    for build in 1..=4 {
        push(&mut queue, build, &[Queued]);
    }
    let mut now = seconds(0);
    let mut told = Vec::new();
    while told.len() < 3 {
        match queue.next(now) {
            Next::Tell(bad, _) if bad.build == BuildId(1) => {
                queue.fail(&bad, Failure::Unreachable(None), now, 1.0);
            }
            Next::Tell(good, _) => {
                told.push(good.build.0);
                queue.settle(&good);
            }
            Next::Wait(wait) => now += wait,
            Next::Idle => panic!("{queue:?}"),
        }
    }
    assert_eq!((told, queue.length()), (vec![2, 3, 4], 1));
    assert!(now < seconds(10), "{now:?}");
}

#[test]
fn a_receiver_may_ask_for_a_pause() {
    let mut queue = queue();
    push(&mut queue, 1, &[Queued]);
    for (wish, expected) in [(7, 7), (1_000_000, 3600)] {
        let wish = Failure::Unreachable(Some(seconds(wish)));
        queue.fail(&notice(1, Queued), wish, seconds(0), 1.0);
        assert_eq!(queue.next(seconds(0)), Next::Wait(seconds(expected)));
    }
}

#[test]
fn a_refused_notice_holds_up_its_own_build_alone() {
    let mut queue = queue();
    push(&mut queue, 1, &[Queued, Building]);
    push(&mut queue, 2, &[Queued]);
    queue.fail(&notice(1, Queued), Failure::Refused, seconds(0), 1.0);
    assert_eq!(tell_all(&mut queue, seconds(0)), [(2, Queued)]);
    assert_eq!(queue.next(seconds(0)), Next::Wait(seconds(1)));
    assert_eq!(queue.next(seconds(1)), Next::Tell(notice(1, Queued), 2));
    queue.fail(&notice(1, Queued), Failure::Refused, seconds(1), 1.0);
    assert_eq!(queue.next(seconds(1)), Next::Wait(seconds(2)));
    let told = tell_all(&mut queue, seconds(3));
    assert_eq!(told, [(1, Queued), (1, Building)]);
}

#[test]
fn an_end_that_nobody_wants_to_know_is_marked_all_the_same() {
    let mut queue = queue();
    queue.push(BuildId(1), &[], Some(Finished), START);
    assert_eq!(marks(&mut queue), [(1, Finished)]);
    queue.push(BuildId(2), &[notice(2, Building)], None, START);
    queue.push(BuildId(2), &[], Some(Finished), START);
    assert_eq!(marks(&mut queue), []);
    assert_eq!(tell_all(&mut queue, seconds(0)), [(2, Building)]);
    assert_eq!(marks(&mut queue), [(2, Finished)]);
    // What is neither told nor over needs no mark.
    queue.push(BuildId(3), &[], None, START);
    assert_eq!(marks(&mut queue), []);
    assert!(queue.lanes.is_empty());
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes() {
    let bounds = Bounds {
        number: 3,
        ..BOUNDS
    };
    let mut queue = Queue::new(bounds, false);
    for build in 1..=3 {
        push(&mut queue, build, &[Building, Finished]);
    }
    assert_eq!((queue.length(), queue.take_given_up()), (3, 3));
    let expected = [(1, Building), (1, Finished), (2, Building)];
    assert_eq!(marks(&mut queue), expected);
    let told = tell_all(&mut queue, seconds(0));
    assert_eq!(told, [(2, Finished), (3, Building), (3, Finished)]);
    assert_eq!(queue.take_given_up(), 0);
}

#[test]
fn what_is_too_old_is_given_up() {
    let mut queue = queue();
    let at = |build: u64, at: u64| Notice {
        at: Timestamp(at),
        ..notice(build, Finished)
    };
    let day = 24 * 60 * 60 * 1000;
    // As after a restart: of an hour ago, of two days ago, and of the future, as it seems.
    let wall = Timestamp(10 * day);
    let hour = 60 * 60 * 1000;
    for (build, moment) in [(1, 10 * day - hour), (2, 8 * day), (3, 99 * day)] {
        queue.push(
            BuildId(build),
            &[at(build, moment)],
            Some(Finished),
            (wall, seconds(5)),
        );
    }
    queue.expire(seconds(5));
    assert_eq!((queue.length(), queue.take_given_up()), (2, 1));
    assert_eq!(marks(&mut queue), [(2, Finished)]);
    // However the clock on the wall is set from now on.
    queue.expire(seconds(5 + 23 * 60 * 60 - 1));
    assert_eq!(queue.length(), 2);
    queue.expire(seconds(5 + 23 * 60 * 60));
    assert_eq!(marks(&mut queue), [(1, Finished)]);
    assert_eq!(queue.first_unsettled(), Some(BuildId(3)));
    queue.expire(seconds(5 + 24 * 60 * 60));
    assert_eq!((queue.length(), queue.take_given_up()), (0, 2));
}

#[test]
fn a_build_is_not_old_while_something_happens_to_it() {
    let mut queue = queue();
    push(&mut queue, 1, &[Building]);
    let later = (Timestamp(1000), seconds(20 * 60 * 60));
    queue.push(BuildId(1), &[notice(1, Finished)], Some(Finished), later);
    queue.expire(seconds(25 * 60 * 60));
    assert_eq!(queue.length(), 2);
    queue.expire(seconds(44 * 60 * 60));
    assert_eq!(marks(&mut queue), [(1, Finished)]);
}

#[test]
fn what_is_given_up_while_it_is_sent_is_not_told_again() {
    let mut queue = queue();
    push(&mut queue, 1, &[Building]);
    let Next::Tell(under_way, _) = queue.next(seconds(0)) else {
        panic!("{queue:?}");
    };
    queue.expire(Duration::MAX);
    queue.settle(&under_way);
    queue.fail(&under_way, Failure::Refused, seconds(0), 0.0);
    assert_eq!(queue.next(seconds(0)), Next::Idle);
    assert_eq!(marks(&mut queue), [(1, Building)]);
}

/// Fails the next notice so, until there is none to be tried at once; moves on to when there is.
fn fail_next(queue: &mut Queue, failure: Failure, now: &mut Duration) -> Option<bool> {
    match queue.next(*now) {
        Next::Tell(notice, _) => Some(queue.fail(&notice, failure, *now, 1.0)),
        Next::Wait(pause) => {
            *now += pause;
            None
        }
        Next::Idle => panic!("{queue:?}"),
    }
}

#[test]
fn what_is_refused_again_and_again_is_given_up_in_minutes() {
    let mut queue = queue();
    push(&mut queue, 1, &[Building, Finished]);
    let mut now = seconds(0);
    let mut tries = 0;
    while queue.length() == 2 {
        let refused = fail_next(&mut queue, Failure::Refused, &mut now);
        tries += u32::from(refused.is_some());
        assert_eq!(
            refused.unwrap_or(false),
            tries == MOST_REFUSALS && refused.is_some()
        );
    }
    assert_eq!((tries, now.as_secs()), (MOST_REFUSALS, 255));
    // It is settled, and not told again after a restart; the next notice is tried as often.
    assert_eq!(marks(&mut queue), [(1, Building)]);
    assert_eq!(queue.next(now), Next::Tell(notice(1, Finished), 1));
    while queue.length() == 1 {
        fail_next(&mut queue, Failure::Refused, &mut now);
    }
    assert_eq!(marks(&mut queue), [(1, Finished)]);
    // Those were told of.
    assert_eq!(queue.take_given_up(), 0);
}

#[test]
fn trouble_of_the_receiver_is_no_refusal() {
    let mut queue = queue();
    push(&mut queue, 1, &[Queued]);
    let mut now = seconds(0);
    for round in 0..40 {
        let failure = match round % 2 {
            0 => Failure::Unreachable(None),
            _ => Failure::Unreachable(Some(seconds(5))),
        };
        assert_ne!(fail_next(&mut queue, failure, &mut now), Some(true));
    }
    assert_eq!(queue.length(), 1);
}

/// A token that is not known opens nothing: what waits is told when there is a right one.
#[test]
fn all_wait_for_a_receiver_that_does_not_know_who_asks() {
    let mut queue = queue();
    push(&mut queue, 1, &[Queued]);
    push(&mut queue, 2, &[Queued]);
    let mut now = seconds(0);
    for _ in 0..60 {
        assert_ne!(
            fail_next(&mut queue, Failure::Unknown, &mut now),
            Some(true)
        );
    }
    assert_eq!(queue.length(), 2);
    // It knows who asks again, and does not want these two: each other notice that is taken in between tells so once.
    for round in 1..MOST_REFUSALS {
        take_another(&mut queue, round);
        for _ in 0..2 {
            assert!(!is_given_up_next(&mut queue, &mut now), "round {round}");
        }
    }
    take_another(&mut queue, MOST_REFUSALS);
    assert!(is_given_up_next(&mut queue, &mut now));
    assert_eq!(queue.length(), 1);
}

/// A notice of a further build that the receiver takes at once.
fn take_another(queue: &mut Queue, round: u32) {
    let other = 100 + u64::from(round);
    push(queue, other, &[Queued]);
    queue.settle(&notice(other, Queued));
}

/// Waits for the next try, at which the receiver does not know who asks.
fn is_given_up_next(queue: &mut Queue, now: &mut Duration) -> bool {
    loop {
        if let Some(is_given_up) = fail_next(queue, Failure::Unknown, now) {
            return is_given_up;
        }
    }
}

#[test]
fn what_is_of_no_use_says_nothing_of_the_receiver() {
    let mut queue = queue();
    push(&mut queue, 1, &[Queued]);
    push(&mut queue, 2, &[Queued]);
    let now = seconds(0);
    queue.fail(&notice(1, Queued), Failure::Unreachable(None), now, 1.0);
    queue.skip(&notice(2, Queued));
    assert_eq!(queue.next(now), Next::Wait(seconds(1)));
    assert_eq!((queue.length(), marks(&mut queue)), (1, vec![(2, Queued)]));
}
