//! The end of a text that is too long to be shown.

/// The last whole lines of a text within so many bytes; of a line that is longer, nothing but the lines behind it, or its end
/// where there are none.
#[must_use]
pub fn last_lines(text: &str, most: usize) -> &str {
    let Some(cut) = text.len().checked_sub(most).filter(|cut| *cut > 0) else {
        return text;
    };
    let rest = text.get(text.ceil_char_boundary(cut)..).unwrap_or_default();
    let lines = rest.split_once('\n').map(|(_, lines)| lines);
    lines.filter(|lines| !lines.is_empty()).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_where_they_can_be() {
        for (text, most, expected) in [
            ("a\nb\n", 4, "a\nb\n"),
            ("aa\nb\n", 4, "b\n"),
            ("aaaa", 2, "aa"),
            ("ää\n", 4, "ä\n"),
            ("", 0, ""),
        ] {
            assert_eq!(last_lines(text, most), expected, "{text:?}");
        }
    }
}
