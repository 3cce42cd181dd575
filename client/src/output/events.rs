//! The lines of `--json` of commands that follow a build. `docs/json.schema.json` describes them; a change of what is
//! there needs another [`VERSION`].

use clusterrunner_common::api::{AtomView, BuildView, FinishView};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use serde::Serialize;

/// The version of all forms of `--json`. What is added to them does not change it.
pub(crate) const VERSION: u32 = 1;

/// What a line says.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// The master has taken the build.
    Submitted { build_id: BuildId },
    /// How far a build is, whenever that has changed.
    Progress(Progress<'a>),
    /// An atom failed, with as much of its output as is asked for.
    AtomFailed {
        build_id: BuildId,
        atom: &'a AtomView,
        output: Option<&'a str>,
        /// Bytes of the output that `output` lacks, where it has only the beginning.
        #[serde(skip_serializing_if = "is_zero")]
        num_bytes_cut: u64,
    },
    /// An atom passed; only under `--verbose`.
    AtomPassed {
        build_id: BuildId,
        atom: &'a AtomView,
    },
    /// An atom has been running for long.
    AtomSlow {
        build_id: BuildId,
        atom: &'a AtomView,
    },
    /// An atom as `logs` lists it.
    Atom {
        build_id: BuildId,
        atom: &'a AtomView,
    },
    /// A line that an atom printed.
    Output {
        build_id: BuildId,
        subjob_id: SubjobId,
        atom_id: AtomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        attempt: Option<Attempt>,
        /// From 0.
        line: u64,
        text: &'a str,
        /// Bytes that are missing at the end of a line that is longer than the master sends at once.
        #[serde(skip_serializing_if = "is_zero")]
        num_bytes_cut: u64,
    },
    /// Something that does not change the result.
    Warning { build_id: BuildId, text: &'a str },
    /// The results are here.
    Results {
        build_id: BuildId,
        directory: String,
        num_files: u64,
    },
    /// An atom has failed for good, and the build goes on: what `wait --until failing` waits for.
    Failing { build: &'a BuildView },
    /// The build is over, and the command ends with this code.
    Ended { build: &'a BuildView, exit_code: u8 },
    /// What went wrong with the command.
    Error {
        message: &'a str,
        hint: Option<&'a str>,
    },
}

// Serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How far a build is.
#[derive(Serialize)]
pub(crate) struct Progress<'a> {
    pub(crate) build_id: BuildId,
    /// `queued`, `preparing`, `waiting_for_slave`, `building` or `archiving`.
    pub(crate) state: &'a str,
    pub(crate) num_atoms: Option<u64>,
    pub(crate) num_atoms_completed: u64,
    pub(crate) num_atoms_failed: u64,
    pub(crate) num_atoms_in_progress: u64,
    /// When it will end, in seconds from now; not there where nothing is known of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finish: Option<FinishView>,
}

/// A line: what it says, and the version of its form.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) json_version: u32,
    #[serde(flatten)]
    pub(super) event: &'a Event<'a>,
}
