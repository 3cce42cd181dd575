//! The command that is kept apart, and what is said of it to the process in front of it.

use super::{GIVEN, calls, failed};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The longest word of the first process.
pub(super) const LONGEST_WORD: usize = 4096;

/// The command itself.
pub(super) struct Confined {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// Where it runs, by its name: behind walls another directory may have this name.
    directory: PathBuf,
}

/// What is heard of the first process.
pub(super) enum Word {
    /// The command was not started.
    Failed(String),
    /// The command has ended; the status is the system's.
    Ended {
        status: i32,
        /// Whether nothing of what it started is there any more.
        is_alone: bool,
    },
}

/// Nobody may wait for the end of a stream that this process only happens to have.
pub(super) fn leave_streams() {
    let null = File::options().read(true).write(true).open("/dev/null");
    let Ok(null) = null else {
        return;
    };
    rustix::stdio::dup2_stdin(&null).ok();
    rustix::stdio::dup2_stdout(&null).ok();
    rustix::stdio::dup2_stderr(&null).ok();
}

impl Word {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Failed(reason) => {
                let mut bytes = vec![b'F'];
                bytes.extend(reason.bytes().take(LONGEST_WORD / 2));
                bytes.push(0);
                bytes
            }
            Self::Ended { status, is_alone } => {
                let mut bytes = vec![b'E', u8::from(*is_alone)];
                bytes.extend(status.to_ne_bytes());
                bytes
            }
        }
    }

    /// Words that came together stand one behind the other; the first one is the one that counts.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'F', reason @ ..] => {
                let reason = reason.split(|byte| *byte == 0).next().unwrap_or_default();
                Some(Self::Failed(String::from_utf8_lossy(reason).into_owned()))
            }
            [b'E', is_alone, a, b, c, d, ..] => Some(Self::Ended {
                status: i32::from_ne_bytes([*a, *b, *c, *d]),
                is_alone: *is_alone == 1,
            }),
            _ => None,
        }
    }
}

impl Confined {
    pub(super) fn new(program: OsString, arguments: Vec<OsString>) -> Result<Self, String> {
        let directory = std::env::current_dir();
        let directory = directory.map_err(|error| failed("find its directory", None, error))?;
        let given = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.as_bytes().strip_prefix(GIVEN.as_bytes())?;
            Some((OsString::from_vec(name.to_vec()), value))
        });
        Ok(Self {
            program,
            arguments,
            environment: given.collect(),
            directory,
        })
    }

    /// Becomes the command; says why that is not possible.
    pub(super) fn become_it(&self) -> String {
        if let Err(error) = std::env::set_current_dir(&self.directory) {
            return failed("enter", Some(&self.directory), error);
        }
        calls::ignore_signals(false);
        let error = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .exec();
        failed("start", Some(self.program.as_ref()), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_said() {
        let ended = Word::Ended {
            status: 9,
            is_alone: true,
        };
        let read = Word::read(&ended.bytes());
        assert!(matches!(
            read,
            Some(Word::Ended {
                status: 9,
                is_alone: true
            })
        ));
        // What comes behind the word that counts is not read.
        let mut both = Word::Failed("no walls".to_owned()).bytes();
        both.extend(ended.bytes());
        let read = Word::read(&both);
        assert!(matches!(read, Some(Word::Failed(reason)) if reason == "no walls"));
        assert!(Word::read(b"").is_none() && Word::read(b"E1").is_none());
    }
}
