//! Commands that a Python worker can do: `pytest …`, `python -m pytest …` and `python -m unittest …`, as plain commands.

use super::plain::{self, NotPlain, Plain};
use std::collections::BTreeMap;

/// What a worker runs for one atom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonRun {
    /// Which Python runs it, and how.
    pub python: Python,
    /// Variables that matter when Python starts, by name: all atoms of a worker have the same.
    pub at_start: BTreeMap<String, String>,
    /// The other variables that the text exports.
    pub exports: BTreeMap<String, String>,
    /// What follows the name of the module or of the script.
    pub arguments: Vec<String>,
}

/// A Python as a command names it. Atoms for which this is the same can have the same worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// Where the command changes to before.
    pub directory: Option<String>,
    /// The program: a Python, or a script that names its own in its first line.
    pub program: String,
    /// The options of a Python; `None` for a script.
    pub options: Option<Vec<String>>,
}

/// Why an atom is not run by a Python worker. The text fits behind "since".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPython {
    /// The command may be anything.
    #[error("its command is not plain: {0}")]
    NotPlain(#[from] NotPlain),
    /// It is another program.
    #[error("its command is neither \"pytest …\" nor \"python3 -m pytest …\"")]
    NotPytest,
    /// It is another program.
    #[error("its command is not \"python3 -m unittest …\"")]
    NotUnittest,
    /// Python has an option that is not known here.
    #[error("its command has an option of Python that the worker can not have")]
    Option,
    /// Something is set at Python's start that makes each process count.
    #[error("coverage measures each process from its start")]
    Coverage,
    /// What the worker starts with would be another thing for each atom.
    #[error(
        "its job's commands set a variable, a directory or an option of Python to what is of one atom"
    )]
    OfOneAtom,
}

/// Variables by which coverage starts in each process.
pub const MEASURING: [&str; 2] = ["COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"];

/// Options of Python without a value that say how it starts.
const FLAGS: [&str; 13] = [
    "-B", "-b", "-bb", "-d", "-E", "-I", "-O", "-OO", "-P", "-q", "-s", "-S", "-u",
];

/// Reads the text of an atom. `module` is `pytest` or `unittest`; `environment` gives what variables have before it.
///
/// # Errors
/// When the worker of this module can not run it.
pub fn read(
    text: &str,
    module: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<PythonRun, NotPython> {
    if MEASURING.iter().any(|name| environment(name).is_some()) {
        return Err(NotPython::Coverage);
    }
    let Plain {
        exports,
        directory,
        words,
    } = plain::read(text, environment)?;
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let options = if is_python(name) {
        Some(options(&mut words, module)?)
    } else if module == "pytest" && ["pytest", "py.test"].contains(&name) {
        None
    } else {
        return Err(other(module));
    };
    let (at_start, exports): (BTreeMap<_, _>, BTreeMap<_, _>) = exports
        .into_iter()
        .partition(|(name, _)| matters_at_start(name));
    if MEASURING.iter().any(|name| at_start.contains_key(*name)) {
        return Err(NotPython::Coverage);
    }
    Ok(PythonRun {
        python: Python {
            directory,
            program,
            options,
        },
        at_start,
        exports,
        arguments: words.collect(),
    })
}

fn other(module: &str) -> NotPython {
    match module {
        "pytest" => NotPython::NotPytest,
        _ => NotPython::NotUnittest,
    }
}

/// The options of Python up to `-m` and the module.
fn options(
    words: &mut impl Iterator<Item = String>,
    module: &str,
) -> Result<Vec<String>, NotPython> {
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        if word == "-m" {
            let is_it = words.next().is_some_and(|name| name == module);
            return is_it.then_some(options).ok_or(other(module));
        }
        let has_value = |option: &str| word.starts_with(option);
        match word.as_str() {
            "-W" | "-X" => {
                let value = words.next().ok_or(NotPython::Option)?;
                options.extend([word, value]);
            }
            flag if FLAGS.contains(&flag) || has_value("-W") || has_value("-X") => {
                options.push(word);
            }
            flag if flag.starts_with('-') => return Err(NotPython::Option),
            _ => return Err(other(module)),
        }
    }
    Err(other(module))
}

fn is_python(name: &str) -> bool {
    let version = ["python", "pypy"]
        .iter()
        .find_map(|python| name.strip_prefix(python));
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

fn matters_at_start(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "HOME",
        "LOCPATH",
        "GLIBC_TUNABLES",
        "OPENSSL_CONF",
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "VIRTUAL_ENV",
        "PYTEST_DEBUG",
    ];
    const PREFIXES: [&str; 11] = [
        "PYTHON",
        "PYENV_",
        "LD_",
        "LC_",
        "MALLOC_",
        "COVERAGE_",
        "ASAN_",
        "UBSAN_",
        "LSAN_",
        "TSAN_",
        "MSAN_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, module: &str) -> Result<PythonRun, NotPython> {
        read(text, module, &|name| {
            (name == "ARTIFACT_DIR").then(|| "/a".to_owned())
        })
    }

    #[test]
    fn commands_of_pytest_are_known() {
        let text = "export FILE=\"test_a.py\"; export PYTHONDONTWRITEBYTECODE=1 && python3 -B -W error -m pytest \
                    -p no:cacheprovider --junitxml=\"$ARTIFACT_DIR/junit.xml\" \"$FILE\"";
        let run = of(text, "pytest").unwrap();
        assert_eq!(run.python.program, "python3");
        assert_eq!(
            run.python.options,
            Some(vec!["-B".to_owned(), "-W".to_owned(), "error".to_owned()])
        );
        assert_eq!(run.at_start["PYTHONDONTWRITEBYTECODE"], "1");
        assert_eq!(run.exports["FILE"], "test_a.py");
        assert_eq!(
            run.arguments,
            [
                "-p",
                "no:cacheprovider",
                "--junitxml=/a/junit.xml",
                "test_a.py"
            ]
        );
        let run = of("cd sub && .venv/bin/pytest x", "pytest").unwrap();
        assert_eq!(run.python.program, ".venv/bin/pytest");
        assert_eq!(run.python.options, None);
        assert_eq!(run.python.directory.as_deref(), Some("sub"));
        let run = of("python3.12 -m unittest tests.test_a", "unittest").unwrap();
        assert_eq!(run.arguments, ["tests.test_a"]);
    }

    #[test]
    fn others_are_told_apart() {
        for (text, module, error) in [
            ("make test", "pytest", NotPython::NotPytest),
            ("python3 x.py", "pytest", NotPython::NotPytest),
            ("python3 -m unittest x", "pytest", NotPython::NotPytest),
            ("python3 -m pytest x", "unittest", NotPython::NotUnittest),
            ("pytest x", "unittest", NotPython::NotUnittest),
            ("python3 -c x", "pytest", NotPython::Option),
            ("python3 -i -m pytest", "pytest", NotPython::Option),
            ("python3", "pytest", NotPython::NotPytest),
            (
                "COVERAGE_PROCESS_START=x python3 -m pytest",
                "pytest",
                NotPython::Coverage,
            ),
        ] {
            assert_eq!(of(text, module), Err(error), "{text}");
        }
        let error = of("pytest x > y", "pytest").unwrap_err();
        assert!(error.to_string().contains("redirection"), "{error}");
    }
}
