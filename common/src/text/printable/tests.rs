use super::*;
use proptest::prelude::*;

/// What is left when colours are taken away has nothing in it that a terminal obeys.
fn is_harmless(text: &str) -> bool {
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let colour = colour_length(rest);
        if colour == 0 && is_obeyed(character) && !is_layout(character) {
            return false;
        }
        rest = &rest[colour.max(character.len_utf8())..];
    }
    true
}

fn shown(console: &str) -> String {
    let mut filter = ConsoleFilter::new();
    filter.pass(console)
}

/// Sequences and what they are made of, whole and torn.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\u{1b}]52;c;ZXZpbA==\u{7}".to_owned()),
        Just("\u{1b}]8;;http://evil\u{1b}\\".to_owned()),
        Just("\u{1b}[2J".to_owned()),
        Just("\u{1b}[31m".to_owned()),
        Just("\u{1b}[>4;2m".to_owned()),
        Just("\u{1b}P+q544e\u{1b}\\".to_owned()),
        "[\u{1b}\u{9b}\u{9d}\u{90}\u{9c}\u{7}\u{8}\u{18}\r\n\t\\[\\]\\\\P_^X0-9;:?>!mKHa ]{0,6}",
        "[\u{80}-\u{9f}\u{61c}\u{200e}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{e0041}]{0,3}",
        "\\PC{0,4}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn colours_stay_in_consoles_and_nothing_else_that_is_obeyed() {
    for (console, expected) in [
        ("plain \u{e9}\ttext\n", "plain \u{e9}\ttext\n"),
        ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m"),
        (
            "\u{1b}[38:2::1:2:3mx\u{1b}[m",
            "\u{1b}[38:2::1:2:3mx\u{1b}[m",
        ),
        ("a\u{1b}]52;c;ZXZpbA==\u{7}b", "ab"),
        (
            "a\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\b",
            "alinkb",
        ),
        (
            "a\u{1b}P+q544e\u{1b}\\b\u{1b}_x\u{9c}c\u{9f}x\u{7}d",
            "abcd",
        ),
        ("a\u{1b}[2J\u{1b}[6nb\u{9b}31mc\u{1b}[Kd", "abcd"),
        ("a\u{1b}[>4;2mb\u{1b}[?25hc\u{1b}(0d\u{1b}ce", "abcde"),
        ("FAIL\rPASS", "FAIL\nPASS"),
        ("one\r\ntwo\r\r\n", "one\ntwo\n"),
        ("a\u{8}\u{7}\0\u{202e}", "a\\u{8}\\u{7}\\u{0}\\u{202e}"),
        // What never ends, ends with its line; what is cut off, where it can not go on.
        ("a\u{1b}]0;title\nb", "a\nb"),
        ("a\u{1b}[31\nb\u{1b}\u{1b}[32mc", "a\nb\u{1b}[32mc"),
        ("a\u{1b}]x\u{1b}[2Jb", "ab"),
        ("a\u{1b}\u{e9}b", "a\u{e9}b"),
    ] {
        assert_eq!(shown(console), expected, "{console:?}");
    }
    let long = format!("\u{1b}[{}mx", "1;".repeat(40));
    assert_eq!(shown(&long), "x");
}

#[test]
fn no_colour_stays_at_the_end() {
    for (console, end) in [
        ("plain", ""),
        ("\u{1b}[31mred", "\u{1b}[0m"),
        ("\u{1b}[31mred\u{1b}[0m", ""),
        ("\u{1b}[31mred\u{1b}[m", ""),
    ] {
        let mut filter = ConsoleFilter::new();
        drop(filter.pass(console));
        assert_eq!(filter.end(), end, "{console:?}");
    }
}

#[test]
fn texts_are_written_out() {
    let text = "a\u{1b}[31m\u{1b}[2J\r\n\t\u{202e}\u{9b}b";
    assert_eq!(
        plain(text),
        "a\\u{1b}[31m\\u{1b}[2J\\r\\n\\t\\u{202e}\\u{9b}b"
    );
    assert_eq!(
        plain_lines(text),
        "a\\u{1b}[31m\\u{1b}[2J\\r\n\t\\u{202e}\\u{9b}b"
    );
    assert_eq!(
        coloured_lines(text),
        "a\u{1b}[31m\\u{1b}[2J\\r\n\t\\u{202e}\\u{9b}b"
    );
    for fine in ["", "plain", "gr\u{f6}\u{df}er \u{1f642}"] {
        assert!(matches!(plain(fine), Cow::Borrowed(same) if same == fine));
    }
}

proptest! {
    #[test]
    fn nothing_that_a_terminal_obeys_is_let_through(text in hostile()) {
        prop_assert!(is_harmless(&shown(&text)));
        prop_assert!(is_harmless(&coloured_lines(&text)));
        prop_assert!(!plain(&text).contains(is_obeyed));
        prop_assert!(!plain_lines(&text).contains(|c| is_obeyed(c) && !is_layout(c)));
    }

    /// However a console is torn, it is shown as if it had come at once; and once more changes nothing.
    #[test]
    fn pieces_are_shown_like_the_whole(pieces in prop::collection::vec(hostile(), 0..5)) {
        let whole = shown(&pieces.concat());
        let mut filter = ConsoleFilter::new();
        let mut characters = ConsoleFilter::new();
        let in_pieces: String = pieces.iter().map(|piece| filter.pass(piece)).collect();
        let all = pieces.concat();
        let one_by_one: String =
            all.chars().map(|c| characters.pass(c.encode_utf8(&mut [0; 4]))).collect();
        prop_assert_eq!(&in_pieces, &whole);
        prop_assert_eq!(&one_by_one, &whole);
        prop_assert_eq!(shown(&whole), whole);
    }

    #[test]
    fn json_means_the_same(text in hostile()) {
        let value = serde_json::Value::from(text);
        let written = value.to_string();
        let safe = json(&written);
        prop_assert!(!safe.contains(is_obeyed));
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
