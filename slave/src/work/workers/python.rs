//! How a worker of ours in Python is started, and what it is told of an atom.

use clusterrunner_common::job::warm::python::Python;

/// All that the worker does.
const TEXT: &str = include_str!("../../run/workers/python.py");

/// What Python is given with `-c`: nothing of it stays in the module `__main__`, which is the tests'.
const BEGIN: &str = "exec(compile(__import__(\"sys\").argv.pop(1), \"<clusterrunner worker>\", \"exec\"), \
                     {\"__name__\": \"clusterrunner_worker\"})";

/// The command that starts a worker. `script` is the path of the script that the commands of its atoms name and the Python
/// in the script's first line, if they name one.
pub(crate) fn command_line(
    python: &Python,
    module: &str,
    script: Option<&(String, String)>,
) -> String {
    let mut line = String::new();
    if let Some(directory) = &python.directory {
        line.push_str(&format!("cd {} && ", quoted(directory)));
    }
    let (program, script) = match script {
        Some((script, program)) => (program.as_str(), script.as_str()),
        None => (python.program.as_str(), ""),
    };
    line.push_str("exec ");
    line.push_str(&quoted(program));
    for option in python.options.iter().flatten() {
        line.push(' ');
        line.push_str(&quoted(option));
    }
    for argument in ["-c", BEGIN, TEXT, module, script] {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    line
}

/// A text as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The Python that the first line of a script names, if it names one plainly.
pub(crate) fn python_of_script(first_line: &str) -> Option<&str> {
    let named = first_line.strip_prefix("#!")?.trim();
    let name = match named.split_once(' ') {
        None => named,
        Some(("/usr/bin/env", name)) => name.trim(),
        Some(_) => return None,
    };
    let base = name.rsplit('/').next()?;
    let is_plain = !name.contains(char::is_whitespace);
    (is_plain && (base.starts_with("python") || base.starts_with("pypy"))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_python() {
        for (line, python) in [
            ("#!/venv/bin/python3.11", Some("/venv/bin/python3.11")),
            ("#! /venv/bin/python", Some("/venv/bin/python")),
            ("#!/usr/bin/env python3", Some("python3")),
            ("#!/usr/bin/env -S python3 -u", None),
            ("#!/bin/sh", None),
            ("import x", None),
        ] {
            assert_eq!(python_of_script(line), python, "{line}");
        }
    }

    #[test]
    fn words_stay_whole() {
        let python = Python {
            directory: Some("a b".to_owned()),
            program: "py'thon".to_owned(),
            options: Some(vec!["-B".to_owned()]),
        };
        let line = command_line(&python, "pytest", None);
        let start = "cd 'a b' && exec 'py'\\''thon' '-B' '-c' 'exec(";
        assert!(line.starts_with(start), "{line}");
        assert!(line.ends_with(" 'pytest' ''"), "{line}");
    }
}
