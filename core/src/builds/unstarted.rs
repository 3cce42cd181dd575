//! The subjobs of a build that wait for any slave, in the order in which they are handed out.

use crate::builds::subjob::Subjob;
use clusterrunner_common::ids::SubjobId;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Waiting subjobs. Returned subjobs go first, since they have waited longest; then long subjobs before short ones,
/// then low ids.
///
/// Stored as the list of ids, as it always was; where each of them stands follows from its subjob, so
/// the queue is computed when a build is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<SubjobId>", into = "Vec<SubjobId>")]
pub struct Unstarted {
    places: BTreeSet<QueuePlace>,
    expected_ms: u64,
}

/// Where a subjob stands among those that wait; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueuePlace {
    was_never_out: bool,
    expected_ms: Reverse<u64>,
    id: SubjobId,
}

impl QueuePlace {
    pub(crate) fn of(id: SubjobId, subjob: &Subjob) -> Self {
        Self {
            was_never_out: subjob.attempts == 0,
            expected_ms: Reverse(subjob.expected_ms()),
            id,
        }
    }
}

impl Unstarted {
    /// The one that is handed out next.
    #[must_use]
    pub fn front(&self) -> Option<SubjobId> {
        self.places.first().map(|place| place.id)
    }

    /// All of them, in the order in which they are handed out.
    pub fn iter(&self) -> impl Iterator<Item = SubjobId> {
        self.places.iter().map(|place| place.id)
    }

    /// The same with what each of them is expected to take, in milliseconds; 0 where nothing is known.
    pub fn expected(&self) -> impl Iterator<Item = (SubjobId, u64)> {
        let places = self.places.iter();
        places.map(|place| (place.id, place.expected_ms.0))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How long one executor is expected to take for all of them; 0 where nothing is known.
    #[must_use]
    pub fn expected_ms(&self) -> u64 {
        self.expected_ms
    }

    /// Whether each stands where it belongs, and the sum is theirs.
    pub(crate) fn is_ordered_by(&self, place: impl Fn(SubjobId) -> Option<QueuePlace>) -> bool {
        let mut places = self.places.iter();
        let each = self.places.iter().map(|place| place.expected_ms.0);
        places.all(|is| place(is.id).as_ref() == Some(is))
            && each.fold(0, u64::saturating_add) == self.expected_ms
    }

    pub(crate) fn insert(&mut self, place: QueuePlace) {
        if self.places.insert(place) {
            self.expected_ms = self.expected_ms.saturating_add(place.expected_ms.0);
        }
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, place: QueuePlace) -> bool {
        let was_there = self.places.remove(&place);
        if was_there {
            self.expected_ms = self.expected_ms.saturating_sub(place.expected_ms.0);
        }
        was_there
    }
}

impl FromIterator<QueuePlace> for Unstarted {
    fn from_iter<T: IntoIterator<Item = QueuePlace>>(places: T) -> Self {
        // Made at once the set has no gaps, which would stay and cost as much as it does.
        let places: BTreeSet<QueuePlace> = places.into_iter().collect();
        let each = places.iter().map(|place| place.expected_ms.0);
        let expected_ms = each.fold(0, u64::saturating_add);
        Self {
            places,
            expected_ms,
        }
    }
}

impl From<Vec<SubjobId>> for Unstarted {
    fn from(ids: Vec<SubjobId>) -> Self {
        let place = |id| QueuePlace {
            was_never_out: true,
            expected_ms: Reverse(0),
            id,
        };
        ids.into_iter().map(place).collect()
    }
}

impl From<Unstarted> for Vec<SubjobId> {
    fn from(unstarted: Unstarted) -> Self {
        unstarted.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: u32, expected_ms: u64, attempts: u32) -> QueuePlace {
        let mut subjob = Subjob::new(vec!["a".into()].into(), vec![expected_ms].into());
        subjob.attempts = attempts;
        QueuePlace::of(SubjobId(id), &subjob)
    }

    fn ids(unstarted: &Unstarted) -> Vec<u32> {
        unstarted.iter().map(|id| id.0).collect()
    }

    #[test]
    fn the_longest_goes_first_and_what_came_back_before_all() {
        let places = [place(0, 5, 0), place(1, 9, 0), place(2, 5, 0)];
        let mut unstarted: Unstarted = places.into_iter().collect();
        assert_eq!(
            (ids(&unstarted), unstarted.expected_ms()),
            (vec![1, 0, 2], 19)
        );
        assert!(unstarted.remove(place(1, 9, 0)));
        assert!(!unstarted.remove(place(1, 9, 0)));
        unstarted.insert(place(3, 1, 1));
        assert_eq!(
            (ids(&unstarted), unstarted.expected_ms()),
            (vec![3, 0, 2], 11)
        );
    }

    #[test]
    fn it_is_stored_as_the_list_of_its_ids() {
        let unstarted: Unstarted = [place(0, 5, 0), place(1, 9, 0)].into_iter().collect();
        let text = serde_json::to_string(&unstarted).unwrap();
        assert_eq!(text, "[1,0]");
        let read: Unstarted = serde_json::from_str(&text).unwrap();
        assert_eq!(ids(&read), [0, 1]);
    }
}
