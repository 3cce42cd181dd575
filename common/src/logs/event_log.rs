//! The event log: what has happened, for programs, in the original's form. Each event is a line of
//! JSON in a file, or on standard output; the latest are also kept in memory to be asked for.
//!
//! Owns form, file and memory. Which events there are is for each daemon to say.

mod kept;
mod page;

use crate::clock::Timestamp;
use crate::http::refusal;
use crate::lock::lock;
use crate::logs::logging::RotatingFile;
use crate::text::printable;
use crate::turns::Turns;
use axum::http::StatusCode;
use axum::response::Response;
use kept::Kept;
use page::Page;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tracing_subscriber::fmt::MakeWriter as _;

/// How many events are kept in memory, as in the original; some 2 MB.
const MOST_KEPT: u64 = 100_000;

/// How many an answer has at most. Who wants more asks again, with the id of the last one.
const PAGE: u64 = 1000;

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

    /// Appends it to `lines` as a line of JSON, without its end. Written out, since there are two for each atom and all
    /// else waits for them; names and tags are ours and plain.
    #[expect(clippy::expect_used, reason = "a text takes all that is written to it")]
    fn write(&self, lines: &mut String, id: u64, at: Timestamp) {
        let (tag, time) = (self.tag, Value::from(at.as_unix_seconds()));
        lines.push('{');
        let mut fields = self.fields.iter();
        let written = fields.try_for_each(|(name, value)| write!(lines, r#""{name}":{value},"#));
        let written = written.and_then(|()| {
            write!(
                lines,
                r#""__id__":{id},"__tag__":"{tag}","__timestamp__":{time}}}"#
            )
        });
        written.expect("a text takes all that is written to it");
    }
}

/// Where the event log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventLogTarget {
    /// To standard output.
    Stdout,
    /// To this file.
    File(PathBuf),
}

/// An event log. Cheap to clone; clones are the same log.
#[derive(Clone, Debug)]
pub struct EventLog {
    log: Arc<Mutex<Log>>,
    /// Pieces of answers are made one at a time: writing events out takes a processor, which builds need.
    turns: Turns,
}

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
enum Since {
    /// All that are kept.
    Always,
    /// Those that are newer, in Unix seconds.
    Timestamp(f64),
    /// Those after the event with this id; all, if it is not kept.
    Id(i64),
}

/// A query that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum SinceError {
    /// One of the two is to be left out.
    #[error("Give 'since_id' or 'since_timestamp', not both.")]
    Both,
    /// A value is not what it should be.
    #[error("'{name}' must be {wanted}, not '{given}'.")]
    Value {
        /// The name of the parameter.
        name: &'static str,
        /// What the value may be.
        wanted: &'static str,
        /// The value as it was given.
        given: String,
    },
}

impl Since {
    /// Reads the query of a request; other parameters mean nothing here.
    ///
    /// # Errors
    /// [`SinceError`]
    fn parse(query: &str) -> Result<Self, SinceError> {
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
        let log = Log {
            kept: Kept::new(match target {
                Target::Stdout => 0,
                Target::Memory | Target::File(_) => MOST_KEPT,
            }),
            target,
            is_failing: false,
        };
        Self {
            log: Arc::new(Mutex::new(log)),
            turns: Turns::at_a_time(1),
        }
    }

    /// Notes events that happened at the same moment, as one write. Like a line of the log it goes to
    /// the system's cache at once and is not waited for on disk.
    pub fn record(&self, happened: impl IntoIterator<Item = (Timestamp, Entry)>) {
        let mut log = self.lock();
        let mut lines = String::new();
        for (at, entry) in happened {
            let begins = lines.len();
            entry.write(&mut lines, log.kept.next_id(), at);
            lines.push('\n');
            log.kept.push(at, &lines[begins..]);
        }
        if !lines.is_empty() {
            // The file, or standard output, may be shown by a terminal.
            log.write(&printable::json(&lines));
        }
    }

    /// Answers `GET eventlog` with this query: the first 1,000 of the events that are asked for, oldest first.
    /// As in the original, there are none to ask for where they go to standard output.
    pub async fn answer(&self, query: Option<&str>, children: &str) -> Response {
        match Since::parse(query.unwrap_or_default()) {
            Ok(since) => self.page(since, PAGE).answer(children).await,
            Err(error) => refusal(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }

    fn page(&self, since: Since, most: u64) -> Page {
        let log = self.lock();
        let ids = match log.target {
            Target::Stdout => None,
            Target::Memory | Target::File(_) => Some(log.ids_since(since, most)),
        };
        drop(log);
        Page::new(self.clone(), ids)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Log {
    /// The first `most` of the events that are asked for.
    fn ids_since(&self, since: Since, most: u64) -> Range<u64> {
        let first = match since {
            Since::Always => self.kept.oldest_id(),
            Since::Timestamp(seconds) => self.kept.first_newer_than(seconds),
            Since::Id(id) => self.kept.first_after(id),
        };
        first..self.kept.next_id().min(first.saturating_add(most))
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
    use futures_util::StreamExt as _;

    fn log_of(number: u64) -> EventLog {
        let log = EventLog::in_memory();
        for n in 1..=number {
            log.record([(Timestamp(n * 1000), Entry::new("T").with("n", n))]);
        }
        log
    }

    /// The body of the answer to a query.
    async fn body(log: &EventLog, query: &str) -> String {
        let answer = log.answer(Some(query), "{}").await;
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        String::from_utf8(body.unwrap().to_vec()).unwrap()
    }

    async fn ids(log: &EventLog, query: &str) -> Vec<u64> {
        let body: Value = serde_json::from_str(&body(log, query).await).unwrap();
        let events = body["events"].as_array().unwrap().iter();
        events
            .map(|event| event["__id__"].as_u64().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn an_event_has_the_originals_form() {
        let log = log_of(1);
        let event = r#"{"n":1,"__id__":1,"__tag__":"T","__timestamp__":1.0}"#;
        assert_eq!(
            body(&log, "").await,
            format!(r#"{{"events":[{event}],"child_routes":{{}}}}"#)
        );
        let log = EventLog::to(Target::Stdout);
        assert_eq!(body(&log, "").await, r#"{"events":null,"child_routes":{}}"#);
    }

    #[tokio::test]
    async fn one_asks_for_what_is_new() {
        let log = log_of(4);
        assert_eq!(ids(&log, "").await, [1, 2, 3, 4]);
        assert_eq!(ids(&log, "since_id=2&x=y").await, [3, 4]);
        assert!(ids(&log, "since_id=4").await.is_empty());
        assert_eq!(ids(&log, "since_id=9").await, [1, 2, 3, 4]);
        assert_eq!(ids(&log, "since_id=-1").await, [1, 2, 3, 4]);
        assert_eq!(ids(&log, "since_timestamp=2.0").await, [3, 4]);
        assert!(ids(&log, "since_timestamp=1e9").await.is_empty());
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

    #[tokio::test]
    async fn more_than_a_page_is_asked_for_again_and_again() {
        let log = log_of(2 * PAGE + 5);
        for first in ["", "since_id=999999", "since_timestamp=0"] {
            let mut all = ids(&log, first).await;
            assert_eq!(all.len() as u64, PAGE, "{first}");
            loop {
                let next = ids(&log, &format!("since_id={}", all.last().unwrap())).await;
                if next.is_empty() {
                    break;
                }
                all.extend(next);
            }
            assert!(all.into_iter().eq(1..=2 * PAGE + 5), "{first}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_read_late_is_still_one() {
        let log = log_of(MOST_KEPT);
        let answer = log.answer(Some("since_id=10"), "{}").await;
        let mut body = answer.into_body().into_data_stream();
        let mut text = body.next().await.unwrap().unwrap().to_vec();
        // What it was about leaves memory meanwhile.
        log.record((0..MOST_KEPT).map(|n| (Timestamp(n), Entry::new("T"))));
        while let Some(piece) = body.next().await {
            text.extend(piece.unwrap());
        }
        let read: Value = serde_json::from_slice(&text).unwrap();
        let events = read["events"].as_array().unwrap();
        assert!(
            (1..PAGE).contains(&(events.len() as u64)),
            "{}",
            events.len()
        );
        assert_eq!(events[0]["__id__"], 11);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_the_file_has_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/events.log");
        let log = EventLog::open(&EventLogTarget::File(path.clone()), 1 << 30).unwrap();
        let number = MOST_KEPT + 3;
        log.record((1..=number).map(|n| (Timestamp(n), Entry::new("T"))));
        assert_eq!(ids(&log, "").await.first(), Some(&4));
        assert_eq!(ids(&log, "since_id=2").await.first(), Some(&4));
        let newest = format!("since_id={}", number - 1);
        assert_eq!(ids(&log, &newest).await, [number]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count() as u64, number);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["__tag__"], "T");
        let blocked = EventLogTarget::File(path.join("below a file"));
        let error = EventLog::open(&blocked, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("eventlog_filename"), "{error}");
    }
}
