//! Slaves by commands of the operator, which get JSON on their standard input and print JSON. `docs/pools.md` describes it.

use super::provider::{Order, Provider, ProviderError};
use super::running::Run;
use clusterrunner_common::settings::CommandPool;
use clusterrunner_core::pools::{Listed, ListedState};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What is told of a list.
const TOLD: usize = 200;

/// The commands.
#[derive(Clone, Debug)]
pub(super) struct CommandProvider {
    commands: CommandPool,
    directory: PathBuf,
}

#[derive(Serialize)]
struct ListOrder<'a> {
    prefix: &'a str,
}

#[derive(Serialize)]
struct StopOrder<'a> {
    slaves: Vec<StopOne<'a>>,
}

#[derive(Serialize)]
struct StopOne<'a> {
    name: &'a str,
    id: &'a str,
}

/// What the list command prints.
#[derive(Deserialize)]
struct ListAnswer {
    slaves: Vec<ListedOne>,
}

#[derive(Deserialize)]
struct ListedOne {
    name: String,
    #[serde(default)]
    id: Option<String>,
    state: State,
    #[serde(default)]
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Queued,
    Running,
    /// It is over; many tools go on listing what is.
    Ended,
}

impl CommandProvider {
    pub(super) fn new(commands: CommandPool, directory: &Path) -> Self {
        Self {
            commands,
            directory: directory.to_owned(),
        }
    }

    async fn run(
        &self,
        (program, line): (&str, &str),
        order: &impl Serialize,
    ) -> Result<String, ProviderError> {
        let input = serde_json::to_vec(order).map_err(|error| ProviderError::Answer {
            program: program.to_owned(),
            what: error.to_string(),
        })?;
        let arguments = ["/bin/sh", "-c", line].map(OsStr::new);
        let run = Run {
            program,
            arguments: &arguments,
            directory: &self.directory,
            limit: self.commands.timeout,
        };
        Ok(run.with_input(&input).await?)
    }
}

impl Provider for CommandProvider {
    async fn start(&self, order: &Order) -> Result<(), ProviderError> {
        let command = ("start_command", self.commands.start_command.as_str());
        self.run(command, order).await.map(drop)
    }

    async fn stop(&self, listed: &[Listed]) -> Result<(), ProviderError> {
        let slaves = listed.iter().map(|one| StopOne {
            name: &one.name,
            id: &one.id,
        });
        let order = StopOrder {
            slaves: slaves.collect(),
        };
        let command = ("stop_command", self.commands.stop_command.as_str());
        self.run(command, &order).await.map(drop)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ProviderError> {
        let program = "list_command";
        let command = (program, self.commands.list_command.as_str());
        let printed = self.run(command, &ListOrder { prefix }).await?;
        read_list(&printed).map_err(|error| ProviderError::Answer {
            program: program.to_owned(),
            what: format!(
                "{error}; expected {{\"slaves\": [{{\"name\": ..., \"state\": \"queued\" | \"running\" | \"ended\"}}]}}, found {:?}",
                printed.chars().take(TOLD).collect::<String>()
            ),
        })
    }
}

fn read_list(printed: &str) -> Result<Vec<Listed>, serde_json::Error> {
    let answer: ListAnswer = serde_json::from_str(printed)?;
    let listed = answer.slaves.into_iter().filter_map(|one| {
        let state = match one.state {
            State::Queued => ListedState::Queued { why: one.why },
            State::Running => ListedState::Running,
            State::Ended => return None,
        };
        Some(Listed {
            id: one.id.unwrap_or_else(|| one.name.clone()),
            name: one.name,
            state,
        })
    });
    Ok(listed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() {
        let listed = read_list(
            r#"{"slaves": [{"name": "a", "id": "i-1", "state": "running", "type": "m5"},
                {"name": "b", "state": "queued", "why": "no quota"}, {"name": "c", "state": "ended"}]}"#,
        );
        let listed = listed.unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!((listed[0].id.as_str(), listed[1].id.as_str()), ("i-1", "b"));
        let why = Some("no quota".to_owned());
        assert_eq!(listed[1].state, ListedState::Queued { why });
        assert!(read_list("[]").is_err() && read_list("").is_err());
        assert!(read_list(r#"{"slaves": [{"name": "a", "state": "dead"}]}"#).is_err());
    }
}
