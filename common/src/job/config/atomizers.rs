//! The section of a job that names its atomizers.

use super::Atomizer;
use super::check::{ATOMIZERS, Check};
use super::document::{Node, Value, python_type};
use super::problem::Position;
use crate::process::variables::{is_name, is_set_by_bash};
use std::collections::BTreeMap;

/// The word that begins a product. With a command, and no mapping, behind it it is a variable as any other.
const PRODUCT: &str = "product";

impl Check<'_> {
    pub(super) fn atomizers(&mut self, node: &Node) -> Option<Vec<Atomizer>> {
        const EXPECTED: &str = "(<class 'list'>, <class 'dict'>)";
        const CURE: &str =
            "write a list: \"- NAME: \" and a command that prints one value per line";
        let Value::List(elements) = &node.value else {
            let cure = if matches!(node.value, Value::Mapping(_)) {
                "write \"- \" before the name"
            } else {
                CURE
            };
            self.wrong_value(
                node,
                ATOMIZERS,
                EXPECTED,
                &python_type(&node.value, false),
                cure,
            );
            return None;
        };
        if elements.is_empty() {
            self.wrong_value(node, ATOMIZERS, EXPECTED, "an empty list", CURE);
            return None;
        }
        let mut atomizers = Vec::new();
        let mut good = true;
        for element in elements {
            match &element.value {
                Value::Mapping(entries) if !entries.is_empty() => {
                    for (key, command) in entries {
                        let found = match factors(key, command) {
                            Some(factors) => self.product(command, factors),
                            None => self.atomizer(key, command).map(|one| vec![one]),
                        };
                        match found {
                            Some(found) => atomizers.extend(found),
                            None => good = false,
                        }
                    }
                    good &= self.no_name_twice(
                        entries,
                        "write \"- \" before it to make it a list element of its own",
                    );
                }
                Value::Mapping(_) => {
                    self.wrong_value(element, ATOMIZERS, EXPECTED, "an empty mapping", CURE);
                    good = false;
                }
                other => {
                    let cure = "write \"NAME: \" before the command, where NAME is the variable that gets each value";
                    self.wrong_value(
                        element,
                        ATOMIZERS,
                        EXPECTED,
                        &python_type(other, true),
                        cure,
                    );
                    good = false;
                }
            }
        }
        good.then_some(atomizers)
    }

    /// The atomizers below the word `product`: the product of what they print are atoms.
    fn product(&mut self, node: &Node, factors: &[(Node, Node)]) -> Option<Vec<Atomizer>> {
        if factors.is_empty() {
            let message = format!(
                "Definition for job \"{}\" contains an empty {PRODUCT} in config section \"{ATOMIZERS}\".",
                self.job
            );
            let cure = "write below it, for each variable, \"NAME: \" and a command that prints one value per line";
            self.note(&node.place, message, cure);
            return None;
        }
        let mut found = Vec::with_capacity(factors.len());
        for (key, command) in factors {
            if let Some(mut atomizer) = self.atomizer(key, command) {
                atomizer.multiplies = !found.is_empty();
                found.push(atomizer);
            }
        }
        let are_different = self.no_name_twice(
            factors,
            "rename or remove one of them: an atom of a product sets each variable once",
        );
        (are_different && found.len() == factors.len()).then_some(found)
    }

    fn atomizer(&mut self, key: &Node, command: &Node) -> Option<Atomizer> {
        let name = key.value.scalar_text().unwrap_or("?");
        if !is_name(name) {
            let message = format!(
                "Definition for job \"{}\" contains an invalid atomizer name \"{name}\" in config section \
                 \"{ATOMIZERS}\": it becomes a variable of the shell.",
                self.job
            );
            self.note(
                &key.place,
                message,
                "write letters, digits and _ only, and no digit first",
            );
            return None;
        }
        if is_set_by_bash(name) {
            let message = format!(
                "Definition for job \"{}\" has an atomizer named \"{name}\" in config section \"{ATOMIZERS}\": bash \
                 sets that variable itself, so no atom would find its own value in it.",
                self.job
            );
            let cure = format!("choose another name, such as TEST_{name}");
            self.note(&key.place, message, &cure);
            return None;
        }
        let cure = match &command.value {
            Value::Text(text) => {
                return self.no_nul(ATOMIZERS, command, text).then(|| Atomizer {
                    name: name.to_owned(),
                    command: text.clone(),
                    multiplies: false,
                });
            }
            Value::Boolean(text) | Value::Integer(text, _) | Value::Float(text) => {
                format!("put it in quotes: \"{text}\"")
            }
            Value::Null => format!("write a command after \"{name}:\""),
            Value::List(_) => "write one command; join several with &&".to_owned(),
            Value::Mapping(_) => {
                "put the whole command in single quotes; unquoted, a \": \" in it makes it a mapping".to_owned()
            }
        };
        let message = format!(
            "Definition for job \"{}\" contains an invalid value for config section \"{ATOMIZERS}\". Parser expected \
             one of [<class 'str'>] as the command of \"{name}\" but found {}.",
            self.job,
            python_type(&command.value, false)
        );
        self.note(&command.place, message, &cure);
        None
    }

    /// The same name in two list elements is fine and means more atoms; in one mapping the first would be lost.
    fn no_name_twice(&mut self, entries: &[(Node, Node)], cure: &str) -> bool {
        let mut first_places: BTreeMap<&str, &Position> = BTreeMap::new();
        let mut good = true;
        for (key, _) in entries {
            let Some(name) = key.value.scalar_text() else {
                continue;
            };
            if first_places.insert(name, &key.place).is_some() {
                let message = format!(
                    "Definition for job \"{}\" contains the atomizer \"{name}\" twice in one mapping.",
                    self.job
                );
                self.note(&key.place, message, cure);
                good = false;
            }
        }
        good
    }
}

/// The atomizers of a product, if these are one.
fn factors<'n>(key: &Node, value: &'n Node) -> Option<&'n [(Node, Node)]> {
    match &value.value {
        Value::Mapping(factors) if key.value.scalar_text() == Some(PRODUCT) => Some(factors),
        _ => None,
    }
}
