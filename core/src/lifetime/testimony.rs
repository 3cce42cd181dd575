//! What slaves say of masters, as far as it is proved.

use clusterrunner_common::work::Seen;

/// What a slave that connects says it has seen, and whether this master said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// What it has seen.
    pub seen: Seen,
    /// Whether the mark in it is one that this master made.
    pub is_proved: bool,
}

impl Testimony {
    /// Of a mark that this master made.
    #[must_use]
    pub fn proved(seen: Seen) -> Self {
        let is_proved = true;
        Self { seen, is_proved }
    }
}
