//! What a worker is asked to do for an atom, and which worker can do it.

use super::Cold;
use super::protocol::LONGEST_REQUEST;
use super::python::{blocked, quoted};
use clusterrunner_common::job::config::with_one_export;
use clusterrunner_common::job::warm::python::{NotPython, Python};
use clusterrunner_common::job::warm::{bash, plain, python};
use clusterrunner_common::work::WorkerProgram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How a worker is started. Atoms for which this is the same can have the same worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Bash,
    Python {
        module: &'static str,
        python: Python,
        /// Set beside what the build sets.
        variables: BTreeMap<String, String>,
        /// Plugins of pytest that the command switches off.
        blocked: Vec<String>,
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
pub(crate) struct AtomPlace<'a> {
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

/// The variables of which each atom finds its own values, beside those that its text sets.
pub(crate) const OF_ONE_ATOM: [&str; 3] = ["ARTIFACT_DIR", "ATOM_ID", "CLUSTERRUNNER_ATTEMPT"];

impl Start {
    /// Where it runs in a project's directory.
    pub(crate) fn place(&self, project: &Path) -> PathBuf {
        match self {
            Self::Python { python, .. } => {
                project.join(python.directory.as_deref().unwrap_or_default())
            }
            Self::Bash | Self::Command(_) => project.to_owned(),
        }
    }

    /// Whether the worker is one that comes with the program, which says the truth of what it forked.
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self, Self::Command(_))
    }
}

impl Errand {
    /// Whether a request for this atom can be made, wherever it runs.
    pub(crate) fn fits(&self, environment: &[(String, String)]) -> bool {
        let place = AtomPlace {
            id: u64::MAX,
            environment,
            directory: "",
            console: "",
            artifact_directory: "",
        };
        let length = match self.request(place) {
            Some(Request::Line(line)) => line.len(),
            Some(Request::Text(..)) => 0,
            None => return false,
        };
        length + 3 * LONGEST_PATH <= LONGEST_REQUEST
    }

    /// What a worker does for an atom: for the whole text, its atom and the command of its job. `environment` gives what
    /// the atom's shell finds there.
    pub(crate) fn of(
        worker: &WorkerProgram,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Cold> {
        let of_variables = with_one_export(text);
        let (start, work) = match worker {
            WorkerProgram::Bash => {
                if !bash::is_usual(text) {
                    return Err(Cold::Quietly);
                }
                (Start::Bash, Work::Shell(text.to_owned()))
            }
            WorkerProgram::Pytest => of_python("pytest", &of_variables, environment)?,
            WorkerProgram::Unittest => of_python("unittest", &of_variables, environment)?,
            WorkerProgram::Command { command } => {
                let split = plain::split_atom(&of_variables, usize::MAX, environment);
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
    pub(crate) fn request(&self, place: AtomPlace<'_>) -> Option<Request> {
        let AtomPlace {
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
                python_request(id, console, &variables, arguments)
            }
            Work::Command {
                variables: exports,
                command,
            } => {
                variables.extend(exports.iter().map(|(name, value)| (&**name, &**value)));
                let mut line = serde_json::to_vec(&CommandRequest {
                    id,
                    command,
                    environment: variables,
                    directory,
                    console,
                    artifact_directory,
                })
                .ok()?;
                line.push(b'\n');
                line
            }
        };
        (line.len() <= LONGEST_REQUEST).then_some(Request::Line(line))
    }
}

fn of_python(
    module: &'static str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Start, Work), Cold> {
    let run = python::read(text, module, environment).map_err(Cold::Because)?;
    let split = plain::split_atom(text, 1, environment);
    let (of_atom, rest) = split.map_err(|error| Cold::Because(error.into()))?;
    let of_any_atom = |name: &str| {
        let is_of_one = of_atom.contains_key(name) || OF_ONE_ATOM.contains(&name);
        match is_of_one {
            true => Some(UNLIKELY.to_owned()),
            false => environment(name),
        }
    };
    // What the command itself sets is there when the worker starts: it has to be the same for all atoms.
    let of_any_atom = python::read(rest, module, &of_any_atom);
    let of_any_atom = of_any_atom.map_err(|_| Cold::Because(NotPython::OfOneAtom))?;
    let blocked = blocked(&run.arguments);
    let mut variables = of_any_atom.at_start;
    variables.extend(of_any_atom.exports);
    let is_of_one = |value: &String| value.contains(UNLIKELY);
    if of_any_atom.python != run.python
        || super::python::blocked(&of_any_atom.arguments) != blocked
        || variables.values().any(is_of_one)
    {
        return Err(Cold::Because(NotPython::OfOneAtom));
    }
    variables.extend(run.at_start.clone());
    let start = Start::Python {
        module,
        python: run.python,
        variables,
        blocked,
    };
    let mut exports = run.exports;
    exports.extend(run.at_start);
    let arguments = run.arguments;
    Ok((start, Work::Python { exports, arguments }))
}

/// The longest path that the system takes.
const LONGEST_PATH: usize = 4096;

/// What stands for the values of one atom where it is asked what they change.
const UNLIKELY: &str = "\u{1}of-one-atom\u{1}";

/// A request to a worker in Python, which reads no JSON: that would import what an atom may not. How long it is, and its
/// parts, with a byte 0 between them, which no argument and no variable can have.
fn python_request(
    id: u64,
    console: &str,
    variables: &BTreeMap<&str, &str>,
    arguments: &[String],
) -> Vec<u8> {
    let mut parts = vec![
        id.to_string(),
        console.to_owned(),
        variables.len().to_string(),
    ];
    let variables = variables.iter();
    parts.extend(variables.map(|(name, value)| format!("{name}={value}")));
    parts.extend_from_slice(arguments);
    let parts = parts.join("\0");
    format!("{}\n{parts}", parts.len()).into_bytes()
}

/// What the shell that was forked for an atom runs. It is one line up to the atom's text, so that the numbers of its lines
/// stay what they are. A shell that can not begin ends its worker: nobody is to take it for an atom that failed.
fn shell_text(text: &str, environment: &[(String, String)], console: &str) -> Vec<u8> {
    let mut line = format!(
        "set +m; unset -v __clusterrunner_id __clusterrunner_text; exec </dev/null >>{} 2>&1 || {{ kill -KILL $$; exit 1; }}; export",
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
         __clusterrunner_text < {} || {{ kill -KILL $$; exit 1; }}; eval \"$__clusterrunner_text\" ) & wait \"$!\"; printf \
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
        errand.request(AtomPlace {
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
        let below = |name: &str| (name == "PROJECT_DIR").then(|| "/p".to_owned());
        let of_project = "export T=\"$PROJECT_DIR/a.py\"; run";
        let errand = Errand::of(&worker, of_project, &below).unwrap();
        let Some(Request::Line(line)) = request(&errand) else {
            panic!("it is a line");
        };
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains("\"T\":\"/p/a.py\""), "{line}");
        let odd = of(&worker, "export T=\"$(date)\"; run").unwrap_err();
        assert!(matches!(odd, Cold::Because(_)));
    }

    #[test]
    fn a_python_gets_parts() {
        let text = "export F=\"a b\"; export X=1; python3 -m pytest -q \"$F\"";
        let errand = of(&WorkerProgram::Pytest, text).unwrap();
        let parts = ["7", "/c", "3", "ATOM_ID=it's", "F=a b", "X=1", "-q", "a b"].join("\0");
        let line = format!("{}\n{parts}", parts.len());
        assert_eq!(request(&errand), Some(Request::Line(line.into_bytes())));
        let product = "F=\"a b\" X=\"1\"; export F X; python3 -m pytest -q \"$F\"";
        let of_product = of(&WorkerProgram::Pytest, product).unwrap();
        assert_eq!(request(&of_product), request(&errand));
        let odd = of(&WorkerProgram::Pytest, "python3 -m pytest a\0b").unwrap_err();
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
        let start = |text: &str| of(&WorkerProgram::Pytest, text).unwrap().start;
        let one = start("export F=\"a\"; python3 -m pytest $F");
        assert_eq!(one, start("export F=\"b\"; python3 -m pytest -q $F"));
        for of_one in [
            "X=x$F Y=1 python3 -m pytest",
            "export HOME=\"$ARTIFACT_DIR/home\"; python3 -m pytest x",
            "cd \"$F\" && python3 -m pytest x",
            "\"$F\"/bin/pytest x",
            "python3 -W \"$F\" -m pytest x",
            "python3 -m pytest -p \"no:$F\"",
        ] {
            let text = format!("export F=\"a\"; {of_one}");
            let cold = of(&WorkerProgram::Pytest, &text).unwrap_err();
            assert_eq!(cold, Cold::Because(NotPython::OfOneAtom), "{text}");
        }
        let home = |home: &str| start(&format!("export HOME=\"{home}\"; python3 -m pytest x"));
        assert_ne!(home("/a"), home("/b"));
        let with = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let Start::Python {
            variables, blocked, ..
        } = start(
            "export F=\"a\"; export Y=1; export Z=\"y$Y\"; python3 -m pytest -p no:a -pno:b -p c",
        )
        else {
            panic!("it is a Python");
        };
        let variables: Vec<_> = variables.into_keys().collect();
        assert_eq!((variables, blocked), (with(&["Y", "Z"]), with(&["a", "b"])));
        for other in [
            "X=1 python3 -m pytest x",
            "python3 -m pytest -p no:doctest x",
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
