//! Which master this slave works for, in which incarnation and life, and the most that it has seen of it:
//! a master whose journal was repaired or restored is not the one that it was, whatever its numbers say.

use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::work::{MasterMark, Seen};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What is known of masters. Shared by all parts of the slave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage(Arc<Mutex<Known>>);

/// An order comes from another life of the master than the one that this slave has connected to, which
/// it connects to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "This slave has not connected to the restarted master yet and takes no orders until then; retry."
)]
pub(crate) struct NotMet;

#[derive(Debug, Default)]
struct Known {
    /// The master as it was when this slave connected; none where it is one of the original.
    met: Option<MasterMark>,
    /// What was seen of each incarnation of which there is still something here.
    seen: BTreeMap<Incarnation, Seen>,
}

impl Known {
    fn see(&mut self, seen: Seen) {
        let incarnation = seen.last.incarnation.clone();
        let known = self.seen.entry(incarnation);
        known.or_insert_with(|| seen.clone()).add(&seen);
    }
}

impl Lineage {
    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }

    /// Takes note of what results say that an earlier life of this slave left.
    pub(crate) fn remember(&self, seen: Seen) {
        self.lock().see(seen);
    }

    /// The master has taken this slave in. Whatever there was of other incarnations is dropped with that; the
    /// master knows by now what was seen of them. Says whether it is the incarnation of before.
    pub(crate) fn meet(&self, slave: SlaveId, master: Option<MasterMark>) -> bool {
        let mut known = self.lock();
        let before = known.met.take().map(|met| met.incarnation);
        known.met.clone_from(&master);
        let Some(master) = master else {
            known.seen.clear();
            return before.is_none();
        };
        let is_known = before.as_ref() == Some(&master.incarnation);
        known.seen.retain(|other, _| *other == master.incarnation);
        let mut seen = Seen::first(master);
        seen.slave = slave;
        known.see(seen);
        is_known
    }

    /// Lets an order pass that comes from the life of the master that this slave has connected to.
    pub(crate) fn admit(
        &self,
        order: &MasterMark,
        build: BuildId,
        attempt: Option<Attempt>,
    ) -> Result<(), NotMet> {
        let mut seen = Seen::first(order.clone());
        seen.build = build;
        seen.attempt = attempt.unwrap_or(seen.attempt);
        self.admit_seen(seen)
    }

    /// The same for an order that is about no build.
    pub(crate) fn admit_order(&self, order: &MasterMark) -> Result<(), NotMet> {
        self.admit_seen(Seen::first(order.clone()))
    }

    fn admit_seen(&self, seen: Seen) -> Result<(), NotMet> {
        let mut known = self.lock();
        let has_met = known.met.as_ref().is_some_and(|met| {
            met.incarnation == seen.last.incarnation && met.session_id == seen.last.session_id
        });
        if !has_met {
            return Err(NotMet);
        }
        known.see(seen);
        Ok(())
    }

    /// That life of the master has taken results, and its journal had so many events then.
    pub(crate) fn acknowledged(&self, life: &SessionId, position: u64, proof: Option<String>) {
        let mut known = self.lock();
        // Where another life was met meanwhile, its journal begins behind that moment or is known to be older.
        if let Some(met) = known.met.clone().filter(|met| met.session_id == *life) {
            let mark = MasterMark {
                position,
                proof,
                ..met
            };
            known.see(Seen::first(mark));
        }
    }

    /// What to tell a master.
    pub(crate) fn to_tell(&self) -> Vec<Seen> {
        self.lock().seen.values().cloned().collect()
    }

    /// The latest moment that was seen of an incarnation, while there is something of it here.
    pub(crate) fn last_of(&self, incarnation: &Incarnation) -> Option<MasterMark> {
        let known = self.lock();
        known.seen.get(incarnation).map(|seen| seen.last.clone())
    }

    /// The life of the master that this slave has connected to, which its calls are meant for.
    pub(crate) fn session(&self) -> Option<SessionId> {
        let known = self.lock();
        known.met.as_ref().map(|met| met.session_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(incarnation: &str, life: &str, position: u64) -> MasterMark {
        MasterMark {
            incarnation: Incarnation(incarnation.to_owned()),
            session_id: SessionId(life.to_owned()),
            position,
            proof: None,
        }
    }

    fn told(lineage: &Lineage) -> Vec<(String, u64, u64, u32, u64)> {
        let told = lineage.to_tell().into_iter();
        told.map(|seen| {
            let of = format!("{} {}", seen.last.incarnation, seen.last.session_id);
            (
                of,
                seen.last.position,
                seen.build.0,
                seen.attempt.0,
                seen.slave.0,
            )
        })
        .collect()
    }

    #[test]
    fn an_acknowledgement_is_a_moment_of_the_life_that_gave_it() {
        let lineage = Lineage::default();
        let session = |life: &str| SessionId(life.to_owned());
        lineage.acknowledged(&session("a"), 9, None);
        assert!(told(&lineage).is_empty());
        lineage.meet(SlaveId(3), Some(mark("i", "a", 10)));
        lineage.acknowledged(&session("a"), 12, Some("of 12".to_owned()));
        lineage.acknowledged(&session("a"), 11, Some("of 11".to_owned()));
        lineage.acknowledged(&session("b"), 20, None);
        assert_eq!(told(&lineage), [("i a".to_owned(), 12, 0, 0, 3)]);
        assert_eq!(lineage.to_tell()[0].last.proof.as_deref(), Some("of 12"));
    }

    #[test]
    fn orders_of_a_life_that_was_not_met_are_not_taken() {
        let lineage = Lineage::default();
        let admit =
            |order, build, attempt| lineage.admit(&order, BuildId(build), Some(Attempt(attempt)));
        assert_eq!(admit(mark("i", "a", 5), 1, 1), Err(NotMet));
        assert!(!lineage.meet(SlaveId(3), Some(mark("i", "a", 10))));
        assert_eq!(admit(mark("i", "a", 12), 2, 7), Ok(()));
        assert_eq!(admit(mark("i", "a", 11), 4, 1), Ok(()));
        assert_eq!(admit(mark("i", "b", 20), 9, 9), Err(NotMet));
        assert_eq!(admit(mark("j", "a", 20), 9, 9), Err(NotMet));
        let expected = ("i a".to_owned(), 12, 4, 7, 3);
        assert_eq!(told(&lineage), [expected]);
        // Started again, and the same as before.
        assert!(lineage.meet(SlaveId(3), Some(mark("i", "b", 30))));
        assert_eq!(admit(mark("i", "b", 31), 4, 2), Ok(()));
        assert_eq!(told(&lineage), [("i b".to_owned(), 31, 4, 7, 3)]);
    }

    #[test]
    fn what_was_seen_of_another_incarnation_is_told_until_the_master_has_heard_it() {
        let lineage = Lineage::default();
        lineage.meet(SlaveId(3), Some(mark("i", "a", 10)));
        let mut left = Seen::first(mark("h", "z", 99));
        left.build = BuildId(8);
        lineage.remember(left);
        let both = [
            ("h z".to_owned(), 99, 8, 0, 0),
            ("i a".to_owned(), 10, 0, 0, 3),
        ];
        assert_eq!(told(&lineage), both);
        assert!(lineage.last_of(&Incarnation("h".to_owned())).is_some());
        assert!(!lineage.meet(SlaveId(9), Some(mark("j", "c", 1))));
        assert_eq!(told(&lineage), [("j c".to_owned(), 1, 0, 0, 9)]);
        assert_eq!(lineage.last_of(&Incarnation("h".to_owned())), None);
        assert_eq!(lineage.session().unwrap().0, "c");
        // One of the original says nothing of all this.
        assert!(!lineage.meet(SlaveId(1), None));
        assert!(lineage.meet(SlaveId(1), None));
        assert!(told(&lineage).is_empty() && lineage.session().is_none());
    }
}
