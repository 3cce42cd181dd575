//! Expected durations of atoms: from their own earlier runs, or else from the other atoms of the build.

/// How many runs of an atom are remembered.
pub const REMEMBERED_RUNS: usize = 7;

/// An atom without earlier runs is expected to take as long as this percentile of the build's known atoms.
/// Such an atom goes early, since a long atom that starts late delays the whole build. A percentile keeps one giant
/// atom from setting the estimate.
const UNKNOWN_PERCENT: usize = 90;

/// What an atom's latest runs say of the next one: their median, the greater one of two. One run that was
/// held up, or broke off at once, does not count for much; `None` without any.
#[must_use]
pub fn typical(runs_ms: &[u64]) -> Option<u64> {
    let mut sorted = runs_ms.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// What is expected of each atom, in their order; nothing at all where nothing is known of any.
#[must_use]
pub fn expected(known_ms: &[Option<u64>]) -> Vec<u64> {
    let mut sorted: Vec<u64> = known_ms.iter().copied().flatten().collect();
    sorted.sort_unstable();
    let rank = (sorted.len() * UNKNOWN_PERCENT).div_ceil(100);
    let Some(unknown) = rank.checked_sub(1).and_then(|index| sorted.get(index)) else {
        return Vec::new();
    };
    known_ms
        .iter()
        .map(|known| known.unwrap_or(*unknown))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_odd_run_does_not_count_for_much() {
        assert_eq!(typical(&[]), None);
        assert_eq!(typical(&[7]), Some(7));
        assert_eq!(typical(&[3, 7]), Some(7));
        assert_eq!(typical(&[100, 100, 90_000]), Some(100));
        assert_eq!(typical(&[5, 100, 100, 110, 90]), Some(100));
    }

    #[test]
    fn nothing_is_expected_where_nothing_is_known() {
        assert!(expected(&[]).is_empty());
        assert!(expected(&[None, None]).is_empty());
    }

    #[test]
    fn what_is_unknown_counts_as_long_but_not_as_the_giant() {
        let mut known: Vec<Option<u64>> = (1..=19).map(Some).collect();
        known.extend([Some(1000), None]);
        assert_eq!(expected(&known)[20], 18);
        assert_eq!(expected(&[None, Some(4)]), [4, 4]);
    }

    proptest! {
        #[test]
        fn what_is_known_is_expected(known in prop::collection::vec(prop::option::of(0..1000_u64), 0..50)) {
            let expected = expected(&known);
            let least = known.iter().flatten().min();
            let most = known.iter().flatten().max();
            prop_assert_eq!(expected.len(), if most.is_some() { known.len() } else { 0 });
            for (expected, known) in expected.iter().zip(&known) {
                prop_assert!(known.is_none_or(|known| known == *expected));
                prop_assert!(least <= Some(expected) && Some(expected) <= most);
            }
        }
    }
}
