//! The jobs that tests run.

use serde_json::{Map, Value, json};
use std::fmt::{self, Display};

/// A job named `Job` with one atom for each number from 1 on, which its commands find as `$N`.
#[derive(Clone)]
pub(crate) struct Job(Map<String, Value>);

/// A job of four atoms that run this command.
pub(crate) fn job(command: impl Display) -> Job {
    Job(Map::new()).then(command).atoms(4)
}

impl Job {
    /// A job of which nothing is said yet.
    pub(crate) fn empty() -> Self {
        Self(Map::new())
    }

    /// So many atoms.
    pub(crate) fn atoms(self, number: u32) -> Self {
        self.atomizer(format!("seq 1 {number}"))
    }

    /// The atoms that this command prints.
    pub(crate) fn atomizer(self, command: impl Display) -> Self {
        self.with("atomizers", json!([{"N": command.to_string()}]))
    }

    /// One more command for each atom.
    pub(crate) fn then(self, command: impl Display) -> Self {
        self.one_more("commands", command)
    }

    /// One more command before the first atom of a slave.
    pub(crate) fn setup(self, command: impl Display) -> Self {
        self.one_more("setup_build", command)
    }

    /// One more command after the last atom of a slave.
    pub(crate) fn teardown(self, command: impl Display) -> Self {
        self.one_more("teardown_build", command)
    }

    /// Another field.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// What a field has.
    pub(crate) fn field(&self, field: &str) -> &Value {
        &self.0[field]
    }

    fn one_more(mut self, section: &str, command: impl Display) -> Self {
        let commands = self.0.entry(section).or_insert_with(|| json!([]));
        let commands = commands.as_array_mut().expect("commands are a list");
        commands.push(command.to_string().into());
        self
    }
}

/// The text of its `clusterrunner.yaml`: JSON is YAML.
impl Display for Job {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        json!({"Job": self.0}).fmt(formatter)
    }
}
