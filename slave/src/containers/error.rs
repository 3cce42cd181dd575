//! Why something could not be done with containers. The texts reach users.

use clusterrunner_common::process::command::CommandError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why the runtime could not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    #[error("container_runtime is {name}, but there is no such program")]
    NoRuntime { name: String },
    #[error("could not start {}: {source}", .program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not {step}: {source}")]
    Io {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    /// `what` is the subcommand.
    #[error("{what} {how}{output}")]
    Failed {
        what: String,
        how: String,
        output: String,
    },
    #[error("{what} did not end within {} s", .limit.as_secs())]
    TimedOut { what: String, limit: Duration },
    #[error("the image archive can not be used: {0}")]
    Archive(String),
    /// The text says why.
    #[error("{0}")]
    NotAvailable(Arc<str>),
    #[error("the container ended before it ran anything")]
    EndedAtOnce,
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("it was canceled")]
    Canceled,
    #[error("the variable {name} can not be given to a container: {why}")]
    Variable { name: String, why: &'static str },
}

impl ContainerError {
    pub(super) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}
