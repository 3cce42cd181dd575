//! An instance that is a container: the runtime runs it in the foreground, as a process below the keeper.

use serde::{Deserialize, Serialize};

/// How an image is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerRun {
    /// The name of the container, which nothing else on this machine has.
    pub(crate) name: String,
}
