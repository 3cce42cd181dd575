//! Why a request to a cluster came to nothing, in words for operators.

use super::running::RunError;
use clusterrunner_common::text::printable::plain_lines;
use std::io;
use std::path::PathBuf;

/// How much of what a server says is told.
const TOLD: usize = 500;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The master is in no pod.
    #[error(
        "this master does not run in a pod (KUBERNETES_SERVICE_HOST is not set): set api_server, token_file, ca_file and \
         namespace in the pool's section, or kubectl"
    )]
    NoPod,
    /// A file that opens the server can not be read, or has something else in it.
    #[error("{what} {}: {source}", .path.display())]
    File {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it can not be read or used.
        #[source]
        source: io::Error,
    },
    /// The client of HTTP can not be made.
    #[error("could not start the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// There was no answer, or only the beginning of one.
    #[error("could not {doing}: the API server {server} does not answer: {what}")]
    Unreachable {
        /// What was asked for.
        doing: String,
        /// The address of the API server.
        server: String,
        /// What went wrong on the way to the server.
        what: String,
    },
    /// The server said no.
    #[error("could not {doing}: {}", said(*.status, .message))]
    Refused {
        /// What was asked for.
        doing: String,
        /// The status of HTTP.
        status: u16,
        /// The name of the reason.
        reason: String,
        /// What the server says.
        message: String,
    },
    /// What was answered can not be read.
    #[error("could not {doing}: the answer can not be read: {what}")]
    Answer {
        /// What was asked for.
        doing: String,
        /// What is wrong.
        what: String,
    },
    /// `kubectl` did not end well.
    #[error(transparent)]
    Run(#[from] RunError),
}

fn said(status: u16, message: &str) -> String {
    let hint = match status {
        401 => " (the token is not taken: is token_file the right one?)",
        410 => " (the list was too old each time that it was gone on with)",
        _ => "",
    };
    match message {
        "" => format!("the API server answers {status}{hint}"),
        message => format!("the API server answers {status}: {}{hint}", told(message)),
    }
}

/// The beginning of what a server says, in one line.
pub(super) fn told(text: &str) -> String {
    let text = plain_lines(text.trim()).replace('\n', "; ");
    text.chars().take(TOLD).collect()
}

impl ApiError {
    /// Whether nothing was made, for sure.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::NoPod | Self::File { .. } | Self::Client(_) => true,
            Self::Refused { status, .. } => *status < 500,
            Self::Unreachable { .. } | Self::Answer { .. } | Self::Run(_) => false,
        }
    }

    /// Whether another request came in between, as happens at the books of quotas.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, reason, .. } if reason == "Conflict")
    }
}
