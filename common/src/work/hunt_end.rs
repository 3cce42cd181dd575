use serde::{Deserialize, Serialize};

/// How a hunt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HuntEnd {
    /// The atom's exit code was 0.
    Passed,
    /// It was another one, or the atom ran too long.
    Failed,
    /// The atom was ended, or could not be run: nothing is known.
    Dropped,
}
