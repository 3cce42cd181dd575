//! What can be wrong with settings, said so that the reader can mend it.

use crate::text::shell::shell_word;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// A line of a settings file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
        }
    }
}

/// Why the settings can not be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file that was named with `-c/--config-file` is not there and can not be made.
    #[error(
        "there is no settings file {}, and it could not be created: {source}; name another one, or omit --config-file",
        .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file can not be read.
    #[error("could not read the settings file {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file, its directory or its lock can not be written.
    #[error("could not write a secret into the settings file {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no random bytes for a secret.
    #[error("could not generate a secret: {0}")]
    Random(getrandom::Error),
    /// Others may read the file that holds the secret.
    #[error(
        "{} holds the secret but has mode {mode:03o}, so that others can read it; run: chmod 600 {}",
        .path.display(),
        shell_word(&.path.display().to_string())
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line that is neither section, setting nor comment.
    #[error("{origin}: {what}")]
    Syntax {
        /// The line.
        origin: Origin,
        /// What is wrong with it.
        what: String,
    },
    /// A setting in a file without sections.
    #[error("{origin}: a setting before the first section; write [general] above it")]
    NoSection {
        /// The line.
        origin: Origin,
    },
    /// A section that no program reads, and that was probably meant to be another one.
    #[error("{origin}: unknown section [{section}]; {}", did_you_mean(.nearest, "the sections are [general], [master], [slave], [notify NAME] and [pool NAME], without others in them"))]
    UnknownSection {
        /// The line.
        origin: Origin,
        /// The section.
        section: String,
        /// The one that was probably meant, in brackets.
        nearest: Option<String>,
    },
    /// A section with a name, such as `[notify chat]` or `[pool big]`, that is not complete, or has no good name.
    #[error("{origin}: section [{word} {name}]: {what}")]
    NamedSection {
        /// The line of its header.
        origin: Origin,
        /// The first word of the header.
        word: &'static str,
        /// What stands behind that word.
        name: String,
        /// What is wrong, and what would be right; never a secret.
        what: String,
    },
    /// A section that a file has twice.
    #[error("{origin}: section [{section}] begins in line {first} already; join the two")]
    SectionTwice {
        /// The second line.
        origin: Origin,
        /// The section.
        section: String,
        /// The first line.
        first: usize,
    },
    /// A key that no program knows.
    #[error("{origin}: unknown setting \"{key}\"; {}", did_you_mean(.nearest, "conf/clusterrunner.conf lists all settings"))]
    UnknownKey {
        /// The line or flag.
        origin: Origin,
        /// The key.
        key: String,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// A key in a section whose program does not use it.
    #[error("{origin}: setting \"{key}\" has no meaning in [{section}]; move it to {allowed}")]
    WrongSection {
        /// The line.
        origin: Origin,
        /// The key.
        key: String,
        /// Where it is.
        section: String,
        /// Where it can be.
        allowed: String,
    },
    /// A key that is twice in one section.
    #[error("{origin}: setting \"{key}\" is already set in line {first}; remove one of them")]
    Twice {
        /// The second line.
        origin: Origin,
        /// The key.
        key: String,
        /// The first line.
        first: usize,
    },
    /// A value of the wrong type, out of range or, if a secret, of no use.
    #[error("{origin}: setting \"{key}\": {what}")]
    WrongValue {
        /// The line, variable or flag.
        origin: Origin,
        /// The key.
        key: String,
        /// What would be right and what is there; never a secret.
        what: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("setting \"{set}\" is there but \"{missing}\" is not: HTTPS needs both, or neither")]
    HalfIdentity {
        /// The key that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The master is to be called over HTTPS, and nothing else of this program is.
    #[error(
        "the master's address begins with https:// but no HTTPS is set up here: set https_ca_file, and \
         https_cert_file and https_key_file for a daemon"
    )]
    NoHttps,
    /// Slaves would be given up between two heartbeats.
    #[error(
        "slave_lost_after is {lost_after} s but heartbeat_interval is {heartbeat} s: slaves would be given up between \
         two heartbeats; set slave_lost_after to {} or remove it", .heartbeat.saturating_mul(3)
    )]
    LostBeforeHeartbeat {
        /// Seconds of `slave_lost_after`.
        lost_after: u64,
        /// Seconds of `heartbeat_interval`.
        heartbeat: u64,
    },
    /// A default could not be found out.
    #[error(
        "setting \"{key}\" has no default here because {why}; set it in the file or as {variable}"
    )]
    NoDefault {
        /// The key.
        key: &'static str,
        /// What is missing.
        why: &'static str,
        /// The environment variable that sets it.
        variable: String,
    },
    /// Several lines of one file are wrong.
    #[error("{} mistakes in the settings:{}", .0.len(), lines(.0))]
    Several(
        /// The mistakes, in the order of their lines.
        Vec<SettingsError>,
    ),
}

impl SettingsError {
    /// One error for all mistakes of a file; nothing where there is none.
    pub(super) fn all(mut mistakes: Vec<Self>) -> Option<Self> {
        match mistakes.len() {
            0 | 1 => mistakes.pop(),
            _ => Some(Self::Several(mistakes)),
        }
    }

    /// Whether the settings below a line have no section because of this mistake.
    pub(super) fn is_about_section(&self) -> bool {
        matches!(
            self,
            Self::UnknownSection { .. }
                | Self::NamedSection { .. }
                | Self::SectionTwice { .. }
                | Self::NoSection { .. }
        )
    }
}

fn lines(mistakes: &[SettingsError]) -> String {
    let lines = mistakes.iter().map(|mistake| format!("\n  {mistake}"));
    lines.collect()
}

fn did_you_mean(nearest: &Option<String>, otherwise: &str) -> String {
    match nearest {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => otherwise.to_owned(),
    }
}
