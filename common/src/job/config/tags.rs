//! The first tag of a YAML text, such as `!!str`. In a job file a tag is the mistake of somebody who meant a `!`: parsers
//! drop tags that they do not know, and `- ! grep x` would run `grep x`.

use super::problem::Position;
use serde_saphyr::granit_parser::Parser;

/// The first tag as it is written and where it stands, among the first `most_events` events of the parser, or before what
/// is no YAML.
pub(super) fn first(text: &str, most_events: usize) -> Option<(Position, &str)> {
    // Most files have no `!`, and these are read once.
    if !text.contains('!') {
        return None;
    }
    Parser::new_from_str(text)
        .take(most_events)
        .map_while(Result::ok)
        .find_map(|(_, span)| {
            let start = span.tag_start()?;
            let place = Position::Line {
                line: u64::try_from(start.line()).ok()?,
                column: u64::try_from(start.col()).ok()?.saturating_add(1),
            };
            let written = span.tag_span().and_then(|tag| tag.slice(text));
            Some((place, written.unwrap_or("!")))
        })
}
