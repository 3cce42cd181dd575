//! Which part of the executors' time builds get in the long run. The time is the test's own.

use super::*;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

/// How much waits of each build that always has more.
const AHEAD: u32 = 12;

/// A build that the slave is never short of.
struct Endless {
    id: BuildId,
    next: u32,
    /// Milliseconds: its runs take from the one to the other.
    takes: (u64, u64),
    /// How many milliseconds executors spent on it.
    had: u64,
}

/// A slave that is never idle.
struct Busy {
    work: Work,
    builds: Vec<Endless>,
    /// What runs, the next end first; the time is negative since the heap is of the greatest.
    ends: BinaryHeap<(i64, HandOut, u64)>,
    now: i64,
    chance: u64,
}

impl Busy {
    fn new(num_executors: u32, seed: u64) -> Self {
        Self {
            work: Work::new(num_executors),
            builds: Vec::new(),
            ends: BinaryHeap::new(),
            now: 0,
            chance: seed,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % limit
    }

    fn add(&mut self, priority: i32, weight: u32, takes: (u64, u64)) {
        let id = BuildId(self.builds.len() as u64);
        let mut order = order(id);
        let JobSource::Order(job) = &mut order.job else {
            panic!("{order:?}");
        };
        (job.priority, job.weight) = (priority, NonZeroU32::new(weight));
        self.give(Command::SetUp(order));
        self.give(set_up_ended(id));
        self.builds.push(Endless {
            id,
            next: 0,
            takes,
            had: 0,
        });
        self.give_more(id, AHEAD);
    }

    fn give_more(&mut self, id: BuildId, number: u32) {
        let build = self.builds.iter_mut().find(|build| build.id == id).unwrap();
        let first = build.next;
        build.next += number;
        let hand_outs: Vec<_> = (first..first + number)
            .map(|subjob| hand_out(id, subjob, 1))
            .collect();
        self.give(start_all(&hand_outs));
    }

    fn give(&mut self, command: Command) {
        let (_, effects) = self.work.handle(command).unwrap();
        for effect in effects {
            let Effect::Run(order) = effect else { continue };
            let hand_out = order.hand_out;
            let of = |build: &&Endless| build.id == hand_out.build;
            let (least, most) = self.builds.iter().find(of).unwrap().takes;
            let took = least + self.below(most - least + 1);
            let end = self.now + i64::try_from(took).unwrap();
            self.ends.push((-end, hand_out, took));
        }
    }

    /// Has so many runs end; says which builds they were of.
    fn run(&mut self, number: usize) -> Vec<u64> {
        let mut ended = Vec::new();
        for _ in 0..number {
            let (end, hand_out, took) = self.ends.pop().unwrap();
            self.now = -end;
            let mut builds = self.builds.iter_mut();
            let build = builds.find(|build| build.id == hand_out.build).unwrap();
            build.had += took;
            let id = build.id;
            ended.push(id.0);
            self.give(Command::RunEnded {
                hand_out,
                outcome: RunOutcome::Canceled,
                took: Duration::from_millis(took),
            });
            self.give_more(id, 1);
        }
        ended
    }

    /// What each build has from now on of all that executors do, in percent.
    fn shares(&mut self, number: usize) -> Vec<f64> {
        let had = |busy: &Self| busy.builds.iter().map(|b| b.had as f64).collect::<Vec<_>>();
        let before = had(self);
        self.run(number);
        let after = had(self);
        let gains: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        let all: f64 = gains.iter().sum();
        gains.iter().map(|gain| 100.0 * gain / all).collect()
    }

    #[track_caller]
    fn check_shares(&mut self, number: usize, expected: &[f64]) {
        let shares = self.shares(number);
        let near = |(share, expected): (&f64, &f64)| (share - expected).abs() <= expected * 0.05;
        assert!(shares.iter().zip(expected).all(near), "{shares:?}");
    }
}

#[test]
fn of_four_short_runs_on_one_executor_three_are_of_the_build_of_three_times_the_weight() {
    let mut busy = Busy::new(1, 0);
    busy.add(0, 1, (1, 1));
    busy.add(0, 3, (1, 1));
    busy.run(40);
    for _ in 0..20 {
        let of_the_lighter = busy.run(4).iter().filter(|build| **build == 0).count();
        assert_eq!(of_the_lighter, 1);
    }
}

#[test]
fn the_time_is_shared_by_weight_however_long_the_runs_are() {
    for seed in 0..28 {
        let mut busy = Busy::new(1 + u32::try_from(seed % 7).unwrap(), seed);
        let mut weights = Vec::new();
        for _ in 0..2 + seed % 3 {
            let weight = 1 + u32::try_from(busy.below(8)).unwrap();
            let least = 1 + busy.below(40);
            let most = least + busy.below(3 * least);
            weights.push(f64::from(weight));
            busy.add(0, weight, (least, most));
        }
        busy.run(500);
        let all: f64 = weights.iter().sum();
        let expected: Vec<f64> = weights.iter().map(|weight| 100.0 * weight / all).collect();
        busy.check_shares(8_000, &expected);
    }
}

#[test]
fn weights_count_among_builds_of_one_priority() {
    let mut busy = Busy::new(2, 0);
    busy.add(5, 1, (1, 9));
    busy.add(5, 3, (1, 9));
    busy.add(0, 1000, (1, 9));
    busy.run(500);
    let third = 100.0 / 3.0;
    busy.check_shares(10_000, &[third * 0.5, third * 1.5, third]);
}

#[test]
fn a_build_that_comes_later_is_next_and_makes_nothing_up() {
    let mut busy = Busy::new(2, 7);
    // Nobody knew how long these take when they began.
    busy.add(0, 4, (900, 1100));
    busy.run(50);
    busy.add(0, 1, (9, 11));
    let ended = busy.run(4);
    assert_eq!(
        ended.iter().position(|build| *build == 1),
        Some(1),
        "{ended:?}"
    );
    busy.check_shares(2_000, &[80.0, 20.0]);
}

#[test]
fn a_build_that_had_all_while_nobody_wanted_it_owes_little() {
    let mut busy = Busy::new(3, 7);
    busy.add(0, 1, (5000, 5000));
    // Nothing of it waits, until these three end; from then on its runs are short.
    busy.work.drop_waiting(BuildId(0));
    busy.builds[0].takes = (10, 10);
    busy.add(0, 1, (10, 10));
    busy.run(3);
    busy.give_more(BuildId(0), AHEAD);
    // Of the 15 seconds it had it owes 5, of the 40 that come now.
    busy.check_shares(4_000, &[43.75, 56.25]);
    busy.check_shares(4_000, &[50.0, 50.0]);
}

/// Whatever is guessed of how long runs take: a build whose runs turn out to be long has not taken all.
#[test]
fn no_build_has_more_than_its_part_while_others_wait() {
    let mut busy = Busy::new(4, 3);
    busy.add(0, 1, (1, 1));
    busy.run(100);
    busy.add(0, 1, (5000, 5000));
    busy.run(1000);
    let running = busy.work.builds[&BuildId(1)].num_running;
    assert_eq!(running, 2);
}
