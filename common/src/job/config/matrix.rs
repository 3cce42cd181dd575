//! The section of a job that says in which combinations of variables it is built.

use super::check::{Check, remove_one};
use super::document::{Node, Value, python_type};
use crate::job::matrix::{Combination, Matrix, MatrixError};
use crate::process::variables;
use indexmap::IndexMap;

const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";

impl Check<'_> {
    /// All combinations, in order; never none.
    pub(super) fn matrix(&mut self, section: &str, node: &Node) -> Option<Vec<Combination>> {
        let Value::Mapping(entries) = &node.value else {
            let found = python_type(&node.value, false);
            let cure = "write in each line a variable, a colon and a list of values, such as PYTHON: [\"3.11\", \"3.12\"]";
            self.wrong_value(node, section, "<class 'dict'>", &found, cure);
            return None;
        };
        let mut matrix = Matrix::default();
        let mut good = self.no_key_twice(section, entries);
        for (key, value) in entries {
            let name = key.value.scalar_text().unwrap_or_default();
            let read = match name {
                INCLUDE => self
                    .combinations(section, value)
                    .map(|read| matrix.include = read),
                EXCLUDE => self
                    .combinations(section, value)
                    .map(|read| matrix.exclude = read),
                name => self.values(section, key, value).map(|values| {
                    matrix.variables.insert(name.to_owned(), values);
                }),
            };
            good &= read.is_some();
        }
        if !good {
            return None;
        }
        if matrix.variables.is_empty() && matrix.include.is_empty() {
            let cure = "write a variable and a list of values, or leave the section out";
            self.wrong_value(node, section, "<class 'dict'>", "no variable", cure);
            return None;
        }
        match matrix.combinations() {
            Ok(combinations) => Some(combinations),
            Err(error) => {
                self.note_matrix(node, section, &error);
                None
            }
        }
    }

    fn note_matrix(&mut self, node: &Node, section: &str, error: &MatrixError) {
        let cure = match error {
            MatrixError::TooLong(_) => {
                "write long values into files of the project, and their names here"
            }
            MatrixError::TooMany(..) => "split it into several jobs, or shorten its lists",
            MatrixError::NoneLeft => "remove an exclude",
            MatrixError::ExcludesNothing(..) => {
                "write a variable of the matrix and a value of its list, or remove the exclude"
            }
            MatrixError::Twice(_) => "remove one of them",
        };
        let place = match error {
            MatrixError::ExcludesNothing(index, _) => nth(node, EXCLUDE, *index),
            _ => None,
        };
        let message = format!(
            "Definition for job \"{}\" contains an invalid value for config section \"{section}\": it {error}.",
            self.job
        );
        self.note(&place.unwrap_or(node).place, message, cure);
    }

    /// The values of one variable: as they are written, also where YAML takes them for numbers or truth values.
    fn values(&mut self, section: &str, key: &Node, node: &Node) -> Option<Vec<String>> {
        const EXPECTED: &str = "(<class 'list'>, <class 'str'>)";
        let Value::List(elements) = &node.value else {
            let found = python_type(&node.value, false);
            let cure = match node.value.scalar_text() {
                Some(text) => format!("write a list: [\"{text}\"]"),
                None => "write a list of values, such as [\"3.11\", \"3.12\"]".to_owned(),
            };
            self.wrong_value(node, section, EXPECTED, &found, &cure);
            return None;
        };
        if elements.is_empty() {
            let cure = "write at least one value, or leave the variable out";
            self.wrong_value(node, section, EXPECTED, "an empty list", cure);
            return None;
        }
        let mut values: Vec<String> = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.value(section, key, element)?;
            if values.contains(&value) {
                let message = format!(
                    "Definition for job \"{}\" has the value \"{value}\" twice in a list of config section \"{section}\".",
                    self.job
                );
                self.note(&element.place, message, "remove one of them");
                return None;
            }
            values.push(value);
        }
        Some(values)
    }

    /// The text of a value, if a variable of this name can have it.
    fn value(&mut self, section: &str, key: &Node, node: &Node) -> Option<String> {
        let Some(text) = node.value.scalar_text() else {
            let found = python_type(&node.value, true);
            let cure = "write a text, or \"\" for an empty one";
            self.wrong_value(node, section, "<class 'str'>", &found, cure);
            return None;
        };
        let name = key.value.scalar_text().unwrap_or_default();
        if let Err(right) = variables::check_chosen(name, text) {
            let message = format!(
                "Definition for job \"{}\" contains an invalid variable \"{name}\" in config section \"{section}\": it \
                 must be {right}.",
                self.job
            );
            self.note(&key.place, message, "change or remove it");
            return None;
        }
        Some(text.to_owned())
    }

    /// What is below `include` or `exclude`: a list of mappings of variables to single values.
    fn combinations(&mut self, section: &str, node: &Node) -> Option<Vec<Combination>> {
        const EXPECTED: &str = "(<class 'list'>, <class 'dict'>)";
        const CURE: &str = "write a list of mappings, such as - {PYTHON: \"3.12\", OS: linux}";
        let Value::List(elements) = &node.value else {
            let found = python_type(&node.value, false);
            self.wrong_value(node, section, EXPECTED, &found, CURE);
            return None;
        };
        let mut found = Vec::with_capacity(elements.len());
        for element in elements {
            let entries = match &element.value {
                Value::Mapping(entries) if !entries.is_empty() => entries,
                Value::Mapping(_) => {
                    self.wrong_value(element, section, EXPECTED, "an empty mapping", CURE);
                    return None;
                }
                other => {
                    let found = python_type(other, true);
                    self.wrong_value(element, section, EXPECTED, &found, CURE);
                    return None;
                }
            };
            if !self.no_key_twice(section, entries) {
                return None;
            }
            let mut variables = IndexMap::with_capacity(entries.len());
            for (key, value) in entries {
                let name = key.value.scalar_text().unwrap_or_default().to_owned();
                variables.insert(name, self.value(section, key, value)?);
            }
            found.push(variables.into_iter().collect());
        }
        Some(found)
    }

    fn no_key_twice(&mut self, section: &str, entries: &[(Node, Node)]) -> bool {
        for (index, (key, _)) in entries.iter().enumerate() {
            let name = key.value.scalar_text();
            let mut before = entries.iter().take(index);
            if let Some((first, _)) = before.find(|(other, _)| other.value.scalar_text() == name) {
                let message = format!(
                    "Definition for job \"{}\" has \"{}\" twice in config section \"{section}\".",
                    self.job,
                    name.unwrap_or("?")
                );
                self.note(&key.place, message, &remove_one(&first.place));
                return false;
            }
        }
        true
    }
}

/// An element of a list below a key of a mapping.
fn nth<'n>(node: &'n Node, key: &str, index: usize) -> Option<&'n Node> {
    let Value::Mapping(entries) = &node.value else {
        return None;
    };
    let mut entries = entries.iter();
    let (_, list) = entries.find(|(name, _)| name.value.scalar_text() == Some(key))?;
    match &list.value {
        Value::List(elements) => elements.get(index),
        _ => None,
    }
}
