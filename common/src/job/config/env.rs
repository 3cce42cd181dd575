//! The section of a job that sets variables for all its commands.

use super::check::{Check, remove_one};
use super::document::{Node, Value, python_type};
use crate::process::variables::{self, Variables};

impl Check<'_> {
    pub(super) fn env(&mut self, section: &str, node: &Node) -> Option<Variables> {
        const EXPECTED: &str = "<class 'dict'>";
        let Value::Mapping(entries) = &node.value else {
            let found = python_type(&node.value, false);
            let cure = "write a name, a colon and a value in each line, indented";
            self.wrong_value(node, section, EXPECTED, &found, cure);
            return None;
        };
        let mut env = Variables::default();
        let mut good = true;
        for (index, (key, value)) in entries.iter().enumerate() {
            let name = key.value.scalar_text().unwrap_or_default();
            let same = |(other, _): &&(Node, Node)| other.value.scalar_text() == Some(name);
            if let Some((first, _)) = entries.iter().take(index).find(same) {
                let message = format!(
                    "Definition for job \"{}\" sets the variable \"{name}\" twice in config section \"{section}\".",
                    self.job
                );
                self.note(&key.place, message, &remove_one(&first.place));
                good = false;
                continue;
            }
            // As it is written, also where YAML takes it for a number or a truth value.
            let Some(text) = value.value.scalar_text() else {
                let found = python_type(&value.value, false);
                let cure = "write a text, or \"\" for an empty one";
                self.wrong_value(value, section, "<class 'str'>", &found, cure);
                good = false;
                continue;
            };
            if let Err(right) = variables::check_chosen(name, text) {
                let message = format!(
                    "Definition for job \"{}\" contains an invalid variable \"{name}\" in config section \"{section}\": \
                     it must be {right}.",
                    self.job
                );
                self.note(&key.place, message, "change or remove it");
                good = false;
                continue;
            }
            env.set(name, text);
        }
        good.then_some(env)
    }
}
