//! The atoms of a build as rows of a table: for readers that take very many at once. Pure.

use super::atoms;
use crate::read::running::Runs;
use clusterrunner_common::api::{AtomState, AtomView, AttemptView, BatchInVainView};
use clusterrunner_common::ids::{AtomId, Attempt, ExecutorIndex, SlaveId, SubjobId};
use clusterrunner_common::work::InWorker;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use serde::Serialize;

/// What stands in an [`AtomRow`], in order.
pub(crate) const ATOM_COLUMNS: [&str; 23] = [
    "subjob_id",
    "atom_id",
    "name",
    "value",
    "state",
    "exit_code",
    "signal",
    "trouble",
    "attempt",
    "slave_id",
    "slave_url",
    "executor_id",
    "started_at",
    "actual_time",
    "expected_time",
    "output_bytes",
    "max_memory_bytes",
    "cpu_seconds",
    "is_flaky",
    "failed_attempts",
    "fails_as_flaky",
    "worker",
    "batch_in_vain",
];

/// An atom; in JSON a list of values, one for each of [`ATOM_COLUMNS`]. What is not known is null. The units are those
/// of the atom's own page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AtomRow(
    SubjobId,
    AtomId,
    Option<String>,
    String,
    AtomState,
    Option<i32>,
    Option<i32>,
    Option<String>,
    Option<Attempt>,
    Option<SlaveId>,
    Option<String>,
    Option<ExecutorIndex>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<u64>,
    Option<u64>,
    Option<f64>,
    bool,
    Vec<AttemptView>,
    bool,
    Option<InWorker>,
    Option<BatchInVainView>,
);

impl AtomRow {
    /// Whether the atom runs.
    pub(crate) fn runs(&self) -> bool {
        self.4 == AtomState::InProgress
    }
}

/// The rows of a subjob's atoms, in their order.
pub(crate) fn atom_rows(build: &Build, id: SubjobId, subjob: &Subjob, runs: Runs) -> Vec<AtomRow> {
    let rows = atoms(build, id, subjob, runs).map(|atom| {
        let slave = subjob.slave.filter(|_| atom.state != AtomState::NotStarted);
        let slave_url = slave.and_then(|slave| build.slave_urls.get(&slave));
        row(atom, slave, slave_url.cloned())
    });
    rows.collect()
}

fn row(atom: AtomView, slave_id: Option<SlaveId>, slave_url: Option<String>) -> AtomRow {
    AtomRow(
        atom.subjob_id,
        atom.id,
        atom.name,
        atom.value.unwrap_or(atom.command_string),
        atom.state,
        atom.exit_code,
        atom.signal,
        atom.trouble,
        atom.attempt,
        slave_id,
        slave_url,
        atom.executor_id,
        atom.started_at,
        atom.actual_time,
        atom.expected_time,
        atom.output_bytes,
        atom.max_memory_bytes,
        atom.cpu_seconds,
        atom.is_flaky,
        atom.failed_attempts,
        atom.fails_as_flaky,
        atom.worker,
        atom.batch_in_vain,
    )
}
