//! The texts that a secret may appear as: itself, encoded and escaped as programs do it.

use super::{KEY, PIECE, Pattern, SHORTEST};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use std::fmt::Write as _;

/// The characters beside letters and digits that encoders of URLs leave as they are: RFC 3986, paths, JavaScript, forms.
const KEPT_IN_URLS: [&str; 4] = ["-._~", "-._~/", "-_.!~*'()", "-._*"];

/// All patterns of a secret.
pub(super) fn patterns(secret: &str) -> Vec<Pattern> {
    let value = secret.trim_end_matches(['\n', '\r']);
    let mut patterns = Vec::new();
    if value.len() < SHORTEST {
        return patterns;
    }
    // Lines are printed with any indentation, and what is short without it would stand in many texts.
    let lines = value.split('\n').map(str::trim);
    let lines = lines.filter(|line| line.len() >= SHORTEST);
    for text in lines.chain([value]) {
        for form in written(text) {
            patterns.extend(pieces(form.as_bytes(), false));
        }
    }
    for form in encoded(value) {
        patterns.extend(pieces(form.as_bytes(), false));
    }
    for form in in_base64(value) {
        patterns.extend(pieces(form.as_bytes(), true));
        // Where a line breaks soon after its beginning, the rest is found by itself.
        for skipped in 1..super::BEFORE_BREAK {
            patterns.extend(pieces(
                form.as_bytes().get(skipped..).unwrap_or_default(),
                true,
            ));
        }
    }
    patterns
}

/// The forms that keep its lines apart.
fn written(value: &str) -> Vec<String> {
    let xml = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let quoted = xml.replace('"', "&quot;");
    vec![
        value.to_owned(),
        quoted.replace('\'', "&apos;"),
        quoted.replace('\'', "&#39;"),
        quoted,
        xml,
        // As a shell quotes it, and as `printf %q` does.
        value.replace('\'', r"'\''"),
        with_backslashes(value),
        begun_with_backslash(value),
        in_double_quotes(value),
        in_dollar_quotes(value),
    ]
}

/// As `export -p` has it between its quotes.
fn in_double_quotes(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if "\\$`\"".contains(letter) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// As bash has it between `$'` and `'`.
fn in_dollar_quotes(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('\'', r"\'")
        .replace('\n', r"\n")
        .replace('\r', r"\r")
        .replace('\t', r"\t")
}

/// At the beginning of a word, bash also escapes what means a home or a comment there.
fn begun_with_backslash(value: &str) -> String {
    let escaped = with_backslashes(value);
    match value.starts_with(['~', '#']) {
        true => format!("\\{escaped}"),
        false => escaped,
    }
}

fn with_backslashes(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        let is_plain = letter.is_alphanumeric() || "_-./:=@%+~#\n".contains(letter);
        if !is_plain {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// The forms on one line.
fn encoded(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for kept in KEPT_IN_URLS {
        for upper in [true, false] {
            let form = in_url(value, kept, upper);
            forms.push(form.replace("%20", "+"));
            forms.push(form);
        }
    }
    let json = in_json(value);
    forms.extend([json.replace('/', r"\/"), in_ascii(&json)]);
    forms.push(json);
    let hex = hex::encode(value);
    let apart = hex_apart(value.as_bytes());
    forms.extend([hex.to_uppercase(), hex, apart.to_uppercase(), apart]);
    forms.push(dumped(value));
    forms
}

/// Its bytes in hex with blanks between them.
fn hex_apart(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

/// As `od -An -tx1` prints it, where it is given nothing before it.
fn dumped(value: &str) -> String {
    const BYTES_OF_A_LINE: usize = 16;
    let lines = value.as_bytes().chunks(BYTES_OF_A_LINE);
    let lines: Vec<String> = lines.map(hex_apart).collect();
    lines.join("\n ")
}

fn in_url(value: &str, kept: &str, upper: bool) -> String {
    let mut text = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        let letter = char::from(byte);
        if letter.is_ascii_alphanumeric() || kept.contains(letter) {
            text.push(letter);
            continue;
        }
        // Writing to a text does not fail.
        let written = match upper {
            true => write!(text, "%{byte:02X}"),
            false => write!(text, "%{byte:02x}"),
        };
        written.ok();
    }
    text
}

/// As JSON has it between its quotes.
fn in_json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    let inside = quoted.get(1..quoted.len().saturating_sub(1));
    inside.unwrap_or_default().to_owned()
}

/// The same without characters outside of ASCII.
fn in_ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut units) {
            write!(text, "\\u{unit:04x}").ok();
        }
    }
    text
}

/// Its base64 wherever it begins in what is encoded: alone, with a line feed, or behind one or two bytes of three. Of the
/// latter only what follows from it alone.
fn in_base64(value: &str) -> Vec<String> {
    let mut forms = vec![
        STANDARD.encode(value),
        STANDARD_NO_PAD.encode(value),
        STANDARD.encode(format!("{value}\n")),
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        let text = STANDARD_NO_PAD.encode(&bytes);
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        forms.push(text.get(from..to).unwrap_or_default().to_owned());
    }
    let safe = |form: &String| form.replace('+', "-").replace('/', "_");
    let in_urls: Vec<String> = forms.iter().map(safe).collect();
    forms.extend(in_urls);
    forms
}

/// A form as patterns: in pieces, none of which is too short. None where the form is too short itself.
fn pieces(form: &[u8], has_breaks: bool) -> Vec<Pattern> {
    let mut pieces = Vec::new();
    let mut rest = form;
    while rest.len() >= KEY {
        let length = match rest.len() {
            long if long >= PIECE + KEY => PIECE,
            all => all,
        };
        let (piece, after) = rest.split_at(length);
        pieces.push(Pattern {
            text: piece.to_vec(),
            has_breaks,
        });
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_are_followed() {
        assert_eq!(in_url("a b/ä'", "-._~", true), "a%20b%2F%C3%A4%27");
        assert_eq!(in_url("a b/ä'", "-._~/", false), "a%20b/%c3%a4%27");
        assert_eq!(in_json("a\"\\\n/"), r#"a\"\\\n/"#);
        assert_eq!(in_ascii("ä😀x"), r"\u00e4\ud83d\ude00x");
        assert_eq!(with_backslashes("a b$'x"), r"a\ b\$\'x");
        // What bash 5.2 prints.
        assert_eq!(with_backslashes("a,b~c#d e"), r"a\,b~c#d\ e");
        assert_eq!(begun_with_backslash("~a b"), r"\~a\ b");
        assert_eq!(in_double_quotes("a$b`c\"d\\e!f"), r#"a\$b\`c\"d\\e!f"#);
        assert_eq!(in_dollar_quotes("a'b\n\tc\\"), r"a\'b\n\tc\\");
    }

    #[test]
    fn base64_is_what_follows_from_the_secret_alone() {
        let secret = "correct horse";
        for before in ["", "x", "xy", "xyz"] {
            for after in ["", "p", "pq"] {
                let text = STANDARD.encode(format!("{before}{secret}{after}"));
                let forms = in_base64(secret);
                assert!(
                    forms.iter().any(|form| text.contains(form)),
                    "{before} {after}"
                );
            }
        }
    }

    #[test]
    fn no_piece_is_too_short_or_too_long() {
        for length in [7, 8, 255, 256, 257, 263, 264, 265, 2_000] {
            let form = vec![b'x'; length];
            let pieces = pieces(&form, false);
            let total: usize = pieces.iter().map(|piece| piece.text.len()).sum();
            assert_eq!(total, if length < KEY { 0 } else { length });
            let fits = |piece: &Pattern| (KEY..PIECE + KEY).contains(&piece.text.len());
            assert!(pieces.iter().all(fits), "{length}");
        }
    }
}
