//! What is remembered, and of what.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::history::Memory;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many bytes of a name are kept.
pub(super) const MAX_NAME: usize = 500;

/// A job of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryJob {
    /// The project.
    pub project: ProjectId,
    /// The directory in the repository, where it is not the whole.
    pub inside: String,
    /// The name of the job.
    pub name: String,
}

/// What something is that runs in builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An atom.
    Atom,
    /// A test that a report of an atom names.
    Test,
}

/// What runs in builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct What {
    /// Whether it is an atom or a test.
    pub kind: Kind,
    /// Its name; of an atom its value.
    pub name: String,
    /// The class of a test.
    pub class: Option<String>,
    /// The whole text of the atom, or of the atom of a test: an atomizer of another variable may print the same value.
    pub atom: Arc<str>,
}

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of what; names are cut off where they are very long, and of an atom its value stands for it all.
    pub what: What,
    /// When its last build was over.
    pub last_at: Timestamp,
    /// How it went.
    pub memory: Memory,
}

impl What {
    /// With names of the length that is kept.
    pub(super) fn shortened(&self) -> Self {
        Self {
            kind: self.kind,
            name: shortened(&self.name).to_owned(),
            class: self
                .class
                .as_deref()
                .map(|class| shortened(class).to_owned()),
            atom: shortened(&self.atom).into(),
        }
    }
}

/// As much of a name as is kept.
pub(super) fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}
