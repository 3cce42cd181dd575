//! Which files that an atom leaves are reports of its tests.

use crate::text::path_pattern::fits;
use serde::{Deserialize, Serialize};

/// How many patterns there may be, and how long each may be.
const MAX_PATTERNS: usize = 20;
const MAX_PATTERN: usize = 200;

/// The names of reports where nothing else is said: those that runners give them by themselves or in their manuals.
const USUAL: [&str; 2] = ["**/junit*.xml", "**/TEST-*.xml"];

/// Which files below `$ARTIFACT_DIR` are reports: paths in which `*` stands for any characters but `/`, `?` for one of
/// these, and `**` for any directories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Patterns(Vec<String>);

/// What is wrong with a pattern. The text goes to the author of the job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternsError {
    /// It could never fit.
    #[error("'{0}' is not a path below $ARTIFACT_DIR such as reports/*.xml or **/junit.xml")]
    NoPath(String),
    /// There are too many, or one is too long.
    #[error("there may be {MAX_PATTERNS} patterns of {MAX_PATTERN} characters at most")]
    TooMuch,
}

impl Default for Patterns {
    fn default() -> Self {
        Self(USUAL.map(str::to_owned).to_vec())
    }
}

impl TryFrom<Vec<String>> for Patterns {
    type Error = PatternsError;

    /// No pattern at all: nothing is a report.
    fn try_from(patterns: Vec<String>) -> Result<Self, PatternsError> {
        let is_long = |pattern: &String| pattern.chars().count() > MAX_PATTERN;
        if patterns.len() > MAX_PATTERNS || patterns.iter().any(is_long) {
            return Err(PatternsError::TooMuch);
        }
        let could_fit = |pattern: &String| {
            let mut parts = pattern.split('/');
            parts.all(|part| !matches!(part, "" | "." | ".."))
        };
        match patterns.iter().find(|pattern| !could_fit(pattern)) {
            Some(wrong) => Err(PatternsError::NoPath(wrong.clone())),
            None => Ok(Self(patterns)),
        }
    }
}

impl From<Patterns> for Vec<String> {
    fn from(patterns: Patterns) -> Self {
        patterns.0
    }
}

impl Patterns {
    /// Whether nothing is a report.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a file is a report.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(given: &[&str]) -> Result<Patterns, PatternsError> {
        let given: Vec<String> = given.iter().map(|pattern| (*pattern).to_owned()).collect();
        given.try_into()
    }

    #[test]
    fn the_usual_names_are_reports_wherever_they_are() {
        let usual = Patterns::default();
        for path in [
            "junit.xml",
            "junit-1.xml",
            "a/b/junit_x.xml",
            "surefire-reports/TEST-a.B.xml",
        ] {
            assert!(usual.has(path), "{path}");
        }
        for path in [
            "coverage.xml",
            "my-junit.xml",
            "junit.xml.gz",
            "junit/a.xml",
            "test-a.xml",
        ] {
            assert!(!usual.has(path), "{path}");
        }
    }

    #[test]
    fn a_job_may_name_others() {
        for (pattern, fitting, others) in [
            ("*.xml", &["a.xml", ".xml"][..], &["a/a.xml", "a.xmlx"][..]),
            ("**/*.xml", &["a.xml", "a/b/c.xml"], &["a/b"]),
            (
                "a/**/b?.xml",
                &["a/b1.xml", "a/x/y/bü.xml"],
                &["b1.xml", "a/b.xml", "a/b12.xml"],
            ),
            ("a/**", &["a/b", "a/b/c"], &["b/a"]),
            ("**", &["a", "a/b"], &[]),
            ("*a*a*b", &["aab", "xaxaxb", "aaaab"], &["ab", "aaba"]),
        ] {
            let patterns = patterns(&[pattern]).unwrap();
            for path in fitting {
                assert!(patterns.has(path), "{pattern} {path}");
            }
            for path in others {
                assert!(!patterns.has(path), "{pattern} {path}");
            }
        }
        assert!(!patterns(&[]).unwrap().has("junit.xml"));
        // What would take ages where each part is tried with each.
        let hard = patterns(&[&"*a".repeat(99)]).unwrap();
        assert!(!hard.has(&"a".repeat(98)) && !hard.has(&format!("{}b", "a".repeat(5_000))));
    }

    #[test]
    fn a_pattern_that_could_fit_nothing_is_refused() {
        for wrong in ["", "/a", "../a", "a//b", "a/", "./a"] {
            let error = patterns(&[wrong]).unwrap_err();
            assert_eq!(error, PatternsError::NoPath(wrong.to_owned()));
        }
        assert_eq!(patterns(&[&"a".repeat(201)]), Err(PatternsError::TooMuch));
        assert_eq!(patterns(&["a"; 21]), Err(PatternsError::TooMuch));
    }
}
