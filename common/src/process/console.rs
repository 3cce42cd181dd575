//! A piece of an atom's console output, by lines: the same on master and slave.

mod cap;

pub(crate) use cap::keep_capped;
pub use cap::{Capped, ConsoleCap, is_gap_notice};

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};

/// How many lines are given when nobody says how many.
pub const DEFAULT_MAX_LINES: usize = 50;

/// The most text that is given at once, in bytes of the file. Where the wanted lines have more, as
/// many whole lines are given as fit (the last ones, if the last were asked for); of a single line
/// that is longer, its beginning. `num_lines` says how many lines came, so the rest can be asked
/// for, and `num_bytes_cut` how much of a line is missing.
pub(crate) const MAX_CONTENT: usize = 8 << 20;

/// A piece of an atom's console output, in lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleBody {
    /// Index of the first line of `content`.
    pub offset_line: u64,
    /// How many lines `content` has.
    pub num_lines: u64,
    /// How many lines there are by now.
    pub total_num_lines: u64,
    /// The text, invalid UTF-8 replaced.
    pub content: String,
    /// How many bytes are missing at the end of a line that is longer than may be given at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_bytes_cut: u64,
}

/// Only a line that is cut has more to say than the original's.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why there is no piece. The text goes to the caller; all but the last are the original's words.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// No lines were asked for.
    #[error("'max_lines' must be greater than zero.")]
    NoLines,
    /// The output is shorter.
    #[error("offset {offset_line} is higher than the total number of lines: {total_num_lines}")]
    OffsetTooHigh {
        /// The line that was asked for.
        offset_line: u64,
        /// How many lines the console has.
        total_num_lines: u64,
    },
    /// The file could not be read.
    #[error("could not read the console output: {0}")]
    Read(#[from] io::Error),
}

/// Gives at most `max_lines` lines of `console` from line `offset_line` on, or its last lines
/// where no offset is given. Memory is bounded by `MAX_CONTENT`, whatever the file holds.
///
/// Lines end at `\n` only. While the atom runs (`ended` is false) a last line without `\n` is not
/// shown: the rest of it may still come. `total_num_lines` then counts it where it lies behind the
/// piece that was asked for, as the original does. Once the atom has ended it is a line like any
/// other.
///
/// # Errors
/// See [`ConsoleError`].
pub fn segment<R: BufRead + Seek>(
    mut console: R,
    max_lines: usize,
    offset_line: Option<u64>,
    ended: bool,
) -> Result<ConsoleBody, ConsoleError> {
    if max_lines == 0 {
        return Err(ConsoleError::NoLines);
    }
    let max_lines = u64::try_from(max_lines).unwrap_or(u64::MAX);
    let counted = count_lines(&mut console)?;
    let all = counted.whole + u64::from(counted.has_rest);
    let shown = if ended { all } else { counted.whole };
    let (first, total_num_lines) = match offset_line {
        None => (shown.saturating_sub(max_lines), shown),
        Some(offset) if offset > all => {
            return Err(ConsoleError::OffsetTooHigh {
                offset_line: offset,
                total_num_lines: all,
            });
        }
        Some(offset) => {
            let reaches_rest = offset <= shown && offset.saturating_add(max_lines) > shown;
            (offset, if reaches_rest { shown } else { all })
        }
    };
    let wanted = shown.saturating_sub(first).min(max_lines);
    console.rewind()?;
    // The file may grow meanwhile; what was not counted is not read.
    let mut console = console.take(counted.length);
    skip_lines(&mut console, first)?;
    let keep = match offset_line {
        None => Keep::Last,
        Some(_) => Keep::First,
    };
    let lines = read_lines(&mut console, wanted, keep)?;
    let num_lines = lines.len() as u64;
    let num_bytes_cut = lines.iter().map(|line| line.num_bytes_cut).sum();
    let bytes: Vec<u8> = lines.into_iter().flat_map(|line| line.text).collect();
    Ok(ConsoleBody {
        offset_line: match keep {
            Keep::First => first,
            Keep::Last => first + (wanted - num_lines),
        },
        num_lines,
        total_num_lines,
        content: String::from_utf8_lossy(&bytes).into_owned(),
        num_bytes_cut,
    })
}

/// How much of a file is read at a time: large consoles are read to their end to be counted.
const BUFFER: usize = 1 << 16;

/// Gives a piece of the console of an atom that may still run, of which at most `max_size` bytes
/// are kept.
///
/// Where the middle is dropped the end moves on all the time, and no line of it has a number that
/// lasts. A reader that asks by number is shown what comes before the gap, and waits there for the atom's
/// end; one that asks for the last lines gets them.
///
/// # Errors
/// See [`ConsoleError`].
pub fn live_segment(
    file: File,
    max_size: Option<u64>,
    max_lines: usize,
    offset_line: Option<u64>,
    ended: bool,
) -> Result<ConsoleBody, ConsoleError> {
    let capped = if ended {
        Capped::new(file, max_size)?
    } else {
        Capped::growing(file, max_size, MAX_CONTENT as u64)?
    };
    let is_cut = capped.is_cut() && !ended;
    let shown = if is_cut && offset_line.is_some() {
        capped.only_head()
    } else {
        capped
    };
    let reader = BufReader::with_capacity(BUFFER, shown);
    match (segment(reader, max_lines, offset_line, ended), offset_line) {
        // Lines that were shown before the gap came are behind it now.
        (Err(ConsoleError::OffsetTooHigh { .. }), Some(offset_line)) if is_cut => Ok(ConsoleBody {
            offset_line,
            num_lines: 0,
            total_num_lines: offset_line,
            content: String::new(),
            num_bytes_cut: 0,
        }),
        (piece, _) => piece,
    }
}

struct Counted {
    /// Lines that end with a newline.
    whole: u64,
    /// Whether something comes after the last newline.
    has_rest: bool,
    /// The length in bytes.
    length: u64,
}

fn count_lines(console: &mut impl BufRead) -> io::Result<Counted> {
    let mut counted = Counted {
        whole: 0,
        has_rest: false,
        length: 0,
    };
    loop {
        let chunk = fill(console)?;
        let Some(last) = chunk.last() else {
            return Ok(counted);
        };
        counted.has_rest = *last != b'\n';
        counted.whole += chunk
            .iter()
            .map(|byte| u64::from(*byte == b'\n'))
            .sum::<u64>();
        let length = chunk.len();
        counted.length += length as u64;
        console.consume(length);
    }
}

fn fill(console: &mut impl BufRead) -> io::Result<&[u8]> {
    // Two calls, since a borrow that is returned can not be tried again; the second is free.
    while let Err(error) = console.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    console.fill_buf()
}

/// A line, or its beginning.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    num_bytes_cut: u64,
}

/// Reads to the end of a line; keeps at most `limit` bytes of it. `None` at the end of the text.
fn read_line(console: &mut impl BufRead, limit: usize) -> io::Result<Option<Line>> {
    let mut line = Line::default();
    let mut is_empty = true;
    loop {
        let chunk = fill(console)?;
        if chunk.is_empty() {
            return Ok((!is_empty).then_some(line));
        }
        is_empty = false;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |end| end + 1);
        let kept = length.min(limit - line.text.len());
        line.text.extend_from_slice(&chunk[..kept]);
        line.num_bytes_cut += (length - kept) as u64;
        console.consume(length);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

fn skip_lines(console: &mut impl BufRead, number: u64) -> io::Result<()> {
    for _ in 0..number {
        if read_line(console, 0)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Which lines to keep where there is more text than may be given.
#[derive(Clone, Copy)]
enum Keep {
    First,
    Last,
}

fn read_lines(console: &mut impl BufRead, wanted: u64, keep: Keep) -> io::Result<VecDeque<Line>> {
    let mut lines = VecDeque::new();
    let mut size = 0;
    for _ in 0..wanted {
        let Some(line) = read_line(console, MAX_CONTENT)? else {
            break;
        };
        size += line.text.len();
        lines.push_back(line);
        while size > MAX_CONTENT && lines.len() > 1 {
            let dropped = match keep {
                Keep::First => lines.pop_back(),
                Keep::Last => lines.pop_front(),
            };
            size -= dropped.map_or(0, |line| line.text.len());
            if let Keep::First = keep {
                return Ok(lines);
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::Cursor;

    fn piece(text: &[u8], max: usize, offset: Option<u64>, ended: bool) -> ConsoleBody {
        segment(Cursor::new(text), max, offset, ended).unwrap()
    }

    /// Recorded from the original, for an atom that runs.
    #[test]
    fn a_running_atom_is_shown_as_the_original_shows_it() {
        let vectors = include_str!("../../testdata/vectors/console_segment.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let text = case["text_latin1"].as_str().unwrap();
            let text: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
            let max_lines = usize::try_from(case["max_lines"].as_u64().unwrap()).unwrap();
            let offset = case["offset_line"].as_u64();
            let given = match segment(Cursor::new(text), max_lines, offset, false) {
                Ok(body) => serde_json::to_value(body).unwrap(),
                Err(error) => serde_json::json!({"error": error.to_string()}),
            };
            assert_eq!(given, case["result"], "{case}");
        }
    }

    #[test]
    fn after_the_end_a_line_without_newline_is_a_line() {
        let tail = piece(b"a\nb", 50, None, true);
        assert_eq!((tail.num_lines, tail.total_num_lines), (2, 2));
        assert_eq!(tail.content, "a\nb");
        let last = piece(b"a\nb", 1, Some(1), true);
        assert_eq!((last.offset_line, last.content.as_str()), (1, "b"));
        let behind = piece(b"a\nb", 1, Some(2), true);
        assert_eq!((behind.num_lines, behind.total_num_lines), (0, 2));
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        assert_eq!(
            piece(b"\xff\xfe!\n", 50, None, false).content,
            "\u{fffd}\u{fffd}!\n"
        );
    }

    #[test]
    fn no_lines_are_never_asked_for() {
        let error = segment(Cursor::new(b""), 0, None, true).unwrap_err();
        assert_eq!(error.to_string(), "'max_lines' must be greater than zero.");
    }

    #[test]
    fn more_text_than_may_be_given_is_cut_at_a_line() {
        let line = vec![b'x'; MAX_CONTENT / 2];
        let text = [&line[..], b"\n", &line, b"\n", b"end\n"].concat();
        let first = piece(&text, 50, Some(0), false);
        assert_eq!(
            (first.offset_line, first.num_lines, first.total_num_lines),
            (0, 1, 3)
        );
        let last = piece(&text, 50, None, false);
        assert_eq!(
            (last.offset_line, last.num_lines, last.total_num_lines),
            (1, 2, 3)
        );
        assert!(last.content.ends_with("\nend\n"));
        let long = vec![b'x'; MAX_CONTENT + 5];
        let cut = piece(&long, 50, None, true);
        assert_eq!((cut.num_lines, cut.content.len()), (1, MAX_CONTENT));
        assert_eq!((first.num_bytes_cut, cut.num_bytes_cut), (0, 5));
        let whole = serde_json::to_value(&first).unwrap();
        assert_eq!(whole.get("num_bytes_cut"), None);
    }
}
