//! The sections of a job that say where and when it runs: how many executors, how long, which slaves, how
//! urgent.

use super::TimeLimit;
use super::check::Check;
use super::document::{Node, Value, python_type};
use crate::text::labels::{LABEL_FORM, MAX_LABELS, is_label};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// Priorities lie between this and its negative.
const MOST_PRIORITY: i32 = 1000;

/// Weights lie between 1 and this.
const MOST_WEIGHT: u32 = 1000;

/// How often an atom that fails may be run again at most.
pub const MOST_RETRIES: u32 = 10;

impl Check<'_> {
    /// Nobody who writes 010 means 8, as YAML 1.1 does.
    fn not_octal(&mut self, section: &str, node: &Node, expected: &str) -> Option<()> {
        let Value::Integer(written, Some(number)) = &node.value else {
            return Some(());
        };
        let digits = written.trim_start_matches(['+', '-']);
        let Some(decimal) = digits.strip_prefix('0').filter(|rest| {
            !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit() || c == b'_')
        }) else {
            return Some(());
        };
        let decimal = decimal.trim_start_matches('0');
        let decimal = if decimal.is_empty() { "0" } else { decimal };
        let sign = if written.starts_with('-') { "-" } else { "" };
        let cure = format!(
            "write {sign}{decimal}, or {number} if the octal number is meant: YAML 1.1 reads digits after a 0 as one"
        );
        self.wrong_value(node, section, expected, written, &cure);
        None
    }

    pub(super) fn limit(&mut self, section: &str, node: &Node) -> Option<NonZeroU32> {
        const EXPECTED: &str = "<class 'int'>";
        const CURE: &str = "write a whole number of 1 or more, without quotes, or leave the section out for no limit";
        self.not_octal(section, node, EXPECTED)?;
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
        self.not_octal(section, node, EXPECTED)?;
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

    pub(super) fn labels(&mut self, section: &str, node: &Node) -> Option<BTreeSet<String>> {
        const EXPECTED: &str = "(<class 'list'>, <class 'str'>)";
        let elements = match &node.value {
            Value::List(elements) if elements.len() <= MAX_LABELS => elements.as_slice(),
            // One label needs no list.
            Value::Text(_) => std::slice::from_ref(node),
            Value::List(_) => {
                let cure = format!("write at most {MAX_LABELS} labels");
                self.wrong_value(node, section, EXPECTED, "a longer list", &cure);
                return None;
            }
            other => {
                let found = python_type(other, false);
                let cure = "write a list of labels, such as [gpu, big]";
                self.wrong_value(node, section, EXPECTED, &found, cure);
                return None;
            }
        };
        let mut labels = BTreeSet::new();
        let mut good = true;
        for element in elements {
            match &element.value {
                Value::Text(text) if is_label(text) => {
                    labels.insert(text.clone());
                }
                Value::Text(text) => {
                    let found = format!("\"{text}\"");
                    let cure = format!("write {LABEL_FORM}");
                    self.wrong_value(element, section, EXPECTED, &found, &cure);
                    good = false;
                }
                other => {
                    let found = python_type(other, true);
                    let cure = match other.scalar_text() {
                        Some(text) => format!("put it in quotes: \"{text}\""),
                        None => format!("write {LABEL_FORM}"),
                    };
                    self.wrong_value(element, section, EXPECTED, &found, &cure);
                    good = false;
                }
            }
        }
        good.then_some(labels)
    }

    pub(super) fn truth(&mut self, section: &str, node: &Node) -> Option<bool> {
        const CURE: &str = "write true or false, without quotes";
        let truth = match &node.value {
            Value::Boolean(word) => match word.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                _ => Some(false),
            },
            _ => None,
        };
        if truth.is_none() {
            let found = python_type(&node.value, false);
            self.wrong_value(node, section, "<class 'bool'>", &found, CURE);
        }
        truth
    }

    pub(super) fn priority(&mut self, section: &str, node: &Node) -> Option<i32> {
        let cure = format!(
            "write a whole number between -{MOST_PRIORITY} and {MOST_PRIORITY}, without quotes; higher ones go first, \
             0 is the usual one"
        );
        let among = -MOST_PRIORITY..=MOST_PRIORITY;
        self.whole(section, node, &cure, |number| among.contains(number))
    }

    pub(super) fn retries(&mut self, section: &str, node: &Node) -> Option<u32> {
        let cure = format!(
            "write a whole number between 0 and {MOST_RETRIES}, without quotes: so often an atom that fails is run again"
        );
        self.whole(section, node, &cure, |number| *number <= MOST_RETRIES)
    }

    /// Whether an atom that passes only when it is run again counts as failed.
    pub(super) fn flaky(&mut self, section: &str, node: &Node) -> Option<bool> {
        let fails = match &node.value {
            Value::Text(word) if word == "pass" => Some(false),
            Value::Text(word) if word == "fail" => Some(true),
            _ => None,
        };
        if fails.is_none() {
            let found = match &node.value {
                Value::Text(word) => format!("\"{word}\""),
                other => python_type(other, false),
            };
            let cure = "write pass or fail: whether an atom that passes only when it is run again passes or fails";
            self.wrong_value(node, section, "<class 'str'>", &found, cure);
        }
        fails
    }

    pub(super) fn weight(&mut self, section: &str, node: &Node) -> Option<NonZeroU32> {
        let cure = format!(
            "write a whole number between 1 and {MOST_WEIGHT}, without quotes; a build of weight 2 gets twice as many \
             executors as one of weight 1, the usual one"
        );
        let weight = self.whole(section, node, &cure, |number| {
            (1..=MOST_WEIGHT).contains(number)
        })?;
        NonZeroU32::new(weight)
    }

    /// A whole number that `fits`.
    fn whole<T: TryFrom<i64>>(
        &mut self,
        section: &str,
        node: &Node,
        cure: &str,
        fits: impl Fn(&T) -> bool,
    ) -> Option<T> {
        const EXPECTED: &str = "<class 'int'>";
        self.not_octal(section, node, EXPECTED)?;
        let (number, found) = match &node.value {
            Value::Integer(written, number) => (*number, written.clone()),
            other => (None, python_type(other, false)),
        };
        let number = number
            .and_then(|number| T::try_from(number).ok())
            .filter(fits);
        if number.is_none() {
            self.wrong_value(node, section, EXPECTED, &found, cure);
        }
        number
    }
}
