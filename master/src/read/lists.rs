//! Lists that may be very long, part by part, so that a reader does not keep the coordinator from its work.
//! Each part is as it stood when its turn came.

use super::builds::{Builds, ReadError};
use crate::journal::EndedBuild;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::refusal::Refusal;
use std::cmp::Reverse;
use std::ops::Range;

/// How many builds one look at the cluster takes along.
const BUILDS_AT_ONCE: usize = 64;

/// How many subjobs one look takes along.
const SUBJOBS_AT_ONCE: usize = 256;

/// How many subjobs of an archived build are read at a time.
const ARCHIVED_AT_ONCE: usize = 4096;

/// Some entries of a list, and where it goes on; nowhere after the last one.
#[derive(Debug)]
pub struct Part<T, C> {
    /// The entries.
    pub entries: Vec<T>,
    /// What to ask for next.
    pub next: Option<C>,
}

/// Where a list of builds goes on: with the first build, in its order, that is not before this one, after some more
/// are left out, and how many may still come.
#[derive(Clone, Copy, Debug)]
pub struct AtBuild {
    first: BuildId,
    order: Order,
    skip: usize,
    left: usize,
}

/// In which order builds are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

/// Which subjobs are listed, and how many of them were given already.
#[derive(Clone, Copy, Debug)]
pub struct AtSubjob<P> {
    page: P,
    given: usize,
}

impl AtBuild {
    /// The builds whose places in the list of all are in this range.
    #[must_use]
    pub fn range(wanted: &Range<usize>) -> Self {
        Self {
            first: BuildId(0),
            order: Order::OldestFirst,
            skip: wanted.start,
            left: wanted.len(),
        }
    }

    /// The newest builds, the newest first: those with smaller ids than `before`, if it is given, and at most `number`.
    #[must_use]
    pub fn newest(before: Option<BuildId>, number: usize) -> Self {
        Self {
            // No build has the id 0, so nothing is before the first one.
            first: before.map_or(BuildId(u64::MAX), |id| BuildId(id.0.saturating_sub(1))),
            order: Order::NewestFirst,
            skip: 0,
            left: number,
        }
    }

    fn take(self) -> usize {
        self.left.min(BUILDS_AT_ONCE)
    }

    /// After `last`, if a whole part was there.
    fn next(self, last: Option<BuildId>, found: usize) -> Option<Self> {
        let last = last?.0;
        let next = Self {
            first: BuildId(match self.order {
                Order::OldestFirst => last + 1,
                Order::NewestFirst => last.saturating_sub(1),
            }),
            order: self.order,
            skip: 0,
            left: self.left - found,
        };
        (found == BUILDS_AT_ONCE && next.left > 0).then_some(next)
    }
}

impl<P: Fn(usize) -> Range<usize>> AtSubjob<P> {
    /// The subjobs of the page that `page` makes of their number.
    #[must_use]
    pub fn page(page: P) -> Self {
        Self { page, given: 0 }
    }

    /// Which ones come now, and where it goes on.
    fn part(self, length: usize, at_once: usize) -> (Range<usize>, Option<Self>) {
        let wanted = (self.page)(length);
        let start = wanted.end.min(wanted.start.saturating_add(self.given));
        let end = wanted.end.min(start.saturating_add(at_once));
        let given = self.given + at_once;
        let next = (end < wanted.end).then_some(Self { given, ..self });
        (start..end, next)
    }
}

/// Takes those entries whose places are wanted.
fn some<T>(entries: impl Iterator<Item = T>, wanted: &Range<usize>, take: &mut impl FnMut(T)) {
    entries.skip(wanted.start).take(wanted.len()).for_each(take);
}

impl Builds {
    /// A part of the list of all builds, with the id of each.
    ///
    /// # Errors
    /// The master is going down, or a record can not be read.
    pub async fn some<T: Send + 'static>(
        &self,
        at: AtBuild,
        of_live: impl Fn(&Cluster, &Build) -> T + Send + 'static,
        of_archived: fn(&EndedBuild) -> T,
    ) -> Result<Part<(BuildId, T), AtBuild>, ReadError> {
        let looked = self.cluster.read(move |cluster| {
            let (mut live, mut archived, mut last) = (Vec::new(), Vec::new(), None);
            let mut take = |(id, build): (BuildId, Option<&Build>)| {
                last = Some(id);
                match build {
                    Some(build) => live.push((id, of_live(cluster, build))),
                    None => archived.push(id),
                }
            };
            let wanted = at.skip..at.skip + at.take();
            match at.order {
                Order::OldestFirst => some(cluster.all_builds_from(at.first), &wanted, &mut take),
                Order::NewestFirst => some(cluster.all_builds_until(at.first), &wanted, &mut take),
            }
            (live, archived, last)
        });
        let (mut entries, archived, last) = looked.await?;
        let next = at.next(last, entries.len() + archived.len());
        if !archived.is_empty() {
            let of_archived = move |build: &EndedBuild| (build.build.id, of_archived(build));
            entries.extend(self.archived.builds(archived, of_archived).await?);
            match at.order {
                Order::OldestFirst => entries.sort_by_key(|(id, _)| *id),
                Order::NewestFirst => entries.sort_by_key(|(id, _)| Reverse(*id)),
            }
        }
        Ok(Part { entries, next })
    }

    /// A part of the list of builds that are not over.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn some_unfinished<T: Send + 'static>(
        &self,
        at: AtBuild,
        of_live: impl Fn(&Cluster, &Build) -> T + Send + 'static,
    ) -> Result<Part<T, AtBuild>, ReadError> {
        let looked = self.cluster.read(move |cluster| {
            let (mut entries, mut last) = (Vec::new(), None);
            let unfinished = cluster.builds_from(at.first).filter(|b| !b.is_over());
            for build in unfinished.skip(at.skip).take(at.take()) {
                last = Some(build.id);
                entries.push(of_live(cluster, build));
            }
            (entries, last)
        });
        let (entries, last) = looked.await?;
        let next = at.next(last, entries.len());
        Ok(Part { entries, next })
    }

    /// A part of the list of a build's subjobs. `of_live` sees those with some numbers.
    ///
    /// # Errors
    /// There is no such build, or its record can not be read.
    pub async fn some_subjobs<T, P>(
        &self,
        id: BuildId,
        at: AtSubjob<P>,
        of_live: impl FnOnce(&Cluster, &Build, Range<usize>) -> Vec<T> + Send + 'static,
        of_archived: fn(&Build, SubjobId, &Subjob) -> T,
    ) -> Result<Part<T, AtSubjob<P>>, ReadError>
    where
        T: Send + 'static,
        P: Fn(usize) -> Range<usize> + Copy + Send + 'static,
    {
        let live = self.live(id, move |cluster, build| {
            let (numbers, next) = at.part(build.subjobs.len(), SUBJOBS_AT_ONCE);
            let entries = of_live(cluster, build, numbers);
            Ok::<_, ReadError>(Part { entries, next })
        });
        if let Some(part) = live.await? {
            return Ok(part);
        }
        let wanted = move |length| at.part(length, ARCHIVED_AT_ONCE).0;
        let found = self.archived.subjobs(id, wanted).await?;
        let (archived, subjobs) = found.ok_or(Refusal::ForgottenBuild(id))?;
        let (_, next) = at.part(archived.num_subjobs as usize, ARCHIVED_AT_ONCE);
        let entries = subjobs.iter();
        let entries = entries.map(|(id, subjob)| of_archived(&archived.build, *id, subjob));
        let entries = entries.collect();
        Ok(Part { entries, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(page: impl Fn(usize) -> Range<usize> + Copy, at_once: usize) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        let mut at = Some(AtSubjob::page(page));
        while let Some(now) = at {
            let (part, next) = now.part(20, at_once);
            parts.push((part.start, part.end));
            at = next;
        }
        parts
    }

    #[test]
    fn a_page_of_subjobs_comes_part_by_part() {
        assert_eq!(
            parts(|length| 3..length.min(12), 4),
            [(3, 7), (7, 11), (11, 12)]
        );
        assert_eq!(parts(|length| 0..length, 100), [(0, 20)]);
        assert_eq!(parts(|length| length..length, 4), [(20, 20)]);
        // The build is archived between two parts, and parts are larger from then on.
        let (_, next) = AtSubjob::page(|length| 3..length).part(20, 4);
        let (part, end) = next.unwrap().part(20, 100);
        assert_eq!(part, 7..20);
        assert!(end.is_none());
    }

    #[test]
    fn a_list_of_builds_goes_on_behind_the_last_one() {
        let at = AtBuild::range(&(5..200));
        assert_eq!((at.skip, at.take()), (5, BUILDS_AT_ONCE));
        let next = at.next(Some(BuildId(80)), BUILDS_AT_ONCE).unwrap();
        let expected = (BuildId(81), 0, 195 - BUILDS_AT_ONCE);
        assert_eq!((next.first, next.skip, next.left), expected);
        assert!(
            next.next(Some(BuildId(90)), 10).is_none(),
            "there were no more"
        );
        assert!(at.next(None, 0).is_none());
        let newest = AtBuild::newest(Some(BuildId(80)), 100);
        assert_eq!((newest.first, newest.take()), (BuildId(79), BUILDS_AT_ONCE));
        let next = newest.next(Some(BuildId(16)), BUILDS_AT_ONCE).unwrap();
        assert_eq!((next.first, next.left), (BuildId(15), 100 - BUILDS_AT_ONCE));
        let whole = AtBuild::range(&(0..BUILDS_AT_ONCE));
        assert!(whole.next(Some(BuildId(64)), BUILDS_AT_ONCE).is_none());
    }
}
