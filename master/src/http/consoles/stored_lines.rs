//! The lines of a console that lies on the master, a part of bounded size at a time.

use super::{ConsoleFailure, broken_off};
use crate::store::results::StoredConsole;
use clusterrunner_common::http::turns::Turns;
use std::io::{self, BufRead, Read as _};

/// How many lines are given at a time.
const LINES: usize = 1000;

/// How much text is given at a time. A line that is longer is given in pieces, as several lines.
const TEXT: usize = 256 << 10;

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
            let text: &mut dyn BufRead = match &mut self.console {
                StoredConsole::Memory(text) => text,
                StoredConsole::File(text) => text,
            };
            skip_lines(text, std::mem::take(&mut self.skip))?;
            let lines = lines(text, TEXT)?;
            Ok((self, lines))
        });
        let read = read.await.map_err(broken_off)?;
        read.map_err(ConsoleFailure::Disk)
    }
}

fn skip_lines(text: &mut dyn BufRead, mut number: u64) -> io::Result<()> {
    while number > 0 {
        let piece = text.fill_buf()?;
        let length = match piece.iter().position(|byte| *byte == b'\n') {
            _ if piece.is_empty() => return Ok(()),
            Some(end) => {
                number -= 1;
                end + 1
            }
            None => piece.len(),
        };
        text.consume(length);
    }
    Ok(())
}

/// The next lines, of which one has at most `longest` bytes.
fn lines(text: &mut dyn BufRead, longest: usize) -> io::Result<Vec<String>> {
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
}
