//! The shell commands in a job file, each with its place: for who checks their syntax.

use super::document::{Node, Value, from_yaml};
use super::problem::Position;

/// A command as it stands in a job file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellText {
    /// The name of its job.
    pub job: String,
    /// The section of the job, such as `commands`.
    pub section: String,
    /// The line in the file where it begins, from 1.
    pub line: u64,
    /// The command.
    pub text: String,
}

/// The sections that have commands.
const SECTIONS: [&str; 5] = [
    "setup_build",
    "commands",
    "batch_command",
    "atomizers",
    "teardown_build",
];

/// All commands of a job file, in its order; none where it is not YAML.
#[must_use]
pub fn shell_texts(file: &str) -> Vec<ShellText> {
    let mut found = Vec::new();
    let Ok(top) = from_yaml(file) else {
        return found;
    };
    for (job, sections) in entries(&top) {
        for (section, node) in entries(sections) {
            let (Some(job), Some(section)) = (job.value.scalar_text(), section.value.scalar_text())
            else {
                continue;
            };
            if SECTIONS.contains(&section) {
                texts(node, &mut |line, text| {
                    found.push(ShellText {
                        job: job.to_owned(),
                        section: section.to_owned(),
                        line,
                        text: text.to_owned(),
                    });
                });
            }
        }
    }
    found
}

fn entries(node: &Node) -> &[(Node, Node)] {
    match &node.value {
        Value::Mapping(entries) => entries,
        _ => &[],
    }
}

/// All texts below a node.
fn texts(node: &Node, found: &mut impl FnMut(u64, &str)) {
    match (&node.value, &node.place) {
        (Value::Text(text), Position::Line { line, .. }) => found(*line, text),
        (Value::List(nodes), _) => nodes.iter().for_each(|node| texts(node, found)),
        (Value::Mapping(entries), _) => {
            entries.iter().for_each(|(_, value)| texts(value, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_place() {
        let file = "Unit:\n  commands:\n    - echo 1\n    - |\n      if x\n      fi\n  atomizers:\n    - A: 'seq 3'\n  \
                    max_executors: 3\nOther:\n  setup_build: [make, test]\n";
        let found = shell_texts(file);
        let found: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.job.as_str(),
                    one.section.as_str(),
                    one.line,
                    one.text.as_str(),
                )
            })
            .collect();
        let expected = [
            ("Unit", "commands", 3, "echo 1"),
            ("Unit", "commands", 5, "if x\nfi\n"),
            ("Unit", "atomizers", 8, "seq 3"),
            ("Other", "setup_build", 11, "make"),
            ("Other", "setup_build", 11, "test"),
        ];
        assert_eq!(found, expected);
        assert_eq!(shell_texts("a: ["), []);
    }
}
