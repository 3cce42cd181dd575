//! What the exit code of the `clusterrunner` command says. The one table of it.

use clusterrunner_common::api::{BuildResult, BuildStatus, BuildView};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything went well; of a build: all atoms passed.
    Success,
    /// The build is finished and at least one atom failed, ran too long or took slaves down;
    /// `validate` or `journal` found problems; `shutdown` was told of no slave.
    AtomsFailed,
    /// The command line, or what it names, is wrong.
    Usage,
    /// The build could not be prepared or run: no verdict about its atoms.
    BuildError,
    /// The build was canceled, by a request or with Ctrl-C.
    Canceled,
    /// The master is unreachable or refused, or this command has other trouble of its own; it was interrupted, and the
    /// build goes on.
    Trouble,
    /// The build has no atoms, so nothing was tested, and its job does not allow that.
    NoAtoms,
    /// What a command that ran in an app ended with.
    Command(u8),
}

/// All exit codes and what they mean, in words for a user.
const MEANINGS: [(ExitCode, &str); 7] = [
    (ExitCode::Success, "success: all atoms passed"),
    (
        ExitCode::AtomsFailed,
        "an atom failed, timed out or was poison; validate, doctor, journal: something is wrong or\n     damaged, or `repair` would lose something; shutdown: no slave was named",
    ),
    (
        ExitCode::Usage,
        "wrong usage: an option, a path, a build, a slave or the settings",
    ),
    (
        ExitCode::BuildError,
        "the build ended in ERROR: it could not be prepared or run",
    ),
    (ExitCode::Canceled, "the build was canceled, also by Ctrl-C"),
    (
        ExitCode::Trouble,
        "the master can not be reached or refused, or other trouble; Ctrl-C where the build goes on",
    ),
    (
        ExitCode::NoAtoms,
        "the build has no atoms, so nothing was tested (allow_no_atoms in the job allows it)",
    ),
];

impl ExitCode {
    /// The number that the process exits with.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::AtomsFailed => 1,
            Self::Usage => 2,
            Self::BuildError => 3,
            Self::Canceled => 4,
            Self::Trouble => 5,
            Self::NoAtoms => 6,
            Self::Command(code) => code,
        }
    }

    /// What a build's end means; `None` while it is not over.
    #[must_use]
    pub fn of(build: &BuildView) -> Option<Self> {
        match build.status {
            BuildStatus::Queued | BuildStatus::Building => None,
            BuildStatus::Error => Some(Self::BuildError),
            BuildStatus::Canceled => Some(Self::Canceled),
            BuildStatus::Finished if build.lacks_atoms => Some(Self::NoAtoms),
            BuildStatus::Finished if build.result == Some(BuildResult::NoFailures) => {
                Some(Self::Success)
            }
            BuildStatus::Finished => Some(Self::AtomsFailed),
        }
    }

    /// The original's exit code for a `build` that ended like this: 0 where no atom failed and after Ctrl-C
    /// (`is_interrupted`), else 1.
    #[must_use]
    pub const fn as_the_original(self, is_interrupted: bool) -> Self {
        match self {
            Self::Success | Self::NoAtoms => Self::Success,
            Self::Canceled | Self::Trouble if is_interrupted => Self::Success,
            Self::AtomsFailed | Self::Usage | Self::BuildError | Self::Canceled | Self::Trouble => {
                Self::AtomsFailed
            }
            // It has no such command.
            Self::Command(_) => self,
        }
    }

    /// The table of all exit codes, one line each, for help texts.
    #[must_use]
    pub fn table() -> String {
        let rows = MEANINGS.map(|(code, meaning)| format!("  {}  {meaning}", code.number()));
        format!(
            "Exit codes:\n{}\n`app run` ends with the exit code of its command.",
            rows.join("\n")
        )
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_knows_two_codes() {
        for (code, _) in MEANINGS {
            let passes = matches!(code, ExitCode::Success | ExitCode::NoAtoms);
            let expected = u8::from(!passes);
            assert_eq!(code.as_the_original(false).number(), expected);
        }
        assert_eq!(ExitCode::Canceled.as_the_original(true).number(), 0);
        assert_eq!(ExitCode::Trouble.as_the_original(true).number(), 0);
        assert_eq!(ExitCode::BuildError.as_the_original(true).number(), 1);
    }

    #[test]
    fn the_table_lists_each_code_once_and_in_order() {
        let numbers = MEANINGS.map(|(code, _)| code.number());
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
        assert!(ExitCode::table().contains("\n  4  the build was canceled"));
    }
}
