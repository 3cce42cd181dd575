//! A journal as text, one JSON value in a line: a backup, and the way to look inside.
//!
//! The first line is `{"journal": {"format": 1, "events": N}}`, the last `{"end": LINES}`. Between
//! them, in this order: the state after N events as `cluster`, `build` and `subjobs`, the events since
//! as `event`, the builds that are over as `ended` and `ended_subjobs`, and the links of the audit log as `audit`, each as
//! the text that its hash is of.

use super::audit::audit_place;
use super::examine::examine_store;
use super::private_copy::{Mended, with_mended_copy};
use super::record::{Damage, Record, Records, leading, put};
use super::store::Store;
use super::{FORMAT, JournalError, Problem, ended, event_records, snapshot};
use clusterrunner_common::text::printable;
use clusterrunner_common::work::{ENV, INHERITED_ENV};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::event::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::path::Path;

/// Why an export could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal can not be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The export itself can not be read or written.
    #[error("could not write or read the export: {0}")]
    Io(#[from] io::Error),
    /// A line is not one of an export.
    #[error("line {line} of the export {what}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// What an export begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    events: u64,
}

/// How an export went.
#[derive(Debug, Default)]
pub struct Exported {
    /// How many lines were written.
    pub lines: u64,
    /// The records that could not be written since they are damaged, in words.
    pub damages: Vec<String>,
    /// What is wrong with the files beside the data; nothing of the export is missing for that.
    pub mended: Vec<Problem>,
}

impl Exported {
    /// What is not there at all is left out too, and no record tells of it.
    fn telling(mut self, problems: &[Problem]) -> Self {
        if self.damages.is_empty() {
            let told = problems.iter();
            let told = told.map(|Problem { place, what, .. }| format!("{place}: {what}"));
            self.damages.extend(told);
        }
        self
    }
}

struct Exporter<'a, W> {
    out: &'a mut W,
    done: Exported,
}

impl<W: Write> Exporter<'_, W> {
    fn line(&mut self, kind: &str, text: &[u8]) -> io::Result<()> {
        write!(self.out, "{{\"{kind}\":")?;
        let text = &*without_variables(text);
        match std::str::from_utf8(text) {
            // Shown by a terminal, when it goes to standard output.
            Ok(text) => self.out.write_all(printable::json(text).as_bytes())?,
            Err(_) => self.out.write_all(text)?,
        }
        self.out.write_all(b"}\n")?;
        self.done.lines += 1;
        Ok(())
    }

    /// Writes the records of a tree; `lines` gives the kind and the text of each line of one.
    fn tree(
        &mut self,
        records: Records,
        lines: impl Fn(&Record) -> Vec<(&'static str, Vec<u8>)>,
        place: fn(&[u8]) -> String,
    ) -> Result<(), ExportError> {
        for record in records {
            match record? {
                Ok(record) => {
                    for (kind, text) in lines(&record) {
                        self.line(kind, &text)?;
                    }
                }
                Err(Damage { key, what, .. }) => {
                    let damage = format!("{} is damaged ({what})", place(&key));
                    self.done.damages.push(damage);
                }
            }
        }
        Ok(())
    }
}

/// A record without the variables that requests for builds have: an export is shown and sent around.
fn without_variables(text: &[u8]) -> Cow<'_, [u8]> {
    let has = |field: &str| {
        let name = format!("\"{field}\":{{");
        text.windows(name.len()).any(|part| part == name.as_bytes())
    };
    if !has(ENV) && !has(INHERITED_ENV) {
        return Cow::Borrowed(text);
    }
    let Ok(mut record) = serde_json::from_slice::<Value>(text) else {
        return Cow::Borrowed(text);
    };
    remove_variables(&mut record);
    serde_json::to_vec(&record).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn remove_variables(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Object(request)) = fields.get_mut("request") {
                request.remove(ENV);
                request.remove(INHERITED_ENV);
            }
            fields.values_mut().for_each(remove_variables);
        }
        Value::Array(elements) => elements.iter_mut().for_each(remove_variables),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A piece of a build's subjobs, or an event, with its place.
fn placed(fields: &[(&str, u64)], name: &str, text: &[u8]) -> Vec<u8> {
    let mut placed = b"{".to_vec();
    for (field, value) in fields {
        placed.extend_from_slice(format!("\"{field}\":{value},").as_bytes());
    }
    placed.extend_from_slice(format!("\"{name}\":").as_bytes());
    placed.extend_from_slice(text);
    placed.push(b'}');
    placed
}

fn event_place(key: &[u8]) -> String {
    format!("event {}", leading(key).unwrap_or_default())
}

/// Writes the journal in `directory`, which nobody uses, as it is in a copy: nothing of it changes. What is
/// damaged is left out and told. Blocks.
///
/// # Errors
/// The engine can not open it, or `out` takes no more.
pub fn export(directory: &Path, out: &mut impl Write) -> Result<Exported, ExportError> {
    with_mended_copy(directory, |store, mended| {
        // What can not be read is to be found before the first line is written.
        let findings = examine_store(store, Mended::default())?;
        let exported = export_store(store, out, mended);
        Ok(exported.map(|exported| exported.telling(&findings.problems)))
    })?
}

fn export_store(
    store: &Store,
    out: &mut impl Write,
    mended: Mended,
) -> Result<Exported, ExportError> {
    let meta = snapshot::read_meta(store)?;
    let events = meta.map_or(0, |meta| meta.events);
    let header = Header {
        format: FORMAT,
        events,
    };
    let header = serde_json::to_vec(&header).map_err(JournalError::Encode)?;
    let mut exporter = Exporter {
        out,
        done: Exported {
            mended: mended.beside,
            ..Exported::default()
        },
    };
    if let Some(Problem { place, what, .. }) = mended.data {
        let damage = format!("a part of {place} can not be read ({what})");
        exporter.done.damages.push(damage);
    }
    exporter.line("journal", &header)?;
    let state = Records::below(&store.snapshots, &events.to_be_bytes());
    exporter.tree(state, |r| vec![snapshot_line(r)], snapshot::place)?;
    let since = Records::from(&store.events, &events.to_be_bytes());
    let event_lines = |record: &Record| {
        let first = leading(&record.key).unwrap_or_default();
        let events = (first..).zip(event_records::texts(&record.text));
        let lines = events.map(|(number, text)| placed(&[("number", number)], "what", &text));
        lines.map(|line| ("event", line)).collect()
    };
    exporter.tree(since, event_lines, event_place)?;
    let heads = Records::from(&store.ended, &[]);
    exporter.tree(heads, |r| vec![("ended", r.text.clone())], ended::place)?;
    let subjobs = Records::from(&store.ended_subjobs, &[]);
    let subjobs_line = |record: &Record| {
        let build = leading(&record.key).unwrap_or_default();
        let chunk = ended::chunk(&record.key).unwrap_or_default();
        let fields = [("build", build), ("part", u64::from(chunk))];
        let line = placed(&fields, "subjobs", &record.text);
        vec![("ended_subjobs", line)]
    };
    exporter.tree(subjobs, subjobs_line, ended::place)?;
    let links = Records::from(&store.audit, &[]);
    exporter.tree(links, |r| vec![("audit", audit_line(r))], audit_place)?;
    let lines = exporter.done.lines + 1;
    exporter.line("end", lines.to_string().as_bytes())?;
    exporter.out.flush()?;
    Ok(exporter.done)
}

fn audit_line(record: &Record) -> Vec<u8> {
    let number = leading(&record.key).unwrap_or_default();
    let text = Value::from(String::from_utf8_lossy(&record.text));
    placed(&[("number", number)], "link", text.to_string().as_bytes())
}

fn snapshot_line(record: &Record) -> (&'static str, Vec<u8>) {
    match snapshot::subjobs_at(&record.key) {
        Some((build, chunk)) => {
            let fields = [("build", build.0), ("part", chunk as u64)];
            ("subjobs", placed(&fields, "subjobs", &record.text))
        }
        None if snapshot::is_cluster(&record.key) => ("cluster", record.text.clone()),
        None => ("build", record.text.clone()),
    }
}

/// One line of an export.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Journal(Header),
    Cluster(Box<Cluster>),
    Build(Box<Build>),
    Subjobs(Part),
    Event { number: u64, what: Value },
    Ended(Box<super::EndedBuild>),
    EndedSubjobs(Part),
    Audit { number: u64, link: String },
    End(u64),
}

#[derive(Deserialize)]
struct Part {
    build: clusterrunner_common::ids::BuildId,
    part: usize,
    subjobs: Vec<Subjob>,
}

/// Stores an export in `store`, which is empty. Blocks.
pub(super) fn import(store: &Store, lines: impl BufRead) -> Result<(), ExportError> {
    let mut header = None;
    let mut writer = snapshot::Writer::new(&store.snapshots);
    let mut ended = false;
    for (number, line) in (1..).zip(lines.lines()) {
        let text = line?;
        let wrong = |what: String| ExportError::Line { line: number, what };
        if ended {
            return Err(wrong("comes after the end".to_owned()));
        }
        let line: Line = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("is not one of an export: {error}")))?;
        let events = match (&line, &header) {
            (Line::Journal(_), None) => 0,
            (Line::Journal(_), Some(_)) => return Err(wrong("begins anew".to_owned())),
            (_, Some(Header { events, .. })) => *events,
            (_, None) => return Err(wrong("is not the beginning of an export".to_owned())),
        };
        match line {
            Line::Journal(Header { format, .. }) if format != FORMAT => {
                let found = format;
                return Err(ExportError::Journal(JournalError::Format { found }));
            }
            Line::Journal(found) => header = Some(found),
            Line::Cluster(cluster) => writer.cluster(events, &cluster)?,
            Line::Build(build) => writer.build(events, &build)?,
            Line::Subjobs(part) => {
                let subjobs: Vec<&Subjob> = part.subjobs.iter().collect();
                writer.subjobs(events, part.build, part.part, &subjobs)?;
            }
            Line::Event { number, what } => {
                serde_json::from_value::<Event>(what.clone())
                    .map_err(|error| wrong(format!("holds no event: {error}")))?;
                ended::insert(&store.events, &number.to_be_bytes(), &what)?;
            }
            Line::Ended(build) => {
                let key = build.build.id.0.to_be_bytes();
                ended::insert(&store.ended, &key, &build)?;
            }
            Line::EndedSubjobs(part) => {
                let key = ended::chunk_key(part.build, part.part);
                ended::insert(&store.ended_subjobs, &key, &part.subjobs)?;
            }
            Line::Audit { number, link } => {
                let mut batch = sled::Batch::default();
                put(&mut batch, &number.to_be_bytes(), link.as_bytes())?;
                let stored = store.audit.apply_batch(batch);
                stored.map_err(JournalError::Append)?;
            }
            Line::End(lines) if lines != number => {
                return Err(wrong(format!("is the end, but an export of {lines} lines")));
            }
            Line::End(_) => ended = true,
        }
    }
    let Some(Header { events, .. }) = header.filter(|_| ended) else {
        return Err(ExportError::Line {
            line: 0,
            what: "is missing: the export is cut off, its last line must be {\"end\":LINES}"
                .to_owned(),
        });
    };
    let written = writer.finish()?;
    if written.records > 0 {
        snapshot::count(store, events, written)?;
    }
    store.sync()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_request_are_left_out() {
        let event = r#"{"fact":{"build":[1,{"queued":{"request":{"type":"git","env":{"A":"hidden"},"inherited_env":{"B":"hidden"}}}}]}}"#;
        let left = without_variables(event.as_bytes());
        let expected = r#"{"fact":{"build":[1,{"queued":{"request":{"type":"git"}}}]}}"#;
        let left: Value = serde_json::from_slice(&left).unwrap();
        assert_eq!(left, serde_json::from_str::<Value>(expected).unwrap());
        // The job's are in its repository, for everybody to read.
        let build = br#"{"plan":{"env":{"A":"b"}}}"#;
        assert_eq!(&*without_variables(build), build);
    }
}
