//! Random walks: whatever comes in whatever order, effects never get in each other's way, executors go
//! to whom they belong, and a stop always comes to its end.

use super::tests::{ends, hand_out, order, ordered, project, repository, start, start_all};
use super::*;
use clusterrunner_common::work::{IsolationWish, SetupJob};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

const WALKS: u64 = 300;
const STEPS: usize = 200;

/// Small, seeded and good enough to choose a step.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn number(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(usize::try_from(limit).unwrap())).unwrap()
    }
}

struct Walk {
    work: Work,
    chance: Chance,
    /// Effects that take time and have not ended.
    under_way: Vec<Effect>,
    /// Those of them that deliver and need no files any more.
    packed: BTreeSet<HandOut>,
    /// All that was taken, in this order.
    arrivals: Vec<HandOut>,
}

/// At most this many executors for each build; 0 for no limit.
fn limited_order(build: BuildId, max_executors: u32) -> Box<SetupOrder> {
    let mut order = order(build);
    if build.0 > 1 {
        order.source = repository();
    }
    order.job = JobSource::Order(Box::new(SetupJob {
        name: "job".to_owned(),
        setup_build: None,
        teardown_build: None,
        setup_timeout_s: None,
        teardown_timeout_s: None,
        max_executors: NonZeroU32::new(max_executors),
        priority: i32::from(build.0 > 1),
        weight: u32::try_from(build.0)
            .ok()
            .and_then(|weight| NonZeroU32::new(weight * 2)),
        image: None,
        templates: Vec::new(),
        junit: None,
        batch_command: None,
        cache: None,
        setup_once: false,
        worker: None,
        isolation: IsolationWish::default(),
    }));
    order
}

/// The build that an effect belongs to, and the hand-out if it has one.
fn owner(effect: &Effect) -> Option<(BuildId, Option<HandOut>)> {
    match effect {
        Effect::SetUp(order) | Effect::SetUpAgain(order) => Some((order.build, None)),
        Effect::Run(order) => Some((order.hand_out.build, Some(order.hand_out))),
        Effect::Deliver { hand_out, .. } => Some((hand_out.build, Some(*hand_out))),
        Effect::CleanUp { build, .. } => Some((*build, None)),
        Effect::Cancel(_)
        | Effect::CancelBuild(_)
        | Effect::Hurry(_)
        | Effect::HuntEnded { .. }
        | Effect::Report(..)
        | Effect::ForgetReports => None,
    }
}

impl Walk {
    fn give(&mut self, command: Command) {
        let mut arrived: Vec<HandOut> = Vec::new();
        let ending = |build: &BuildId| {
            let known = self.work.builds.get(build);
            known.is_some_and(|known| matches!(known.stage, Stage::Ending { .. }))
        };
        let ordered = match &command {
            Command::StartSubjobs { build, subjobs, .. } => Some((*build, subjobs)),
            Command::SetUp(order) => Some((order.build, &order.subjobs)),
            _ => None,
        };
        // What is ordered while the build of before ends arrives when that is gone.
        let ordered = ordered.filter(|(build, _)| !ending(build));
        let next = match &command {
            Command::CleanUpEnded { build, .. } => self.work.builds.get(build),
            _ => None,
        };
        let next = next.and_then(|build| match &build.stage {
            Stage::Ending {
                next: Some(order), ..
            } => Some((order.build, &order.subjobs)),
            _ => None,
        });
        if let Some((build, subjobs)) = ordered.or(next) {
            let known = self.work.builds.get(&build).filter(|_| next.is_none());
            for hand_out in subjobs.iter().map(|subjob| subjob.of(build)) {
                let newest = known.and_then(|build| build.newest.get(&hand_out.subjob));
                if newest < Some(&hand_out.attempt) && !arrived.contains(&hand_out) {
                    arrived.push(hand_out);
                }
            }
        }
        let Ok((_, effects)) = self.work.handle(command) else {
            return;
        };
        self.arrivals.extend(arrived);
        self.check_choices(&effects);
        self.work.check_hunts();
        for effect in effects {
            let Some((build, hand_out)) = owner(&effect) else {
                continue;
            };
            let of_build = |other: &&Effect| owner(other).is_some_and(|(b, _)| b == build);
            let mut others = self.under_way.iter().filter(of_build);
            let in_the_way = match effect {
                // These have a build for themselves.
                Effect::SetUp(_) | Effect::CleanUp { .. } => others.next(),
                // This has its project for itself.
                Effect::SetUpAgain(_) => {
                    others.find(|other| !matches!(other, Effect::Deliver { .. }))
                }
                // These have a subjob's artifacts for themselves.
                Effect::Run(ref hunt) if hunt.hunt.is_some() => {
                    others.find(|other| !matches!(other, Effect::Run(_) | Effect::Deliver { .. }))
                }
                Effect::Run(_) => others.find(|other| match other {
                    Effect::Run(hunt) if hunt.hunt.is_some() => false,
                    Effect::SetUp(_) | Effect::SetUpAgain(_) | Effect::CleanUp { .. } => true,
                    Effect::Run(_) | Effect::Deliver { .. } => {
                        let other = owner(other).unwrap().1.unwrap();
                        other.subjob == hand_out.unwrap().subjob && !self.packed.contains(&other)
                    }
                    _ => false,
                }),
                _ => {
                    others.find(|other| matches!(other, Effect::SetUp(_) | Effect::CleanUp { .. }))
                }
            };
            assert_eq!(in_the_way, None, "{effect:?}");
            self.under_way.push(effect);
        }
    }

    /// Each run was begun for the build whose turn it then was, with what waited longest, within all
    /// limits; and nothing is left that could run. Looks at it backwards, one run after the other undone.
    fn check_choices(&self, effects: &[Effect]) {
        let work = &self.work;
        let mut running: BTreeMap<BuildId, usize> = BTreeMap::new();
        let mut in_use: BTreeSet<HandOut> = BTreeSet::new();
        let mut waiting: BTreeSet<HandOut> = BTreeSet::new();
        for (id, build) in &work.builds {
            waiting.extend(build.waiting.values().map(|waiting| waiting.subjob.of(*id)));
            let steps = build.active.iter();
            let users = steps.filter(|(_, step)| step.uses_files());
            in_use.extend(users.map(|(hand_out, _)| *hand_out));
            let on_executors = work.executors.iter().flatten();
            let own = on_executors
                .filter(|hand_out| hand_out.build == *id)
                .count();
            assert_eq!(own, build.num_running);
            assert!(own <= build.max_executors);
            assert_eq!(build.places.len(), build.waiting.len());
            running.insert(*id, own);
        }
        assert_eq!(work.num_waiting, waiting.len());
        let weight = |step: &Step| match step {
            Step::Packing { weight } => *weight,
            _ => 0,
        };
        let steps = work.builds.values().flat_map(|build| build.active.values());
        assert_eq!(work.unpacked, steps.map(weight).sum::<usize>());
        // What is to be chosen now: whose turn it is, with what arrived first.
        let crowd = work.crowd();
        let choice = |running: &BTreeMap<BuildId, usize>,
                      in_use: &BTreeSet<HandOut>,
                      waiting: &BTreeSet<HandOut>| {
            let arrival = |hand_out: &HandOut| self.arrivals.iter().rposition(|a| a == hand_out);
            let may_run = waiting.iter().filter(|hand_out| {
                let build = &work.builds[&hand_out.build];
                matches!(build.stage, Stage::Ready(_))
                    && running[&hand_out.build] < build.max_executors
                    && !in_use.iter().any(|other| {
                        (other.build, other.subjob) == (hand_out.build, hand_out.subjob)
                    })
            });
            let turn = |hand_out: &&HandOut| {
                let (id, arrival) = (hand_out.build, arrival(hand_out).unwrap());
                work.turn_of(&crowd, &work.builds[&id].part, running[&id], arrival as u64)
            };
            may_run.min_by_key(turn).copied()
        };
        if work.executors.iter().any(Option::is_none) && work.unpacked <= MAX_UNPACKED {
            assert_eq!(choice(&running, &in_use, &waiting), None);
        }
        for effect in effects.iter().rev() {
            let Effect::Run(order) = effect else { continue };
            if order.hunt.is_some() {
                continue;
            }
            let hand_out = order.hand_out;
            *running.get_mut(&hand_out.build).unwrap() -= 1;
            assert!(in_use.remove(&hand_out));
            assert!(waiting.insert(hand_out));
            assert_eq!(choice(&running, &in_use, &waiting), Some(hand_out));
        }
    }

    fn end_an_effect(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let index = self.chance.below(self.under_way.len());
        if let Effect::Deliver { hand_out, .. } = self.under_way[index]
            && self.chance.below(3) > 0
            && self.packed.insert(hand_out)
        {
            return self.give(Command::Packed(vec![hand_out]));
        }
        let goes_well = self.chance.below(4) > 0;
        let trouble = || "trouble".to_owned();
        let command = match self.under_way.swap_remove(index) {
            Effect::SetUp(order) | Effect::SetUpAgain(order) => Command::SetupEnded {
                build: order.build,
                outcome: if goes_well {
                    SetupOutcome::Complete(project())
                } else {
                    SetupOutcome::Failed {
                        reason: trouble(),
                        left: None,
                    }
                },
            },
            Effect::Run(order) => Command::RunEnded {
                hand_out: order.hand_out,
                outcome: match (goes_well, self.chance.below(3)) {
                    // Two of these are more than may wait to be packed.
                    (true, 0) => RunOutcome::Completed(ends(MAX_UNPACKED / 2 + 1)),
                    (true, _) => RunOutcome::Completed(Vec::new()),
                    (false, 0) => RunOutcome::Canceled,
                    (false, 1) if order.hunt.is_none() => {
                        // It waits anew.
                        self.arrivals.retain(|arrived| *arrived != order.hand_out);
                        self.arrivals.push(order.hand_out);
                        RunOutcome::NoProject {
                            atomic_commands: order.atomic_commands,
                            timeout: order.timeout,
                        }
                    }
                    (false, _) => RunOutcome::Trouble(trouble()),
                },
                took: Duration::from_millis(u64::from(self.chance.number(40))),
            },
            Effect::Deliver { hand_out, .. } => {
                self.packed.remove(&hand_out);
                let outcome = if goes_well {
                    DeliveryOutcome::Over
                } else {
                    DeliveryOutcome::Rejected(trouble())
                };
                Command::DeliveriesEnded(vec![(hand_out, outcome)])
            }
            Effect::CleanUp { build, .. } => Command::CleanUpEnded {
                build,
                trouble: None,
            },
            other => panic!("{other:?} does not end"),
        };
        self.give(command);
    }

    fn choose(&mut self, build: BuildId, number: usize) -> Vec<HandOut> {
        let chosen = std::iter::repeat_with(|| {
            hand_out(build, self.chance.number(6), 1 + self.chance.number(4))
        });
        chosen.take(number).collect()
    }

    fn step(&mut self) {
        let build = BuildId(u64::from(self.chance.number(3)));
        match self.chance.below(20) {
            0..=3 => {
                let mut order = limited_order(build, u32::try_from(build.0).unwrap());
                let stage = self.work.builds.get(&build).map(|known| &known.stage);
                // Those that come with a set-up for later arrive later.
                if !matches!(stage, Some(Stage::Ending { .. })) {
                    let number = self.chance.below(3);
                    order.subjobs = ordered(&self.choose(build, number));
                }
                self.give(Command::SetUp(order));
            }
            4..=9 => {
                let number = 1 + self.chance.below(4);
                let chosen = self.choose(build, number);
                self.give(start_all(&chosen));
            }
            10 => self.give(Command::TearDown(build)),
            12..=13 => {
                let subjob = SubjobId(self.chance.number(6));
                self.give(Command::Hunt(HuntOrder {
                    build,
                    subjob,
                    attempt: Attempt(2),
                    command: "true".to_owned(),
                    timeout: None,
                }));
            }
            11 if self.chance.below(4) == 0 => {
                let resumed = self.chance.below(2) == 0;
                self.give(Command::Connected { resumed });
            }
            _ => self.end_an_effect(),
        }
    }
}

#[test]
fn effects_never_get_in_each_others_way() {
    for seed in 0..WALKS {
        let mut walk = Walk {
            work: Work::new(3),
            chance: Chance(seed),
            under_way: Vec::new(),
            packed: BTreeSet::new(),
            arrivals: Vec::new(),
        };
        for _ in 0..STEPS {
            walk.step();
        }
        walk.give(Command::Stop);
        for _ in 0..2 * STEPS {
            walk.end_an_effect();
        }
        assert!(walk.work.is_over(), "seed {seed}: {:?}", walk.work);
        assert!(
            walk.work.executors.iter().all(Option::is_none),
            "seed {seed}"
        );
        assert_eq!(walk.work.num_waiting, 0, "seed {seed}");
        assert_eq!(walk.work.unpacked, 0, "seed {seed}");
    }
}

#[test]
fn an_attempt_is_run_at_most_once_while_its_build_is_here() {
    for seed in 0..WALKS {
        let mut work = Work::new(1);
        let mut chance = Chance(seed);
        work.handle(Command::SetUp(order(BuildId(1)))).unwrap();
        let complete = SetupOutcome::Complete(project());
        let ready = Command::SetupEnded {
            build: BuildId(1),
            outcome: complete,
        };
        work.handle(ready).unwrap();
        let mut run = Vec::new();
        let mut running = None;
        for _ in 0..STEPS {
            let command = match running.take_if(|_| chance.below(2) == 0) {
                Some(hand_out) => Command::RunEnded {
                    hand_out,
                    outcome: RunOutcome::Canceled,
                    took: Duration::ZERO,
                },
                None => start(hand_out(BuildId(1), chance.number(3), 1 + chance.number(5))),
            };
            let Ok((_, effects)) = work.handle(command) else {
                continue;
            };
            for effect in effects {
                if let Effect::Run(order) = effect {
                    assert!(!run.contains(&order.hand_out), "seed {seed}");
                    run.push(order.hand_out);
                    running = Some(order.hand_out);
                }
            }
        }
        assert!(run.iter().all(|run| run.attempt <= Attempt(5)));
    }
}
