//! Chance that a seed repeats exactly.

/// `SplitMix64`: one addition and a mix for each number, and every seed is as good as another.
pub(in crate::tests) struct Random(u64);

impl Random {
    pub(in crate::tests) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::tests) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 to `end`, without `end`.
    pub(in crate::tests) fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    pub(in crate::tests) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    pub(in crate::tests) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(in crate::tests) fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

pub(in crate::tests) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
