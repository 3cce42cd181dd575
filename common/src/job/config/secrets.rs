//! The section of a job that names the secrets of its project which its commands are given. Never their values.

use super::Atomizer;
use super::check::{ATOMIZERS, Check, ENV, MATRIX};
use super::document::{Node, Value, python_type};
use crate::job::matrix::Combination;
use crate::process::variables::{Variables, check_secret_name};
use std::collections::BTreeSet;

/// How many secrets a job may name.
const MAX_SECRETS: usize = 100;

/// What else of a job sets variables. One of two values would silently be lost.
type Elsewhere<'a> = (
    Option<&'a Variables>,
    Option<&'a [Combination]>,
    Option<&'a [Atomizer]>,
);

/// The section that sets a variable of this name.
fn set_by(name: &str, (env, matrix, atomizers): Elsewhere<'_>) -> Option<&'static str> {
    let has_env = env.is_some_and(|env| env.get(name).is_some());
    let mut combinations = matrix.unwrap_or_default().iter();
    let has_matrix = combinations.any(|combination| combination.get(name).is_some());
    let mut atomizers = atomizers.unwrap_or_default().iter();
    let has_atomizer = atomizers.any(|atomizer| atomizer.name == name);
    let sections = [
        (has_env, ENV),
        (has_matrix, MATRIX),
        (has_atomizer, ATOMIZERS),
    ];
    let setting = sections.into_iter().find(|(sets, _)| *sets);
    setting.map(|(_, section)| section)
}

impl Check<'_> {
    pub(super) fn secrets(
        &mut self,
        section: &str,
        node: &Node,
        elsewhere: Elsewhere<'_>,
    ) -> Option<BTreeSet<String>> {
        const EXPECTED: &str = "(<class 'list'>, <class 'str'>)";
        let elements = match &node.value {
            Value::List(elements) if elements.len() <= MAX_SECRETS => elements.as_slice(),
            // One name needs no list.
            Value::Text(_) => std::slice::from_ref(node),
            Value::List(_) => {
                let cure = format!("write at most {MAX_SECRETS} names");
                self.wrong_value(node, section, EXPECTED, "a longer list", &cure);
                return None;
            }
            other => {
                let found = python_type(other, false);
                let cure = "write a list of names, such as [API_TOKEN], and set each value by \"clusterrunner secret set\"";
                self.wrong_value(node, section, EXPECTED, &found, cure);
                return None;
            }
        };
        let mut names = BTreeSet::new();
        let mut good = true;
        for element in elements {
            let Value::Text(name) = &element.value else {
                let found = python_type(&element.value, true);
                let cure =
                    "write the name of a secret; its value is set by \"clusterrunner secret set\"";
                self.wrong_value(element, section, EXPECTED, &found, cure);
                good = false;
                continue;
            };
            let problem = match (check_secret_name(name), set_by(name, elsewhere)) {
                (Err(right), _) => Some(format!("it must be {right}")),
                (Ok(()), Some(by)) => Some(format!("\"{by}\" sets a variable of this name")),
                (Ok(()), None) => None,
            };
            if let Some(problem) = problem {
                let message = format!(
                    "Definition for job \"{}\" contains an invalid name \"{name}\" in config section \"{section}\": {problem}.",
                    self.job
                );
                self.note(&element.place, message, "change or remove it");
                good = false;
                continue;
            }
            names.insert(name.clone());
        }
        good.then_some(names)
    }
}

#[cfg(test)]
mod tests {
    use crate::job::config::JobConfig;

    fn read(section: &str) -> Result<Vec<String>, String> {
        let text = format!("Job:\n  commands: [make]\n  atomizers: [{{T: ls}}]\n  {section}\n");
        let config = JobConfig::parse(&text, "clusterrunner.yaml").unwrap();
        let job = config.job(None).map_err(|error| error.to_string())?.1;
        Ok(job.secrets.iter().cloned().collect())
    }

    #[test]
    fn names_are_those_of_variables() {
        for (section, names) in [
            (
                "secrets: [API_TOKEN, KEY, API_TOKEN]",
                vec!["API_TOKEN", "KEY"],
            ),
            ("secrets: API_TOKEN", vec!["API_TOKEN"]),
            ("secrets: []", vec![]),
        ] {
            assert_eq!(read(section).unwrap(), names, "{section}");
        }
        for (section, why) in [
            ("secrets: [a-b]", "letters, digits and underscores"),
            ("secrets: [1]", "the name of a secret"),
            ("secrets: [UID]", "bash sets this variable itself"),
            (
                "secrets: [PROJECT_DIR]",
                "ClusterRunner sets this variable itself",
            ),
            (
                "secrets: {API_TOKEN: hunter2-hunter3}",
                "clusterrunner secret set",
            ),
            (
                "secrets: [KEY]\n  env: {KEY: x}",
                "\"env\" sets a variable of this name",
            ),
            (
                "secrets: [KEY]\n  matrix: {KEY: [x, y]}",
                "\"matrix\" sets a variable of this name",
            ),
            (
                "secrets: [KEY]\n  matrix: {OS: [x], include: [{OS: y, KEY: z}]}",
                "\"matrix\" sets a variable of this name",
            ),
            ("secrets: [T]", "\"atomizers\" sets a variable of this name"),
            ("secrets: [PATH]", "another one, since by this variable"),
        ] {
            let error = read(section).unwrap_err();
            assert!(error.contains(why), "{section}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn each_wrong_name_is_told() {
        let error = read("secrets: [a-b, KEY, 1, UID]").unwrap_err();
        for wrong in [
            "\"a-b\"",
            "int'>",
            "\"UID\" in config section \"secrets\": it must be another one, since bash sets",
        ] {
            assert!(error.contains(wrong), "{wrong}: {error}");
        }
    }
}
