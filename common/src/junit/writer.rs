//! One report of many: a suite for each atom. It is made piece by piece, so that it may be long. Pure.

use super::text::cut_at;
use super::{ReportedTest, TestOutcome};
use std::fmt::Write as _;

/// The tests of an atom, and what else is said of them.
#[derive(Clone, Copy, Debug)]
pub struct SuiteOfAtom<'a> {
    /// The atom's value.
    pub name: &'a str,
    /// How long the atom took, in seconds.
    pub time: Option<f64>,
    /// Its tests.
    pub tests: &'a [ReportedTest],
}

/// What comes before the first suite. `name` is the build's.
#[must_use]
pub fn beginning(name: &str) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites");
    attribute(&mut text, "name", name);
    text.push_str(">\n");
    text
}

/// What comes after the last one.
#[must_use]
pub fn end() -> &'static str {
    "</testsuites>\n"
}

/// The longest name of a suite, in bytes: tests without a class have it, too.
const MAX_SUITE: usize = 200;

/// A suite. Of a very long name it has the beginning.
#[must_use]
pub fn suite(suite: SuiteOfAtom<'_>) -> String {
    let suite = SuiteOfAtom {
        name: cut_at(suite.name, MAX_SUITE),
        ..suite
    };
    let count = |outcome| {
        let tests = suite.tests.iter().filter(|test| test.outcome == outcome);
        tests.count().to_string()
    };
    let mut text = String::from("  <testsuite");
    attribute(&mut text, "name", suite.name);
    attribute(&mut text, "tests", &suite.tests.len().to_string());
    attribute(&mut text, "failures", &count(TestOutcome::Failed));
    attribute(&mut text, "errors", "0");
    attribute(&mut text, "skipped", &count(TestOutcome::Skipped));
    if let Some(time) = suite.time {
        attribute(&mut text, "time", &format!("{time:.3}"));
    }
    text.push_str(">\n");
    for test in suite.tests {
        case(&mut text, test, suite.name);
    }
    text.push_str("  </testsuite>\n");
    text
}

/// Why a build has no verdict, or no whole one, of its atoms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfBuild {
    /// It did not get to its end, or nothing was tested.
    Error(String),
    /// Atoms were not run.
    NotRun(String),
}

/// A suite that says of a build itself what no atom can, so that readers of the report do not take the build for a good one.
#[must_use]
pub fn suite_of_build(said: &[OfBuild]) -> String {
    const NAME: &str = "clusterrunner";
    let is_error = |one: &&OfBuild| matches!(one, OfBuild::Error(_));
    let errors = said.iter().filter(is_error).count();
    let mut text = String::from("  <testsuite");
    attribute(&mut text, "name", NAME);
    attribute(&mut text, "tests", &said.len().to_string());
    attribute(&mut text, "failures", "0");
    attribute(&mut text, "errors", &errors.to_string());
    attribute(&mut text, "skipped", &(said.len() - errors).to_string());
    text.push_str(">\n");
    for one in said {
        let (name, element, why) = match one {
            OfBuild::Error(why) => ("build", "error", why),
            OfBuild::NotRun(why) => ("atoms that were not run", "skipped", why),
        };
        text.push_str("    <testcase");
        attribute(&mut text, "name", name);
        attribute(&mut text, "classname", NAME);
        write!(text, ">\n      <{element}").ok();
        attribute(&mut text, "message", why);
        text.push_str("/>\n    </testcase>\n");
    }
    text.push_str("  </testsuite>\n");
    text
}

fn case(text: &mut String, test: &ReportedTest, suite: &str) {
    text.push_str("    <testcase");
    attribute(text, "name", &test.name);
    // Readers of reports want one.
    attribute(text, "classname", test.class.as_deref().unwrap_or(suite));
    if let Some(file) = &test.file {
        attribute(text, "file", file);
    }
    if let Some(time) = test.time {
        attribute(text, "time", &format!("{time:.3}"));
    }
    let element = match test.outcome {
        TestOutcome::Passed => {
            text.push_str("/>\n");
            return;
        }
        TestOutcome::Failed => "failure",
        TestOutcome::Skipped => "skipped",
        TestOutcome::Flaky => "flakyFailure",
    };
    write!(text, ">\n      <{element}").ok();
    let message = test.message.as_deref().unwrap_or_default();
    let first = message.lines().next().unwrap_or_default();
    attribute(text, "message", first);
    if message == first {
        text.push_str("/>");
    } else {
        text.push('>');
        escape(text, message, false);
        write!(text, "</{element}>").ok();
    }
    text.push_str("\n    </testcase>\n");
}

fn attribute(text: &mut String, name: &str, value: &str) {
    write!(text, " {name}=\"").ok();
    escape(text, value, true);
    text.push('"');
}

/// Adds a text that is read again as it is, but for characters that XML can not have.
fn escape(out: &mut String, text: &str, is_attribute: bool) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if is_attribute => out.push_str("&quot;"),
            // Readers of XML would make others of them.
            '\n' | '\t' if is_attribute => {
                write!(out, "&#{};", u32::from(character)).ok();
            }
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(character),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::junit::Reported;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = String> {
        "[a-z<>&\"'\u{0}-\u{20}üé\u{fffe}\u{1f600}]{0,12}"
    }

    fn outcome() -> impl Strategy<Value = TestOutcome> {
        prop_oneof![
            Just(TestOutcome::Passed),
            Just(TestOutcome::Failed),
            Just(TestOutcome::Skipped),
            Just(TestOutcome::Flaky),
        ]
    }

    /// What is left of a text that was written and read.
    fn kept(text: &str) -> String {
        let mut whole = String::new();
        for character in text.chars() {
            match character {
                '\n' | '\t' | '\r' => whole.push(character),
                '\0'..='\u{1f}' | '\u{fffe}' => whole.push(char::REPLACEMENT_CHARACTER),
                _ => whole.push(character),
            }
        }
        whole
    }

    #[test]
    fn what_is_said_of_a_build_is_read_as_its_failure() {
        let said = [
            OfBuild::Error("no <slave>\nwas \"there\"".to_owned()),
            OfBuild::NotRun("3 atoms".to_owned()),
        ];
        let report = format!("{}{}{}", beginning("7"), suite_of_build(&said), end());
        let mut read = Reported::default();
        read.read("junit.xml", report.into_bytes());
        assert_eq!(read.warning(), None);
        assert!(!read.failed_beside);
        let told = |test: &ReportedTest| (test.outcome, test.message.clone().unwrap());
        let told: Vec<_> = read.tests.iter().map(told).collect();
        let expected = [
            (TestOutcome::Failed, "no <slave>\nwas \"there\"".to_owned()),
            (TestOutcome::Skipped, "3 atoms".to_owned()),
        ];
        assert_eq!(told, expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_a_report_that_says_the_same(
            cases in prop::collection::vec((text(), text(), outcome(), text()), 0..8),
            name in text(),
        ) {
            let tests: Vec<ReportedTest> = cases.iter().map(|(name, class, outcome, message)| ReportedTest {
                name: format!("n{name}n"),
                class: Some(format!("c{class}c")),
                file: None,
                time: Some(0.5),
                outcome: *outcome,
                message: (*outcome != TestOutcome::Passed).then(|| format!("m{message}m")),
            }).collect();
            let suite = suite(SuiteOfAtom { name: &name, time: None, tests: &tests });
            let report = format!("{}{suite}{}", beginning(&name), end());
            let mut read = Reported::default();
            read.read("junit.xml", report.into_bytes());
            prop_assert_eq!(read.warning(), None);
            let expected: Vec<ReportedTest> = tests.iter().map(|test| ReportedTest {
                name: kept(&test.name),
                class: test.class.as_deref().map(kept),
                message: test.message.as_deref().map(kept),
                ..test.clone()
            }).collect();
            prop_assert_eq!(read.tests, expected);
        }
    }
}
