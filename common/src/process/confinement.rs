//! Running a command apart from the machine: a process of our own program goes in front of its shell, enters control groups,
//! puts up walls (namespaces, mounts), gives up what power it has, and becomes the shell or waits for it.
//!
//! Who starts a command says what is to be done ([`Confinement`]); what that is good for and when it is to be done is for
//! others to decide. What the command finds in its environment comes under other names, so that nothing of it
//! means anything to the process in front, which may be root.
//!
//! Three processes where there are walls: the *door* (the one that is started, outside of them), the *first* one of a
//! process namespace, and the command. The door waits for the first one's word, and ends as the command has ended.

mod calls;
mod confined;
mod door;
mod filter;
mod first;
mod scope;
mod walls;

pub use door::confine;
pub use scope::keeps_abstract_sockets;

use super::variables::AllowedVariables;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first argument of the process in front of a command, see [`confine`].
pub const CONFINE: &str = "confine-command";

/// Its exit code when the command was not started. The command may have the same: only a report says which it was.
pub const NOT_CONFINED_EXIT_CODE: i32 = 125;

/// Begins the names of the command's variables in the environment of the process in front of it.
const GIVEN: &str = "CLUSTERRUNNER_GIVEN_";

/// How a command is kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Our program, which calls [`confine`] if its first argument is [`CONFINE`].
    pub program: PathBuf,
    /// Which variables of this process, or of whoever ordered the build, the command inherits.
    pub allowed: AllowedVariables,
    /// What is to be done.
    pub order: ConfinementOrder,
}

/// What the process in front of a command does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinementOrder {
    /// Files of control groups that take a process which writes there.
    pub groups: Vec<PathBuf>,
    /// Where it says why the command was not started; nothing is there else.
    pub report: PathBuf,
    /// What the command can not get behind.
    pub walls: Option<Walls>,
}

/// Namespaces, and what is seen within them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walls {
    /// Who the command is; `None` for the same user, in a user namespace.
    pub account: Option<Account>,
    /// Whether it has the machine's network, and not one of its own where nothing is but its loopback.
    pub network: bool,
    /// Files and directories that are empty for it.
    pub hidden: Vec<PathBuf>,
    /// What it sees all the same, and may change.
    pub writable: Vec<PathBuf>,
    /// What it sees all the same.
    pub readable: Vec<PathBuf>,
    /// The directory that is its `/tmp` and `/var/tmp`.
    pub temporary: PathBuf,
    /// An empty file.
    pub empty: PathBuf,
    /// Whether it may make namespaces and mounts of its own.
    pub nested_sandboxes: bool,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

impl Confinement {
    /// The process in front of `shell`; the shell's arguments are to be added.
    ///
    /// # Errors
    /// A path that is no text.
    pub(super) fn command(&self, shell: &str) -> std::io::Result<Command> {
        let order = serde_json::to_string(&self.order)?;
        let mut command = Command::new(&self.program);
        command.args([CONFINE, &order, shell]);
        Ok(command)
    }

    /// The name under which a variable gets to the command.
    pub(super) fn name_of(name: impl Into<OsString>) -> OsString {
        let mut given = OsString::from(GIVEN);
        given.push(name.into());
        given
    }

    /// Why the last command with this report was not started, if that is so. The report is taken away.
    #[must_use]
    pub fn why_not_started(&self) -> Option<String> {
        let report = &self.order.report;
        let text = std::fs::read_to_string(report).ok()?;
        std::fs::remove_file(report).ok();
        Some(text)
    }
}

/// What went wrong, for a report.
fn failed(step: &str, path: Option<&Path>, error: impl std::fmt::Display) -> String {
    match path {
        Some(path) => format!("could not {step} {}: {error}", path.display()),
        None => format!("could not {step}: {error}"),
    }
}
