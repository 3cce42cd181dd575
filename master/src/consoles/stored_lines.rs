//! The lines of a console that lies on the master, a part of bounded size at a time.

use super::{ConsoleFailure, broken_off};
use crate::store::results::StoredConsole;
use clusterrunner_common::process::console::is_gap_notice;
use clusterrunner_common::turns::Turns;
use std::io::{self, BufRead, Read as _, Seek, SeekFrom};

/// How many lines are given at a time.
const LINES: usize = 1000;

/// How much text is given at a time. A line that is longer is given in pieces, as several lines.
const TEXT: usize = 256 << 10;

/// How much of a line is looked at to know the notice of a gap; it is shorter.
const NOTICE: u64 = 200;

/// The lines that are still to be given.
#[derive(Debug)]
pub(super) struct StoredLines {
    console: StoredConsole,
    skip: u64,
}

impl StoredLines {
    /// All but the first lines of a console.
    pub(super) fn after(console: StoredConsole, skip: u64) -> Self {
        Self { console, skip }
    }

    /// The next lines; none at the end.
    pub(super) async fn next(
        mut self,
        turns: &Turns,
    ) -> Result<(Self, Vec<String>), ConsoleFailure> {
        let turn = turns.take().await;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let skip = std::mem::take(&mut self.skip);
            let lines = match &mut self.console {
                StoredConsole::Memory(text) => part(text, skip),
                StoredConsole::File(text) => part(text, skip),
            };
            Ok((self, lines?))
        });
        let read = read.await.map_err(broken_off)?;
        read.map_err(ConsoleFailure::Disk)
    }
}

fn part<R: BufRead + Seek>(text: &mut R, skip: u64) -> io::Result<Vec<String>> {
    skip_lines(text, skip)?;
    lines(text, TEXT)
}

/// Skips the first lines. They are those that were given while the atom ran; where the middle of the output was dropped
/// since, that holds no further than to the gap. The notice of it, and all behind it, is left to be given.
fn skip_lines<R: BufRead + Seek>(text: &mut R, number: u64) -> io::Result<()> {
    let (mut at, mut begin) = (0, Vec::new());
    for _ in 0..number {
        begin.clear();
        let length = (&mut *text).take(NOTICE).read_until(b'\n', &mut begin)?;
        if is_gap_notice(&begin) {
            text.seek(SeekFrom::Start(at))?;
            return Ok(());
        }
        at += length as u64;
        if begin.last() != Some(&b'\n') {
            at += skip_line(text)?;
        }
    }
    Ok(())
}

/// Skips to the next line; how many bytes that were.
fn skip_line(text: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let piece = text.fill_buf()?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        text.consume(length);
        skipped += length as u64;
        if end.is_some() || length == 0 {
            return Ok(skipped);
        }
    }
}

/// The next lines, of which one has at most `longest` bytes.
fn lines(text: &mut impl BufRead, longest: usize) -> io::Result<Vec<String>> {
    let (mut lines, mut size) = (Vec::new(), 0);
    while lines.len() < LINES && size < longest {
        let mut line = Vec::new();
        let mut part = (&mut *text).take(longest as u64);
        let length = part.read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        size += length;
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        if !is_whole && text.fill_buf()?.first() == Some(&b'\n') {
            text.consume(1);
        }
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_come_in_parts_and_long_ones_in_pieces() {
        let text = b"one\n\ntwo\r\nlonger than nine\n\xffnine....\nlast";
        let mut text = Cursor::new(&text[..]);
        let mut next = || lines(&mut text, 9).unwrap();
        assert_eq!(next(), ["one", "", "two\r"]);
        assert_eq!(next(), ["longer th"]);
        assert_eq!(next(), ["an nine", "\u{fffd}nine...."]);
        assert_eq!(next(), ["last"]);
        assert_eq!(next(), [""; 0]);
    }

    #[test]
    fn the_first_lines_are_left_out() {
        for (skip, expected) in [(0, "a\nb\nc"), (1, "b\nc"), (2, "c"), (3, ""), (9, "")] {
            let mut text = Cursor::new(b"a\nb\nc");
            skip_lines(&mut text, skip).unwrap();
            assert_eq!(lines(&mut text, 9).unwrap().join("\n"), expected);
        }
    }

    #[test]
    fn what_comes_from_a_gap_on_is_not_left_out() {
        let notice = "clusterrunner: 12 bytes of output were dropped here (max_console_size is 8)";
        let text = format!("a\n{}\n{notice}\nb\n", "x".repeat(1000));
        for (skip, expected) in [(1, 3), (2, 2), (3, 2), (100, 2)] {
            let mut text = Cursor::new(text.as_bytes());
            let given = part(&mut text, skip).unwrap();
            assert_eq!(given.len(), expected, "{skip}");
            assert_eq!(given[given.len() - 2..], [notice, "b"]);
        }
    }
}
