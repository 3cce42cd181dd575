//! What is wanted of slaves, and what it means that one is lost or ends.

use super::when;
use crate::Cluster;
use crate::command::SlaveChoice;
use crate::event::{BuildFact, Fact, KeptHandOut, Loss, SlaveFact};
use crate::refusal::Refusal;
use crate::slaves::slave::{Presence, Slave};
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId, SubjobId};
use std::collections::BTreeMap;

impl Cluster {
    pub(super) fn drained(&self, slave: SlaveId) -> Result<Vec<Fact>, Refusal> {
        let takes_work = !self.listed_slave(slave)?.is_drained;
        let drained = Fact::Slave(slave, SlaveFact::DrainRequested);
        Ok(when(takes_work, drained))
    }

    pub(super) fn undrained(&self, slave: SlaveId) -> Result<Vec<Fact>, Refusal> {
        let known = self.listed_slave(slave)?;
        let undrained = Fact::Slave(slave, SlaveFact::DrainEnded);
        let mut facts = when(known.is_drained, undrained);
        let is_quarantined = known.quarantine.is_some();
        facts.extend(when(
            is_quarantined,
            Fact::Slave(slave, SlaveFact::Released),
        ));
        Ok(facts)
    }

    /// All that are named are in shutdown mode from now on, or none if one of them is not listed.
    pub(super) fn shut_down(&self, choice: &SlaveChoice) -> Result<Vec<Fact>, Refusal> {
        let slaves: BTreeMap<SlaveId, &Slave> = match choice {
            SlaveChoice::All => self.slaves().map(|slave| (slave.id, slave)).collect(),
            SlaveChoice::Named(ids) => ids
                .iter()
                .map(|id| Ok((*id, self.listed_slave(*id)?)))
                .collect::<Result<_, Refusal>>()?,
        };
        let new = slaves.values().filter(|slave| !slave.was_shut_down());
        Ok(new
            .map(|slave| Fact::Slave(slave.id, SlaveFact::ShutdownRequested))
            .collect())
    }

    pub(super) fn listed_slave(&self, id: SlaveId) -> Result<&Slave, Refusal> {
        let slave = self.slave(id).filter(|slave| slave.is_listed());
        slave.ok_or(Refusal::NoSuchSlave(id))
    }

    pub(super) fn slave_ended(&self, slave: SlaveId) -> Vec<Fact> {
        let ending = |slave: &Slave| slave.presence == Presence::Ending;
        let expected = self.slave(slave).is_some_and(ending);
        when(expected, Fact::Slave(slave, SlaveFact::Ended))
    }

    pub(super) fn given_up(&self, slave: SlaveId, reason: Loss) -> Vec<Fact> {
        let called = self.slave(slave).is_some_and(Slave::is_called);
        when(called, Fact::Slave(slave, SlaveFact::Lost { reason }))
    }

    pub(super) fn died_if_called(&self, slave: SlaveId, reason: Loss) -> Vec<Fact> {
        match self.slave(slave) {
            Some(known) if known.is_called() => self.died(slave, reason, &[]),
            Some(_) | None => Vec::new(),
        }
    }

    /// A slave is lost, and each subjob that it ran may be why.
    pub(crate) fn died(&self, slave: SlaveId, reason: Loss, finished: &[KeptHandOut]) -> Vec<Fact> {
        let running = self
            .slave(slave)
            .into_iter()
            .flat_map(|slave| &slave.running);
        let is_suspect = |(build, subjob): &&(BuildId, SubjobId)| {
            let subjob = self.build(*build).and_then(|build| build.subjob(*subjob));
            subjob.is_some_and(|subjob| !subjob.mishaps().outlived_master)
        };
        let is_under_way = |(build, subjob): &&(BuildId, SubjobId)| {
            let is_it = |kept: &KeptHandOut| (kept.build, kept.subjob) == (*build, *subjob);
            !finished.iter().any(is_it)
        };
        let suspected = |(build, subjob): &(BuildId, SubjobId)| {
            Fact::Build(
                *build,
                BuildFact::SubjobSuspected {
                    slave,
                    subjob: *subjob,
                },
            )
        };
        let lost = std::iter::once(Fact::Slave(slave, SlaveFact::Lost { reason }));
        let suspects = running.filter(is_under_way).filter(is_suspect);
        lost.chain(suspects.map(suspected)).collect()
    }

    /// Whether a call comes from a living slave in the life that the master knows.
    ///
    /// # Errors
    /// The slave is unknown, given up, or was started again.
    pub fn known_slave(&self, id: SlaveId, session: &SessionId) -> Result<&Slave, Refusal> {
        let slave = self.slave(id).filter(|slave| slave.is_alive());
        let slave = slave.ok_or(Refusal::UnknownSlave(id))?;
        if slave.session == *session {
            Ok(slave)
        } else {
            Err(Refusal::SessionExpired(session.clone()))
        }
    }
}
