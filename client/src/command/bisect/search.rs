//! The search for the predecessors that make an atom fail: which sets of them are tried next, and what follows from how
//! the trials end. Delta debugging ("Simplifying and Isolating Failure-Inducing Input", Zeller and Hildebrandt, 2002),
//! with all trials of a round at once. Pure.

/// Predecessors by their places in the list, in the order in which they run.
pub(super) type Set = Vec<usize>;

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Each of these sets runs with the atom behind it, in a place of its own. The order says which outcome is whose.
    Try(Vec<Set>),
    /// The search is over.
    End(Verdict),
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The atom fails without any predecessor.
    FailsAlone,
    /// The atom passes behind all of its predecessors.
    Passes,
    /// These make it fail; without any one of them it passes.
    Found(Set),
    /// Trials contradict each other: the atom fails by chance, or what makes it fail outlives the work tree.
    Unsteady,
}

/// Which trials a round has.
#[derive(Clone, Debug)]
enum Round {
    /// The atom alone.
    Alone,
    /// All predecessors.
    All,
    /// Each part of the candidates.
    Parts(Vec<Set>),
    /// All parts but one each.
    WithoutOne(Vec<Set>),
    /// What was found, and the atom alone, once more.
    Again,
    /// No run: the search is over.
    Over(Verdict),
}

/// A search on its way.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// Behind these the atom fails, as far as is known.
    candidates: Set,
    /// Into how many parts they are divided at first.
    parts: usize,
    round: Round,
}

impl Search {
    /// A search among so many predecessors, with about so many trials in a round.
    pub(super) fn new(predecessors: usize, trials: usize) -> Self {
        Self {
            candidates: (0..predecessors).collect(),
            parts: trials.max(2),
            round: Round::Alone,
        }
    }

    /// How many predecessors may still be guilty.
    pub(super) fn num_candidates(&self) -> usize {
        self.candidates.len()
    }

    /// What is next.
    pub(super) fn next(&self) -> Step {
        let sets = match &self.round {
            Round::Alone => vec![Set::new()],
            Round::All => vec![self.candidates.clone()],
            Round::Parts(parts) => parts.clone(),
            Round::WithoutOne(parts) => (0..parts.len()).map(|one| without(parts, one)).collect(),
            Round::Again => vec![self.candidates.clone(), Set::new()],
            Round::Over(verdict) => return Step::End(verdict.clone()),
        };
        Step::Try(sets)
    }

    /// Takes whether the atom failed in each trial of the round.
    pub(super) fn learn(&mut self, failed: &[bool]) {
        let first = failed.first().copied().unwrap_or(false);
        let round = std::mem::replace(&mut self.round, Round::Over(Verdict::Unsteady));
        self.round = match round {
            Round::Alone if first => Round::Over(Verdict::FailsAlone),
            Round::Alone if self.candidates.is_empty() => Round::Over(Verdict::Passes),
            Round::Alone => Round::All,
            Round::All if first => self.divided(self.parts),
            Round::All => Round::Over(Verdict::Passes),
            Round::Parts(mut parts) => match failed.iter().position(|failed| *failed) {
                Some(guilty) => {
                    self.candidates = parts.swap_remove(guilty);
                    self.divided(self.parts)
                }
                // Of two parts, all but one is the other one.
                None if parts.len() > 2 => Round::WithoutOne(parts),
                None if parts.len() == self.candidates.len() => Round::Again,
                None => self.divided(2 * parts.len()),
            },
            Round::WithoutOne(mut parts) => match failed.iter().position(|failed| *failed) {
                Some(innocent) => {
                    self.candidates = without(&parts, innocent);
                    parts.remove(innocent);
                    match parts.len() {
                        2 => self.divided(4),
                        _ => Round::WithoutOne(parts),
                    }
                }
                None if parts.len() == self.candidates.len() => Round::Again,
                None => self.divided(2 * parts.len()),
            },
            Round::Again => match failed {
                [true, false] => Round::Over(Verdict::Found(std::mem::take(&mut self.candidates))),
                _ => Round::Over(Verdict::Unsteady),
            },
            Round::Over(verdict) => Round::Over(verdict),
        };
    }

    /// The round that tries the candidates in so many parts; where there is nothing to divide, what was found again.
    fn divided(&self, parts: usize) -> Round {
        let number = self.candidates.len();
        let parts = parts.min(number);
        if number == 1 {
            return Round::Again;
        }
        let bounds = (0..=parts).map(|part| part * number / parts);
        let bounds: Vec<usize> = bounds.collect();
        let parts = bounds.windows(2).map(|bounds| match bounds {
            [from, to] => self.candidates[*from..*to].to_vec(),
            _ => Set::new(),
        });
        Round::Parts(parts.collect())
    }
}

/// The parts but one, joined.
fn without(parts: &[Set], one: usize) -> Set {
    let others = parts.iter().enumerate().filter(|(part, _)| *part != one);
    others.flat_map(|(_, part)| part.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Runs a search to its end; the verdict, and how many rounds it took.
    fn search(
        predecessors: usize,
        trials: usize,
        mut fails: impl FnMut(&[usize]) -> bool,
    ) -> (Verdict, usize) {
        let mut search = Search::new(predecessors, trials);
        for round in 0..1_000 {
            match search.next() {
                Step::End(verdict) => return (verdict, round),
                Step::Try(sets) => {
                    assert!(sets.iter().all(|set| set.is_sorted()));
                    let failed: Vec<bool> = sets.iter().map(|set| fails(set)).collect();
                    search.learn(&failed);
                }
            }
        }
        panic!("the search does not end");
    }

    #[test]
    fn one_polluter_of_500_is_found_within_nine_rounds() {
        for trial in 0..20 {
            let guilty = trial * 500 / 20 + trial;
            let (verdict, rounds) = search(500, 4, |set| set.contains(&guilty));
            assert_eq!(verdict, Verdict::Found(vec![guilty]));
            assert!(rounds <= 9, "{guilty}: {rounds} rounds");
        }
    }

    #[test]
    fn an_atom_that_fails_by_itself_has_no_polluter() {
        assert_eq!(search(500, 4, |_| true), (Verdict::FailsAlone, 1));
        assert_eq!(search(500, 4, |_| false), (Verdict::Passes, 2));
        assert_eq!(search(0, 4, |_| false), (Verdict::Passes, 1));
        assert_eq!(search(0, 4, |_| true), (Verdict::FailsAlone, 1));
    }

    #[test]
    fn a_single_predecessor_is_tried_again() {
        assert_eq!(
            search(1, 4, |set| !set.is_empty()),
            (Verdict::Found(vec![0]), 3)
        );
    }

    /// What is left behind outside of the work tree makes the atom fail from then on.
    #[test]
    fn what_outlives_the_work_tree_is_no_finding() {
        let mut is_polluted = false;
        let (verdict, _) = search(20, 4, |set| {
            is_polluted |= set.contains(&7);
            is_polluted
        });
        assert_eq!(verdict, Verdict::Unsteady);
    }

    proptest! {
        /// Whatever predecessors it takes together, a set of them is found of which none can be left out.
        #[test]
        fn what_is_found_suffices_and_is_needed(
            predecessors in 1_usize..60,
            trials in 1_usize..9,
            picks in prop::collection::vec((0_usize..60, 0_usize..60), 1..4),
        ) {
            let groups = picks.iter().map(|(a, b)| BTreeSet::from([a % predecessors, b % predecessors]));
            let groups: Vec<BTreeSet<usize>> = groups.collect();
            let fails = |set: &[usize]| {
                groups.iter().any(|group| group.iter().all(|guilty| set.contains(guilty)))
            };
            let (verdict, _) = search(predecessors, trials, fails);
            let Verdict::Found(found) = verdict else { panic!("{verdict:?}") };
            prop_assert!(fails(&found));
            for left_out in &found {
                let rest: Vec<usize> = found.iter().copied().filter(|one| one != left_out).collect();
                prop_assert!(!fails(&rest));
            }
        }

        /// Whatever the outcomes are, a search ends.
        #[test]
        fn outcomes_by_chance_end_a_search_too(outcomes in prop::collection::vec(any::<bool>(), 1..500)) {
            let mut outcomes = outcomes.iter().cycle();
            search(40, 3, |_| outcomes.next().copied().unwrap_or(false));
        }
    }
}
