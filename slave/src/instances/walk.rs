//! Random orders against a world that starts, loses and ends instances whenever it likes.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Step {
    /// This generation of each of these.
    Order(BTreeMap<u64, u32>),
    /// The oldest act that waits is carried out.
    CarryOut,
    /// Something that runs comes up.
    Up(usize),
    /// Something that runs is lost, or fails.
    Lose(usize),
    Fail(usize),
    /// What was told to end does.
    End(usize),
    /// The master has heard all.
    Tell,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let order = prop::collection::btree_map(1..4_u64, 1..4_u32, 0..4).prop_map(Step::Order);
    let step = prop_oneof![
        2 => order,
        4 => Just(Step::CarryOut),
        2 => (0..8_usize).prop_map(Step::Up),
        1 => (0..8_usize).prop_map(Step::Lose),
        1 => (0..8_usize).prop_map(Step::Fail),
        3 => (0..8_usize).prop_map(Step::End),
        1 => Just(Step::Tell),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Default)]
struct World {
    instances: Instances,
    acts: Vec<Act>,
    running: BTreeSet<Placement>,
    /// Runs that were begun.
    begun: BTreeSet<Placement>,
    ending: BTreeSet<Placement>,
    wanted: BTreeMap<InstanceId, Wanted>,
}

/// The instances with this number are runs.
const RUN: InstanceId = InstanceId(3);

impl World {
    fn take(&mut self, acts: Vec<Act>) {
        self.acts.extend(acts);
    }

    fn carry_out(&mut self) {
        if self.acts.is_empty() {
            return;
        }
        match self.acts.remove(0) {
            Act::Start(placement) => {
                let twin = self.running.iter().find(|other| other.id == placement.id);
                assert_eq!(twin, None, "{placement:?} starts beside it");
                self.running.insert(placement);
                if placement.id == RUN {
                    // What was ordered under another placement since may be ordered anew.
                    self.begun.retain(|other| *other == placement);
                    assert!(self.begun.insert(placement), "{placement:?} begins again");
                }
            }
            Act::End(placement) => {
                assert!(self.running.contains(&placement), "{placement:?}");
                self.ending.insert(placement);
            }
        }
    }

    fn is_gone(&mut self, placement: Placement, gone: Gone) {
        self.running.remove(&placement);
        self.ending.remove(&placement);
        // What was to be ended and ended by itself meanwhile.
        self.acts.retain(|act| *act != Act::End(placement));
        let acts = self.instances.is_gone(placement, gone);
        self.take(acts);
    }

    fn step(&mut self, step: Step) {
        let nth = |set: &BTreeSet<Placement>, n: usize| set.iter().nth(n).copied();
        match step {
            Step::Order(order) => {
                let order = order.into_iter();
                self.wanted = order
                    .map(|(id, generation)| {
                        let is_run = InstanceId(id) == RUN;
                        let generation = Generation(generation);
                        (InstanceId(id), Wanted { generation, is_run })
                    })
                    .collect();
                let acts = self.instances.order(self.wanted.clone());
                self.take(acts);
            }
            Step::CarryOut => self.carry_out(),
            Step::Up(n) => {
                if let Some(placement) = nth(&self.running, n) {
                    let up = ReportedState::Up {
                        port: 1,
                        keeps_prefix: false,
                    };
                    self.instances.stands(placement, up, 0);
                }
            }
            Step::Lose(n) => {
                if let Some(placement) = nth(&self.running, n) {
                    self.is_gone(placement, Gone::Lost("lost".to_owned()));
                }
            }
            Step::Fail(n) => {
                if let Some(placement) = nth(&self.running, n) {
                    self.is_gone(placement, Gone::Failed("failed".to_owned()));
                }
            }
            Step::End(n) => {
                if let Some(placement) = nth(&self.ending, n) {
                    self.is_gone(placement, Gone::Ended);
                }
            }
            Step::Tell => {
                let over = self.instances.over();
                for placement in self.instances.was_told(&over) {
                    self.begun.remove(&placement);
                }
            }
        }
        self.check();
    }

    /// What is said to be over does not run, and what runs is said to.
    fn check(&self) {
        for placement in &self.running {
            let mut all = self.instances.all();
            let said = all.find(|(id, _)| *id == placement.id);
            let (_, instance) = said.unwrap_or_else(|| panic!("{placement:?} is not told of"));
            assert_eq!(instance.generation, placement.generation);
            assert!(!instance.standing.is_over(), "{placement:?} runs");
        }
    }

    /// Without further trouble, all comes about as ordered last.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.carry_out();
            if let Some(placement) = self.ending.first().copied() {
                self.is_gone(placement, Gone::Ended);
            }
            self.check();
        }
        assert_eq!(self.acts, []);
        let failed: BTreeSet<Placement> = self.instances.over().into_iter().collect();
        let wanted = self.wanted.iter();
        let expected: BTreeSet<Placement> = wanted
            .map(|(&id, wanted)| Placement {
                id,
                generation: wanted.generation,
            })
            .filter(|placement| !failed.contains(placement))
            .collect();
        assert_eq!(self.running, expected);
    }
}

proptest! {
    #[test]
    fn what_is_ordered_last_comes_about(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
