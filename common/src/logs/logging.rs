//! Starts the log: compact lines on standard error and a file that is rotated by size.
//!
//! Owns where log lines go and which are written. What is logged, and with which fields, is the caller's.

mod rotating_file;

pub(crate) use rotating_file::RotatingFile;

use crate::text::printable;
use std::fmt;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt as format};

/// How much is logged, with the original's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything of ours, and warnings of the libraries.
    Debug,
    /// What happens to builds and slaves.
    Info,
    /// As `Info`: our log has no level between the two, and hiding more than was asked for is worse.
    Notice,
    /// What may need attention.
    Warning,
    /// What went wrong.
    Error,
    /// As `Error`, for the same reason.
    Critical,
}

impl LogLevel {
    /// The names in the settings, from much to little.
    pub const NAMES: [&'static str; 6] =
        ["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"];

    const ALL: [Self; 6] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
    ];

    fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::DEBUG,
            Self::Info | Self::Notice => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
            Self::Error | Self::Critical => LevelFilter::ERROR,
        }
    }
}

/// A text is no log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log level is one of DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL")]
pub struct UnknownLogLevel;

impl FromStr for LogLevel {
    type Err = UnknownLogLevel;

    /// Reads a name in any case.
    fn from_str(text: &str) -> Result<Self, UnknownLogLevel> {
        let named = Self::NAMES
            .into_iter()
            .zip(Self::ALL)
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map(|(_, level)| level).ok_or(UnknownLogLevel)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES
            .into_iter()
            .zip(Self::ALL)
            .find(|(_, level)| level == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The log file or its directory can not be made.
    #[error("could not open the log file {}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a log already; it can be started once in a process.
    #[error("the log was already started")]
    AlreadyStarted,
}

/// Starts the log of this process.
///
/// With `foreground`, lines go to standard error, in colour on a terminal. With `file`, they also go there; the file
/// is appended to, its directory is made, and beyond `max_file_size` bytes it is rotated. Each line
/// is written at once, so that nothing is lost at the end.
///
/// # Errors
/// [`LoggingError`].
pub fn start(
    level: LogLevel,
    foreground: bool,
    file: Option<&Path>,
    max_file_size: u64,
) -> Result<(), LoggingError> {
    let to_stderr = foreground.then(|| {
        format::layer()
            .compact()
            .fmt_fields(TerminalFields(CleanFields))
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_filter(wanted(level))
    });
    let to_file = match file {
        Some(path) => {
            let file =
                RotatingFile::open(path, max_file_size).map_err(|source| LoggingError::Open {
                    path: path.to_owned(),
                    source,
                })?;
            Some(
                format::layer()
                    .compact()
                    .fmt_fields(CleanFields)
                    .with_writer(file)
                    .with_ansi(false)
                    .with_filter(wanted(level)),
            )
        }
        None => None,
    };
    tracing_subscriber::registry()
        .with(to_stderr)
        .with(to_file)
        .try_init()
        .map_err(|_| LoggingError::AlreadyStarted)
}

/// Our crates at the level, the libraries only when something is wrong.
fn wanted(level: LogLevel) -> Targets {
    Targets::new()
        .with_target("clusterrunner", level.filter())
        .with_default(level.filter().min(LevelFilter::WARN))
}

/// Writes fields and messages so that each event is one line, and nothing in them is obeyed by the
/// terminal that shows the log, now or later: much of it comes from requests, repositories and slaves.
struct CleanFields;

impl<'writer> FormatFields<'writer> for CleanFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&printable::plain(&text))
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        if !current.fields.is_empty() {
            current.fields.push(' ');
        }
        self.format_fields(current.as_writer(), fields)
    }
}

/// A type of its own for the terminal's fields: layers that share one also share the formatted text
/// of spans.
struct TerminalFields(CleanFields);

impl<'writer> FormatFields<'writer> for TerminalFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        self.0.format_fields(writer, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{debug, info, info_span, subscriber::with_default, warn};

    #[test]
    fn level_names() {
        for (name, level) in LogLevel::NAMES.into_iter().zip(LogLevel::ALL) {
            assert_eq!(name.to_lowercase().parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        assert_eq!("VERBOSE".parse::<LogLevel>(), Err(UnknownLogLevel));
    }

    #[test]
    fn libraries_are_quiet_and_the_file_has_no_colours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/x.log");
        let file = RotatingFile::open(&path, 1 << 20).unwrap();
        let plain = format::layer()
            .compact()
            .fmt_fields(CleanFields)
            .with_writer(file);
        let coloured = format::layer()
            .with_ansi(true)
            .fmt_fields(TerminalFields(CleanFields))
            .with_writer(io::sink);
        let log = tracing_subscriber::registry()
            .with(coloured.with_filter(wanted(LogLevel::Info)))
            .with(plain.with_ansi(false).with_filter(wanted(LogLevel::Info)));
        with_default(log, || {
            let _span = info_span!("subjob", build.id = 7).entered();
            info!(slave.id = 3, "subjob finished");
            debug!("not wanted");
            info!(target: "hyper", "a library's news");
            warn!(target: "hyper", "a library's worry");
        });
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("INFO")
                && text.contains("subjob finished")
                && text.contains("build.id=7"),
            "{text}"
        );
        assert!(
            text.contains("a library's worry") && !text.contains('\u{1b}'),
            "{text:?}"
        );
    }

    /// What the layer for a terminal or a file makes of an event with this text everywhere.
    fn line(text: &str, is_terminal: bool) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let file = RotatingFile::open(&path, 1 << 20).unwrap();
        let layer = format::layer()
            .compact()
            .with_writer(file)
            .with_ansi(is_terminal);
        let tell = || {
            let span = info_span!("build", name = text, later = tracing::field::Empty).entered();
            span.record("later", text);
            info!(shown = %text, debugged = ?text, "could not: {text}");
        };
        let registry = tracing_subscriber::registry();
        match is_terminal {
            true => with_default(
                registry.with(layer.fmt_fields(TerminalFields(CleanFields))),
                tell,
            ),
            false => with_default(registry.with(layer.fmt_fields(CleanFields)), tell),
        }
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn an_event_is_one_line_that_no_terminal_obeys() {
        let text = "x\n2026-01-01T00:00:00Z  INFO forged\u{1b}[2J\u{9b}31m\u{202e}\r\u{8}";
        let in_file = line(text, false);
        let shown = line(text, true);
        for line in [&in_file, &shown] {
            assert_eq!(line.lines().count(), 1, "{line}");
            assert_eq!(line.matches("INFO forged").count(), 5, "{line}");
            assert!(!line.contains("\u{1b}[2J"), "{line:?}");
        }
        let obeyed = |text: &str| text.trim_end().contains(printable::is_obeyed);
        assert!(!obeyed(&in_file), "{in_file:?}");
        let colours = printable::coloured_lines(&shown);
        assert_eq!(colours, shown);
        assert!(shown.contains("\u{1b}["), "{shown:?}");
    }
}
