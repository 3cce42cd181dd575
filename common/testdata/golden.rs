//! Replays recorded exchanges of the original with one of our daemons and compares the answers.
//!
//! Compared are the status, the headers that clients read, and JSON field by field. A difference has
//! a label such as `status=404` or `build.details`; every exchange that differs needs an exception
//! with exactly its labels and a reason.

use axum::http::HeaderMap;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Headers that are compared word for word.
const EXACT_HEADERS: [&str; 7] = [
    "content-type",
    "api-version",
    "location",
    "accept-ranges",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
];

/// Headers whose presence is compared.
const PRESENT_HEADERS: [&str; 4] = ["session-id", "etag", "last-modified", "content-range"];

/// Request headers that belong to the connection, not to the request.
const CONNECTION_HEADERS: [&str; 3] = ["host", "accept-encoding", "content-length"];

/// What our answers have beside the original's.
const OURS: [&str; 47] = [
    "STATUS",
    "all_atoms",
    "artifacts",
    "attempt",
    "code",
    "commit",
    "cpu_seconds",
    "current_build_state",
    "drain",
    "executor_id",
    "failing",
    "finish",
    "flaky_fails",
    "is_drained",
    "is_in_doubt",
    "is_quarantined",
    "job_name",
    "labels",
    "last_heard_at",
    "load_of_last_hour",
    "max_memory_bytes",
    "name",
    "next_probe_at",
    "num_atoms_completed",
    "num_atoms_failed",
    "num_atoms_flaky",
    "num_atoms_in_progress",
    "num_atoms_in_trouble",
    "num_atoms_not_run",
    "output_bytes",
    "project_id",
    "quarantine_reason",
    "results",
    "resumed",
    "retry_of",
    "seconds_left",
    "setup",
    "signal",
    "slaves_setting_up",
    "source",
    "started_at",
    "steps",
    "timed_out_after",
    "trouble",
    "undrain",
    "value",
    "warnings",
];

/// A recorded exchange.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) number: u16,
    pub(crate) name: String,
    pub(crate) to: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) answer: Recorded,
}

/// The original's answer.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// Our answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Exchanges that differ on purpose.
pub(crate) struct Exception {
    pub(crate) fixtures: &'static [u16],
    pub(crate) differs: &'static [&'static str],
    pub(crate) because: &'static str,
}

/// Exchanges that one request to one daemon can not bring about.
pub(crate) struct NotAlone {
    pub(crate) fixtures: &'static [u16],
    pub(crate) because: &'static str,
}

/// All exchanges of the recording that were sent to `daemon`, by number.
pub(crate) fn fixtures(daemon: &str) -> BTreeMap<u16, Fixture> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/testdata/fixtures");
    let files = std::fs::read_dir(directory).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|name| name == "http"));
    let parsed = files.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        parse(&name, &std::fs::read_to_string(path).unwrap())
    });
    let sent = parsed.filter(|fixture| fixture.to == daemon);
    sent.map(|fixture| (fixture.number, fixture)).collect()
}

fn parse(name: &str, text: &str) -> Fixture {
    let (comments, rest) = text.split_once(">>> REQUEST\n").unwrap();
    let (request, response) = rest.split_once("<<< RESPONSE\n").unwrap();
    let direction = comments
        .lines()
        .find_map(|line| line.strip_prefix("# direction: "));
    let (line, headers, body) = message(request);
    let mut words = line.split(' ');
    let (status_line, answer_headers, answer_body) = message(response);
    Fixture {
        number: name[..3].parse().unwrap(),
        name: name.to_owned(),
        to: direction.unwrap().split(" -> ").nth(1).unwrap().to_owned(),
        method: words.next().unwrap().to_owned(),
        path: words.next().unwrap().to_owned(),
        headers: headers
            .into_iter()
            .filter(|(name, _)| !CONNECTION_HEADERS.contains(&name.as_str()))
            .collect(),
        body,
        answer: Recorded {
            status: status_line.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: answer_headers.into_iter().collect(),
            body: answer_body,
        },
    }
}

type Message<'a> = (&'a str, Vec<(String, String)>, String);

fn message(text: &str) -> Message<'_> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    (
        first,
        headers.collect(),
        body.trim_end_matches('\n').to_owned(),
    )
}

/// How an answer differs from the recorded one; empty if it does not.
pub(crate) fn differences(recorded: &Recorded, answer: &Answer) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    if recorded.status != answer.status {
        labels.insert(format!("status={}", answer.status));
    }
    let found = |name: &str| {
        answer
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    // An answer without a body has no type that anybody could read it by.
    let has_body = !recorded.body.is_empty();
    for name in EXACT_HEADERS {
        let expected = recorded.headers.get(name).map(String::as_str);
        if found(name) != expected && (name != "content-type" || has_body) {
            labels.insert(name.to_owned());
        }
    }
    for name in PRESENT_HEADERS {
        // One more than the original has does no harm; another status has other headers.
        let wanted = recorded.headers.contains_key(name) && recorded.status == answer.status;
        if wanted && !answer.headers.contains_key(name) {
            labels.insert(name.to_owned());
        }
    }
    let is_json = |text: Option<&str>| text.is_some_and(|text| text.contains("json"));
    let expected_type = recorded.headers.get("content-type").map(String::as_str);
    if is_json(expected_type) && has_body {
        let expected: Value = serde_json::from_str(&recorded.body).unwrap();
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(given) => compare("", &expected, &given, &mut labels),
            Err(_) => drop(labels.insert("body".to_owned())),
        }
    } else if !has_body && !answer.body.is_empty() {
        labels.insert("body".to_owned());
    }
    labels
}

fn compare(place: &str, expected: &Value, given: &Value, labels: &mut BTreeSet<String>) {
    let inside = |key: &str| match place {
        "" => key.to_owned(),
        _ => format!("{place}.{key}"),
    };
    match (expected, given) {
        (Value::Object(expected), Value::Object(given)) => {
            for (key, value) in expected {
                match given.get(key) {
                    Some(given) => compare(&inside(key), value, given, labels),
                    // A path on the original's disk; see docs/differences.md.
                    None if key == "build_project_directory" => {}
                    None => drop(labels.insert(inside(key))),
                }
            }
            let is_new = |key: &&String| !expected.contains_key(*key);
            let is_ours = |key: &&String| OURS.contains(&key.as_str());
            let stray = given.keys().filter(is_new).filter(|key| !is_ours(key));
            labels.extend(stray.map(|key| format!("+{}", inside(key))));
        }
        (Value::Array(expected), Value::Array(given)) if expected.len() == given.len() => {
            for (expected, given) in expected.iter().zip(given) {
                compare(place, expected, given, labels);
            }
        }
        // Times and the program's version can only be of the same kind.
        (Value::Number(_), Value::Number(_)) if place.contains("state_timestamps") => {}
        (Value::String(_), Value::String(_)) if place == "version" => {}
        _ if expected == given => {}
        _ => drop(labels.insert(place.to_owned())),
    }
}

/// The score of a replay.
pub(crate) struct Score {
    fixtures: BTreeMap<u16, Fixture>,
    exceptions: &'static [Exception],
    reproduced: BTreeSet<u16>,
    excepted: BTreeSet<u16>,
    wrong: Vec<String>,
}

impl Score {
    /// The exchanges with a daemon; `renamed` puts what it calls something now in the place of what
    /// that was called in the recording.
    pub(crate) fn new(
        daemon: &str,
        renamed: &[(&str, &str)],
        exceptions: &'static [Exception],
    ) -> Self {
        let mut fixtures = fixtures(daemon);
        for fixture in fixtures.values_mut() {
            let headers = fixture.headers.iter_mut().map(|(_, value)| value);
            for text in headers.chain([&mut fixture.answer.body]) {
                for (recorded, now) in renamed {
                    *text = text.replace(recorded, now);
                }
            }
        }
        Self {
            fixtures,
            exceptions,
            reproduced: BTreeSet::new(),
            excepted: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    pub(crate) fn fixture(&self, number: u16) -> Fixture {
        self.fixtures[&number].clone()
    }

    /// Compares an answer and counts it.
    pub(crate) fn judge(&mut self, number: u16, answer: &Answer) {
        let fixture = &self.fixtures[&number];
        let found = differences(&fixture.answer, answer);
        let mut exceptions = self.exceptions.iter();
        let exception = exceptions.find(|exception| exception.fixtures.contains(&number));
        let allowed = exception.map_or(&[][..], |exception| exception.differs);
        let allowed: BTreeSet<String> = allowed.iter().map(|&label| label.to_owned()).collect();
        if found != allowed {
            let body = String::from_utf8_lossy(&answer.body);
            self.wrong.push(format!(
                "{}: differs in {found:?}, allowed {allowed:?}\n  expected {} {}\n  given    {} {body}",
                fixture.name, fixture.answer.status, fixture.answer.body, answer.status
            ));
        } else if exception.is_some() {
            self.excepted.insert(number);
        } else {
            self.reproduced.insert(number);
        }
    }

    /// Prints the score, and asserts that every exchange was accounted for and that there are
    /// `(reproduced, excepted, not alone)` of them.
    pub(crate) fn finish(self, not_alone: &'static [NotAlone], expected: (usize, usize, usize)) {
        assert!(self.wrong.is_empty(), "\n{}", self.wrong.join("\n\n"));
        let mut left: BTreeSet<u16> = self.fixtures.keys().copied().collect();
        left.retain(|number| !self.reproduced.contains(number) && !self.excepted.contains(number));
        let mut told = Vec::new();
        told.push(format!("{} reproduced", self.reproduced.len()));
        told.push(format!("{} differ on purpose:", self.excepted.len()));
        for Exception {
            fixtures,
            differs,
            because,
        } in self.exceptions
        {
            let unused = fixtures
                .iter()
                .find(|number| !self.excepted.contains(number));
            assert_eq!(unused, None, "an exception for what was not replayed");
            told.push(format!("  {fixtures:?} in {differs:?}: {because}"));
        }
        told.push(format!("{} not by one request alone:", left.len()));
        let total = left.len();
        for NotAlone { fixtures, because } in not_alone {
            for number in *fixtures {
                assert!(left.remove(number), "{number} is replayed or told twice");
            }
            told.push(format!("  {fixtures:?}: {because}"));
        }
        assert!(left.is_empty(), "nothing is said about {left:?}");
        // Shown by `cargo test -- --nocapture`.
        eprintln!("{}", told.join("\n"));
        let counted = (self.reproduced.len(), self.excepted.len(), total);
        assert_eq!(counted, expected, "the score has changed");
    }
}
