//! The latest events in little memory. There may be two for each atom, and nearly nobody ever asks for
//! them: so they are kept as numbers, a tenth of their text, and written out for who asks.

use super::{Entry, write_line};
use crate::clock::Timestamp;
use serde_json::Value;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// When a chunk is full. Events leave memory by whole chunks.
const CHUNK: usize = 16 << 10;

/// How many chunks are copied for a reader at a time.
const CHUNKS_AT_ONCE: usize = 2;

/// What a value is, in front of it.
const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
/// A whole number, not negative.
const NUMBER: u8 = 3;
const TEXT: u8 = 4;
/// Whatever else, as JSON.
const OTHER: u8 = 5;

/// The latest events.
#[derive(Debug)]
pub(super) struct Kept {
    most: u64,
    /// How many there ever were; ids begin with 1.
    last_id: u64,
    /// The oldest first. Each has an event.
    chunks: VecDeque<Chunk>,
    shapes: Arc<Vec<Shape>>,
}

/// Events as they stood at a moment, to be written out while others come.
#[derive(Debug)]
pub(super) struct Part {
    /// Never more than [`CHUNKS_AT_ONCE`].
    chunks: Vec<Chunk>,
    shapes: Arc<Vec<Shape>>,
}

/// A tag and the names of its fields: always the same few.
#[derive(Clone, Debug)]
struct Shape {
    tag: &'static str,
    names: Vec<&'static str>,
}

/// Events that follow each other, each as its shape, its time after the one before, and its values.
#[derive(Clone, Debug)]
struct Chunk {
    first_id: u64,
    num_events: u64,
    /// The earliest moment: clocks are set back.
    earliest: Timestamp,
    latest: Timestamp,
    bytes: Vec<u8>,
}

impl Kept {
    /// Keeps at most so many, none if that is 0.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            last_id: 0,
            chunks: VecDeque::new(),
            shapes: Arc::default(),
        }
    }

    /// Keeps one event more; its id.
    pub(super) fn push(&mut self, at: Timestamp, entry: &Entry) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        if self.most == 0 {
            return id;
        }
        let shape = self.shape_of(entry);
        if self.chunks.back().is_none_or(Chunk::is_full) {
            self.chunks.push_back(Chunk {
                first_id: id,
                num_events: 0,
                earliest: at,
                latest: Timestamp(0),
                bytes: Vec::with_capacity(CHUNK),
            });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(shape, at, entry);
            if chunk.is_full() {
                chunk.bytes.shrink_to_fit();
            }
        }
        let oldest = self.oldest_id();
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.end() <= oldest)
        {
            self.chunks.pop_front();
        }
        id
    }

    fn shape_of(&mut self, entry: &Entry) -> usize {
        let names = || entry.fields.iter().map(|(name, _)| *name);
        let is_same =
            |shape: &Shape| shape.tag == entry.tag && shape.names.iter().copied().eq(names());
        let known = self.shapes.iter().position(is_same);
        known.unwrap_or_else(|| {
            let (tag, names) = (entry.tag, names().collect());
            Arc::make_mut(&mut self.shapes).push(Shape { tag, names });
            self.shapes.len() - 1
        })
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

    /// The first that is newer, in Unix seconds, and has only newer ones behind it. It is looked for from the
    /// newest back, since whoever asks again asks for little.
    pub(super) fn first_newer_than(&self, seconds: f64) -> u64 {
        let is_newer = |at: Timestamp| at.as_unix_seconds() > seconds;
        let mut newest_first = self.chunks.iter().rev();
        let mixed = newest_first.find(|chunk| !is_newer(chunk.earliest));
        let from = mixed.map_or(0, |chunk| {
            let older = chunk.events(&self.shapes);
            let older = older.filter(|event| !is_newer(event.at));
            older.last().map_or(chunk.first_id, |event| event.id + 1)
        });
        from.max(self.oldest_id())
    }

    /// The events from this id on as they stand, some of them; nothing where the first is not kept any more.
    pub(super) fn part(&self, first: u64) -> Option<Part> {
        if first < self.oldest_id() {
            return None;
        }
        let chunks = self.chunks.iter().skip_while(|chunk| chunk.end() <= first);
        Some(Part {
            chunks: chunks.take(CHUNKS_AT_ONCE).cloned().collect(),
            shapes: Arc::clone(&self.shapes),
        })
    }
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK
    }

    /// The id after its last event.
    fn end(&self) -> u64 {
        self.first_id + self.num_events
    }

    fn push(&mut self, shape: usize, at: Timestamp, entry: &Entry) {
        let bytes = &mut self.bytes;
        put_number(bytes, shape as u64);
        // Two's complement, folded so that small steps in either direction are small numbers.
        let step = at.0.wrapping_sub(self.latest.0).cast_signed();
        put_number(bytes, ((step << 1) ^ (step >> 63)).cast_unsigned());
        for (_, value) in &entry.fields {
            put_value(bytes, value);
        }
        self.num_events += 1;
        self.earliest = self.earliest.min(at);
        self.latest = at;
    }

    fn events<'a>(&'a self, shapes: &'a [Shape]) -> Events<'a> {
        Events {
            rest: &self.bytes,
            shapes,
            at: Timestamp(0),
            id: self.first_id,
        }
    }
}

impl Part {
    /// Writes events as JSON, with commas between them: the first of `ids` and those behind it, as long as the text
    /// is shorter than `enough`. The id of the next one.
    pub(super) fn append_to(&self, text: &mut String, ids: &Range<u64>, enough: usize) -> u64 {
        let events = self.chunks.iter();
        let events = events.flat_map(|chunk| chunk.events(&self.shapes));
        let mut next = ids.start;
        for event in events.skip_while(|event| event.id < ids.start) {
            if event.id >= ids.end || text.len() >= enough {
                break;
            }
            if event.id > ids.start {
                text.push(',');
            }
            let names = event.shape.names.iter().copied();
            let fields = names.zip(event.values.iter());
            write_line(text, event.shape.tag, fields, event.id, event.at);
            next = event.id + 1;
        }
        next
    }
}

/// One event, read back.
struct Read<'a> {
    id: u64,
    at: Timestamp,
    shape: &'a Shape,
    values: Vec<Value>,
}

struct Events<'a> {
    rest: &'a [u8],
    shapes: &'a [Shape],
    at: Timestamp,
    id: u64,
}

impl<'a> Iterator for Events<'a> {
    type Item = Read<'a>;

    fn next(&mut self) -> Option<Read<'a>> {
        let shape = usize::try_from(take_number(&mut self.rest)?).ok()?;
        let shape = self.shapes.get(shape)?;
        let folded = take_number(&mut self.rest)?;
        let step = (folded >> 1) ^ (folded & 1).wrapping_neg();
        self.at = Timestamp(self.at.0.wrapping_add(step));
        let values = shape.names.iter().map(|_| take_value(&mut self.rest));
        let values = values.collect::<Option<Vec<Value>>>()?;
        let id = self.id;
        self.id += 1;
        Some(Read {
            id,
            at: self.at,
            shape,
            values,
        })
    }
}

/// Seven bits in each byte, the lowest first; all but the last have the eighth.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    let put_text = |bytes: &mut Vec<u8>, kind, text: &str| {
        bytes.push(kind);
        put_number(bytes, text.len() as u64);
        bytes.extend_from_slice(text.as_bytes());
    };
    match value {
        Value::Null => bytes.push(NULL),
        Value::Bool(false) => bytes.push(FALSE),
        Value::Bool(true) => bytes.push(TRUE),
        Value::String(text) => put_text(bytes, TEXT, text),
        other => match other.as_u64() {
            Some(number) => {
                bytes.push(NUMBER);
                put_number(bytes, number);
            }
            None => put_text(bytes, OTHER, &other.to_string()),
        },
    }
}

fn take_value(rest: &mut &[u8]) -> Option<Value> {
    let (kind, tail) = rest.split_first()?;
    *rest = tail;
    let take_text = |rest: &mut &[u8]| {
        let length = usize::try_from(take_number(rest)?).ok()?;
        let (text, tail) = rest.split_at_checked(length)?;
        *rest = tail;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    match *kind {
        NULL => Some(Value::Null),
        FALSE => Some(Value::Bool(false)),
        TRUE => Some(Value::Bool(true)),
        NUMBER => take_number(rest).map(Value::from),
        TEXT => take_text(rest).map(Value::String),
        OTHER => serde_json::from_str(&take_text(rest)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

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
            let part = kept.part(ids.start).unwrap();
            ids.start = part.append_to(&mut piece, &ids, enough);
            pieces.push(piece);
        }
        pieces.join(",")
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
                kept.push(*at, entry);
            }
            let oldest = happened.len().saturating_sub(most);
            let from = |first| text_from(&kept, first, 100);
            prop_assert_eq!(from(kept.oldest_id()), expected(&happened, |n| n >= oldest));
            let next = kept.next_id();
            prop_assert_eq!(next, happened.len() as u64 + 1);
            prop_assert!(oldest == 0 || kept.part(oldest as u64).is_none());
            let is_kept = (oldest as i64 + 1..=happened.len() as i64).contains(&id);
            let after = |n: usize| n >= oldest && (!is_kept || n as i64 >= id);
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
            kept.push(at, &entry);
            happened.push((at, entry));
        }
        let bytes: usize = kept.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert!(bytes < 20 * 10_000, "{bytes}");
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
