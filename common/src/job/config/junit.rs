//! The section of a job that says which files are reports of tests.

use super::check::Check;
use super::document::{Node, Value, python_type};
use crate::job::reports::{Patterns, PatternsError};

const CURE: &str =
    "write a path below $ARTIFACT_DIR such as reports/*.xml or **/junit.xml, or a list of them";

impl Check<'_> {
    /// A path with `*`, `?` and `**`, or a list of them. An empty list: nothing is a report.
    pub(super) fn junit(&mut self, section: &str, node: &Node) -> Option<Patterns> {
        const EXPECTED: &str = "<class 'str'>";
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut patterns = Vec::new();
        for one in nodes {
            let pattern = match &one.value {
                Value::Text(pattern) => pattern,
                other => {
                    let found = python_type(other, false);
                    self.wrong_value(one, section, EXPECTED, &found, CURE);
                    return None;
                }
            };
            // One at a time, so that the place is that of the wrong one.
            if let Err(PatternsError::NoPath(wrong)) = Patterns::try_from(vec![pattern.clone()]) {
                let found = format!("\"{}\"", wrong.escape_debug());
                self.wrong_value(one, section, EXPECTED, &found, CURE);
                return None;
            }
            patterns.push(pattern.clone());
        }
        match Patterns::try_from(patterns) {
            Ok(patterns) => Some(patterns),
            Err(error) => {
                let message = format!(
                    "Definition for job \"{}\" has too much in config section \"{section}\": {error}.",
                    self.job
                );
                self.note(
                    &node.place,
                    message,
                    "write fewer or shorter ones, with * and **",
                );
                None
            }
        }
    }
}
