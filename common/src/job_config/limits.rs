//! The sections of a job that are numbers: how many executors, and how long.

use super::TimeLimit;
use super::check::Check;
use super::document::{Node, Value};
use super::problem::python_type;
use std::num::NonZeroU32;

impl Check<'_> {
    pub(super) fn limit(&mut self, section: &str, node: &Node) -> Option<NonZeroU32> {
        const EXPECTED: &str = "<class 'int'>";
        const CURE: &str = "write a whole number of 1 or more, without quotes, or leave the section out for no limit";
        let Value::Integer(written, number) = &node.value else {
            self.wrong_value(
                node,
                section,
                EXPECTED,
                &python_type(&node.value, false),
                CURE,
            );
            return None;
        };
        // Very large numbers were a way to say "no limit", and beyond 32 bits they still are.
        let at_most = || {
            if written.starts_with('-') {
                0
            } else {
                u32::MAX
            }
        };
        let limit = match number {
            Some(number) if *number <= 0 => 0,
            Some(number) => u32::try_from(*number).unwrap_or_else(|_| at_most()),
            None => at_most(),
        };
        let limit = NonZeroU32::new(limit);
        if limit.is_none() {
            self.wrong_value(node, section, EXPECTED, written, CURE);
        }
        limit
    }

    pub(super) fn time_limit(&mut self, section: &str, node: &Node) -> Option<TimeLimit> {
        const EXPECTED: &str = "<class 'int'>, <class 'str'>";
        const CURE: &str =
            "write seconds such as 600, or a text such as 10m or 1h30m; 0 means no limit";
        let (limit, found) = match &node.value {
            Value::Integer(_, Some(number)) if *number >= 0 => (
                Some(TimeLimit::from_seconds(number.unsigned_abs())),
                String::new(),
            ),
            Value::Integer(written, None) if !written.starts_with('-') => {
                (Some(TimeLimit::from_seconds(u64::MAX)), String::new())
            }
            Value::Integer(written, _) => (None, written.clone()),
            Value::Text(text) => (TimeLimit::parse(text), format!("\"{text}\"")),
            other => (None, python_type(other, false)),
        };
        if limit.is_none() {
            self.wrong_value(node, section, EXPECTED, &found, CURE);
        }
        limit
    }
}
