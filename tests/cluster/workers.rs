//! Atoms that a worker runs, one after the other: what comes back is what comes back of each in a process of its own.

use crate::farm::Farm;
use crate::job::{Job, job};
use crate::outcome::Over;
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::AtomView;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;

/// A worker that notes when it starts and what it runs; it does what `deed` says where an atom comes.
fn worker(deed: &str) -> String {
    let example = include_str!("../../examples/own-worker/worker.py");
    let log = "log = lambda text: print(text, file=open(os.environ['LOG'], 'a'))";
    let value = "value = atom['environment']['N']; log('warm ' + value)";
    let deed = deed.replace('\n', "\n    ");
    example
        .replace(
            "print(json.dumps({\"worker\": 1})",
            &format!("{log}\nlog(f'start {{os.getpid()}}')\nprint(json.dumps({{\"worker\": 1}})"),
        )
        .replace(
            "json.loads(line)\n",
            &format!("json.loads(line)\n    {value}\n    {deed}\n"),
        )
}

/// A farm, and a project whose atoms 1 to 6 are run by a worker.
struct Story {
    farm: Farm,
    repository: Repository,
}

impl Story {
    /// `command` is what an atom runs after it has noted that it does.
    async fn new(deed: &str, command: &str) -> Self {
        Self::with(deed, command, |job| job).await
    }

    async fn with(deed: &str, command: &str, change: impl FnOnce(Job) -> Job) -> Self {
        let own = json!({"command": "python3 worker.py"});
        Self::of(own, &[("worker.py", &worker(deed))], command, change).await
    }

    async fn of(
        worker: Value,
        files: &[(&str, &str)],
        command: &str,
        change: impl FnOnce(Job) -> Job,
    ) -> Self {
        let repository = Repository::empty();
        let log = repository.outside("log").display().to_string();
        let job = job("echo \"ran $N\" >> \"$LOG\"")
            .then(command)
            .atoms(6)
            .with("worker", worker)
            .with("env", json!({"LOG": log}));
        if !files.is_empty() {
            repository.commit(files);
        }
        repository.commit_job(&change(job));
        let farm = Farm::start(&[1]).await;
        Self { farm, repository }
    }

    async fn run(&self) -> Over {
        self.farm.run(&self.repository.request()).await
    }

    /// The lines of the log that begin so, without that.
    fn log(&self, begin: &str) -> Vec<String> {
        let log = fs::read_to_string(self.repository.outside("log")).unwrap_or_default();
        let lines = log.lines().filter_map(|line| line.strip_prefix(begin));
        lines.map(str::to_owned).collect()
    }

    /// Each atom was given to a worker once, and these ran twice: there and without it.
    fn ran_again(&self, atoms: &[&str]) {
        let mut warm = self.log("warm ");
        warm.sort();
        assert_eq!(warm, ["1", "2", "3", "4", "5", "6"]);
        let mut twice = self.log("ran ");
        for atom in &warm {
            let place = twice.iter().position(|ran| ran == atom);
            twice.remove(place.unwrap());
        }
        assert_eq!(twice, atoms);
    }

    async fn console_of(&self, build: &Over, value: &str) -> String {
        let atoms = self.farm.atoms(build.id).await;
        let of_value = |atom: &&AtomView| atom.value.as_deref() == Some(value);
        let atom = atoms.iter().find(of_value).unwrap();
        self.farm.console(build.id, atom).await
    }

    /// No worker is left, once its build is over.
    async fn leaves_nothing(&self) {
        self.farm.wait_for_rest().await;
        for id in self.log("start ") {
            wait_for_end_of(&id).await;
        }
    }
}

/// Waits until a process has ended: then it has no environment.
async fn wait_for_end_of(id: &str) {
    let environment = format!("/proc/{id}/environ");
    let is_over = async || {
        let found = fs::read(&environment).unwrap_or_default();
        found.is_empty().then_some(())
    };
    wait_for("the end of a worker", is_over).await;
}

#[tokio::test]
async fn one_worker_runs_all_atoms() {
    let command = "test \"$ATOM_ID$ARTIFACT_DIR\" = \"0$PWD/x\" || echo \"here is $N in $PWD, $PROJECT_DIR\" | tee \
                   \"$ARTIFACT_DIR/left\" >&2";
    let story = Story::new("", command).await;
    let build = story.run().await.passes();
    assert_eq!(story.log("start ").len(), 1);
    story.ran_again(&[]);
    for value in ["1", "6"] {
        let console = story.console_of(&build, value).await;
        let line = format!("here is {value} in /");
        assert!(
            console.starts_with(&line) && console.lines().count() == 1,
            "{console}"
        );
    }
    story.leaves_nothing().await;
}

#[tokio::test]
async fn what_fails_in_a_worker_is_judged_without_it() {
    // 2 fails everywhere, 3 only in the worker, and 4 only without it, which nobody sees.
    let deed = "if value == '3': atom['command'] = 'echo \"ran 3\" >> \"$LOG\"; echo odd; exit 9'";
    let story = Story::new(deed, "echo \"here is $N\"; test $N != 2 || exit 7").await;
    let build = story.run().await.fails(&[(2, 7)]);
    story.ran_again(&["2", "3"]);
    let console = story.console_of(&build, "2").await;
    for part in ["failed in the worker with exit code 7", "here is 2\n"] {
        assert!(console.contains(part), "{part} is not in: {console}");
    }
    let console = story.console_of(&build, "3").await;
    for part in [
        "with exit code 9",
        "printed last:\nodd\n",
        "process:\nhere is 3\n",
    ] {
        assert!(console.contains(part), "{part} is not in: {console}");
    }
    assert_eq!(story.log("start ").len(), 1);
}

#[tokio::test]
async fn failures_count_at_once_where_the_job_says_so() {
    let worker_file = worker("");
    let files = [("worker.py", worker_file.as_str())];
    let own = json!({"command": "python3 worker.py", "confirm_failures": false});
    let command = "test $N != 2 || exit 7";
    let story = Story::of(own, &files, command, |job| job).await;
    story.run().await.fails(&[(2, 7)]);
    story.ran_again(&[]);
}

#[tokio::test]
async fn a_worker_that_breaks_loses_no_atom() {
    for (deed, said) in [
        ("os._exit(0)", "ended while it had this atom"),
        ("os.kill(os.getpid(), 9)", "ended while it had this atom"),
        ("print('what?', flush=True)", "answered what is no answer"),
        ("atom['id'] += 1", "answered for atom 4 where it had atom 3"),
        ("print('x' * 100000, flush=True)", "more than 65536 bytes"),
        (
            "sys.stdout.write(2 * (json.dumps({'id': atom['id'], 'exit_code': 0}) + '\\n'))",
            "answered more than once",
        ),
    ] {
        let deed = format!("if value == '3': {deed}");
        let story = Story::new(&deed, "echo \"here is $N\"").await;
        let build = story.run().await.passes();
        let console = story.console_of(&build, "3").await;
        let first = format!("clusterrunner: the worker {said}");
        assert!(
            console.starts_with("clusterrunner: the worker "),
            "{console}"
        );
        assert!(console.contains(said), "{first} is not in: {console}");
        assert!(console.ends_with("here is 3\n"), "{console}");
        assert_eq!(story.log("start ").len(), 2, "{said}");
        story.leaves_nothing().await;
    }
}

#[tokio::test]
async fn workers_that_never_begin_are_given_up() {
    for (begin, said) in [
        ("exit 3", "ended before it said that it is there"),
        ("echo hello; cat", "began with something else"),
        ("echo '{\"worker\":2}'; cat", "began with something else"),
    ] {
        let command = format!("echo \"start $$\" >> \"$LOG\"; echo trouble >&2; {begin}");
        let own = json!({"command": command});
        let story = Story::of(own, &[], "echo \"here is $N\"", |job| job).await;
        let build = story.run().await.passes();
        assert_eq!(story.log("start ").len(), 2);
        let atoms = story.farm.atoms(build.id).await;
        let mut consoles = Vec::new();
        for atom in &atoms {
            consoles.push(story.farm.console(build.id, atom).await);
        }
        let told = consoles.iter().filter(|console| console.contains(said));
        assert_eq!(told.count(), 2, "{consoles:#?}");
        let given_up = |console: &&String| console.contains("without a worker for the rest");
        assert_eq!(consoles.iter().filter(given_up).count(), 1, "{consoles:#?}");
        assert!(
            consoles
                .iter()
                .any(|console| console.contains("\ntrouble\n"))
        );
        assert!(
            consoles
                .iter()
                .all(|console| console.ends_with("\n") && console.contains("here is"))
        );
    }
}

#[tokio::test]
async fn a_worker_that_says_nothing_is_not_waited_for_longer_than_an_atom() {
    let own = json!({"command": "echo \"start $$\" >> \"$LOG\"; exec sleep 1000"});
    let story = Story::of(own, &[], "true", |job| job.with("timeout", 5)).await;
    let build = story.run().await.passes();
    let atoms = story.farm.atoms(build.id).await;
    let console = story.farm.console(build.id, &atoms[0]).await;
    assert!(console.contains("did not say within 5 s"), "{console}");
    story.leaves_nothing().await;
}

#[tokio::test]
async fn an_atom_that_hangs_in_a_worker_is_ended_with_all_that_it_started() {
    let command = "test $N != 2 || { setsid sleep 1234 & sleep 1234; }";
    let story = Story::with("", command, |job| job.with("timeout", 10)).await;
    let build = story.run().await.fails(&[(2, 124)]);
    let console = story.console_of(&build, "2").await;
    assert!(
        console.contains("in the worker for longer than 10 s"),
        "{console}"
    );
    assert!(console.contains("timed out after 10 s"), "{console}");
    // It was ended with its atom.
    assert_eq!(story.log("start ").len(), 2);
    story.leaves_nothing().await;
}

#[tokio::test]
async fn a_build_that_is_canceled_leaves_no_worker() {
    let story = Story::new("", "setsid sleep 1234 & sleep 1234").await;
    let build = story.farm.submit(&story.repository.request()).await;
    wait_for("an atom", async || story.log("ran ").pop()).await;
    story.farm.client().cancel(build).await.unwrap();
    story.farm.end_of(build).await.ends_canceled();
    story.leaves_nothing().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_of_an_atom_is_replaced() {
    let command = "while ! test -e \"$LOG.go\"; do sleep 0.05; done";
    let story = Story::new("", command).await;
    let build = story.farm.submit(&story.repository.request()).await;
    wait_for("an atom", async || story.log("ran ").pop()).await;
    let id = story.log("start ")[0].parse().unwrap();
    processes::signal(id, Signal::KILL);
    wait_for("its run without the worker", async || {
        story.log("ran ").get(1).cloned()
    })
    .await;
    fs::write(story.repository.outside("log.go"), "").unwrap();
    story.farm.end_of(build).await.passes();
    assert_eq!(story.log("start ").len(), 2);
    story.leaves_nothing().await;
}

#[tokio::test]
async fn a_slave_that_is_killed_leaves_no_worker_and_loses_no_atom() {
    let command = "while ! test -e \"$LOG.go\"; do sleep 0.05; done";
    let mut story = Story::new("", command).await;
    let build = story.farm.submit(&story.repository.request()).await;
    wait_for("an atom", async || story.log("ran ").pop()).await;
    story.farm.kill_slave(0);
    wait_for_end_of(&story.log("start ")[0]).await;
    fs::write(story.repository.outside("log.go"), "").unwrap();
    story.farm.restart_slave(0, 1);
    story.farm.end_of(build).await.passes();
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
            json!(["export X=\"$N\"", "python3 -B -m unittest -v tests.test_a"]),
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

/// Says which worker is the latest one among the processes above this one that are shells of a worker.
const WHOSE: &str = r#"p=$PPID; worker=none
while [ "$p" -gt 1 ]; do
    ! grep -q __clusterrunner_id "/proc/$p/cmdline" || worker=$p
    p=$(cut -d ' ' -f 4 "/proc/$p/stat")
done
echo "of $worker""#;

#[tokio::test]
async fn a_shell_forks_for_each_atom() {
    let command = "bash whose.sh >> \"$LOG\"; echo \"here is $N\"; test $N != 2 || exit 7";
    let files = [("whose.sh", WHOSE)];
    let story = Story::of(json!("bash"), &files, command, |job| job).await;
    let build = story.run().await.fails(&[(2, 7)]);
    let mut ran = story.log("ran ");
    ran.sort();
    assert_eq!(ran, ["1", "2", "2", "3", "4", "5", "6"]);
    assert_eq!(story.console_of(&build, "5").await, "here is 5\n");
    let console = story.console_of(&build, "2").await;
    assert!(
        console.contains("in the worker with exit code 7"),
        "{console}"
    );
    assert!(console.ends_with("process:\nhere is 2\n"), "{console}");
    let mut of = story.log("of ");
    of.retain(|worker| worker != "none");
    assert_eq!(of.len(), 6, "{of:?}");
    of.dedup();
    assert_eq!(of.len(), 1, "{of:?}");
    wait_for_end_of(&of[0]).await;
}

#[tokio::test]
async fn a_text_that_could_tell_runs_in_a_new_shell() {
    let command = "bash whose.sh >> \"$LOG\"; trap 'echo \"here is $N\"' EXIT";
    let files = [("whose.sh", WHOSE)];
    let story = Story::of(json!("bash"), &files, command, |job| job).await;
    let build = story.run().await.passes();
    assert_eq!(story.log("of "), ["none"; 6]);
    assert_eq!(story.console_of(&build, "5").await, "here is 5\n");
}
