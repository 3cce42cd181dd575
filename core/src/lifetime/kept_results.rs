//! Results that outlived the process of the slave that ran them: which count, and who delivers them.

use crate::Cluster;
use crate::builds::hand_out::HandOut;
use crate::event::KeptHandOut;
use crate::slaves::connecting::Offer;
use crate::slaves::slave::Slave;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use clusterrunner_common::work::FinishedAttempt;
use std::collections::BTreeMap;

impl Cluster {
    /// Who is to deliver the result of this hand-out, if it is one that outlived its slave's process.
    /// An upload that the earlier life began may still come in: it brings the same result.
    pub(crate) fn keeper(&self, hand_out: HandOut) -> Option<SlaveId> {
        let progress = self.build(hand_out.build)?.progress()?;
        let (keeper, attempt) = *progress.kept.get(&hand_out.subjob)?;
        let is_it =
            attempt == hand_out.attempt && self.is_the_same_machine(Some(keeper), hand_out.slave);
        is_it.then_some(keeper)
    }

    /// Whether two registrations are of one address.
    pub(crate) fn is_the_same_machine(&self, one: Option<SlaveId>, other: SlaveId) -> bool {
        let url = |id| self.slave(id).map(|slave| &slave.url);
        one == Some(other) || one.is_some_and(|one| url(one).is_some() && url(one) == url(other))
    }

    /// Which of the results that a slave still has count: those whose hand-out went to its address and is the
    /// subjob's latest. Addresses and sessions are known to all, so without the secret it must also have the key of the
    /// registration that had the hand-out. Facts before these end its earlier life and return what that life held.
    pub(crate) fn kept(&self, offer: &Offer, finished: &[FinishedAttempt]) -> Vec<KeptHandOut> {
        let mut kept: BTreeMap<(BuildId, SubjobId), KeptHandOut> = BTreeMap::new();
        for claim in finished {
            let hand_out = KeptHandOut {
                build: claim.build_id,
                subjob: claim.subjob_id,
                attempt: claim.attempt,
            };
            if self.may_be_kept(offer, claim) {
                kept.insert((claim.build_id, claim.subjob_id), hand_out);
            }
        }
        kept.into_values().collect()
    }

    fn may_be_kept(&self, offer: &Offer, claim: &FinishedAttempt) -> bool {
        let build = self.build(claim.build_id);
        let Some(subjob) = build.and_then(|build| build.subjob(claim.subjob_id)) else {
            return false;
        };
        let is_open = build.is_some_and(|build| build.progress().is_some());
        let failed = subjob.failed_attempts();
        let is_recorded = failed.iter().any(|failed| failed.attempt == claim.attempt);
        let is_current = subjob.result.is_none()
            && !is_recorded
            && build.and_then(|build| build.last_attempt(claim.subjob_id)) == Some(claim.attempt);
        // Another incarnation gave the same numbers to other things.
        let is_ours = claim.incarnation.as_ref() == self.lineage.incarnation();
        let was_here = |slave: &Slave| slave.url == offer.url && slave.session == claim.session_id;
        let has_its_key = |holder: &Slave| match offer.key {
            Some(offered) if offered.is_without_secret() => holder.key == Some(offered.key),
            Some(_) | None => true,
        };
        let holder = subjob.slave.and_then(|id| self.slave(id));
        is_ours
            && is_open
            && is_current
            && holder.is_some_and(|holder| holder.url == offer.url && has_its_key(holder))
            && self.slaves.values().any(was_here)
    }

    /// What a living slave is to deliver of earlier lives.
    #[must_use]
    pub fn to_be_delivered(&self, slave: SlaveId) -> Vec<KeptHandOut> {
        let delivering = self.slave(slave).map(|slave| &slave.delivering);
        let kept = delivering
            .into_iter()
            .flatten()
            .filter_map(|(build, subjob)| {
                let progress = self.build(*build)?.progress()?;
                let (_, attempt) = *progress.kept.get(subjob)?;
                Some(KeptHandOut {
                    build: *build,
                    subjob: *subjob,
                    attempt,
                })
            });
        kept.collect()
    }
}
