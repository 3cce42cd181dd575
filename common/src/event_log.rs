//! The event log: what has happened, for programs, in the original's form. Each event is a line of
//! JSON in a file, or on standard output; the latest are also kept in memory to be asked for.
//!
//! Owns form, file and memory. Which events there are is for each daemon to say.

mod kept;

use crate::clock::Timestamp;
use crate::http::refusal;
use crate::logging::RotatingFile;
use crate::printable;
use crate::settings::EventLogTarget;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kept::{Asked, Kept};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter as _;

/// How many events are kept in memory, as in the original; some 2 MB.
const MOST_KEPT: u64 = 100_000;

/// What happened: a tag and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    tag: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Entry {
    /// An event without anything that belongs to it.
    #[must_use]
    pub fn new(tag: &'static str) -> Self {
        let fields = Vec::new();
        Self { tag, fields }
    }

    /// The same event with one field more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Appends it to `lines` as a line of JSON, without its end.
    fn write(&self, lines: &mut String, id: u64, at: Timestamp) {
        let fields = self.fields.iter().map(|(name, value)| (*name, value));
        write_line(lines, self.tag, fields, id, at);
    }
}

/// Written out, since there are two for each atom and all else waits for them; names and tags are ours and
/// plain.
fn write_line<'a>(
    lines: &mut String,
    tag: &str,
    mut fields: impl Iterator<Item = (&'static str, &'a Value)>,
    id: u64,
    at: Timestamp,
) {
    let time = Value::from(at.as_unix_seconds());
    lines.push('{');
    let written = fields.try_for_each(|(name, value)| write!(lines, r#""{name}":{value},"#));
    let written = written.and_then(|()| {
        write!(
            lines,
            r#""__id__":{id},"__tag__":"{tag}","__timestamp__":{time}}}"#
        )
    });
    written.expect("a text takes all that is written to it");
}

/// An event log. Cheap to clone; clones are the same log.
#[derive(Clone, Debug)]
pub struct EventLog(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    kept: Kept,
    target: Target,
    /// Whether the last write failed: a full disk is worth a line once.
    is_failing: bool,
}

#[derive(Debug)]
enum Target {
    Memory,
    Stdout,
    File(RotatingFile),
}

/// The event log's file can not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not open the event log {}: {source} (setting eventlog_filename)", .path.display())]
pub struct EventLogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Which events are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Since {
    /// All that are kept.
    Always,
    /// Those that are newer, in Unix seconds.
    Timestamp(f64),
    /// Those after the event with this id; all, if it is not kept.
    Id(i64),
}

/// A query that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinceError {
    /// One of the two is to be left out.
    #[error("Give 'since_id' or 'since_timestamp', not both.")]
    Both,
    /// A value is not what it should be.
    #[error("'{name}' must be {wanted}, not '{given}'.")]
    Value {
        /// Which.
        name: &'static str,
        /// What is right.
        wanted: &'static str,
        /// What is there.
        given: String,
    },
}

impl Since {
    /// Reads the query of a request; other parameters mean nothing here.
    ///
    /// # Errors
    /// [`SinceError`]
    pub fn parse(query: &str) -> Result<Self, SinceError> {
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let wrong = |name, wanted, given: &str| SinceError::Value {
            name,
            wanted,
            given: given.to_owned(),
        };
        match (value("since_id"), value("since_timestamp")) {
            (Some(_), Some(_)) => Err(SinceError::Both),
            (None, None) => Ok(Self::Always),
            (Some(id), None) => {
                let wrong = |_| wrong("since_id", "the id of an event, a whole number", id);
                id.parse().map(Self::Id).map_err(wrong)
            }
            (None, Some(time)) => match time.parse::<f64>() {
                Ok(seconds) if seconds.is_finite() => Ok(Self::Timestamp(seconds)),
                _ => Err(wrong(
                    "since_timestamp",
                    "a number of seconds since 1970",
                    time,
                )),
            },
        }
    }
}

impl EventLog {
    /// Opens the log that the settings name; its file is rotated like the log's.
    ///
    /// # Errors
    /// The file can not be made.
    pub fn open(target: &EventLogTarget, max_file_size: u64) -> Result<Self, EventLogError> {
        let target = match target {
            EventLogTarget::Stdout => Target::Stdout,
            EventLogTarget::File(path) => {
                let opened = RotatingFile::open(path, max_file_size);
                Target::File(opened.map_err(|source| EventLogError {
                    path: path.clone(),
                    source,
                })?)
            }
        };
        Ok(Self::to(target))
    }

    /// A log that is written nowhere.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::to(Target::Memory)
    }

    fn to(target: Target) -> Self {
        Self(Arc::new(Mutex::new(Log {
            kept: Kept::new(match target {
                Target::Stdout => 0,
                Target::Memory | Target::File(_) => MOST_KEPT,
            }),
            target,
            is_failing: false,
        })))
    }

    /// Notes events that happened at the same moment, as one write. Like a line of the log it goes to
    /// the system's cache at once and is not waited for on disk.
    pub fn record(&self, happened: impl IntoIterator<Item = (Timestamp, Entry)>) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = String::new();
        for (at, entry) in happened {
            let id = log.kept.push(at, &entry);
            entry.write(&mut lines, id, at);
            lines.push('\n');
        }
        if !lines.is_empty() {
            // The file, or standard output, may be shown by a terminal.
            log.write(&printable::json(&lines));
        }
    }

    /// The body of an answer, `{"events": [...]}`, oldest first. As in the original, there are none to ask
    /// for where they go to standard output.
    #[must_use]
    pub fn body(&self, since: Since) -> String {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(log.target, Target::Stdout) {
            return r#"{"events":null}"#.to_owned();
        }
        let asked = log.since(since);
        // Events go on meanwhile.
        drop(log);
        let mut body = r#"{"events":["#.to_owned();
        asked.append_to(&mut body);
        body.push_str("]}");
        body
    }

    /// Answers `GET eventlog` with this query.
    #[must_use]
    pub fn answer(&self, query: Option<&str>) -> Response {
        match Since::parse(query.unwrap_or_default()) {
            Ok(since) => {
                let json = [(header::CONTENT_TYPE, "application/json")];
                (json, self.body(since)).into_response()
            }
            Err(error) => refusal(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

impl Log {
    fn since(&self, since: Since) -> Asked {
        match since {
            Since::Always => self.kept.all(),
            Since::Timestamp(seconds) => self.kept.newer_than(seconds),
            Since::Id(id) => self.kept.after(id),
        }
    }

    fn write(&mut self, lines: &str) {
        let written = match &self.target {
            Target::Memory => Ok(()),
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(lines.as_bytes())
                    .and_then(|()| stdout.flush())
            }
            Target::File(file) => file.make_writer().write_all(lines.as_bytes()),
        };
        if let Err(error) = &written
            && !self.is_failing
        {
            tracing::warn!(%error, "events could not be written to the event log");
        }
        self.is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(number: u64) -> EventLog {
        let log = EventLog::in_memory();
        for n in 1..=number {
            log.record([(Timestamp(n * 1000), Entry::new("T").with("n", n))]);
        }
        log
    }

    fn ids(log: &EventLog, query: &str) -> Vec<u64> {
        let body: Value = serde_json::from_str(&log.body(Since::parse(query).unwrap())).unwrap();
        let events = body["events"].as_array().unwrap().iter();
        events
            .map(|event| event["__id__"].as_u64().unwrap())
            .collect()
    }

    #[test]
    fn an_event_has_the_originals_form() {
        let log = log_of(1);
        let event = r#"{"n":1,"__id__":1,"__tag__":"T","__timestamp__":1.0}"#;
        assert_eq!(
            log.body(Since::Always),
            format!(r#"{{"events":[{event}]}}"#)
        );
    }

    #[test]
    fn one_asks_for_what_is_new() {
        let log = log_of(4);
        assert_eq!(ids(&log, ""), [1, 2, 3, 4]);
        assert_eq!(ids(&log, "since_id=2&x=y"), [3, 4]);
        assert!(ids(&log, "since_id=4").is_empty());
        assert_eq!(ids(&log, "since_id=9"), [1, 2, 3, 4]);
        assert_eq!(ids(&log, "since_id=-1"), [1, 2, 3, 4]);
        assert_eq!(ids(&log, "since_timestamp=2.0"), [3, 4]);
        assert!(ids(&log, "since_timestamp=1e9").is_empty());
        for (query, words) in [
            ("since_id=1&since_timestamp=1", "not both"),
            ("since_id=", "whole number"),
            ("since_id=1.5", "whole number"),
            ("since_timestamp=now", "number of seconds"),
            ("since_timestamp=NaN", "number of seconds"),
        ] {
            let error = Since::parse(query).unwrap_err().to_string();
            assert!(error.contains(words), "{query}: {error}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_file_has_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/events.log");
        let log = EventLog::open(&EventLogTarget::File(path.clone()), 1 << 30).unwrap();
        let number = MOST_KEPT + 3;
        log.record((1..=number).map(|n| (Timestamp(n), Entry::new("T"))));
        let kept = ids(&log, "");
        assert_eq!((kept.len() as u64, kept.first()), (MOST_KEPT, Some(&4)));
        assert_eq!(ids(&log, "since_id=2").len() as u64, MOST_KEPT);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count() as u64, number);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["__tag__"], "T");
        let blocked = EventLogTarget::File(path.join("below a file"));
        let error = EventLog::open(&blocked, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("eventlog_filename"), "{error}");
    }
}
