//! Which characters the bytes of a report stand for.

/// How far the declaration of an encoding is looked for.
const DECLARATION: usize = 200;

/// The text of a report. What has no meaning in its encoding becomes replacement characters: the rest of the report is
/// worth reading nevertheless.
pub(super) fn decode(report: Vec<u8>) -> String {
    match &*report {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => utf16(&report, u16::from_le_bytes),
        [0, b'<', ..] => utf16(&report, u16::from_be_bytes),
        _ => match declared(&report) {
            Some(Declared::Latin) => report.iter().map(|byte| char::from(*byte)).collect(),
            Some(Declared::Windows) => report.iter().map(|byte| windows(*byte)).collect(),
            None => String::from_utf8(report)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        },
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let characters = char::decode_utf16(units.iter().map(|bytes| unit(*bytes)));
    let characters = characters.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER));
    characters.collect()
}

/// An encoding with a byte for each character.
enum Declared {
    /// ISO 8859-1.
    Latin,
    /// Windows-1252.
    Windows,
}

/// What the declaration in the first line says, where it is not UTF-8.
fn declared(report: &[u8]) -> Option<Declared> {
    let head = report.get(..DECLARATION).unwrap_or(report);
    let head = head.trim_ascii_start().strip_prefix(b"<?xml")?;
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let head = String::from_utf8_lossy(head.get(..end)?).to_ascii_lowercase();
    let (_, value) = head.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    let name = value.split(['"', '\'']).next()?;
    match name {
        "iso-8859-1" | "iso8859-1" | "latin1" | "latin-1" | "us-ascii" | "ascii" => {
            Some(Declared::Latin)
        }
        "windows-1252" | "cp1252" => Some(Declared::Windows),
        _ => None,
    }
}

/// The characters of Windows-1252 that are others than in ISO 8859-1, from 0x80 on; 0 where there is none.
const WINDOWS: [u16; 32] = [
    0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
    0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc,
    0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
];

fn windows(byte: u8) -> char {
    let other = byte
        .checked_sub(0x80)
        .and_then(|index| WINDOWS.get(usize::from(index)));
    match other {
        None => char::from(byte),
        Some(0) => char::REPLACEMENT_CHARACTER,
        Some(code) => char::from_u32(u32::from(*code)).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_in_the_encoding_that_it_has() {
        let text = "<?xml version=\"1.0\"?><testsuite name=\"Grüße €\"/>";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (mark, bytes) in [
            (&b""[..], text.as_bytes()),
            (&[0xef, 0xbb, 0xbf], text.as_bytes()),
            (&[0xff, 0xfe], &little),
            (&[0xfe, 0xff], &big),
            (&[], &little),
            (&[], &big),
        ] {
            assert_eq!(decode([mark, bytes].concat()), text);
        }
    }

    #[test]
    fn what_the_declaration_says_counts_where_bytes_are_characters() {
        for (name, byte, expected) in [
            ("ISO-8859-1", 0xfc, "ü"),
            ("latin1", 0xfc, "ü"),
            ("Windows-1252", 0x80, "€"),
            ("windows-1252", 0x81, "\u{fffd}"),
            ("windows-1252", 0xfc, "ü"),
            // Not known here, and wrong.
            ("Shift_JIS", 0xfc, "\u{fffd}"),
            ("UTF-8", 0xfc, "\u{fffd}"),
        ] {
            let head = format!("<?xml version='1.0' encoding = '{name}' ?>");
            let report = [head.as_bytes(), &[byte]].concat();
            assert_eq!(decode(report), format!("{head}{expected}"), "{name}");
        }
        // What is said elsewhere is no declaration.
        let report = b"<a encoding='latin1'>\xfc</a>".to_vec();
        assert!(decode(report).contains('\u{fffd}'));
    }

    #[test]
    fn half_a_character_and_half_a_pair_are_no_reason_to_stop() {
        assert_eq!(decode(vec![0xff, 0xfe, b'<', 0, 0, 0xd8, 7]), "<\u{fffd}");
        assert_eq!(decode(vec![0xff]), "\u{fffd}");
        assert_eq!(decode(Vec::new()), "");
    }
}
