//! What becomes of a slave that connects.

use crate::Cluster;
use crate::event::{Fact, IncarnationCause, Loss, SlaveFact};
use crate::lifetime::testimony::Testimony;
use crate::refusal::Refusal;
use crate::slaves::keys::OfferedKey;
use crate::slaves::slave::Slave;
use clusterrunner_common::ids::{Incarnation, SessionId, SlaveId};
use clusterrunner_common::work::FinishedAttempt;
use std::collections::BTreeSet;

/// A slave as it says it is.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) url: String,
    pub(crate) session: SessionId,
    pub(crate) num_executors: u32,
    pub(crate) labels: BTreeSet<String>,
    /// The registration that it knows itself by.
    pub(crate) known_as: Option<SlaveId>,
    /// The key that it has shown.
    pub(crate) key: Option<OfferedKey>,
}

impl Cluster {
    /// A slave keeps its registration if it is alive, in the same life, and remembers that registration. Any other
    /// slave at the address restarted, or does not know the registration of this incarnation: it has nothing of that
    /// registration's hand-outs. A life that a user shut down is told again to end. If the slave has seen events that
    /// this journal lacks, a new incarnation begins and all slaves are lost.
    ///
    /// # Errors
    /// Its key may not be at its address.
    pub(crate) fn connect(
        &self,
        offer: Offer,
        finished: &[FinishedAttempt],
        seen: &[Testimony],
        fresh: &Incarnation,
    ) -> Result<Vec<Fact>, Refusal> {
        let admitted = offer.key.map(|key| self.admitted_key(&offer.url, key));
        let admitted = admitted.transpose()?.flatten();
        let judgement = self.judge_seen(offer.key, seen);
        let named = judgement.named;
        self.check_named(offer.key, (named.build, named.slave, named.attempt))?;
        let before = self.latest_at(&offer.url);
        let is_to_end =
            before.is_some_and(|slave| slave.was_shut_down() && slave.session == offer.session);
        let slave = SlaveId(self.last_slave.max(judgement.named.slave.0) + 1);
        let mut hand_outs = Vec::new();
        let mut facts = match &judgement.is_older {
            Some(missed) => {
                let reason = format!("the slave at {} has seen more: {missed}", offer.url);
                let cause = IncarnationCause::EventsMissing(reason);
                self.begin_incarnation(fresh, cause, judgement.named)
            }
            None => {
                hand_outs = self.kept(&offer, finished);
                self.reserving(judgement.named).into_iter().collect()
            }
        };
        if judgement.is_older.is_none()
            && let Some(known) = before.filter(|slave| slave.is_called())
        {
            let is_same_life = known.session == offer.session;
            if is_same_life && judgement.is_ours && is_same(known, &offer) {
                return Ok(facts);
            }
            let reason = if is_same_life {
                Loss::Trouble("it connected anew".to_owned())
            } else {
                Loss::StartedAgain
            };
            if is_same_life || known.was_shut_down() {
                facts.push(Fact::Slave(known.id, SlaveFact::Lost { reason }));
            } else {
                facts.extend(self.died(known.id, reason, &hand_outs));
            }
        }
        facts.extend(admitted);
        facts.push(Fact::Slave(
            slave,
            SlaveFact::Connected {
                url: offer.url,
                session: offer.session,
                num_executors: offer.num_executors,
                is_legacy: false,
                labels: offer.labels,
                key: offer.key.map(|offered| offered.key),
            },
        ));
        if !hand_outs.is_empty() {
            facts.push(Fact::Slave(slave, SlaveFact::HandOutsKept { hand_outs }));
        }
        if is_to_end {
            facts.push(Fact::Slave(slave, SlaveFact::ShutdownRequested));
        }
        Ok(facts)
    }
}

/// Whether it offers what it did under the registration that it knows itself by.
fn is_same(known: &Slave, offer: &Offer) -> bool {
    known.is_alive()
        && known.num_executors == offer.num_executors
        && known.labels == offer.labels
        && offer.known_as == Some(known.id)
        && offer.key.map(|offered| offered.key) == known.key
}
