//! The audit log: who asked for what, when and from where. Ours.

use serde::{Deserialize, Serialize};

/// Answer to `GET /v2/audit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditBody {
    /// The newest first.
    pub entries: Vec<AuditView>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditView {
    /// Its number: each is one more than the one before.
    pub number: u64,
    /// When the master decided it, in Unix seconds.
    pub at: f64,
    /// What the user was called then, `the secret`, `the Binder key`, or `nobody`: a slave of the original, or somebody who
    /// registers.
    pub by: String,
    /// The address that the request came from; `None` if it came by no connection.
    pub from: Option<String>,
    /// What came of it, in words.
    pub what: String,
}

/// Answer to `GET /v2/audit/verification`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerification {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the oldest one.
    pub first: u64,
    /// The SHA-256 of the newest link, in hex: who notes it elsewhere can ask for it later.
    pub head: String,
    /// Whether the hash that was asked for is that of a link; `None` if none was asked for.
    pub has_expected: Option<bool>,
    /// The first fault; `None` if all links follow from each other.
    pub fault: Option<AuditFault>,
}

/// Where the log is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFault {
    /// The number of the entry at which it shows.
    pub number: u64,
    /// What is wrong.
    pub what: String,
}
