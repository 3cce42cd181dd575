//! What atoms print: pieces of it, and what a terminal gets.

use clusterrunner_common::process::console::segment;
use clusterrunner_common::text::printable::{coloured_lines, is_obeyed, plain, plain_lines};
use std::io::Cursor;

/// A console can be read from any line on; put together its pieces are the whole. What is shown of it has nothing that a
/// terminal obeys but the ends of lines, tabs and colours.
///
/// # Panics
/// One of these is not so.
pub fn consoles(printed: &[u8]) {
    let mut pieces = String::new();
    let mut line = 0;
    while let Ok(piece) = segment(Cursor::new(printed), 3, Some(line), true) {
        if piece.num_lines == 0 {
            break;
        }
        assert_eq!(piece.offset_line, line);
        line += piece.num_lines;
        pieces.push_str(&piece.content);
    }
    let whole = segment(Cursor::new(printed), usize::MAX, Some(0), true);
    if let Ok(whole) = whole
        && whole.num_bytes_cut == 0
    {
        assert_eq!(pieces, whole.content);
    }
    for offset in [None, Some(u64::MAX), Some(1 << 40)] {
        drop(segment(Cursor::new(printed), 7, offset, false));
    }
    let text = String::from_utf8_lossy(printed);
    let is_layout = |found: char| matches!(found, '\n' | '\t');
    let shown = plain(&text);
    assert!(!shown.contains(is_obeyed), "{shown:?}");
    let lines = plain_lines(&text);
    assert!(
        !lines.contains(|found| is_obeyed(found) && !is_layout(found)),
        "{lines:?}"
    );
    let coloured = coloured_lines(&text);
    for sequence in coloured.split('\u{1b}').skip(1) {
        let end = sequence.find(|found: char| !matches!(found, '[' | '0'..='9' | ';' | ':'));
        let is_colour = end.is_some_and(|end| sequence[end..].starts_with('m'));
        assert!(sequence.starts_with('[') && is_colour, "{coloured:?}");
    }
    let is_stray = |found| is_obeyed(found) && !is_layout(found) && found != '\u{1b}';
    assert!(!coloured.contains(is_stray), "{coloured:?}");
}
