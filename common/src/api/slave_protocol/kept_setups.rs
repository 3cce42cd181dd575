//! What set-ups have made, which slaves bring to the master for other slaves.

use crate::ids::{SessionId, SlaveId};
use serde::{Deserialize, Serialize};

/// Body of the master's `POST /v1/kept_setup`: a slave asks for an entry of the set-up cache. The answer is 200 with its
/// bytes, or 404 where the master has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSetupRequest {
    /// The slave that asks.
    pub slave_id: SlaveId,
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// The name of the entry: 64 hexadecimal digits.
    pub key: String,
}

/// What goes before the bytes of an entry in the upload of the master's `POST /v1/kept_setups`. The answer is 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSetupReport {
    /// The slave that brings it.
    pub slave_id: SlaveId,
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// The name of the entry: 64 hexadecimal digits.
    pub key: String,
}
