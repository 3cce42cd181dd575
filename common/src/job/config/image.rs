//! The section of a job that names what its commands run in.

use super::check::Check;
use super::document::{Node, Value, python_type};

/// The longest reference that container runtimes take.
const LONGEST: usize = 255;

impl Check<'_> {
    pub(super) fn image(&mut self, section: &str, node: &Node) -> Option<String> {
        const EXPECTED: &str = "<class 'str'>";
        const CURE: &str =
            "write a reference such as docker.io/library/debian:12, or leave the section out";
        let found = match &node.value {
            Value::Text(text) if is_reference(text) => return Some(text.clone()),
            Value::Text(text) => format!("\"{}\"", text.escape_debug()),
            other => python_type(other, false),
        };
        self.wrong_value(node, section, EXPECTED, &found, CURE);
        None
    }
}

/// Whether a text can be the name of an image. None can be taken for a flag.
fn is_reference(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(is_part)
}
