//! Random walks: whatever comes in whatever order, effects never get in each other's way, and a
//! stop always comes to its end.

use super::tests::{hand_out, order, project};
use super::*;
use clusterrunner_common::ids::Attempt;

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
}

/// The build that an effect belongs to, and the hand-out if it has one.
fn owner(effect: &Effect) -> Option<(BuildId, Option<HandOut>)> {
    match effect {
        Effect::SetUp(order) => Some((order.build, None)),
        Effect::Run(order) => Some((order.hand_out.build, Some(order.hand_out))),
        Effect::Pack { hand_out, .. } | Effect::Deliver { hand_out, .. } => {
            Some((hand_out.build, Some(*hand_out)))
        }
        Effect::CleanUp { build, .. } => Some((*build, None)),
        Effect::Cancel(_)
        | Effect::CancelBuild(_)
        | Effect::Hurry(_)
        | Effect::Report { .. }
        | Effect::ForgetReports => None,
    }
}

impl Walk {
    fn give(&mut self, command: Command) {
        let Ok((_, effects)) = self.work.handle(command) else {
            return;
        };
        for effect in effects {
            let Some((build, hand_out)) = owner(&effect) else {
                continue;
            };
            let of_build = |other: &&Effect| owner(other).is_some_and(|(b, _)| b == build);
            let mut others = self.under_way.iter().filter(of_build);
            let in_the_way = match effect {
                // These have a build for themselves.
                Effect::SetUp(_) | Effect::CleanUp { .. } => others.next(),
                // These have a subjob's artifacts for themselves.
                Effect::Run(_) | Effect::Pack { .. } => others.find(|other| match other {
                    Effect::SetUp(_) | Effect::CleanUp { .. } => true,
                    Effect::Run(_) | Effect::Pack { .. } => {
                        let (_, other) = owner(other).unwrap();
                        other.unwrap().subjob == hand_out.unwrap().subjob
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

    fn end_an_effect(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let index = self.chance.below(self.under_way.len());
        let goes_well = self.chance.below(4) > 0;
        let trouble = || "trouble".to_owned();
        let command = match self.under_way.swap_remove(index) {
            Effect::SetUp(order) => Command::SetupEnded {
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
                outcome: match (goes_well, self.chance.below(2)) {
                    (true, _) => RunOutcome::Completed(Vec::new()),
                    (false, 0) => RunOutcome::Canceled,
                    (false, _) => RunOutcome::Trouble(trouble()),
                },
            },
            Effect::Pack { hand_out, .. } => Command::PackEnded {
                hand_out,
                trouble: (!goes_well).then(trouble),
            },
            Effect::Deliver { hand_out, .. } => Command::DeliveryEnded {
                hand_out,
                outcome: if goes_well {
                    DeliveryOutcome::Over
                } else {
                    DeliveryOutcome::Rejected(trouble())
                },
            },
            Effect::CleanUp { build, .. } => Command::CleanUpEnded {
                build,
                trouble: None,
            },
            other => panic!("{other:?} does not end"),
        };
        self.give(command);
    }

    fn step(&mut self) {
        let build = BuildId(u64::from(self.chance.number(3)));
        match self.chance.below(20) {
            0..=3 => self.give(Command::SetUp(order(build))),
            4..=9 => {
                let hand_out = hand_out(build, self.chance.number(4), 1 + self.chance.number(4));
                self.give(Command::StartSubjob {
                    hand_out,
                    atomic_commands: vec!["true".to_owned()],
                    timeout: None,
                });
            }
            10 => self.give(Command::TearDown(build)),
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
            work: Work::new(2),
            chance: Chance(seed),
            under_way: Vec::new(),
        };
        for _ in 0..STEPS {
            walk.step();
        }
        walk.give(Command::Stop);
        for _ in 0..STEPS {
            walk.end_an_effect();
        }
        assert!(walk.work.is_over(), "seed {seed}: {:?}", walk.work);
        assert!(
            walk.work.executors.iter().all(Option::is_none),
            "seed {seed}"
        );
        assert_eq!(walk.work.waiting.len(), 0, "seed {seed}");
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
                },
                None => Command::StartSubjob {
                    hand_out: hand_out(BuildId(1), chance.number(3), 1 + chance.number(5)),
                    atomic_commands: Vec::new(),
                    timeout: None,
                },
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
