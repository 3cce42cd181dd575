//! What a worker is asked to do for an atom, and which worker can do it.

use super::Cold;
use super::protocol::LONGEST_REQUEST;
use super::python::quoted;
use clusterrunner_common::job::warm::python::Python;
use clusterrunner_common::job::warm::{bash, plain, python};
use clusterrunner_common::work::WorkerProgram;
use serde::Serialize;
use std::collections::BTreeMap;

/// How a worker is started. Atoms for which this is the same can have the same worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Bash,
    Python {
        module: &'static str,
        python: Python,
        /// Set beside what the build sets.
        variables: BTreeMap<String, String>,
    },
    /// The user's own command.
    Command(String),
}

/// An atom for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Errand {
    pub(crate) start: Start,
    work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    /// The whole text.
    Shell(String),
    Python {
        exports: BTreeMap<String, String>,
        arguments: Vec<String>,
    },
    Command {
        variables: BTreeMap<String, String>,
        command: String,
    },
}

/// Where an atom runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its number among those of the worker.
    pub(crate) id: u64,
    /// What it finds in its environment beside what the worker was started with.
    pub(crate) environment: &'a [(String, String)],
    pub(crate) directory: &'a str,
    pub(crate) console: &'a str,
    pub(crate) artifact_directory: &'a str,
}

/// What goes to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A line to its input.
    Line(Vec<u8>),
    /// A text for its file, and a line to its input.
    Text(Vec<u8>, Vec<u8>),
}

#[derive(Serialize)]
struct CommandRequest<'a> {
    id: u64,
    command: &'a str,
    environment: BTreeMap<&'a str, &'a str>,
    directory: &'a str,
    console: &'a str,
    artifact_directory: &'a str,
}

#[derive(Serialize)]
struct PythonRequest<'a> {
    id: u64,
    arguments: &'a [String],
    environment: BTreeMap<&'a str, &'a str>,
    console: &'a str,
}

impl Errand {
    /// What a worker does for an atom: for the whole text, its atom and the command of its job. `environment` gives what
    /// the atom's shell finds there.
    pub(crate) fn of(
        worker: &WorkerProgram,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Cold> {
        let (start, work) = match worker {
            WorkerProgram::Bash => {
                if !bash::is_usual(text) {
                    return Err(Cold::Quietly);
                }
                (Start::Bash, Work::Shell(text.to_owned()))
            }
            WorkerProgram::Pytest => of_python("pytest", text, environment)?,
            WorkerProgram::Unittest => of_python("unittest", text, environment)?,
            WorkerProgram::Command { command } => {
                let split = plain::split_atom(text);
                let (variables, rest) = split.map_err(|error| Cold::Because(error.into()))?;
                let work = Work::Command {
                    variables,
                    command: rest.to_owned(),
                };
                (Start::Command(command.clone()), work)
            }
        };
        Ok(Self { start, work })
    }

    /// What the worker is told; `None` where that is too long.
    pub(crate) fn request(&self, place: Place<'_>) -> Option<Request> {
        let Place {
            id,
            environment,
            directory,
            console,
            artifact_directory,
        } = place;
        let mut variables: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value) in environment {
            variables.insert(name, value);
        }
        let line = match &self.work {
            Work::Shell(text) => {
                let text = shell_text(text, environment, console);
                return Some(Request::Text(text, format!("{id}\n").into_bytes()));
            }
            Work::Python { exports, arguments } => {
                variables.extend(exports.iter().map(|(name, value)| (&**name, &**value)));
                serde_json::to_vec(&PythonRequest {
                    id,
                    arguments,
                    environment: variables,
                    console,
                })
            }
            Work::Command {
                variables: exports,
                command,
            } => {
                variables.extend(exports.iter().map(|(name, value)| (&**name, &**value)));
                serde_json::to_vec(&CommandRequest {
                    id,
                    command,
                    environment: variables,
                    directory,
                    console,
                    artifact_directory,
                })
            }
        };
        let mut line = line.ok()?;
        line.push(b'\n');
        (line.len() <= LONGEST_REQUEST).then_some(Request::Line(line))
    }
}

fn of_python(
    module: &'static str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Start, Work), Cold> {
    let run = python::read(text, module, environment).map_err(Cold::Because)?;
    let start = Start::Python {
        module,
        python: run.python,
        variables: run.at_start,
    };
    let work = Work::Python {
        exports: run.exports,
        arguments: run.arguments,
    };
    Ok((start, work))
}

/// What the shell that was forked for an atom runs. It is one line up to the atom's text, so that the numbers of its lines
/// stay what they are. A shell that can not begin ends its worker: nobody is to take it for an atom that failed.
fn shell_text(text: &str, environment: &[(String, String)], console: &str) -> Vec<u8> {
    let mut line = format!(
        "set +m; unset -v __clusterrunner_id __clusterrunner_text; exec </dev/null >>{} 2>&1 || kill -KILL $$; export",
        quoted(console)
    );
    for (name, value) in environment {
        line.push_str(&format!(" {name}={}", quoted(value)));
    }
    line.push_str("; ");
    line.push_str(text);
    line.push('\0');
    line.into_bytes()
}

/// What a shell runs that is a worker. `request` is the path of the file that it finds the text of each atom in.
pub(crate) fn shell_worker(request: &str) -> String {
    format!(
        "set -m; printf '{{\"worker\":1}}\\n'; while IFS= read -r __clusterrunner_id; do ( IFS= read -r -d '' \
         __clusterrunner_text < {} || kill -KILL $$; eval \"$__clusterrunner_text\" ) & wait \"$!\"; printf \
         '{{\"id\":%s,\"exit_code\":%s,\"process_group\":%s}}\\n' \"$__clusterrunner_id\" \"$?\" \"$!\"; done",
        quoted(request)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(worker: &WorkerProgram, text: &str) -> Result<Errand, Cold> {
        Errand::of(worker, text, &|_| None)
    }

    fn request(errand: &Errand) -> Option<Request> {
        errand.request(Place {
            id: 7,
            environment: &[("ATOM_ID".to_owned(), "it's".to_owned())],
            directory: "/p",
            console: "/c",
            artifact_directory: "/a",
        })
    }

    #[test]
    fn a_worker_of_the_user_gets_variables_and_command() {
        let command = "x".to_owned();
        let worker = WorkerProgram::Command { command };
        let errand = of(&worker, "export T=\"a\\$b\"; run | \"$T\"").unwrap();
        let line = "{\"id\":7,\"command\":\"run | \\\"$T\\\"\",\"environment\":{\"ATOM_ID\":\"it's\",\"T\":\"a$b\"},\
                    \"directory\":\"/p\",\"console\":\"/c\",\"artifact_directory\":\"/a\"}\n";
        assert_eq!(request(&errand), Some(Request::Line(line.into())));
        let long = format!("export T=\"{}\"; run", "x".repeat(LONGEST_REQUEST));
        assert_eq!(request(&of(&worker, &long).unwrap()), None);
        let odd = of(&worker, "export T=\"$(date)\"; run").unwrap_err();
        assert!(matches!(odd, Cold::Because(_)));
    }

    #[test]
    fn a_shell_gets_a_text() {
        let errand = of(&WorkerProgram::Bash, "export T=\"1\"; run").unwrap();
        let Some(Request::Text(text, line)) = request(&errand) else {
            panic!("it is a text");
        };
        let text = String::from_utf8(text).unwrap();
        let end = "export ATOM_ID='it'\\''s'; export T=\"1\"; run\0";
        assert!(text.ends_with(end), "{text}");
        assert_eq!((text.lines().count(), line), (1, b"7\n".to_vec()));
        assert_eq!(of(&WorkerProgram::Bash, "echo $$"), Err(Cold::Quietly));
    }

    #[test]
    fn atoms_share_a_worker_where_it_starts_the_same() {
        let start = |text| of(&WorkerProgram::Pytest, text).unwrap().start;
        let one = start("export F=\"a\"; python3 -m pytest $F");
        assert_eq!(one, start("export F=\"b\"; X=1 python3 -m pytest -q $F"));
        for other in [
            "python3.9 -m pytest x",
            "PYTHONPATH=x python3 -m pytest x",
            "cd y && python3 -m pytest x",
            "python3 -B -m pytest x",
            "pytest x",
        ] {
            assert_ne!(one, start(other), "{other}");
        }
    }
}
