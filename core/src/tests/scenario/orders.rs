//! Commands in a few words: what slaves, users and adapters say.

use super::{Scenario, Turn, finished, fresh, proved, request};
use crate::actor::Actor;
use crate::builds::hand_out::HandOut;
use crate::builds::plan::Plan;
use crate::command::{Command, SlaveChoice};
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SlaveId, SubjobId};
use clusterrunner_common::work::FinishedAttempt;
use std::collections::BTreeSet;

impl Scenario {
    /// Connects a slave that knows of its registration, if it has one.
    pub(in crate::tests) fn connect(
        &mut self,
        url: &str,
        session: &str,
        num_executors: u32,
    ) -> Turn {
        let known_as = self.cluster.slave_at(url).map(|slave| slave.id);
        self.connect_as(url, session, num_executors, known_as)
    }

    pub(in crate::tests) fn connect_as(
        &mut self,
        url: &str,
        session: &str,
        num_executors: u32,
        known_as: Option<SlaveId>,
    ) -> Turn {
        self.tell(Command::ConnectSlave {
            url: url.to_owned(),
            session: SessionId(session.to_owned()),
            num_executors,
            labels: BTreeSet::new(),
            known_as,
            finished: Vec::new(),
            seen: proved(self.seen()),
            fresh: fresh(),
            key: None,
        })
    }

    /// Connects a slave in its first life that has these labels.
    pub(in crate::tests) fn connect_labelled(
        &mut self,
        url: &str,
        num_executors: u32,
        labels: &[&str],
    ) -> Turn {
        self.tell(Command::ConnectSlave {
            url: url.to_owned(),
            session: SessionId("life 1".to_owned()),
            num_executors,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            known_as: None,
            finished: Vec::new(),
            seen: proved(self.seen()),
            fresh: fresh(),
            key: None,
        })
    }

    /// Connects a slave in a new life that has results of the life `of`: build, subjob and attempt.
    pub(in crate::tests) fn connect_with(
        &mut self,
        url: &str,
        session: &str,
        of: &str,
        results: &[(u64, u32, u32)],
    ) -> Turn {
        let finished = results
            .iter()
            .map(|(build, subjob, attempt)| FinishedAttempt {
                build_id: BuildId(*build),
                subjob_id: SubjobId(*subjob),
                attempt: Attempt(*attempt),
                session_id: SessionId(of.to_owned()),
                incarnation: self.cluster.lineage().incarnation().cloned(),
            });
        let finished = finished.collect();
        self.tell(Command::ConnectSlave {
            url: url.to_owned(),
            session: SessionId(session.to_owned()),
            num_executors: 2,
            labels: BTreeSet::new(),
            known_as: None,
            finished,
            seen: proved(self.seen()),
            fresh: fresh(),
            key: None,
        })
    }

    pub(in crate::tests) fn lose(&mut self, slave: u64) -> Turn {
        let reason = "silent".to_owned();
        let slave = SlaveId(slave);
        self.tell(Command::GiveSlaveUp { slave, reason })
    }

    pub(in crate::tests) fn die(&mut self, slave: u64) -> Turn {
        let reason = "silent".to_owned();
        let slave = SlaveId(slave);
        self.tell(Command::ReportSlaveDied { slave, reason })
    }

    /// An order reached another life of a slave.
    pub(in crate::tests) fn starts_again(&mut self, slave: u64) -> Turn {
        let slave = SlaveId(slave);
        self.tell(Command::ReportSlaveStartedAgain { slave })
    }

    pub(in crate::tests) fn drain(&mut self, slave: u64) -> Turn {
        let slave = SlaveId(slave);
        self.tell(Command::DrainSlave {
            by: Actor::SecretHolder,
            slave,
        })
    }

    pub(in crate::tests) fn undrain(&mut self, slave: u64) -> Turn {
        let slave = SlaveId(slave);
        self.tell(Command::UndrainSlave {
            by: Actor::SecretHolder,
            slave,
        })
    }

    pub(in crate::tests) fn shut_down(&mut self, slaves: &[u64]) -> Turn {
        let slaves = slaves.iter().copied().map(SlaveId).collect();
        let slaves = SlaveChoice::Named(slaves);
        self.tell(Command::ShutDownSlaves {
            by: Actor::SecretHolder,
            slaves,
        })
    }

    pub(in crate::tests) fn queue(&mut self, project: &str) -> Turn {
        let request = Box::new(request(project));
        self.tell(Command::QueueBuild {
            by: Actor::SecretHolder,
            request,
        })
    }

    pub(in crate::tests) fn prepared(&mut self, build: u64, plan: Plan) -> Turn {
        let plan = Box::new(plan);
        let build = BuildId(build);
        self.tell(Command::ReportPrepared { build, plan })
    }

    /// Queues a build of a project of its own and prepares it.
    pub(in crate::tests) fn build(&mut self, plan: Plan) -> Turn {
        let build = self.cluster.builds().count() as u64 + 1;
        self.queue(&format!("project {build}"));
        self.prepared(build, plan)
    }

    pub(in crate::tests) fn cancel(&mut self, build: u64) -> Turn {
        let build = BuildId(build);
        self.tell(Command::CancelBuild {
            by: Actor::SecretHolder,
            build,
        })
    }

    pub(in crate::tests) fn set_up(&mut self, slave: u64, build: u64) -> Turn {
        let session = self.session(slave);
        let (slave, build) = (SlaveId(slave), BuildId(build));
        self.tell(Command::ReportSetUp {
            slave,
            session,
            build,
        })
    }

    pub(in crate::tests) fn setup_failed(&mut self, slave: u64, build: u64, reason: &str) -> Turn {
        let session = self.session(slave);
        self.tell(Command::ReportSetupFailed {
            slave: SlaveId(slave),
            session,
            build: BuildId(build),
            reason: reason.to_owned(),
        })
    }

    pub(in crate::tests) fn torn_down(&mut self, slave: u64, build: u64) -> Turn {
        let (slave, build) = (SlaveId(slave), BuildId(build));
        self.tell(Command::ReportTornDown { slave, build })
    }

    /// A result with one atom that exited with 0.
    pub(in crate::tests) fn finish(&mut self, hand_out: HandOut) -> Turn {
        self.tell(finished(hand_out, &[0]))
    }

    pub(in crate::tests) fn archived(&mut self, build: u64) -> Turn {
        let build = BuildId(build);
        self.tell(Command::ReportArchived {
            build,
            template: None,
        })
    }
}
