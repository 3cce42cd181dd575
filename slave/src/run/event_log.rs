//! What of a slave's work goes to the event log, under the original's names and with its fields.

use crate::work::{HandOut, RunOrder};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, ExecutorIndex};
use clusterrunner_common::logs::event_log::{Entry, EventLog};

/// Says that the slave has begun.
pub(crate) fn started(events: &EventLog) {
    let entry = Entry::new("SERVICE_STARTED").with("service", "slave");
    events.record([(Timestamp::now(), entry)]);
}

/// The events of one subjob's run.
#[derive(Clone, Debug)]
pub(crate) struct SubjobEvents {
    /// None for hunts, of which nothing is told.
    events: Option<EventLog>,
    hand_out: HandOut,
    executor: ExecutorIndex,
    job_name: String,
}

impl SubjobEvents {
    pub(crate) fn new(events: EventLog, order: &RunOrder, job_name: String) -> Self {
        Self {
            events: order.hunt.is_none().then_some(events),
            hand_out: order.hand_out,
            executor: order.executor,
            job_name,
        }
    }

    /// The same of another hand-out of the build, on the same executor.
    pub(crate) fn of(&self, hand_out: HandOut) -> Self {
        Self {
            hand_out,
            ..self.clone()
        }
    }

    pub(crate) fn subjob_started(&self) {
        self.subjob("SUBJOB_EXECUTION_START");
    }

    pub(crate) fn subjob_finished(&self) {
        self.subjob("SUBJOB_EXECUTION_FINISH");
    }

    pub(crate) fn atom_started(&self, atom: AtomId) {
        self.record(self.atom("ATOM_START", atom));
    }

    /// Without an exit code where the atom was ended, or could not be run.
    pub(crate) fn atom_finished(&self, atom: AtomId, exit_code: Option<i32>) {
        let entry = self.atom("ATOM_FINISH", atom);
        self.record(entry.with("exit_code", exit_code));
    }

    fn subjob(&self, tag: &'static str) {
        let entry = Entry::new(tag)
            .with("build_id", self.hand_out.build.0)
            .with("subjob_id", self.hand_out.subjob.0)
            .with("executor_id", self.executor.0);
        self.record(entry);
    }

    fn atom(&self, tag: &'static str, atom: AtomId) -> Entry {
        Entry::new(tag)
            .with("build_id", self.hand_out.build.0)
            .with("subjob_id", self.hand_out.subjob.0)
            .with("atom_id", atom.0)
            .with("job_name", self.job_name.as_str())
    }

    fn record(&self, entry: Entry) {
        if let Some(events) = &self.events {
            events.record([(Timestamp::now(), entry)]);
        }
    }
}
