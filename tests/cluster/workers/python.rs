//! Atoms in forks of a Python that has imported the test runner: they find and leave what a process of its own does.

use super::{Story, wait_for_end_of};
use crate::job::Job;
use crate::skipping::{Lacks, skip};
use crate::tested::python_with_pytest;
use serde_json::json;

/// Where N is 2, leaves a process that is found by no environment, and does not end.
const HANGS: &str = r#"import os, subprocess, time, unittest

class T(unittest.TestCase):
    def test_it(self):
        if os.environ["N"] == "2":
            child = subprocess.Popen(["sleep", "1234"], env={"PATH": os.environ["PATH"]})
            with open(os.environ["LOG"], "a") as file:
                file.write(f"child {child.pid}\n")
            time.sleep(1234)
"#;

#[tokio::test]
async fn what_threw_its_environment_away_ends_with_its_atom() {
    let files = [("tests/__init__.py", ""), ("tests/test_a.py", HANGS)];
    let hangs = |whole: Job| {
        let commands = json!(["python3 -B -m unittest tests.test_a"]);
        whole.with("commands", commands).with("timeout", 10)
    };
    let story = Story::of(json!("unittest"), &files, "true", hangs).await;
    let build = story.run().await.fails(&[(2, 124)]);
    let console = story.console_of(&build, "2").await;
    assert!(
        console.contains("in the worker for longer than 10 s"),
        "{console}"
    );
    let children = story.log("child ");
    assert_eq!(children.len(), 2);
    for child in &children {
        wait_for_end_of(child).await;
    }
}

/// Fails where N is 2, and the first time where N is 3 by a signal.
const TEST: &str = r#"import os, unittest

class T(unittest.TestCase):
    def test_it(self):
        n, log = os.environ["N"], os.environ["LOG"]
        with open(log, "a") as file:
            file.write(f"ran {n}\nparent {os.getppid()}\n")
        print("here is", n)
        self.assertNotEqual(n, "2")
        if n == "3" and not os.path.exists(log + ".3"):
            open(log + ".3", "w").close()
            os.kill(os.getpid(), 11)
"#;

#[tokio::test]
async fn unittest_runs_in_forks_of_a_worker() {
    let files = [("tests/__init__.py", ""), ("tests/test_a.py", TEST)];
    let plain = |whole: Job| {
        whole.with(
            "commands",
            json!(["export X=1", "python3 -B -m unittest -v tests.test_a"]),
        )
    };
    let story = Story::of(json!("unittest"), &files, "true", plain).await;
    let build = story.run().await.fails(&[(2, 1)]);
    // What failed ran again, and passes if it did so then.
    let mut ran = story.log("ran ");
    ran.sort();
    assert_eq!(ran, ["1", "2", "2", "3", "3", "4", "5", "6"]);
    let console = story.console_of(&build, "3").await;
    assert!(
        console.contains("in the worker with exit code 139"),
        "{console}"
    );
    let console = story.console_of(&build, "4").await;
    assert!(
        console.contains("here is 4\n") && console.contains("Ran 1 test"),
        "{console}"
    );
    let parents = story.log("parent ");
    let of_worker = parents.iter().filter(|parent| **parent == parents[0]);
    assert_eq!(of_worker.count(), 6, "{parents:?}");
    wait_for_end_of(&parents[0]).await;
}

#[tokio::test]
async fn a_command_that_is_not_plain_runs_without_its_worker() {
    let story = Story::of(json!("pytest"), &[], "echo \"here is $N\" | cat", |job| job).await;
    let build = story.run().await.passes();
    assert_eq!(story.log("ran ").len(), 6);
    let console = story.console_of(&build, "4").await;
    let said = "clusterrunner: this atom runs without its worker, since its command is not plain: it has a";
    assert!(
        console.starts_with(said) && console.ends_with("\nhere is 4\n"),
        "{console}"
    );
}

/// Says what a test finds before it imports anything.
const FOUND: &str = r#"import gc, os, sys

found = sorted(sys.modules)
found += sorted(f"{one} of {name}" for name in found for one in vars(sys.modules[name]) if f"{name}.{one}" in found)
found += [gc.get_threshold(), sys.flags, sys.argv, sys.path, sys.warnoptions]
found += [[getattr(one, "__name__", type(one).__name__) for one in sys.meta_path]]
found += [one.seekable() for one in (sys.stdin, sys.stdout)] + [sys.stdout.encoding, sys.stdout.errors]
found += [vars(sys.modules["__main__"]).keys(), os.umask(0o22)]
# Where python3 is a script that starts another one, nobody says by which path that was found.
found += [sorted(set(os.environ) - {"_"})]
found += [[one for one in range(9) if os.path.lexists(f"/proc/self/fd/{one}")]]
with open(os.environ["LOG"], "a") as log:
    log.write("found " + "; ".join(map(str, found)).replace(os.environ["PROJECT_DIR"], "here") + "\n")
    log.write(f"parent {os.getppid()}\n")

import unittest

class T(unittest.TestCase):
    def test_it(self):
        self.assertNotIn("LEFT", os.environ)
        self.assertNotEqual(os.getcwd(), "/")
        self.assertNotIn("left", sys.modules)
        os.environ["LEFT"] = "1"
        os.chdir("/")
        sys.modules["left"] = sys
        os.umask(0)
"#;

#[tokio::test]
async fn an_atom_finds_what_a_process_of_its_own_finds() {
    let files = [("tests/__init__.py", ""), ("tests/test_a.py", FOUND)];
    let commands = json!(["export X=1", "python3 -B -m unittest tests.test_a"]);
    let with = |worker: &str| {
        let commands = commands.clone();
        Story::of(json!(worker), &files, "true", |whole: Job| {
            whole.with("commands", commands)
        })
    };
    let mut found = Vec::new();
    for worker in ["none", "unittest"] {
        let story = with(worker).await;
        story.run().await.passes();
        let mut parents = story.log("parent ");
        parents.dedup();
        assert_eq!(parents.len() == 1, worker != "none", "{parents:?}");
        let mut all = story.log("found ");
        assert_eq!(all.len(), 6, "no atom ran twice");
        let path = story.repository.outside("").display().to_string();
        all.iter_mut()
            .for_each(|one| *one = one.replace(&path, "outside"));
        all.dedup();
        assert_eq!(all.len(), 1, "{worker}: {all:?}");
        found.append(&mut all);
    }
    let differ: Vec<_> = found[0]
        .split("; ")
        .zip(found[1].split("; "))
        .filter(|(alone, in_worker)| alone != in_worker)
        .collect();
    assert_eq!((found[0].len(), differ), (found[1].len(), Vec::new()));
}

/// What Python runs when it starts, where it is found.
const SITE: &str = r#"import os

with open(os.environ["LOG"], "a") as log:
    log.write(f"begins with {os.environ.get('N', 'nothing')}\n")
"#;

#[tokio::test]
async fn modules_of_the_project_are_imported_by_each_atom() {
    let files = [
        ("tests/__init__.py", ""),
        ("tests/test_a.py", TEST),
        ("lib/sitecustomize.py", SITE),
    ];
    let plain = |whole: Job| {
        let log = whole.field("env")["LOG"].clone();
        let commands = json!(["python3 -B -m unittest tests.test_a"]);
        let variables = json!({"LOG": log, "PYTHONPATH": "lib"});
        whole.with("commands", commands).with("env", variables)
    };
    let story = Story::of(json!("unittest"), &files, "true", plain).await;
    let build = story.run().await;
    let mut begins = story.log("begins with ");
    begins.sort();
    // It is tried twice.
    assert_eq!(begins, ["1", "2", "3", "4", "5", "6", "nothing", "nothing"]);
    let mut said = 0;
    for n in 1..=6 {
        let console = story.console_of(&build, &n.to_string()).await;
        said += usize::from(console.contains("imports modules of the project: sitecustomize"));
    }
    assert_eq!(said, 2);
}

/// The first one that runs puts another directory in the place of its own.
const MOVES: &str = r#"import os, unittest

class T(unittest.TestCase):
    def test_it(self):
        moved = os.environ["LOG"] + ".moved"
        self.assertEqual(open("which").read(), "2" if os.path.exists(moved) else "1")
        if not os.path.exists(moved):
            os.rename("../now", "../old")
            os.rename("../next", "../now")
            open(moved, "w").close()
"#;

#[tokio::test]
async fn a_worker_is_where_the_command_changes_to() {
    let files = [
        ("now/which", "1"),
        ("now/test_a.py", MOVES),
        ("next/which", "2"),
        ("next/test_a.py", MOVES),
    ];
    let plain = |whole: Job| {
        let commands = json!(["cd now && python3 -B -m unittest test_a"]);
        whole.with("commands", commands)
    };
    let story = Story::of(json!("unittest"), &files, "true", plain).await;
    let build = story.run().await.passes();
    for atom in story.farm.atoms(build.id).await {
        let console = story.farm.console(build.id, &atom).await;
        assert!(!console.contains("clusterrunner:"), "{console}");
    }
}

/// A directory of six tests of pytest, and what is read before them.
fn tests_of_pytest(conftest: &str) -> Vec<(String, String)> {
    let log = "import os\n\ndef log(text):\n    with open(os.environ['LOG'], 'a') as file: file.write(text + '\\n')\n\n";
    let mut files = vec![("tests/conftest.py".to_owned(), format!("{log}{conftest}"))];
    for n in 1..=6 {
        let text = format!(
            "{log}def test_it(of_session):\n    log(f'parent {{os.getppid()}}')\n    log('ran ' + os.environ['N'])\n    \
             assert os.environ['N'] == '{n}' != '3'\n"
        );
        files.push((format!("tests/test_{n}.py"), text));
    }
    files
}

#[tokio::test]
async fn a_session_of_pytest_is_made_ready_once() {
    const FIXTURE: &str = "import pytest\n\n@pytest.fixture(scope='session')\ndef of_session():\n    log('begins')\n    \
                           yield\n    log('ends')\n";
    let directory = tempfile::tempdir().unwrap();
    let Some(python) = python_with_pytest(directory.path()) else {
        return skip(Lacks::Runtime("pytest"));
    };
    let report = "--junitxml=\"$ARTIFACT_DIR/junit.xml\"";
    let command = format!("{python} -B -m pytest -q {report} tests/test_\"$N\".py");
    let run = async |conftest: &str| {
        let files = tests_of_pytest(&format!("{conftest}\n{FIXTURE}"));
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (&**path, &**text))
            .collect();
        let commands = json!([command]);
        let plain = |whole: Job| whole.with("commands", commands);
        let story = Story::of(json!("pytest"), &files, "true", plain).await;
        let build = story.run().await.fails(&[(3, 1)]);
        // What failed ran once more, by itself.
        let mut ran = story.log("ran ");
        ran.sort();
        assert_eq!(ran, ["1", "2", "3", "3", "4", "5", "6"]);
        assert_eq!((story.log("begins").len(), story.log("ends").len()), (7, 7));
        for (n, found) in [("2", "1 passed"), ("3", "1 failed"), ("4", "1 passed")] {
            let console = story.console_of(&build, n).await;
            assert!(console.contains(found), "{console}");
        }
        story
    };
    let story = run("log(f'imported by {os.getpid()}')").await;
    // In the session that all are forks of, and for what ran again.
    let imported = story.log("imported by ");
    assert_eq!(imported.len(), 2, "{imported:?}");
    let parents = story.log("parent ");
    let of_session = parents.iter().filter(|parent| **parent == imported[0]);
    assert_eq!(of_session.count(), 6, "{parents:?}");
    wait_for_end_of(&imported[0]).await;
    // What is an atom's own is so where a conftest.py asks for it.
    let story = run("log('asks for ' + os.environ.get('N', 'nothing'))").await;
    let mut asks = story.log("asks for ");
    asks.retain(|one| one != "nothing");
    asks.sort();
    assert_eq!(asks, ["1", "2", "3", "3", "4", "5", "6"]);
}
