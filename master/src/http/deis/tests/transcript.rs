//! What the original controller answered to a list of requests, in `testdata/deis-transcript.txt`: read, and compared with
//! other answers. A comparison says in which places they differ.

use super::farm::Answer;
use serde_json::Value;
use std::collections::BTreeSet;

const TRANSCRIPT: &str = include_str!("../../../../testdata/deis-transcript.txt");

/// What may stand in the place of another text, and its form: `0` for a digit, `f` for a hexadecimal one.
const PLACEHOLDERS: [(&str, &str); 5] = [
    ("<time.mmmZ>", "0000-00-00T00:00:00.000Z"),
    ("<time>", "0000-00-00T00:00:00UTC"),
    ("<uuid>", "ffffffff-ffff-4fff-ffff-ffffffffffff"),
    ("<40hex>", "ffffffffffffffffffffffffffffffffffffffff"),
    ("<7hex>", "fffffff"),
];

/// The made-up id in the transcript.
pub(super) const MADE_UP: &str = "luxury-nailhead";

/// A request and the original's answer.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// Its place in the transcript, from 1.
    pub(super) number: usize,
    /// 0 for nobody.
    pub(super) user: usize,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: String,
    /// One more header.
    pub(super) header: Option<(String, String)>,
    status: u16,
    headers: Vec<(String, String)>,
    answer: String,
}

/// All exchanges.
pub(super) fn exchanges() -> Vec<Exchange> {
    let exchanges = TRANSCRIPT.split("\n### ").skip(1).enumerate();
    exchanges
        .map(|(place, text)| Exchange::read(place + 1, text))
        .collect()
}

impl Exchange {
    fn read(number: usize, text: &str) -> Self {
        let (head, answer) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let request = lines.next().unwrap();
        let (request, header) = match request.split_once(" -H ") {
            Some((request, header)) => (request, header.split_once(": ").or(Some((header, "")))),
            None => (request, None),
        };
        let mut words = request.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let user = word().strip_prefix("user=").unwrap().parse().unwrap();
        let (method, path, body) = (word(), word(), word());
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Self {
            number,
            user,
            method,
            path,
            body: body.trim().to_owned(),
            header: header.map(|(name, value)| (name.to_owned(), value.to_owned())),
            status: status.parse().unwrap(),
            headers: headers.collect(),
            answer: answer.trim().to_owned(),
        }
    }

    /// As a person reads it.
    pub(super) fn title(&self) -> String {
        let Self {
            number,
            user,
            method,
            path,
            body,
            ..
        } = self;
        format!("{number}. user {user}: {method} {path} {body}")
    }

    /// The exchange with another made-up id.
    pub(super) fn with_id(mut self, id: &str) -> Self {
        let replace = |text: &mut String| *text = text.replace(MADE_UP, id);
        replace(&mut self.path);
        replace(&mut self.answer);
        self.headers
            .iter_mut()
            .for_each(|(_, value)| replace(value));
        self
    }

    /// In which places an answer is another than the original's.
    pub(super) fn differences(&self, answer: &Answer, host: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if self.status != answer.status {
            found.insert(format!("status {}", answer.status));
        }
        for (name, value) in &self.headers {
            let value = value.replace("<host>", host);
            let given = answer.header(&name.to_lowercase());
            if !fits(&value, given) {
                found.insert(format!("header {name}"));
            }
        }
        let expected = match serde_json::from_str(&self.answer) {
            Ok(json) => json,
            Err(_) => Value::String(self.answer.clone()),
        };
        compare("body", &expected, &answer.body, &mut found);
        found
    }
}

/// Notes in which places a value is another than expected.
fn compare(place: &str, expected: &Value, found: &Value, places: &mut BTreeSet<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
            for name in names {
                let place = format!("{place}.{name}");
                match (expected.get(name), found.get(name)) {
                    (Some(expected), Some(found)) => compare(&place, expected, found, places),
                    _ => drop(places.insert(place)),
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (expected, found) in expected.iter().zip(found) {
                compare(&format!("{place}[]"), expected, found, places);
            }
        }
        (Value::String(expected), Value::String(found)) if fits(expected, found) => {}
        _ if expected == found => {}
        _ => drop(places.insert(place.to_owned())),
    }
}

/// Whether a text is one with placeholders, up to what these stand for.
pub(super) fn fits(expected: &str, found: &str) -> bool {
    if expected == "<generated>" {
        return !found.is_empty();
    }
    let (mut expected, mut found) = (expected, found);
    loop {
        let placeholder = PLACEHOLDERS.iter().find_map(|(name, form)| {
            let rest = expected.strip_prefix(name)?;
            Some((rest, form))
        });
        if let Some((rest, form)) = placeholder {
            let Some((text, behind)) = found.split_at_checked(form.len()) else {
                return false;
            };
            if !has_form(text, form) {
                return false;
            }
            (expected, found) = (rest, behind);
            continue;
        }
        match (expected.chars().next(), found.chars().next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other => {
                expected = &expected[one.len_utf8()..];
                found = &found[other.len_utf8()..];
            }
            _ => return false,
        }
    }
}

fn has_form(text: &str, form: &str) -> bool {
    text.chars().zip(form.chars()).all(|(c, form)| match form {
        '0' => c.is_ascii_digit(),
        'f' => matches!(c, '0'..='9' | 'a'..='f'),
        form => c == form,
    })
}

#[test]
fn the_transcript_is_read_whole() {
    let exchanges = exchanges();
    assert_eq!(exchanges.len(), 131);
    let bad_token = exchanges[12].clone();
    assert_eq!(bad_token.path, "/v1/apps");
    let header = bad_token.header.unwrap();
    assert_eq!(
        (header.0.as_str(), header.1.as_str()),
        ("Authorization", "token a b")
    );
    assert_eq!((bad_token.status, bad_token.headers.len()), (401, 2));
}

#[test]
fn placeholders_stand_for_what_has_their_form() {
    assert!(fits("<time> a <7hex>", "2014-10-19T22:01:00UTC a 01234ef"));
    assert!(!fits("<time>", "2014-10-19T22:01:00Z"));
    assert!(!fits("<uuid>", "0123"));
    assert!(!fits("<7hex>", "é23456"));
    assert!(fits("<generated>", "x") && !fits("<generated>", ""));
}
