//! How a worker of ours in Python is started, and what it is told of an atom.

use clusterrunner_common::job::warm::python::Python;

/// All that the worker does.
const TEXT: &str = concat!(
    include_str!("../../run/workers/python.py"),
    include_str!("../../run/workers/session.py"),
    "\n\n",
    include_str!("../../run/workers/collection.py"),
    "\nwork()\n"
);

/// What Python is given with `-c`: nothing of it stays in the module `__main__`, which is the tests'.
const BEGIN: &str = "exec(compile(__import__(\"sys\").argv.pop(1), \"<clusterrunner worker>\", \"exec\"), \
                     {\"__name__\": \"clusterrunner_worker\"})";

/// Where a worker finds its pipes. Its other streams are as those of an atom: nothing to read, and a file to write to.
const STREAMS: &str = " 3<&0 4>&1 </dev/null >&2";

/// The command that starts a worker. `script` is the path of the script that the commands of its atoms name and the Python
/// in the script's first line, if they name one.
pub(crate) fn command_line(
    python: &Python,
    (module, blocked): (&str, &[String]),
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
    let options = python.options.iter().flatten().map(String::as_str);
    let blocked = blocked.iter().map(String::as_str);
    let arguments = options
        .chain(["-c", BEGIN, TEXT, module, script])
        .chain(blocked);
    for argument in arguments {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    line.push_str(STREAMS);
    line
}

/// The plugins that arguments of pytest switch off, and more rather than fewer: what is named here is not imported before
/// an atom asks for it.
pub(crate) fn blocked(arguments: &[String]) -> Vec<String> {
    let arguments = arguments.iter();
    let arguments = arguments.map(|one| one.strip_prefix("-p").unwrap_or(one).trim());
    let mut blocked: Vec<String> = arguments
        .filter_map(|one| one.strip_prefix("no:").map(str::to_owned))
        .collect();
    blocked.sort();
    blocked.dedup();
    blocked
}

/// A text as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The Python that the first line of a script names, if that is plain and the script is one that an installer writes for
/// pytest: it imports pytest before it does anything.
pub(crate) fn python_of_script(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    let named = lines.next()?.strip_prefix("#!")?.trim();
    let name = match named.split_once(' ') {
        None => named,
        Some(("/usr/bin/env", name)) => name.trim(),
        Some(_) => return None,
    };
    let base = name.rsplit('/').next()?;
    let is_plain = !name.contains(char::is_whitespace);
    let is_python = base.starts_with("python") || base.starts_with("pypy");
    let is_comment = |line: &&str| line.trim().is_empty() || line.starts_with('#');
    let mut imports = lines.filter(|line| !is_comment(line));
    let first = imports.find(|line| !matches!(line.trim_end(), "import re" | "import sys"))?;
    let of_pytest = ["from pytest import ", "from _pytest.config import "];
    let is_pytest = of_pytest.iter().any(|import| first.starts_with(import));
    let ends = imports.next()?.starts_with("if __name__ == ");
    (is_plain && is_python && is_pytest && ends).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_python() {
        const REST: &str =
            "import sys\nfrom pytest import console_main\nif __name__ == '__main__':\n";
        for (line, python) in [
            ("#!/venv/bin/python3.11", Some("/venv/bin/python3.11")),
            ("#! /venv/bin/python", Some("/venv/bin/python")),
            ("#!/usr/bin/env python3", Some("python3")),
            ("#!/usr/bin/env -S python3 -u", None),
            ("#!/bin/sh", None),
            ("import x", None),
        ] {
            assert_eq!(
                python_of_script(&format!("{line}\n{REST}")),
                python,
                "{line}"
            );
        }
        for (rest, is_pytests) in [
            (REST, true),
            (
                "# -*- coding: utf-8 -*-\nimport re\nimport sys\nfrom _pytest.config import \
                 _console_main\n\nif __name__ == \"__main__\":\n",
                true,
            ),
            ("", false),
            (
                "import gevent\nfrom pytest import console_main\nif __name__ == '__main__':\n",
                false,
            ),
            ("from pytest import console_main\nconsole_main()\n", false),
            (
                "from pytest_x import main\nif __name__ == '__main__':\n",
                false,
            ),
            ("import sys\nif __name__ == '__main__':\n", false),
        ] {
            let text = format!("#!/venv/bin/python3\n{rest}");
            assert_eq!(python_of_script(&text).is_some(), is_pytests, "{rest}");
        }
    }

    #[test]
    fn words_stay_whole() {
        let python = Python {
            directory: Some("a b".to_owned()),
            program: "py'thon".to_owned(),
            options: Some(vec!["-B".to_owned()]),
        };
        let line = command_line(&python, ("pytest", &["x y".to_owned()]), None);
        let start = "cd 'a b' && exec 'py'\\''thon' '-B' '-c' 'exec(";
        assert!(line.starts_with(start), "{line}");
        let end = " 'pytest' '' 'x y' 3<&0 4>&1 </dev/null >&2";
        assert!(line.ends_with(end), "{line}");
    }
}
