//! The section `worker`: what runs one atom after the other, in place of a new process for each.

use super::check::{BATCH_COMMAND, Check};
use super::document::{Node, Value, python_type};
use crate::job::worker::{Worker, WorkerProgram};
use crate::text::nearest::nearest;
use std::collections::BTreeMap;

const NAMES: [&str; 4] = ["none", "bash", "pytest", "unittest"];

const USE: &str = "use";
const COMMAND: &str = "command";
const CONFIRM_FAILURES: &str = "confirm_failures";
const KEYS: [&str; 3] = [USE, COMMAND, CONFIRM_FAILURES];

const EXPECTED: &str = "<class 'str'>, <class 'dict'>";
const CURE: &str = "write none, bash, pytest or unittest; or, for one of your own, \"command: \" and the command that \
                    starts it, on the next line, indented";

impl Check<'_> {
    /// A name, or a mapping with a name or a command. The word `none` is no worker.
    pub(super) fn worker(
        &mut self,
        section: &str,
        node: &Node,
        sections: &BTreeMap<&'static str, &Node>,
    ) -> Option<Worker> {
        let (program, confirm_failures) = match &node.value {
            Value::Mapping(entries) => self.worker_of(section, node, entries)?,
            _ => (self.named(section, node)?, true),
        };
        let worker = Worker {
            program: program?,
            confirm_failures,
        };
        if sections.contains_key(BATCH_COMMAND) {
            let message = format!(
                "Definition for job \"{}\" has both config sections \"{section}\" and \"{BATCH_COMMAND}\": an atom runs in \
                 a worker, or in a process with others.",
                self.job
            );
            self.note(&node.place, message, "leave one of them out");
            return None;
        }
        Some(worker)
    }

    /// The outer `None` stands for "a problem was noted", the inner one for no worker.
    fn named(&mut self, section: &str, node: &Node) -> Option<Option<WorkerProgram>> {
        let found = match &node.value {
            Value::Text(name) => match name.as_str() {
                "none" => return Some(None),
                "bash" => return Some(Some(WorkerProgram::Bash)),
                "pytest" => return Some(Some(WorkerProgram::Pytest)),
                "unittest" => return Some(Some(WorkerProgram::Unittest)),
                other => {
                    let found = format!("\"{}\"", other.escape_debug());
                    let meant = nearest(other, NAMES).map(|meant| format!("write {meant}"));
                    let cure = meant.as_deref().unwrap_or(CURE);
                    self.wrong_value(node, section, EXPECTED, &found, cure);
                    return None;
                }
            },
            other => python_type(other, false),
        };
        self.wrong_value(node, section, EXPECTED, &found, CURE);
        None
    }

    fn worker_of(
        &mut self,
        section: &str,
        node: &Node,
        entries: &[(Node, Node)],
    ) -> Option<(Option<WorkerProgram>, bool)> {
        let mut program = None;
        let mut confirm_failures = true;
        for (key, value) in entries {
            let written = key.value.scalar_text().unwrap_or("?");
            let read = match written {
                USE => self.named(section, value)?,
                COMMAND => Some(WorkerProgram::Command {
                    command: self.own_command(section, value)?,
                }),
                CONFIRM_FAILURES => {
                    confirm_failures =
                        self.truth(&format!("{section}.{CONFIRM_FAILURES}"), value)?;
                    continue;
                }
                other => {
                    let message = format!(
                        "Definition for job \"{}\" contains an invalid key \"{other}\" in config section \"{section}\".",
                        self.job
                    );
                    let cure = match nearest(other, KEYS) {
                        Some(meant) => format!("write \"{meant}\""),
                        None => format!("write one of {}", KEYS.join(", ")),
                    };
                    self.note(&key.place, message, &cure);
                    return None;
                }
            };
            if program.replace(read).is_some() {
                let message = format!(
                    "Definition for job \"{}\" says twice in config section \"{section}\" what the worker is.",
                    self.job
                );
                let cure = "write \"use\" for one that comes with the program, or \"command\" for one of your own";
                self.note(&key.place, message, cure);
                return None;
            }
        }
        let Some(program) = program else {
            self.wrong_value(
                node,
                section,
                EXPECTED,
                "neither \"use\" nor \"command\"",
                CURE,
            );
            return None;
        };
        Some((program, confirm_failures))
    }

    fn own_command(&mut self, section: &str, node: &Node) -> Option<String> {
        let section = format!("{section}.{COMMAND}");
        let cure = "write the command that starts the worker";
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => {
                let is_good = self.no_nul(&section, node, text);
                return is_good.then(|| text.trim().to_owned());
            }
            Value::Text(_) => {
                self.wrong_value(node, &section, "<class 'str'>", "an empty text", cure);
            }
            other => {
                let found = python_type(other, false);
                self.wrong_value(node, &section, "<class 'str'>", &found, cure);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::JobConfig;
    use super::*;

    fn worker(section: &str) -> Result<Option<Worker>, String> {
        let text = format!("A:\n  commands: [x]\n  atomizers: [{{T: ls}}]\n{section}");
        let config = JobConfig::parse(&text, "clusterrunner.yaml").unwrap();
        let job = config.job(None).map(|(_, job)| job.worker.clone());
        job.map_err(|error| error.to_string())
    }

    fn check_wrong(section: &str, said: &[&str]) {
        let error = worker(section).unwrap_err();
        for part in said {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_worker_is_a_name_or_a_command() {
        let of = |program, confirm_failures| {
            Ok(Some(Worker {
                program,
                confirm_failures,
            }))
        };
        assert_eq!(worker(""), Ok(None));
        assert_eq!(worker("  worker: none\n"), Ok(None));
        assert_eq!(worker("  worker: bash\n"), of(WorkerProgram::Bash, true));
        assert_eq!(
            worker("  worker: {use: pytest, confirm_failures: false}\n"),
            of(WorkerProgram::Pytest, false)
        );
        let command = "node run.js".to_owned();
        assert_eq!(
            worker("  worker: {command: ' node run.js'}\n"),
            of(WorkerProgram::Command { command }, true)
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        check_wrong("  worker: pytets\n", &["\"pytets\"", "4:11: write pytest"]);
        check_wrong("  worker: [bash]\n", &["\"worker\"", "list"]);
        check_wrong(
            "  worker: {comand: x}\n",
            &["\"comand\"", "write \"command\""],
        );
        check_wrong(
            "  worker: {command: ''}\n",
            &["\"worker.command\"", "empty"],
        );
        check_wrong("  worker: {use: bash, command: x}\n", &["twice"]);
        check_wrong("  worker: {confirm_failures: true}\n", &["neither"]);
        check_wrong(
            "  worker: {use: bash, confirm_failures: 7}\n",
            &["worker.confirm_failures"],
        );
        check_wrong(
            "  worker: bash\n  batch_command: x\n",
            &["both", "leave one of them out"],
        );
        assert_eq!(
            worker("  worker: none\n  batch_command: x\n"),
            Ok(None),
            "none is no worker"
        );
    }
}
