//! Which jobs a project gets: decided by its files alone.

use super::find::find_command;
use super::project::{MAKEFILES, Project, name};
use serde_json::Value;

/// A job for a `clusterrunner.yaml`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// What of the project led to the job, for its user.
    pub(super) because: String,
    /// The job, as the lines of the file.
    pub(super) yaml: String,
}

/// The jobs that run the tests of a project: one for each test runner that the project uses. The target `test` of a
/// makefile counts only where nothing else is found, since it mostly calls the others.
pub(super) fn jobs(project: &Project) -> Vec<Job> {
    let mut jobs: Vec<Job> = [python(project), cargo(project), node(project), go(project)]
        .into_iter()
        .flatten()
        .collect();
    if jobs.is_empty() {
        jobs.extend(make(project));
    }
    jobs
}

/// The files of a batch, collected by their directories.
const BATCH_OF_PYTEST: &str = r#"  batch_command:
    # Many atoms in one process: $ATOMS_FILE has their values. What fails there runs again alone, as above.
    # For each file that pytest is given by name it looks through the whole directory of the file. This looks once.
    - export PYTHONDONTWRITEBYTECODE=1
    - |
      python3 - -p no:cacheprovider --junitxml="$ARTIFACT_DIR/junit.xml" <<'END'
      import os, pathlib, sys, pytest
      names = open(os.environ["ATOMS_FILE"]).read().splitlines()
      files = {pathlib.Path(os.path.abspath(name)) for name in names}
      needed = files.union(*(file.parents for file in files))
      class OnlyThese:
          def pytest_ignore_collect(self, collection_path):
              is_needed = collection_path in needed or collection_path.name == "__init__.py"
              return None if is_needed else True
      directories = {file.parent for file in files}
      roots = [str(one) for one in sorted(directories) if directories.isdisjoint(one.parents)]
      sys.exit(pytest.main([*sys.argv[1:], *roots], plugins=[OnlyThese()]))
      END
"#;

/// The files of a batch, one after the other, with a line for each of them.
const BATCH_OF_UNITTEST: &str = r#"  batch_command:
    # Many atoms in one process: $ATOMS_FILE has their values. What fails there runs again alone, as above.
    - export PYTHONDONTWRITEBYTECODE=1
    - |
      python3 - <<'END'
      import os, sys, time, unittest
      passed = True
      for name in open(os.environ["ATOMS_FILE"]).read().splitlines():
          began = time.monotonic()
          module = os.path.splitext(os.path.normpath(name))[0].replace(os.sep, ".")
          tests = unittest.defaultTestLoader.loadTestsFromName(module)
          result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
          word = "ok" if result.wasSuccessful() else "not ok"
          if result.testsRun:
              print(f"\n{word} {name} # time={1000 * (time.monotonic() - began):.3f}ms", flush=True)
          passed = passed and result.wasSuccessful()
      sys.exit(not passed)
      END
"#;

fn python(project: &Project) -> Option<Job> {
    let is_test = |file: &&str| {
        let name = name(file);
        name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"))
    };
    let tests: Vec<&str> = project.files().filter(is_test).collect();
    let first = tests.first()?;
    let find = find_command(&tests, &["test_*.py", "*_test.py"]);
    let set_up = python_set_up(project);
    if uses_pytest(project, &tests) {
        return Some(Job {
            because: format!("pytest, with test files such as {first}"),
            yaml: format!(
                "\
Pytest:
{set_up}  commands:
    # Atoms run side by side in one directory: none may write caches there.
    - export PYTHONDONTWRITEBYTECODE=1
    - python3 -m pytest -p no:cacheprovider --junitxml=\"$ARTIFACT_DIR/junit.xml\" \"$TEST_FILE\"
{BATCH_OF_PYTEST}  atomizers:
    # Each line of output becomes one atom, with $TEST_FILE set to the line.
    - TEST_FILE: {find}
"
            ),
        });
    }
    Some(Job {
        because: format!("Python's unittest, with test files such as {first}"),
        yaml: format!(
            "\
Unittest:
{set_up}  commands:
    # Atoms run side by side in one directory: none may write bytecode there.
    - export PYTHONDONTWRITEBYTECODE=1
    - python3 -m unittest -v \"$TEST_FILE\"
{BATCH_OF_UNITTEST}  atomizers:
    # Each line of output becomes one atom, with $TEST_FILE set to the line.
    - TEST_FILE: {find}
"
        ),
    })
}

/// How the packages of a Python project get onto other machines. On this machine the build has the environment of its
/// user, so the lines are comments.
fn python_set_up(project: &Project) -> String {
    let install = if project.has("requirements.txt") {
        "-r requirements.txt"
    } else if project.has("pyproject.toml") || project.has("setup.py") {
        "."
    } else {
        return String::new();
    };
    // What is installed of the project itself is another thing in each commit.
    let cache = match project.has("requirements.txt") {
        true => "  # cache: {paths: [.venv], key: [requirements.txt]}\n",
        false => "",
    };
    format!(
        "\
  # For machines without the packages of this project; then write .venv/bin/python for python3 below:
  # setup_build:
  #   - python3 -m venv .venv
  #   - .venv/bin/pip install {install}
{cache}"
    )
}

fn uses_pytest(project: &Project, tests: &[&str]) -> bool {
    let says = |file: &str| project.text(file).contains("pytest");
    let is_configured = project.has("pytest.ini")
        || project.files().any(|file| name(file) == "conftest.py")
        || ["pyproject.toml", "setup.cfg", "tox.ini"]
            .into_iter()
            .any(says)
        || project
            .files()
            .any(|file| file.starts_with("requirements") && says(file));
    // Plain functions are found by pytest alone.
    let has_functions = |file: &&str| {
        let text = project.text(file);
        says(file) || (!text.contains("unittest") && text.contains("def test"))
    };
    is_configured || tests.iter().any(has_functions)
}

fn cargo(project: &Project) -> Option<Job> {
    if !project.has("Cargo.toml") {
        return None;
    }
    let manifest = project.text("Cargo.toml");
    let is_workspace = manifest
        .lines()
        .any(|line| line.trim_start().starts_with("[workspace"));
    if is_workspace {
        return Some(Job {
            because: "a cargo workspace: its packages are the atoms".to_owned(),
            yaml: "\
Cargo:
  setup_build:
    # Compiles once on each slave, so that the atoms do not wait for each other.
    - cargo test --workspace --no-run
  commands:
    - cargo test --package \"$PACKAGE\"
  atomizers:
    - PACKAGE: cargo tree --workspace --depth 0 --prefix none --format '{p}' | cut -d ' ' -f 1 | grep . | sort -u
"
            .to_owned(),
        });
    }
    let mut targets = Vec::new();
    if project.has("src/lib.rs") {
        targets.push("printf '%s\\n' --lib --doc");
    }
    if project.has("src/main.rs") || project.files().any(|file| file.starts_with("src/bin/")) {
        targets.push("echo --bins");
    }
    let is_test = |file: &str| {
        let rest = file.strip_prefix("tests/");
        rest.is_some_and(|rest| rest.ends_with(".rs") && !rest.contains('/'))
    };
    if project.files().any(is_test) {
        targets.push("ls tests/*.rs | sed 's|^tests/|--test=|; s|\\.rs$||'");
    }
    if targets.is_empty() {
        return None;
    }
    let targets = targets.join("\n        ");
    Some(Job {
        because: "a cargo package: its test programs are the atoms".to_owned(),
        yaml: format!(
            "\
Cargo:
  setup_build:
    # Compiles once on each slave, so that the atoms do not wait for each other.
    - cargo test --no-run
  commands:
    - cargo test \"$TARGET\"
  atomizers:
    - TARGET: |
        {targets}
"
        ),
    })
}

/// Test runners for JavaScript: the word that a test script has, the name of the job, the command for one file, with a
/// report of its tests where the runner makes one by itself, and the command for many files, where its report says of which
/// file a test is.
const NODE_RUNNERS: [(&str, &str, &str, Option<&str>); 4] = [
    (
        "vitest",
        "Vitest",
        "npx vitest run --reporter=default --reporter=junit --outputFile.junit=\"$ARTIFACT_DIR/junit.xml\" \"$TEST_FILE\"",
        None,
    ),
    (
        "jest",
        "Jest",
        "npx jest --runTestsByPath \"$TEST_FILE\"",
        None,
    ),
    (
        "mocha",
        "Mocha",
        "npx mocha \"$TEST_FILE\"",
        Some(
            "npx mocha --reporter xunit --reporter-option output=\"$ARTIFACT_DIR/junit.xml\" \"${FILES[@]}\"",
        ),
    ),
    (
        "--test",
        "Node",
        "node --test --test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit \
         --test-reporter-destination=\"$ARTIFACT_DIR/junit.xml\" \"$TEST_FILE\"",
        None,
    ),
];

fn node(project: &Project) -> Option<Job> {
    let package: Value = serde_json::from_str(project.text("package.json")).ok()?;
    let script = package["scripts"]["test"].as_str()?;
    if script.contains("no test specified") {
        return None;
    }
    let needs = |kind: &str| package[kind].as_object().is_some_and(|all| !all.is_empty());
    let set_up = match needs("dependencies") || needs("devDependencies") {
        false => String::new(),
        true => {
            let install = match project.has("package-lock.json") {
                true => "npm ci",
                false => "npm install",
            };
            let cache = match keeps_node_modules(project, &package) {
                true => {
                    "  # Kept for other builds with the same packages.\n  cache: {paths: [node_modules], key: [package.json, package-lock.json]}\n"
                }
                false => "",
            };
            format!(
                "  setup_build:\n    # Once on each slave; what is there already stays.\n    - test -d node_modules || {install}\n{cache}"
            )
        }
    };
    let runner = NODE_RUNNERS.iter().find(|(word, ..)| script.contains(word));
    let tests: Vec<&str> = project.files().filter(|file| is_node_test(file)).collect();
    if let (Some((_, job, command, batch)), Some(first)) = (runner, tests.first()) {
        let batch = batch.map_or_else(String::new, |batch| {
            format!(
                "  batch_command:\n    # Many atoms in one process: $ATOMS_FILE has their values. What fails there runs again \
                 alone, as above.\n    - mapfile -t FILES < \"$ATOMS_FILE\"\n    - {batch}\n"
            )
        });
        let find = find_command(&tests, &NODE_PATTERNS);
        return Some(Job {
            because: format!("`npm test` runs `{script}`, with test files such as {first}"),
            yaml: format!(
                "\
{job}:
{set_up}  commands:
    - {command}
{batch}  atomizers:
    # Each line of output becomes one atom, with $TEST_FILE set to the line.
    - TEST_FILE: {find}
"
            ),
        });
    }
    Some(Job {
        because: format!("`npm test` runs `{script}`, as one atom"),
        yaml: format!(
            "\
Npm:
{set_up}  commands:
    - npm run \"$SCRIPT\"
  atomizers:
    # One atom. Print a line for each test file, and run that file above, to spread them over the farm.
    - SCRIPT: echo test
"
        ),
    })
}

/// Whether all that `npm ci` makes is in `node_modules`, and the same for the same lock file: scripts of the package may
/// do anything else.
fn keeps_node_modules(project: &Project, package: &Value) -> bool {
    let scripts = ["preinstall", "install", "postinstall", "prepare"];
    let has_scripts = scripts
        .iter()
        .any(|name| package["scripts"][name].is_string());
    project.has("package-lock.json") && !has_scripts && package["workspaces"].is_null()
}

/// The names of test files of JavaScript and TypeScript.
const NODE_PATTERNS: [&str; 4] = ["*.test.*", "*.spec.*", "test-*.*", "test_*.*"];

fn is_node_test(file: &str) -> bool {
    let endings = ["js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx"];
    let Some((stem, ending)) = name(file).rsplit_once('.') else {
        return false;
    };
    let is_named = stem.ends_with(".test")
        || stem.ends_with(".spec")
        || stem.starts_with("test-")
        || stem.starts_with("test_");
    endings.contains(&ending) && is_named
}

fn go(project: &Project) -> Option<Job> {
    let has_tests = project.files().any(|file| file.ends_with("_test.go"));
    (project.has("go.mod") && has_tests).then(|| Job {
        because: "a Go module: its packages are the atoms".to_owned(),
        yaml: "\
Go:
  commands:
    - go test \"$PACKAGE\"
  batch_command:
    # Many atoms in one process: $ATOMS_FILE has their values. What fails there runs again alone, as above.
    - mapfile -t PACKAGES < \"$ATOMS_FILE\"
    - go test \"${PACKAGES[@]}\"
  atomizers:
    - PACKAGE: go list ./...
"
        .to_owned(),
    })
}

fn make(project: &Project) -> Option<Job> {
    let file = MAKEFILES.into_iter().find(|file| project.has(file))?;
    let has = |target: &str| {
        let is_rule = |line: &str| {
            let rest = line.strip_prefix(target).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with(':') && !rest.starts_with(":="))
        };
        project.text(file).lines().any(is_rule)
    };
    let target = ["test", "check"].into_iter().find(|target| has(target))?;
    Some(Job {
        because: format!("the target {target} of {file}, as one atom"),
        yaml: format!(
            "\
Make:
  commands:
    - make \"$TARGET\"
  atomizers:
    # One atom. Print a line for each part of the tests, and run that part above, to spread them over the farm.
    - TARGET: echo {target}
"
        ),
    })
}

#[cfg(test)]
mod tests;
