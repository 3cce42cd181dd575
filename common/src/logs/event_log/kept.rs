//! The latest events as the lines they are, for those who ask. There may be two for each atom, and nearly nobody ever
//! asks for them: so whole chunks of lines are deflated, which takes a tenth of the memory.

use crate::clock::Timestamp;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::ops::Range;

/// When a chunk is full, in bytes of text. Events leave memory by whole chunks.
const CHUNK: usize = 64 << 10;

/// The latest events.
#[derive(Debug)]
pub(super) struct Kept {
    most: u64,
    /// How many there ever were; ids begin with 1.
    last_id: u64,
    /// The oldest first. Each has an event; all but the last are full.
    chunks: VecDeque<Chunk>,
}

/// Events that follow each other.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    first_id: u64,
    times: Vec<Timestamp>,
    lines: Lines,
}

/// One line for each event, with its end.
#[derive(Clone, Debug)]
enum Lines {
    Plain(String),
    Deflated(Vec<u8>),
}

impl Kept {
    /// Keeps at most so many, none if that is 0.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            last_id: 0,
            chunks: VecDeque::new(),
        }
    }

    /// Keeps one event more, which has [`Self::next_id`], with the end of its line.
    pub(super) fn push(&mut self, at: Timestamp, line: &str) {
        self.last_id += 1;
        if self.most == 0 {
            return;
        }
        match self.chunks.back_mut() {
            Some(Chunk {
                times,
                lines: Lines::Plain(text),
                ..
            }) => {
                times.push(at);
                text.push_str(line);
            }
            _ => self.chunks.push_back(Chunk {
                first_id: self.last_id,
                times: vec![at],
                lines: Lines::Plain(line.to_owned()),
            }),
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.deflate_if_full();
        }
        let oldest = self.oldest_id();
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.end() <= oldest)
        {
            self.chunks.pop_front();
        }
    }

    /// The id of the oldest that is kept, or of the first to come.
    pub(super) fn oldest_id(&self) -> u64 {
        (self.last_id + 1).saturating_sub(self.most).max(1)
    }

    /// The id that the next event will have.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    /// The first after the event with this id; the oldest, if it is not kept.
    pub(super) fn first_after(&self, id: i64) -> u64 {
        let kept = self.oldest_id()..=self.last_id;
        match u64::try_from(id) {
            Ok(id) if kept.contains(&id) => id + 1,
            _ => self.oldest_id(),
        }
    }

    /// The first that is newer, in Unix seconds, and has only newer ones behind it: clocks are set back.
    pub(super) fn first_newer_than(&self, seconds: f64) -> u64 {
        let times = self
            .chunks
            .iter()
            .rev()
            .flat_map(|chunk| chunk.times.iter().rev());
        let newer = times
            .take_while(|at| at.as_unix_seconds() > seconds)
            .count();
        let first = self.next_id().saturating_sub(newer as u64);
        first.max(self.oldest_id())
    }

    /// The chunk with this event as it stands; nothing where that is not kept any more.
    pub(super) fn chunk(&self, id: u64) -> Option<Chunk> {
        let mut chunks = self.chunks.iter();
        let chunk = chunks.find(|chunk| id < chunk.end())?;
        (id >= self.oldest_id()).then(|| chunk.clone())
    }
}

impl Chunk {
    /// The id after its last event.
    fn end(&self) -> u64 {
        self.first_id + self.times.len() as u64
    }

    fn deflate_if_full(&mut self) {
        if let Lines::Plain(text) = &self.lines
            && text.len() >= CHUNK
            && let Ok(deflated) = deflated(text)
        {
            self.lines = Lines::Deflated(deflated);
            self.times.shrink_to_fit();
        }
    }

    /// Appends events with commas before them: the first of `ids` and those behind it, as long as the text is shorter
    /// than `enough`. The id of the next one.
    pub(super) fn append_to(&self, text: &mut String, ids: &Range<u64>, enough: usize) -> u64 {
        let lines = match &self.lines {
            Lines::Plain(lines) => lines,
            Lines::Deflated(deflated) => &inflated(deflated).unwrap_or_default(),
        };
        let mut next = ids.start;
        let events = (self.first_id..ids.end).zip(lines.lines());
        for (id, line) in events.skip_while(|(id, _)| *id < ids.start) {
            if text.len() >= enough {
                break;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(line);
            next = id + 1;
        }
        next
    }
}

fn deflated(text: &str) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    let mut deflated = encoder.finish()?;
    deflated.shrink_to_fit();
    Ok(deflated)
}

fn inflated(deflated: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    DeflateDecoder::new(deflated).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            Just(json!(["a", {"b": -1.5}])),
        ]
    }

    fn entries() -> impl Strategy<Value = (Timestamp, Entry)> {
        let tags = prop_oneof![Just("A"), Just("B")];
        let fields = prop::collection::vec((prop_oneof![Just("x"), Just("y")], values()), 0..4);
        let at = prop_oneof![any::<u64>(), 1_000_000..1_000_100_u64];
        let entry = (tags, fields).prop_map(|(tag, fields)| Entry { tag, fields });
        (at.prop_map(Timestamp), entry)
    }

    /// All from this id on, in pieces of about this length.
    fn text_from(kept: &Kept, first: u64, enough: usize) -> String {
        let mut ids = first..kept.next_id();
        let mut pieces = Vec::new();
        while !ids.is_empty() {
            let mut piece = String::new();
            let chunk = kept.chunk(ids.start).unwrap();
            ids.start = chunk.append_to(&mut piece, &ids, enough);
            pieces.push(piece);
        }
        pieces.join(",")
    }

    fn push(kept: &mut Kept, at: Timestamp, entry: &Entry) {
        let mut line = String::new();
        entry.write(&mut line, kept.next_id(), at);
        line.push('\n');
        kept.push(at, &line);
    }

    /// What is wanted, of plain lines.
    fn expected(happened: &[(Timestamp, Entry)], is_wanted: impl Fn(usize) -> bool) -> String {
        let numbered = happened.iter().enumerate();
        let lines = numbered.filter(|(index, _)| is_wanted(*index));
        let lines = lines.map(|(index, (at, entry))| {
            let mut line = String::new();
            entry.write(&mut line, index as u64 + 1, *at);
            line
        });
        lines.collect::<Vec<_>>().join(",")
    }

    proptest! {
        #[test]
        fn what_is_asked_for_is_what_was_told(
            happened in prop::collection::vec(entries(), 0..40),
            most in 1..50_usize,
            id in -2..45_i64,
            seconds in 999.9..1000.2_f64,
        ) {
            let mut kept = Kept::new(most as u64);
            for (at, entry) in &happened {
                push(&mut kept, *at, entry);
            }
            let oldest = happened.len().saturating_sub(most);
            let from = |first| text_from(&kept, first, 100);
            prop_assert_eq!(from(kept.oldest_id()), expected(&happened, |n| n >= oldest));
            let next = kept.next_id();
            prop_assert_eq!(next, happened.len() as u64 + 1);
            prop_assert!(oldest == 0 || kept.chunk(oldest as u64).is_none());
            let id_of = |n: usize| i64::try_from(n).unwrap();
            let is_kept = (id_of(oldest) + 1..=id_of(happened.len())).contains(&id);
            let after = |n: usize| n >= oldest && (!is_kept || id_of(n) >= id);
            prop_assert_eq!(from(kept.first_after(id)), expected(&happened, after));
            let newer = happened.iter().rev();
            let newer = newer.take_while(|(at, _)| at.as_unix_seconds() > seconds).count();
            let newer = oldest.max(happened.len() - newer);
            prop_assert_eq!(from(kept.first_newer_than(seconds)), expected(&happened, |n| n >= newer));
        }
    }

    #[test]
    fn results_take_little() {
        let mut kept = Kept::new(10_000);
        let mut happened = Vec::new();
        for n in 0..25_000_u64 {
            let entry = Entry::new("MASTER_RECEIVED_RESULT")
                .with("executor_id", Value::Null)
                .with("build_id", 7)
                .with("subjob_id", n)
                .with("slave_id", n % 1000)
                .with("attempt", 1);
            let at = Timestamp(1_700_000_000_000 + n / 10);
            push(&mut kept, at, &entry);
            happened.push((at, entry));
        }
        let bytes = |chunk: &Chunk| {
            let lines = match &chunk.lines {
                Lines::Plain(text) => text.capacity(),
                Lines::Deflated(deflated) => deflated.capacity(),
            };
            lines + 8 * chunk.times.capacity()
        };
        let bytes: usize = kept.chunks.iter().map(bytes).sum();
        assert!(bytes < 50 * 10_000, "{bytes}");
        assert!(
            text_from(&kept, kept.first_after(24_999), 1)
                .starts_with(r#"{"executor_id":null,"build_id":7,"subjob_id":24999,"#)
        );
        // Where it begins is not where a chunk does.
        assert_eq!(
            text_from(&kept, kept.oldest_id(), 1 << 16),
            expected(&happened, |n| n >= 15_000)
        );
        let seconds = happened[17_004].0.as_unix_seconds();
        assert_eq!(
            text_from(&kept, kept.first_newer_than(seconds), 1 << 16),
            expected(&happened, |n| n >= 17_010)
        );
    }
}
