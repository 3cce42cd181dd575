//! Runs that say something of flakiness, in their order.

/// How many trials are remembered that come from runs that are not kept any more.
const OLDER_TRIALS: u32 = 250;

/// Trials, the oldest first: runs on commits on which what ran can pass. Each was a pass, or a *flake*, a failure though
/// nothing was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trials {
    /// How many passes come before each flake; the last number is of those after the last flake. So very many passes
    /// and few flakes take little space.
    passes: Vec<u16>,
}

impl Default for Trials {
    fn default() -> Self {
        Self { passes: vec![0] }
    }
}

impl Trials {
    /// Those with so many passes before each flake and after the last one; `None` if there are more than are remembered.
    #[must_use]
    pub fn from_passes(passes: Vec<u16>) -> Option<Self> {
        let trials = Self { passes };
        let is_one = !trials.passes.is_empty() && trials.passes.len() <= OLDER_TRIALS as usize + 1;
        (is_one && trials.all() <= OLDER_TRIALS).then_some(trials)
    }

    /// How many passes come before each flake, and after the last one.
    #[must_use]
    pub fn passes(&self) -> &[u16] {
        &self.passes
    }

    /// Adds one: a flake, or a pass.
    pub fn add(&mut self, is_flake: bool) {
        match (is_flake, self.passes.last_mut()) {
            (false, Some(last)) => *last = last.saturating_add(1),
            (true, _) | (_, None) => self.passes.push(0),
        }
    }

    /// Leaves the latest ones, as many as are remembered.
    pub(super) fn forget_oldest(&mut self) {
        let mut beyond = self.all().saturating_sub(OLDER_TRIALS);
        let mut flakes = 0;
        for passes in &mut self.passes {
            let taken = (*passes).min(u16::try_from(beyond).unwrap_or(u16::MAX));
            *passes -= taken;
            beyond -= u32::from(taken);
            if beyond == 0 {
                break;
            }
            // The flake behind these passes.
            flakes += 1;
            beyond -= 1;
        }
        self.passes.drain(..flakes);
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u32 {
        let passes = self.passes.iter().map(|number| u32::from(*number));
        passes.sum::<u32>() + self.flakes()
    }

    /// How many of them were flakes.
    #[must_use]
    pub fn flakes(&self) -> u32 {
        u32::try_from(self.passes.len()).map_or(u32::MAX, |number| number.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_what_a_list_of_the_latest_would_be(
            flakes in prop::collection::vec(prop::bool::weighted(0.2), 0..700)
        ) {
            let mut trials = Trials::default();
            for flake in &flakes {
                trials.add(*flake);
                trials.forget_oldest();
            }
            let mut expected = Trials::default();
            let first = flakes.len().saturating_sub(OLDER_TRIALS as usize);
            flakes[first..].iter().for_each(|flake| expected.add(*flake));
            prop_assert_eq!(&trials, &expected);
            prop_assert_eq!(trials.all() as usize, flakes.len() - first);
            prop_assert_eq!(Trials::from_passes(trials.passes().to_vec()), Some(trials));
        }
    }
}
