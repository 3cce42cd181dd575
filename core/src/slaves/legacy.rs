//! What is different with slaves of the original, which know neither attempts nor protocol 2: what
//! they say has to be fitted to what the master has on record.

use crate::Cluster;
use crate::builds::hand_out::HandOut;
use crate::command::Command;
use crate::event::{BuildFact, Fact, Loss, SlaveFact};
use crate::refusal::Refusal;
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId, SubjobId};

/// What a slave of the original says. It names no build: the one on record is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyReport {
    /// The build is set up.
    SetUp,
    /// Setting it up failed.
    SetupFailed,
    /// The build is torn down.
    TornDown,
    /// The slave ends.
    Ending,
}

impl Cluster {
    /// What a report of a slave of the original asks for; `None` where it means nothing now, which is no mistake of
    /// the slave's: it would end if it were refused.
    ///
    /// # Errors
    /// As [`Cluster::known_legacy_slave`].
    pub fn legacy_command(
        &self,
        id: SlaveId,
        report: LegacyReport,
    ) -> Result<Option<Command>, Refusal> {
        let slave = self.known_legacy_slave(id)?;
        let stopped = Command::ReportStopped { slave: id };
        // One that is lost has none.
        let on_record = slave.builds.first_key_value();
        let Some((build, place)) = on_record.map(|(build, place)| (*build, *place)) else {
            let gives_up = report == LegacyReport::Ending && slave.is_alive();
            return Ok(gives_up.then_some(stopped));
        };
        let is_setting_up = matches!(place, BuildOnSlave::SettingUp { .. });
        let session = slave.session.clone();
        Ok(match report {
            LegacyReport::SetUp => is_setting_up.then_some(Command::ReportSetUp {
                slave: id,
                session,
                build,
            }),
            LegacyReport::SetupFailed => is_setting_up.then(|| Command::ReportSetupFailed {
                slave: id,
                session,
                build,
                reason: "setup_build failed; the slave's log has its output".to_owned(),
            }),
            LegacyReport::TornDown => Some(Command::ReportTornDown { slave: id, build }),
            LegacyReport::Ending => Some(stopped),
        })
    }

    /// The slaves that the master gives up when it starts. A slave of the original can not say which calls it heard,
    /// and must not hear a call twice. A slave without builds goes on.
    pub(crate) fn unsure_legacy_slaves(&self) -> Vec<Fact> {
        let alive = self.slaves.values().filter(|slave| slave.is_alive());
        let unsure = alive.filter(|slave| slave.is_legacy && !slave.builds.is_empty());
        let lost = unsure.map(|slave| Fact::Slave(slave.id, SlaveFact::Lost { reason: Loss::Trouble("the master was started again, and a slave of the original can not tell what \
                     it has"
                .to_owned()) }));
        lost.collect()
    }

    /// Nothing that came without a signature takes the place of a living slave that signs.
    pub(crate) fn connect_legacy(
        &self,
        url: String,
        session: SessionId,
        num_executors: u32,
    ) -> Result<Vec<Fact>, Refusal> {
        let mut facts = Vec::new();
        let before = self.latest_at(&url);
        if let Some(known) = before.filter(|slave| slave.is_called()) {
            if !known.is_legacy {
                return Err(Refusal::AddressTaken(url));
            }
            facts.push(Fact::Slave(
                known.id,
                SlaveFact::Lost {
                    reason: Loss::Trouble("it connected anew".to_owned()),
                },
            ));
        }
        let is_to_end = before.is_some_and(|slave| {
            slave.was_shut_down() && slave.session == session && !session.0.is_empty()
        });
        let slave = self.next_slave_id();
        facts.push(Fact::Slave(
            slave,
            SlaveFact::Connected {
                url,
                session,
                num_executors,
                is_legacy: true,
                labels: std::collections::BTreeSet::new(),
                key: None,
            },
        ));
        if is_to_end {
            facts.push(Fact::Slave(slave, SlaveFact::ShutdownRequested));
        }
        Ok(facts)
    }

    /// The slave of the original that a call without a full signature is about; it may be lost.
    ///
    /// # Errors
    /// The slave is not listed, or is one that signs.
    pub fn known_legacy_slave(&self, id: SlaveId) -> Result<&Slave, Refusal> {
        let slave = self.slave(id).filter(|slave| slave.is_listed());
        let slave = slave.ok_or(Refusal::NoSuchSlave(id))?;
        if slave.is_legacy {
            Ok(slave)
        } else {
            Err(Refusal::NotLegacy(id))
        }
    }

    /// The hand-out that a slave of the original means when it brings the result of a subjob now,
    /// and the number of its atoms; `None` where its result does not count.
    ///
    /// # Errors
    /// Unknown build or subjob, or no slave of the original ever had this address.
    pub fn legacy_hand_out(
        &self,
        url: &str,
        build: BuildId,
        subjob: SubjobId,
    ) -> Result<Option<(HandOut, usize)>, Refusal> {
        let known = self.build(build).ok_or(Refusal::UnknownBuild(build))?;
        let wanted = known.subjob(subjob);
        let wanted = wanted.ok_or(Refusal::UnknownSubjob(subjob))?;
        let mut registrations = self.slaves.values();
        if !registrations.any(|slave| slave.is_legacy && slave.url == url) {
            return Err(Refusal::UnknownAddress(url.to_owned()));
        }
        let running = known.progress().and_then(|p| p.running.get(&subjob));
        let counts = |slave: &&Slave| slave.is_legacy && slave.url == url;
        Ok(running.and_then(|(slave, attempt)| {
            let slave = self.slave(*slave).filter(counts)?.id;
            let hand_out = HandOut {
                slave,
                build,
                subjob,
                attempt: *attempt,
            };
            Some((hand_out, wanted.atoms.len()))
        }))
    }

    /// A slave that can not clear a build away has nothing of it that the master could wait for. One
    /// of the original has to clear a build away also when its set-up failed, and says so.
    pub(crate) fn setup_failed(
        &self,
        slave: SlaveId,
        build: BuildId,
        place: Option<BuildOnSlave>,
        reason: String,
    ) -> Vec<Fact> {
        let is_legacy = self.slave(slave).is_some_and(|slave| slave.is_legacy);
        match place {
            None => Vec::new(),
            Some(BuildOnSlave::TearingDown) if is_legacy => Vec::new(),
            Some(BuildOnSlave::TearingDown) => {
                vec![Fact::Build(build, BuildFact::TeardownCompleted { slave })]
            }
            Some(BuildOnSlave::SettingUp { .. } | BuildOnSlave::Ready) => {
                let failed = Fact::Build(
                    build,
                    BuildFact::SetupFailed {
                        slave,
                        reason,
                        is_withheld: false,
                    },
                );
                let teardown =
                    is_legacy.then_some(Fact::Build(build, BuildFact::TeardownRequested { slave }));
                [failed].into_iter().chain(teardown).collect()
            }
        }
    }
}
