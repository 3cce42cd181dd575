//! What slaves report of their work, as the master takes it.

use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::command::Command;
use crate::refusal::Refusal;
use crate::tests::walk::machine::Sickness;
use crate::tests::walk::messages::{About, Report, ToMachine};
use crate::tests::walk::mutation::Mutation;
use crate::tests::walk::world::World;
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::work::MasterMark;

impl World {
    /// Whether it was said to another life of the master. A master that does not look takes it for its own.
    pub(super) fn is_meant_for_another(&self, life: Option<&SessionId>) -> bool {
        let is_checked = self.master.mutation != Some(Mutation::IncarnationIsNotChecked);
        is_checked && life != Some(&self.master.life())
    }

    pub(super) fn reported(
        &mut self,
        machine: usize,
        session: SessionId,
        number: u64,
        report: Report,
        of: Option<MasterMark>,
    ) {
        let slave = report.slave;
        if self.is_meant_for_another(of.as_ref().map(|of| &of.session_id)) {
            return self.send_to_machine(machine, ToMachine::OtherLife);
        }
        let command = match report.about {
            About::SetUp(build) => Command::ReportSetUp {
                slave,
                session,
                build,
            },
            About::SetupFailed(build) => Command::ReportSetupFailed {
                slave,
                session,
                build,
                reason: "exit code 1".to_owned(),
            },
            About::TornDown(build) => Command::ReportTornDown { slave, build },
            About::Instances(report) => Command::ReportInstances {
                slave,
                session,
                report,
            },
            About::Finished(..) if self.disk_full_until > self.now => {
                // 507: the slave keeps it.
                self.master.tally.results_put_off += 1;
                return;
            }
            About::Finished(build, subjob, attempt, outcomes) => {
                let hand_out = HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                };
                self.upload(machine, hand_out, outcomes)
            }
            About::Ending => Command::GiveSlaveUp {
                slave,
                reason: "it ends".to_owned(),
            },
        };
        let result = match &command {
            Command::ReportFinished { hand_out, .. } => Some(*hand_out),
            _ => None,
        };
        // Stored first, counted then; what does not count is not stored.
        if let Some(hand_out) = result
            && self.master.farm.cluster.is_repeated(hand_out) == Ok(false)
        {
            let results = self.master.results.entry(hand_out.build).or_default();
            results.insert((hand_out.subjob, hand_out.attempt));
        }
        let Some(told) = self.tell(command) else {
            return;
        };
        self.check_copies();
        let farm = &self.master.farm;
        let is_recorded = |hand_out: &HandOut| farm.cluster.is_repeated(*hand_out) == Ok(true);
        if told.is_ok() {
            self.master.acknowledged.extend(result.filter(is_recorded));
        }
        if let Err(Refusal::UnknownSlave(_) | Refusal::SessionExpired(_)) = told {
            self.send_to_machine(machine, ToMachine::Unknown { slave });
        }
        let at = result.and_then(|_| self.master.farm.cluster.mark());
        self.send_to_machine(machine, ToMachine::Heard { number, at });
    }

    /// A result as it arrives: now and then damaged.
    pub(super) fn upload(
        &mut self,
        machine: usize,
        hand_out: HandOut,
        mut outcomes: Vec<AtomOutcome>,
    ) -> Command {
        let is_sick = self.machines[machine].sickness == Sickness::TearsResults;
        if is_sick || self.random.happens(30) {
            let reason = "torn archive".to_owned();
            return Command::ReportUnusable { hand_out, reason };
        }
        if self.random.happens(10) {
            outcomes.extend_from_within(..);
        }
        Command::ReportFinished {
            hand_out,
            executor: None,
            outcomes,
        }
    }
}
