//! The section `batch_command`: one process for many atoms. Such a process finds the values of its atoms in a file.

use super::Atomizer;
use super::check::{BATCH_COMMAND, Check};
use super::document::{Node, Value};
use std::collections::BTreeMap;

impl Check<'_> {
    pub(super) fn batch_command(
        &mut self,
        node: &Node,
        sections: &BTreeMap<&'static str, &Node>,
        atomizers: Option<&[Atomizer]>,
    ) -> Option<String> {
        // One command needs no list.
        let command = match &node.value {
            Value::Text(_) => {
                let element = node.clone();
                let list = Node {
                    place: node.place.clone(),
                    value: Value::List(vec![element]),
                };
                self.command_list(BATCH_COMMAND, &list)
            }
            _ => self.command_list(BATCH_COMMAND, node),
        }?;
        if command.trim().is_empty() {
            let cure =
                "write the command that runs all atoms of $ATOMS_FILE, or leave the section out";
            self.wrong_value(node, BATCH_COMMAND, "<class 'str'>", "an empty text", cure);
            return None;
        }
        let mut names = atomizers?.iter().map(|atomizer| &atomizer.name);
        let first = names.next()?;
        if let Some(other) = names.find(|name| *name != first) {
            let message = format!(
                "Definition for job \"{}\" has a config section \"{BATCH_COMMAND}\" and atomizers for two variables, \
                 {first} and {other}: the lines of a batch's file would not say which of them they are for.",
                self.job
            );
            let place = sections
                .get(super::check::ATOMIZERS)
                .map_or(&node.place, |list| &list.place);
            let cure = "give all atomizers the same name, or make two jobs of them";
            self.note(place, message, cure);
            return None;
        }
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::super::JobConfig;

    fn job(sections: &str) -> Result<super::super::Job, String> {
        let text = format!("A:\n{sections}");
        let config = JobConfig::parse(&text, "clusterrunner.yaml").unwrap();
        let job = config.job(None).map(|(_, job)| job.clone());
        job.map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_for_batches_is_a_text_or_a_list() {
        for written in ["pytest $ATOMS", "[pytest $ATOMS]"] {
            let job = job(&format!(
                "  batch_command: {written}\n  commands: [pytest $T]\n  atomizers: [{{T: ls}}]\n"
            ));
            let job = job.unwrap();
            assert_eq!(job.batch_command.as_deref(), Some("pytest $ATOMS"));
            assert_eq!(job.commands, "pytest $T");
        }
        let several = job("  batch_command: [cd x, make]\n  atomizers: [{T: ls}]\n").unwrap();
        assert_eq!(several.batch_command.as_deref(), Some("cd x && make"));
    }

    #[test]
    fn without_commands_an_atom_alone_is_a_batch_of_one() {
        let job =
            job("  batch_command: wc -l < $ATOMS_FILE; echo $ATOMS\n  atomizers: [{T: ls}]\n");
        let command = job.unwrap().commands;
        let artifacts = tempfile::tempdir().unwrap();
        let mut shell = std::process::Command::new("bash");
        let shell = shell.args(["-c", &format!("export T=\"a b\"; {command}")]);
        let ran = shell
            .env("ARTIFACT_DIR", artifacts.path())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "1\na b\n");
        assert!(artifacts.path().read_dir().unwrap().next().is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = job("  batch_command: x\n  atomizers: [{T: ls}, {U: ls}]\n").unwrap_err();
        assert!(error.contains("two variables, T and U"), "{error}");
        assert!(error.contains("yaml:3:14: give all"), "{error}");
        let error = job("  batch_command: ''\n  atomizers: [{T: ls}]\n").unwrap_err();
        assert!(error.contains("an empty text"), "{error}");
        let error = job("  batch_command: 7\n  atomizers: [{T: ls}]\n").unwrap_err();
        assert!(error.contains("batch_command"), "{error}");
        let error = job("  batch_command: x\n").unwrap_err();
        assert!(
            error.contains("missing required config sections: {'atomizers'}"),
            "{error}"
        );
        let same = job("  batch_command: x\n  atomizers: [{T: ls}, {T: ls}]\n");
        assert!(same.is_ok());
    }
}
