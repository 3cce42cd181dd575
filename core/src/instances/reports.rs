//! What a slave's report of its instances means.

use super::facts::InstanceFact;
use super::instance::{ANSWERS, ENDED, Instance, Purpose};
use super::placing::off;
use super::reported::{ReportedInstance, ReportedInstances};
use crate::Cluster;
use crate::builds::bounded_text::bounded;
use crate::event::{Fact, SlaveFact};
use crate::refusal::Refusal;
use crate::slaves::slave::{Hosting, Presence, Slave};
use clusterrunner_common::ids::{Generation, SessionId, SlaveId};
use clusterrunner_common::work::ReportedState;
use std::collections::BTreeSet;

impl Cluster {
    /// Only what is said of a latest placement counts. What else the slave runs is not in the full set that it is ordered
    /// to run, so it ends that.
    pub(crate) fn instances_reported(
        &self,
        slave: SlaveId,
        session: &SessionId,
        report: ReportedInstances,
    ) -> Result<Vec<Fact>, Refusal> {
        let known = self.known_slave(slave, session)?;
        let mut facts = Vec::new();
        let hosting = Hosting {
            max_instances: report.max_instances,
            runs_images: report.runs_images,
        };
        if known.hosting != Some(hosting) {
            facts.push(Fact::Slave(slave, SlaveFact::Hosts(hosting)));
        }
        let mut snapshots = report.snapshots;
        let kept: BTreeSet<&str> = self.snapshots().collect();
        snapshots.retain(|digest| kept.contains(digest.as_str()));
        if known.snapshots != snapshots {
            let digests = snapshots;
            facts.push(Fact::Slave(slave, SlaveFact::HasSnapshots { digests }));
        }
        let mut said = BTreeSet::new();
        for reported in report.instances {
            let id = reported.id;
            let current = self.instance(id).filter(|instance| {
                !instance.is_over() && instance.generation == reported.generation
            });
            // Said twice, only the first counts.
            if let Some(instance) = current.filter(|_| said.insert(id)) {
                let follows = self.reported(known, instance, reported);
                facts.extend(follows.into_iter().map(|fact| Fact::Instance(id, fact)));
            }
        }
        Ok(facts)
    }

    fn reported(
        &self,
        slave: &Slave,
        instance: &Instance,
        reported: ReportedInstance,
    ) -> Vec<InstanceFact> {
        let is_here = instance.slave == Some(slave.id);
        if !is_here && !self.may_adopt(slave, instance) {
            return Vec::new();
        }
        let mut facts = Vec::new();
        if !is_here {
            if matches!(
                reported.state,
                ReportedState::Ended | ReportedState::NoRoom { .. }
            ) {
                return facts;
            }
            facts.push(InstanceFact::Adopted { slave: slave.id });
        }
        // After an adoption all that the slave says is new.
        let before = is_here.then(|| instance.progress());
        let is_news = |step| before.is_none_or(|before| (reported.restarts, step) > before);
        let restarts = reported.restarts;
        facts.extend(match reported.state {
            // That it starts is what a placement means.
            ReportedState::Starting => None,
            ReportedState::Up { port, keeps_prefix } => {
                is_news(ANSWERS).then_some(InstanceFact::Up {
                    port,
                    keeps_prefix,
                    restarts,
                })
            }
            ReportedState::Crashed { reason } => is_news(ENDED).then(|| InstanceFact::Crashed {
                reason: bounded(reason),
                restarts,
            }),
            ReportedState::Failed { reason } => Some(InstanceFact::Failed {
                reason: bounded(reason),
            }),
            ReportedState::Exited { code, .. } => Some(match instance.purpose {
                Purpose::Run { .. } => InstanceFact::Exited { code },
                // They are started again, so no slave says so of them.
                Purpose::Launch | Purpose::App { .. } => InstanceFact::Failed {
                    reason: format!("its process ended with exit code {code}"),
                },
            }),
            ReportedState::Ended => Some(off(
                instance,
                slave.id,
                instance.generation.next(),
                "its slave ended it".to_owned(),
            )),
            // Nothing of it was begun, not even of a run.
            ReportedState::NoRoom { reason } => Some(InstanceFact::Displaced {
                slave: slave.id,
                generation: instance.generation.next(),
                reason: bounded(reason),
            }),
        });
        facts
    }

    /// Whether a slave that runs an instance under its latest placement takes it over from an earlier registration, which
    /// is not there any more.
    fn may_adopt(&self, slave: &Slave, instance: &Instance) -> bool {
        let is_free = match instance.slave {
            Some(other) => self
                .slave(other)
                .is_none_or(|other| !other.is_alive() && other.url == slave.url),
            None => true,
        };
        is_free && slave.presence == Presence::Alive && instance.generation > Generation(0)
    }
}
