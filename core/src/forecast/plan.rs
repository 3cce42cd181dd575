//! How long a build takes with how many slaves.

use super::scene::Scene;
use super::{Finish, Learned, run};
use clusterrunner_common::ids::BuildId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many slaves are thought of at most.
pub(super) const MOST_SLAVES: usize = 1024;

/// How many numbers of slaves are shown at most, beside those that were asked for.
const SHOWN: usize = 10;

/// What somebody wants to know of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How long it takes with so many slaves.
    pub slaves: Option<usize>,
    /// How many slaves it takes to end within so many milliseconds.
    pub under_ms: Option<u64>,
}

/// How long a build takes with how many slaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many slaves are there for it now.
    pub slaves: usize,
    /// How many executors each further slave has.
    pub executors_each: u32,
    /// Some numbers of slaves, from few to many, the present one and the next one among them.
    pub choices: Vec<Choice>,
    /// The fewest slaves with which it likely ends in the time that was asked for; none if no number of them is enough.
    pub under: Option<Choice>,
}

/// How long it takes with a number of slaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How many slaves.
    pub slaves: usize,
    /// How many executors they have.
    pub executors: u64,
    /// When it ends.
    pub finish: Finish,
}

/// How long a build of a scene takes; none where nothing is known of that. A slave that nobody knows yet has as many
/// executors as most slaves have, or `executors_each` where there is none.
#[must_use]
pub fn plan(
    scene: &Scene,
    learned: &BTreeMap<BuildId, Arc<Learned>>,
    build: BuildId,
    executors_each: u32,
    wanted: Wanted,
) -> Option<Plan> {
    let slaves = scene.suitable(build).count();
    let mut choices = Choices::new(scene, learned, build, executors_each);
    let enough = choices.enough();
    let numbers = numbers(slaves, wanted.slaves, enough);
    let shown: Vec<Choice> = numbers
        .into_iter()
        .filter_map(|number| choices.of(number))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let under = wanted.under_ms.and_then(|most| choices.under(most, enough));
    Some(Plan {
        slaves,
        executors_each: choices.executors_each,
        choices: shown,
        under,
    })
}

/// Numbers of slaves to show: small ones, the present one and its neighbours, and twice as many.
fn numbers(slaves: usize, wanted: Option<usize>, enough: usize) -> BTreeSet<usize> {
    let doubled = (0..).map(|power| 1_usize << power);
    let most = (2 * slaves).max(4).min(enough);
    let doubled = doubled.take_while(|number| *number <= most);
    let near = [slaves, slaves + 1, slaves + 2, 2 * slaves];
    let near = near
        .into_iter()
        .filter(|number| *number <= enough.max(slaves + 1));
    let mut numbers: BTreeSet<usize> = near.chain(doubled).collect();
    numbers.remove(&0);
    while numbers.len() > SHOWN {
        numbers.pop_first();
    }
    let wanted = wanted.into_iter().flat_map(|wanted| [wanted, wanted + 1]);
    numbers.extend(wanted.filter(|number| (1..=MOST_SLAVES).contains(number)));
    numbers
}

/// What is known of numbers of slaves, each looked at once.
pub(super) struct Choices<'a> {
    scene: &'a Scene,
    learned: &'a BTreeMap<BuildId, Arc<Learned>>,
    build: BuildId,
    executors_each: u32,
    known: BTreeMap<usize, Option<Choice>>,
}

impl<'a> Choices<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        learned: &'a BTreeMap<BuildId, Arc<Learned>>,
        build: BuildId,
        executors_each: u32,
    ) -> Self {
        let usual = scene.usual_executors(build);
        Self {
            scene,
            learned,
            build,
            executors_each: usual.unwrap_or(executors_each).max(1),
            known: BTreeMap::new(),
        }
    }

    pub(super) fn of(&mut self, slaves: usize) -> Option<Choice> {
        if let Some(known) = self.known.get(&slaves) {
            return *known;
        }
        let scene = self
            .scene
            .with_slaves(self.build, slaves, self.executors_each);
        let ends = run(&scene, self.learned, Some(self.build));
        let choice = ends.get(&self.build).map(|finish| Choice {
            slaves,
            executors: scene.num_executors(self.build),
            finish: *finish,
        });
        self.known.insert(slaves, choice);
        choice
    }

    /// With how many slaves each subjob has an executor of its own: more bring nothing.
    fn enough(&self) -> usize {
        let left = self
            .scene
            .builds
            .get(&self.build)
            .map_or(0, |build| build.num_left());
        let enough = left.div_ceil(u64::from(self.executors_each));
        usize::try_from(enough)
            .unwrap_or(MOST_SLAVES)
            .clamp(1, MOST_SLAVES)
    }

    /// The fewest slaves with which the build likely ends within so many milliseconds.
    fn under(&mut self, most_ms: u64, enough: usize) -> Option<Choice> {
        let is_under = |choice: &Choice| choice.finish.median <= most_ms;
        // More slaves seldom make it slower: the fewest are found by doubling, which is cheap where few are enough, and
        // then by halving.
        let (mut too_few, mut enough_of_them) = (0, 1);
        let mut found = loop {
            match self.of(enough_of_them).filter(is_under) {
                Some(choice) => break choice,
                None if enough_of_them >= enough => return None,
                None => too_few = enough_of_them,
            }
            enough_of_them = (2 * enough_of_them).min(enough);
        };
        while found.slaves - too_few > 1 {
            let middle = too_few + (found.slaves - too_few) / 2;
            match self.of(middle).filter(is_under) {
                Some(choice) => found = choice,
                None => too_few = middle,
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_number_and_the_next_one_are_shown() {
        let shown = |slaves, wanted, enough| {
            numbers(slaves, wanted, enough)
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(0, None, 50), [1, 2, 4]);
        assert_eq!(shown(3, None, 50), [1, 2, 3, 4, 5, 6]);
        assert_eq!(shown(3, Some(20), 50), [1, 2, 3, 4, 5, 6, 20, 21]);
        assert_eq!(shown(3, None, 2), [1, 2, 3, 4]);
        assert!(shown(500, Some(7), 1000).contains(&501));
        assert_eq!(shown(0, Some(5000), 1), [1]);
    }
}
