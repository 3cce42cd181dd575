//! The order of a list of builds: `?sort=`.

use super::invalid::{InvalidParameter, quoted};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use std::cmp::{Ordering, Reverse};

/// The times of a build that lists are sorted by and asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Created,
    Updated,
    Started,
    Finished,
}

/// The four times of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moments {
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
}

impl Moment {
    /// By its name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "created_at" => Self::Created,
            "updated_at" => Self::Updated,
            "started_at" => Self::Started,
            "finished_at" => Self::Finished,
            _ => return None,
        })
    }
}

impl Moments {
    /// One of them, if it has come.
    pub(super) fn get(&self, moment: Moment) -> Option<Timestamp> {
        match moment {
            Moment::Created => Some(self.created),
            Moment::Updated => Some(self.updated),
            Moment::Started => self.started,
            Moment::Finished => self.finished,
        }
    }
}

/// How a list of builds is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    by: Moment,
    newest_first: bool,
}

/// What is kept of a build while a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SortKey {
    pub(super) at: Option<Timestamp>,
    pub(super) id: BuildId,
}

impl Default for Sort {
    fn default() -> Self {
        Self {
            by: Moment::Updated,
            newest_first: true,
        }
    }
}

impl Sort {
    /// The value of the parameter; an empty one says nothing.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidParameter> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (name, newest_first) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let by = Moment::named(name).ok_or_else(|| {
            let said = quoted(text);
            InvalidParameter::new(
                "sort",
                format!(
                    "{said} is no order: sort by created_at, updated_at, started_at or finished_at, with - before \
                     it for the newest first."
                ),
            )
        })?;
        Ok(Self { by, newest_first })
    }

    /// Where a build with these times is to stand.
    pub(super) fn place(self, id: BuildId, moments: &Moments) -> SortKey {
        let at = moments.get(self.by);
        SortKey { at, id }
    }

    /// Which of two comes first. What has not happened is last in both directions.
    pub(super) fn compare(self, one: &SortKey, other: &SortKey) -> Ordering {
        let not_yet = one.at.is_none().cmp(&other.at.is_none());
        let by_time = match self.newest_first {
            true => (Reverse(one.at), Reverse(one.id)).cmp(&(Reverse(other.at), Reverse(other.id))),
            false => (one.at, one.id).cmp(&(other.at, other.id)),
        };
        not_yet.then(by_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(sort: &str, times: &[Option<u64>]) -> Vec<u64> {
        let sort = Sort::parse(sort).unwrap();
        let mut places: Vec<SortKey> = (1..)
            .zip(times)
            .map(|(id, time)| {
                let moments = Moments {
                    created: Timestamp(id),
                    updated: Timestamp(time.unwrap_or(0)),
                    started: time.map(Timestamp),
                    finished: time.map(Timestamp),
                };
                sort.place(BuildId(id), &moments)
            })
            .collect();
        places.sort_by(|one, other| sort.compare(one, other));
        places.iter().map(|place| place.id.0).collect()
    }

    #[test]
    fn what_has_not_happened_is_last() {
        let times = [Some(5), None, Some(9), Some(5)];
        assert_eq!(sorted("started_at", &times), [1, 4, 3, 2]);
        assert_eq!(sorted("-finished_at", &times), [3, 4, 1, 2]);
        assert_eq!(sorted("created_at", &times), [1, 2, 3, 4]);
        assert_eq!(sorted("", &times), [3, 4, 1, 2], "the newest change first");
    }

    #[test]
    fn another_order_is_refused_with_the_cure() {
        for text in [
            "name",
            "--created_at",
            "+created_at",
            "created_at,updated_at",
            "-",
        ] {
            let said = Sort::parse(text).unwrap_err().to_string();
            assert!(said.contains("finished_at"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn both_directions_are_orders(times in prop::collection::vec(prop::option::of(0_u64..9), 0..40)) {
            for sort in ["started_at", "-started_at"] {
                let order = sorted(sort, &times);
                let places = order.iter().map(|id| usize::try_from(*id).unwrap() - 1);
                let found: Vec<_> = places.map(|place| times[place]).collect();
                let told: Vec<_> = found.iter().flatten().copied().collect();
                prop_assert_eq!(found.iter().take_while(|time| time.is_some()).count(), told.len());
                let is_sorted = match sort {
                    "started_at" => told.is_sorted(),
                    _ => told.iter().rev().is_sorted(),
                };
                prop_assert!(is_sorted);
            }
        }
    }
}
