//! Why a control group is not there, or does not take a limit.

use super::hierarchy::Controller;
use std::io;
use std::path::PathBuf;

/// The texts reach users: they say what of the machine or of its service has to change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlGroupError {
    #[error("this machine has no control groups with the controller {}", .0.name())]
    NoController(Controller),
    #[error("no control group can be made in {}: {source}", .parent.display())]
    NotMade { parent: PathBuf, source: io::Error },
    #[error("its control group {} does not have the controller {}", .group.display(), .controller.name())]
    NotGiven {
        group: PathBuf,
        controller: Controller,
    },
    #[error(
        "its control group {} can not be divided ({source}): start the slave by systemd with Delegate=yes",
        .group.display()
    )]
    NotDivided { group: PathBuf, source: io::Error },
    #[error(
        "its control group {} is not its own (process {process} is there, too): start the slave by systemd with Delegate=yes",
        .group.display()
    )]
    Shared { group: PathBuf, process: u32 },
    #[error(
        "its control group {} is not its own ({source}): start the slave by systemd with Delegate=yes",
        .group.display()
    )]
    NotLeft { group: PathBuf, source: io::Error },
    #[error("there is no {}", .0.display())]
    NoLimit(PathBuf),
    #[error("could not write {text} to {}: {source}", .file.display())]
    NotLimited {
        file: PathBuf,
        text: String,
        source: io::Error,
    },
}
