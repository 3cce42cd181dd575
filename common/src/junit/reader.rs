//! Reads one report. Pure, and in one pass over its text.

use super::bounds::{MAX_ATTRIBUTES, MAX_DEPTH, MAX_REPORT};
use super::text::{Collected, cut_at, meaning, named, seconds, unescaped};
use super::{ReportedTest, TestOutcome};
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Why a report was not read. The text goes to the users of a build.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is another kind of file.
    #[error("its first element is <{0}>, not <testsuites> or <testsuite>")]
    NotAReport(String),
    /// It breaks off.
    #[error("it ends before its last element does")]
    Cut,
    /// It is no XML.
    #[error("it is no XML: {0}")]
    NoXml(#[from] quick_xml::Error),
    /// It could have entities, which can grow without limit and name files.
    #[error("it has a document type, which is not read")]
    DocumentType,
    /// It is deeper than any report.
    #[error("its elements stand more than {MAX_DEPTH} deep in each other")]
    TooDeep,
    /// It is larger than reports may be.
    #[error("it has more than {} MiB", MAX_REPORT >> 20)]
    TooLarge,
}

/// Reads a report and gives its tests to `take`, in its order. What was given of one that ends in an error is not to be
/// used. Says whether the report tells of a failure that is of none of its tests: in a suite beside its tests, deep in a test,
/// or since a suite counts more failures and errors than it has.
///
/// # Errors
/// See [`ReportError`].
pub(super) fn read(text: &str, mut take: impl FnMut(ReportedTest)) -> Result<bool, ReportError> {
    let mut reader = Reader::from_str(text);
    // Runners forget to escape it in what programs print.
    reader.config_mut().allow_dangling_amp = true;
    let mut reading = Reading::default();
    loop {
        match reader.read_event()? {
            Event::Start(element) => {
                reading.enter(&element)?;
            }
            Event::Empty(element) => {
                reading.enter(&element)?;
                reading.leave(&mut take);
            }
            Event::End(_) => reading.leave(&mut take),
            Event::Text(text) => reading.text(&text.xml10_content()),
            Event::CData(text) => reading.text(&text.xml10_content()),
            Event::GeneralRef(reference) => match meaning(&reference) {
                Some(character) => reading.text(character.encode_utf8(&mut [0; 4])),
                None => reading.text(&format!("&{};", cut_at(&reference, 100))),
            },
            Event::DocType(_) => return Err(ReportError::DocumentType),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match (reading.depth, reading.has_root) {
        (0, true) => Ok(reading.failed_beside),
        (0, false) => Err(ReportError::Empty),
        _ => Err(ReportError::Cut),
    }
}

/// How far a report is read, and what was found.
#[derive(Default)]
struct Reading {
    has_root: bool,
    depth: usize,
    suites: Vec<Suite>,
    case: Option<Case>,
    /// How many failures and errors its tests have so far.
    failures: u64,
    failed_beside: bool,
}

/// A suite that is open, which is what tests are in that say nothing else.
struct Suite {
    depth: usize,
    name: Option<String>,
    file: Option<String>,
    /// How many failures and errors there are at its end, by what it counts itself.
    failures: u64,
}

/// A test that is open.
struct Case {
    depth: usize,
    test: ReportedTest,
    /// What was said of it last, and is not over.
    section: Option<Section>,
    /// It may fail: node's runner says so, and then how it failed.
    is_to_do: bool,
}

/// An element in a test that says how it ended.
struct Section {
    depth: usize,
    outcome: TestOutcome,
    head: Option<String>,
    text: Collected,
    /// From which depth on what is in it is something else, like what the test printed.
    aside: Option<usize>,
}

impl Reading {
    fn enter(&mut self, element: &BytesStart<'_>) -> Result<(), ReportError> {
        let local = element.local_name();
        let name: &str = local.as_ref();
        if !std::mem::replace(&mut self.has_root, true)
            && !matches!(name, "testsuites" | "testsuite")
        {
            let found = cut_at(name, 100).to_owned();
            return Err(ReportError::NotAReport(found));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ReportError::TooDeep);
        }
        let is_failure = matches!(name, "failure" | "error");
        match &mut self.case {
            Some(case) => {
                self.failures += u64::from(is_failure && case.is_about_it(self.depth));
                self.failed_beside |= case.has_stray(name, element, self.depth);
                case.enter(name, element, self.depth);
            }
            None if name == "testcase" => {
                let case = Case::new(element, self.depth, &self.suites);
                self.case = Some(case);
            }
            None if matches!(name, "testsuite" | "testsuites") => {
                let names = ["name", "file", "filepath", "failures", "errors"];
                let [name, file, path, failures, errors] = attributes(element, names);
                let number = |count: Option<String>| {
                    count.and_then(|count| count.trim().parse::<u64>().ok())
                };
                let counted = [failures, errors].map(number).into_iter().flatten();
                self.suites.push(Suite {
                    depth: self.depth,
                    name: name.as_deref().and_then(named),
                    file: file.or(path).as_deref().and_then(named),
                    failures: counted.fold(self.failures, u64::saturating_add),
                });
            }
            None => {
                let is_of_suite = self
                    .suites
                    .last()
                    .is_some_and(|suite| suite.depth + 1 == self.depth);
                self.failed_beside |= is_failure && is_of_suite;
            }
        }
        Ok(())
    }

    fn leave(&mut self, take: &mut impl FnMut(ReportedTest)) {
        if let Some(case) = &mut self.case {
            case.leave(self.depth);
        }
        if let Some(case) = self.case.take_if(|case| case.depth == self.depth) {
            take(case.test);
        }
        if let Some(suite) = self.suites.pop_if(|suite| suite.depth == self.depth) {
            self.failed_beside |= suite.failures > self.failures;
        }
        // The reader refuses an end without a beginning.
        self.depth = self.depth.saturating_sub(1);
    }

    fn text(&mut self, text: &str) {
        let section = self.case.as_mut().and_then(|case| case.section.as_mut());
        if let Some(section) = section.filter(|section| section.aside.is_none()) {
            section.text.push(text);
        }
    }
}

impl Case {
    fn new(element: &BytesStart<'_>, depth: usize, suites: &[Suite]) -> Self {
        let names = ["name", "classname", "file", "time", "status", "result"];
        let [name, class, file, time, status, result] = attributes(element, names);
        let class = class.or_else(|| attributes(element, ["class"]).into_iter().next()?);
        let of_suites = suites.iter().rev();
        let is_said = |words: &[&str]| {
            let mut said = [&status, &result].into_iter().flatten();
            said.any(|said| words.iter().any(|word| said.eq_ignore_ascii_case(word)))
        };
        let outcome = if is_said(&["fail", "failed", "failure", "error"]) {
            TestOutcome::Failed
        } else if is_said(&["notrun", "skipped", "disabled", "suppressed"]) {
            TestOutcome::Skipped
        } else {
            TestOutcome::Passed
        };
        let test = ReportedTest {
            name: name
                .as_deref()
                .and_then(named)
                .unwrap_or_else(|| "(no name)".to_owned()),
            // One that is said to be empty is none: pytest says so of a file that it could not collect.
            class: match class {
                Some(class) => named(&class),
                None => of_suites.clone().find_map(|suite| suite.name.clone()),
            },
            file: file
                .as_deref()
                .and_then(named)
                .or_else(|| of_suites.clone().find_map(|suite| suite.file.clone())),
            time: time.as_deref().and_then(seconds),
            outcome,
            message: None,
        };
        Self {
            depth,
            test,
            section: None,
            is_to_do: false,
        }
    }

    /// Whether an element that begins at this depth can say how it ended.
    fn is_about_it(&self, depth: usize) -> bool {
        self.section.is_none() && depth == self.depth + 1
    }

    /// Whether an element in it tells of a failure that is not its own: of a test in it, say.
    fn has_stray(&self, name: &str, element: &BytesStart<'_>, depth: usize) -> bool {
        let is_failed = match name {
            "failure" | "error" => !self.is_about_it(depth),
            "testcase" => Self::new(element, depth, &[]).test.outcome == TestOutcome::Failed,
            _ => false,
        };
        is_failed && self.section.is_none()
    }

    fn enter(&mut self, name: &str, element: &BytesStart<'_>, depth: usize) {
        if let Some(section) = &mut self.section {
            // Surefire has the text of attempts before the last one in there, beside what they printed.
            if name != "stackTrace" {
                section.aside.get_or_insert(depth);
            }
            return;
        }
        let outcome = match name {
            "failure" | "error" => TestOutcome::Failed,
            "skipped" | "disabled" => TestOutcome::Skipped,
            "flakyFailure" | "flakyError" | "rerunFailure" | "rerunError" => TestOutcome::Flaky,
            _ => return,
        };
        if !self.is_about_it(depth) {
            return;
        }
        let [message, kind] = attributes(element, ["message", "type"]);
        self.is_to_do |= outcome == TestOutcome::Skipped && kind.as_deref() == Some("todo");
        let head = message
            .filter(|message| !message.trim().is_empty())
            .or(kind);
        self.section = Some(Section {
            depth,
            outcome,
            head: head.map(|head| {
                let mut cut = Collected::default();
                cut.push(&unescaped(&head));
                cut.finish().unwrap_or_default()
            }),
            text: Collected::default(),
            aside: None,
        });
    }

    fn leave(&mut self, depth: usize) {
        if let Some(section) = &mut self.section {
            section.aside.take_if(|aside| *aside == depth);
        }
        if let Some(section) = self.section.take_if(|section| section.depth == depth) {
            let (outcome, message) = section.finish();
            // The first failure says most; what is said of attempts before counts only where the last one passed.
            if weight(outcome) > weight(self.test.outcome) {
                self.test.outcome = match self.is_to_do {
                    true => TestOutcome::Skipped,
                    false => outcome,
                };
                self.test.message = message;
            } else if outcome == self.test.outcome && self.test.message.is_none() {
                self.test.message = message;
            }
        }
    }
}

/// What counts of several things that are said of a test.
fn weight(outcome: TestOutcome) -> u8 {
    match outcome {
        TestOutcome::Passed => 0,
        TestOutcome::Flaky => 1,
        TestOutcome::Skipped => 2,
        TestOutcome::Failed => 3,
    }
}

impl Section {
    fn finish(self) -> (TestOutcome, Option<String>) {
        let message = match (
            self.head.filter(|head| !head.is_empty()),
            self.text.finish(),
        ) {
            (Some(head), Some(text)) if !text.contains(&head) => Some(format!("{head}\n{text}")),
            (head, text) => text.or(head),
        };
        (self.outcome, message)
    }
}

/// The raw values of some attributes of an element, of each the first one; after one that is broken no more are found.
fn attributes<const N: usize>(element: &BytesStart<'_>, names: [&str; N]) -> [Option<String>; N] {
    let mut values = [const { None }; N];
    let mut attributes = element.attributes();
    // Comparing each with all others takes its time where there are very many.
    for attribute in attributes.with_checks(false).take(MAX_ATTRIBUTES) {
        let Ok(attribute) = attribute else { break };
        let key = attribute.key.local_name();
        let key: &str = key.as_ref();
        if let Some((_, value)) = names
            .iter()
            .zip(&mut values)
            .find(|(name, _)| **name == key)
            && value.is_none()
        {
            *value = Some(attribute.value.into_owned());
        }
    }
    values
}
