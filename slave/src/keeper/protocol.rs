//! What a slave and its keepers say to each other: lines of JSON through a socket in the instance's directory, which
//! only this user can enter.

use crate::containers::ContainerRuntime;
use clusterrunner_common::api::instances::InstanceOrder;
use clusterrunner_common::work::ReportedState;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line. An order has the environment of an instance, which systems limit to some megabytes.
const LONGEST: u64 = 64 << 20;

/// The first line to a keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeeperOrder {
    pub(crate) instance: InstanceOrder,
    /// The instance's own directory.
    pub(crate) directory: PathBuf,
    /// Where its template is unpacked; none for an image.
    #[serde(default)]
    pub(crate) template: Option<PathBuf>,
    /// How its image is run; none for a workspace.
    #[serde(default)]
    pub(crate) container: Option<ContainerRun>,
    /// How often it was started again before.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// Where the end of a run is noted, for a slave that was not there at the end; none for what is no run.
    #[serde(default)]
    pub(crate) note: Option<PathBuf>,
    /// The mark of all processes of the instance.
    pub(crate) mark: String,
    pub(crate) rules: Rules,
}

/// How instances are kept on this slave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// Where those who call the instance reach this machine.
    pub(crate) host: String,
    /// The first and the last port that it may get.
    pub(crate) ports: (u16, u16),
    /// How long it may take until its port answers.
    pub(crate) start_timeout: Duration,
    /// How long it has to end when it is asked to.
    pub(crate) grace: Duration,
    /// How often in a row it is started again.
    pub(crate) restarts: u32,
    /// How long it may go on without a word of a slave.
    pub(crate) alone_for: Duration,
    /// How many bytes of its output stay on the disk.
    pub(crate) max_log_bytes: u64,
}

/// A further line to a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    /// A slave is there.
    Here,
    /// The instance is to end.
    End,
}

/// A line of a keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// The digest of the snapshot that it runs; empty for an image that was pulled.
    pub(crate) digest: String,
    pub(crate) state: ReportedState,
    pub(crate) restarts: u32,
    /// How many bytes it has printed.
    pub(crate) printed: u64,
}

/// The next line; none at the end.
pub(crate) async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(LONGEST).read_until(b'\n', &mut line).await?;
    match line.pop() {
        Some(b'\n') => Ok(Some(line)),
        // Cut off, or too long.
        Some(_) | None => Ok(None),
    }
}

/// How an image is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerRun {
    pub(crate) runtime: ContainerRuntime,
    pub(crate) image: String,
    /// The port that an image without a template says.
    #[serde(default)]
    pub(crate) exposed: Option<u16>,
}
