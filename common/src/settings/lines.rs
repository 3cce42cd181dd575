//! The text of a settings file, taken apart by the rules of ConfigObj, which reads the original's: quotes,
//! lists, comments, and values of several lines.

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1; of a value of several lines the first.
    pub(super) number: usize,
    pub(super) content: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// `[name]`, or `[[name]]` with a depth of 2.
    Section { name: String, depth: usize },
    /// `key = value`. One element, or those of a list.
    Setting { key: String, values: Vec<String> },
}

/// A line that can not be read, and what is wrong with it. Nothing of a value is ever said: it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) number: usize,
    pub(super) what: String,
}

/// Reads all lines. The mark with which some editors begin a file of UTF-8 says nothing.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut numbered = (1..).zip(text.lines());
    let mut read = Vec::new();
    while let Some((number, line)) = numbered.next() {
        let mistake = |what: String| Mistake { number, what };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let content = if line.starts_with('[') {
            section(line).map_err(|what| mistake(what.to_owned()))?
        } else {
            let (key, value) = setting(line).map_err(mistake)?;
            let in_value = |what: &str| mistake(format!("setting \"{key}\": {what}"));
            let values = match opening(value) {
                Some(quotes) => {
                    let rest = numbered.by_ref().map(|(_, line)| line);
                    let value = long_value(&value[quotes.len()..], quotes, rest);
                    vec![value.map_err(in_value)?]
                }
                None => values(value).map_err(in_value)?,
            };
            let key = key.to_owned();
            Content::Setting { key, values }
        };
        read.push(Line { number, content });
    }
    Ok(read)
}

/// `[name]  # comment`; the name may be in quotes.
fn section(line: &str) -> Result<Content, &'static str> {
    let inside = line.trim_start_matches('[');
    let depth = line.len() - inside.len();
    let Some((name, rest)) = inside.split_once(&"]".repeat(depth)) else {
        return Err("a section has an opening bracket but no closing bracket");
    };
    if !is_comment(rest) {
        return Err("text after the closing bracket of a section");
    }
    let name = unquoted(name.trim()).to_owned();
    Ok(Content::Section { name, depth })
}

/// Key and value; the key may be in quotes.
fn setting(line: &str) -> Result<(&str, &str), String> {
    let quoted = line.chars().next().filter(|c| matches!(c, '"' | '\''));
    let end = quoted.and_then(|quote| Some(line[1..].find(quote)? + 2));
    let (key, rest) = line.split_at(end.unwrap_or(0));
    match rest.split_once('=') {
        Some((before, value))
            if quoted.is_none() || (end.is_some() && before.trim().is_empty()) =>
        {
            let key = match end {
                Some(_) => unquoted(key),
                None => before.trim(),
            };
            if key.is_empty() {
                return Err("a line that begins with \"=\" has no key".to_owned());
            }
            Ok((key, value.trim()))
        }
        _ => {
            // What follows the first word may be a secret, as in `secret: x`.
            let word = line.split(|c: char| c == ':' || c.is_whitespace()).next();
            let word = word.unwrap_or_default();
            Err(format!("setting \"{word}\" has no \"=\" and no value"))
        }
    }
}

fn unquoted(text: &str) -> &str {
    let inside = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

fn is_comment(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

/// Three quotes begin a value that may have any character and any number of lines.
fn opening(value: &str) -> Option<&'static str> {
    let all = [r#"""""#, "'''"];
    all.into_iter().find(|quotes| value.starts_with(quotes))
}

fn long_value<'a>(
    first: &'a str,
    quotes: &str,
    more: impl Iterator<Item = &'a str>,
) -> Result<String, &'static str> {
    let mut value = String::new();
    for line in std::iter::once(first).chain(more) {
        match line.split_once(quotes) {
            None => {
                value.push_str(line);
                value.push('\n');
            }
            Some((end, rest)) if is_comment(rest) => return Ok(value + end),
            Some(_) => return Err("text after the closing quotes"),
        }
    }
    Err("the three quotes are not closed")
}

/// The value or values behind `=`. A comment begins with a `#` wherever that is not in quotes.
fn values(raw: &str) -> Result<Vec<String>, &'static str> {
    let (mut values, mut current) = (Vec::new(), String::new());
    let (mut quote, mut quoted, mut list) = (None, false, false);
    let mut finish = |current: &mut String, quoted: bool| {
        let text = std::mem::take(current);
        values.push(if quoted { text } else { text.trim().to_owned() });
    };
    for c in raw.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => (quote, quoted) = (None, true),
            (Some(_), c) => current.push(c),
            (None, '"' | '\'') if !quoted && current.trim().is_empty() => {
                current.clear();
                quote = Some(c);
            }
            (None, ',') => {
                finish(&mut current, quoted);
                (quoted, list) = (false, true);
            }
            (None, '#') => break,
            (None, c) if !quoted => current.push(c),
            (None, c) if c.is_whitespace() => {}
            (None, _) => return Err("text after the closing quote"),
        }
    }
    if quote.is_some() {
        return Err("the quote is not closed");
    }
    // "a," is a list of one; "" is one empty value.
    if quoted || !list || !current.trim().is_empty() {
        finish(&mut current, quoted);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ConfigObj 5.0.9 made of the same texts.
    #[test]
    fn values_as_in_the_original() {
        for (raw, expected) in [
            ("a", vec!["a"]),
            ("", vec![""]),
            ("a b  # comment", vec!["a b"]),
            ("a#b", vec!["a"]),
            ("\"a\"#b", vec!["a"]),
            ("'a # b', \"c,d\", e   # comment", vec!["a # b", "c,d", "e"]),
            ("a ,b#c", vec!["a", "b"]),
            ("a,", vec!["a"]),
            ("'' ", vec![""]),
            ("# only a comment", vec![""]),
            (r"C:\temp", vec![r"C:\temp"]),
            ("it's", vec!["it's"]),
            ("a\"b", vec!["a\"b"]),
            ("a=b", vec!["a=b"]),
            ("a;b", vec!["a;b"]),
            ("100%", vec!["100%"]),
            ("'''abc'''", vec!["abc"]),
            ("'''a\nb'''", vec!["a\nb"]),
            ("\"\"\"x\"y, # \"\"\" # comment", vec!["x\"y, # "]),
        ] {
            let read = lines(&format!("k = {raw}\n")).unwrap();
            let values = expected.into_iter().map(str::to_owned).collect();
            let key = "k".to_owned();
            let content = Content::Setting { key, values };
            assert_eq!(read, [Line { number: 1, content }], "{raw}");
        }
        for (raw, what) in [
            ("'a", "the quote is not closed"),
            ("'a' b", "text after the closing quote"),
            ("'''a\nb", "the three quotes are not closed"),
            ("'''a''' b", "text after the closing quotes"),
        ] {
            let what = format!("setting \"k\": {what}");
            let mistake = Mistake { number: 1, what };
            assert_eq!(lines(&format!("k = {raw}")), Err(mistake), "{raw}");
        }
    }

    #[test]
    fn sections_and_keys_as_in_the_original() {
        let text = "\u{feff}[general]\r\n\"k\" = 1\r\n'a b'=2\n\tc\" = '''x\ny'''\n\n[ master ] # c\n[[\"sub\"]]\nk == 1";
        let section = |number, name: &str, depth| Line {
            number,
            content: Content::Section {
                name: name.to_owned(),
                depth,
            },
        };
        let setting = |number, key: &str, value: &str| Line {
            number,
            content: Content::Setting {
                key: key.to_owned(),
                values: vec![value.to_owned()],
            },
        };
        let expected = [
            section(1, "general", 1),
            setting(2, "k", "1"),
            setting(3, "a b", "2"),
            setting(4, "c\"", "x\ny"),
            section(7, "master", 1),
            section(8, "sub", 2),
            setting(9, "k", "= 1"),
        ];
        assert_eq!(lines(text).unwrap(), expected);
        for (text, number, what) in [
            ("[a", 1, "no closing bracket"),
            ("[a]b", 1, "text after"),
            (
                "[a]\nsecret: hunter2\n",
                2,
                "setting \"secret\" has no \"=\"",
            ),
            ("\"k = hunter2\n", 1, "has no \"=\""),
            ("; c\n", 1, "has no \"=\""),
            (" = 1\n", 1, "has no key"),
        ] {
            let mistake = lines(text).unwrap_err();
            assert_eq!(mistake.number, number, "{text}");
            assert!(mistake.what.contains(what), "{text}: {}", mistake.what);
            assert!(
                !mistake.what.contains("hunter2"),
                "{text}: {}",
                mistake.what
            );
        }
    }
}
