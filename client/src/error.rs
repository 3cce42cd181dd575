//! Why a call to a master brought nothing, and whether it may bring something later.

use clusterrunner_common::caller::CallError;
use clusterrunner_common::ids::BuildId;
use reqwest::StatusCode;
use std::path::PathBuf;

/// Why the client did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The call failed, and its repetitions too where it may be repeated.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The master is one of the original, which does not understand our signatures.
    #[error(
        "the master {master} is one of the original ClusterRunner: it accepts only weaker authentication than ours"
    )]
    OriginalMaster {
        /// Its address.
        master: String,
    },
    /// The master says that a build has no archives yet; it never will if it did not finish.
    #[error("the results of build {build} are not ready")]
    ArchiveNotReady {
        /// The build.
        build: BuildId,
    },
    /// An archive broke off on the way.
    #[error("the results of build {build} did not arrive completely: {source}")]
    Download {
        /// The build.
        build: BuildId,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// An archive could not be written.
    #[error("could not write {}: {source}", .path.display())]
    Store {
        /// Where it was to be written.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    /// The status with which the master refused, if it did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Call(error) => error.status(),
            _ => None,
        }
    }

    /// Whether nobody answered at the master's address.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Call(CallError::Unreachable { .. }))
    }

    /// Whether the same call may bring something later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Call(CallError::Unreachable { .. })
            | Self::Download { .. }
            | Self::ArchiveNotReady { .. } => true,
            // A 500 may be the original's answer to a mistake of ours, so it does not count.
            Self::Call(error) => matches!(
                error.status(),
                Some(
                    StatusCode::BAD_GATEWAY
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                )
            ),
            Self::Store { .. } | Self::OriginalMaster { .. } => false,
        }
    }

    /// Whether the request surely did not arrive, so that repeating it can not do anything twice.
    pub(crate) fn never_arrived(&self) -> bool {
        matches!(self, Self::Call(CallError::Unreachable { source, .. }) if source.is_connect())
    }
}
