//! What may run a job's atoms in place of a new process for each: a worker, which is started once and takes one atom after
//! the other.

use serde::{Deserialize, Deserializer, Serialize};

/// The section `worker` of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// What it is.
    #[serde(flatten)]
    pub program: WorkerProgram,
    /// Whether an atom that fails in the worker runs once more without it, and only that run counts.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub confirm_failures: bool,
}

/// The program of a [`Worker`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "use", rename_all = "lowercase")]
pub enum WorkerProgram {
    /// A shell that forks for each atom.
    Bash,
    /// A Python that has imported pytest and forks for each atom.
    Pytest,
    /// The same for unittest.
    Unittest,
    /// The user's own.
    Command {
        /// The shell command that starts it.
        command: String,
    },
}

impl WorkerProgram {
    /// The word that names it in a job file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Pytest => "pytest",
            Self::Unittest => "unittest",
            Self::Command { .. } => "command",
        }
    }
}

impl Worker {
    /// Reads what a newer master may have written: a worker that this program does not know is none, and atoms run
    /// without it.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let written = serde_json::Value::deserialize(from)?;
        Ok(Self::deserialize(written).ok())
    }
}

fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_yes(truth: &bool) -> bool {
    *truth
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As a slave reads it.
    #[derive(Deserialize)]
    struct Job {
        #[serde(default, deserialize_with = "Worker::known")]
        worker: Option<Worker>,
    }

    #[test]
    fn a_worker_of_a_newer_master_is_none() {
        let worker = |worker| {
            let job = json!({"name": "x", "worker": worker});
            serde_json::from_value::<Job>(job).unwrap().worker
        };
        let bash = Worker {
            program: WorkerProgram::Bash,
            confirm_failures: true,
        };
        assert_eq!(worker(json!({"use": "bash"})), Some(bash.clone()));
        assert_eq!(worker(json!({"use": "mocha"})), None);
        assert_eq!(worker(json!(7)), None);
        assert_eq!(serde_json::to_value(bash).unwrap(), json!({"use": "bash"}));
    }
}
