//! Atoms that a worker runs, one after the other: what comes back is what comes back of each in a process of its own.

mod life;
mod python;
mod shell;

use crate::archives::zip_of;
use crate::farm::Farm;
use crate::job::{Job, job};
use crate::outcome::Over;
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::AtomView;
use clusterrunner_common::work::InWorker;
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
        Self::on(Farm::start(&[1]).await, worker, files, command, change)
    }

    fn on(
        farm: Farm,
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

    /// What the worker had to do with each atom, in their order.
    async fn in_worker(&self, build: &Over) -> Vec<Option<InWorker>> {
        let atoms = self.farm.atoms(build.id).await.into_iter();
        atoms.map(|atom| atom.worker).collect()
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
    let command =
        "echo \"here is $N in $PWD, $PROJECT_DIR, $ATOM_ID\" | tee \"$ARTIFACT_DIR/left\" >&2";
    let story = Story::new("", command).await;
    let build = story.run().await.passes();
    assert_eq!(story.log("start ").len(), 1);
    story.ran_again(&[]);
    assert_eq!(story.in_worker(&build).await, [Some(InWorker::Ran); 6]);
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
    // 2 fails everywhere, 3 only in the worker.
    let deed = "if value == '3': atom['command'] = 'echo \"ran 3\" >> \"$LOG\"; echo odd; exit 9'";
    let story = Story::new(deed, "echo \"here is $N\"; test $N != 2 || exit 7").await;
    let build = story.run().await.fails(&[(2, 7)]);
    story.ran_again(&["2", "3"]);
    let [ran, failed] = [InWorker::Ran, InWorker::Failed].map(Some);
    assert_eq!(
        story.in_worker(&build).await,
        [ran, failed, failed, ran, ran, ran]
    );
    // What fails in both is not flaky.
    assert_eq!(build.num_atoms_flaky, Some(1));
    let id = build.id.to_string();
    let listed = story.farm.user(&["logs", &id]).stdout;
    assert_eq!(listed.matches("passed in a worker").count(), 4, "{listed}");
    let how = "flaky: failed in a worker, then passed without it";
    assert!(listed.contains(how), "{listed}");
    let attached = story.farm.user(&["attach", &id]);
    let said = format!("{}{}", attached.stdout, attached.stderr);
    assert!(said.contains("In workers: 4 of 6 atoms"), "{said}");
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
async fn what_passes_only_without_its_worker_fails_where_flaky_atoms_do() {
    let deed = "if value == '3': atom['command'] = 'exit 9'";
    let story = Story::with(deed, "true", |job| job.with("flaky", "fail")).await;
    let over = story.run().await;
    assert_eq!((over.num_atoms_failed, over.num_atoms_flaky), (1, Some(1)));
    let atoms = story.farm.atoms(over.id).await;
    assert!(atoms[2].fails_as_flaky && atoms[2].exit_code == Some(0));
}

#[tokio::test]
async fn of_an_atom_that_runs_again_nothing_is_left_of_the_first_time() {
    let deed = "if value == '3': atom['command'] = 'cd \"$ARTIFACT_DIR\"; echo warm >left; touch warm; exit 9'";
    let story = Story::new(deed, "echo \"cold $N\" > \"$ARTIFACT_DIR/left\"").await;
    let build = story.run().await.passes();
    let files = zip_of(&story.farm, build.id).await;
    let mut left = Vec::new();
    for (name, content) in &files {
        let file = name.rsplit('/').next().unwrap();
        assert_ne!(file, "warm", "{name}");
        if file == "left" {
            left.push(String::from_utf8_lossy(content).into_owned());
        }
    }
    left.sort();
    assert_eq!(left, [1, 2, 3, 4, 5, 6].map(|n| format!("cold {n}\n")));
}

#[tokio::test]
async fn a_retry_is_one_with_a_worker_too() {
    // The first attempt fails in both, the second one passes in the worker.
    let passes = "test $N != 2 || test \"$(grep -c '^ran 2$' \"$LOG\")\" = 3";
    let story = Story::with("", passes, |job| job.with("retries", 2));
    let story = story.await;
    let build = story.run().await.passes();
    assert_eq!(build.num_atoms_flaky, Some(1));
    let atoms = story.farm.atoms(build.id).await;
    let flaky = atoms.iter().find(|atom| atom.is_flaky).unwrap();
    assert_eq!(
        (flaky.worker, flaky.failed_attempts.len()),
        (Some(InWorker::Ran), 1)
    );
    let ran = story.log("ran ");
    assert_eq!(ran.iter().filter(|ran| *ran == "2").count(), 3, "{ran:?}");
    let warm = story.log("warm ");
    assert_eq!(
        warm.iter().filter(|warm| *warm == "2").count(),
        2,
        "{warm:?}"
    );
}

#[tokio::test]
async fn each_combination_of_a_matrix_has_its_worker() {
    let story = Story::with("", "echo \"with $M in $N\"", |job| {
        job.with("matrix", json!({"M": ["a", "b"]}))
    });
    let story = story.await;
    let parent = story.run().await;
    assert_eq!(parent.children.len(), 2);
    assert_eq!(story.log("start ").len(), 2);
    assert_eq!(
        (story.log("warm ").len(), story.log("ran ").len()),
        (12, 12)
    );
    for (child, m) in parent.children.iter().zip(["a", "b"]) {
        for atom in story.farm.atoms(child.build_id).await {
            let console = story.farm.console(child.build_id, &atom).await;
            assert!(console.starts_with(&format!("with {m} in ")), "{console}");
        }
    }
    story.leaves_nothing().await;
}

#[tokio::test]
async fn a_script_that_repeats_an_atom_needs_no_worker() {
    let story = Story::new("", "test $N != 2 || exit 7").await;
    let build = story.run().await.fails(&[(2, 7)]);
    let atoms = story.farm.atoms(build.id).await;
    let failed = atoms.iter().find(|atom| atom.exit_code == Some(7)).unwrap();
    let name = format!("{}_0", failed.subjob_id);
    let script = story.farm.user(&["repro", &build.id.to_string(), &name]);
    assert_eq!(script.code, Some(0), "{script:#?}");
    assert!(script.stdout.contains("exit 7"), "{script:#?}");
    assert!(!script.stdout.contains("worker.py"), "{script:#?}");
}

#[tokio::test]
async fn a_failure_that_leaves_something_is_not_mended_by_the_second_run() {
    let first = "[ $N != 2 ] || [ -e golden ] || { touch golden; echo made; exit 7; }";
    let story = Story::new("", first).await;
    let build = story.run().await.fails(&[(2, 7)]);
    story.ran_again(&[]);
    assert_eq!(story.in_worker(&build).await, [Some(InWorker::Ran); 6]);
    let console = story.console_of(&build, "2").await;
    assert!(
        console.starts_with(
            "made\nclusterrunner: this atom failed in the worker and is not run again, since golden"
        ),
        "{console}"
    );
}

#[tokio::test]
async fn what_runs_too_long_in_a_worker_is_judged_without_it() {
    let worker_file = worker("if value == '2': import time; time.sleep(1234)");
    let files = [("worker.py", worker_file.as_str())];
    let own = json!({"command": "python3 worker.py", "confirm_failures": false});
    let story = Story::of(own, &files, "true", |job| job.with("timeout", 5)).await;
    let build = story.run().await.passes();
    let console = story.console_of(&build, "2").await;
    assert!(
        console.contains("in the worker for longer than 5 s"),
        "{console}"
    );
    story.leaves_nothing().await;
}

#[tokio::test]
async fn a_worker_that_fails_what_passes_is_given_up() {
    let deed = "atom['command'] = 'exit 9'";
    let story = Story::new(deed, "true").await;
    let build = story.run().await.passes();
    assert_eq!((story.log("warm ").len(), story.log("ran ").len()), (3, 6));
    assert_eq!(build.num_atoms_flaky, Some(3));
}

#[tokio::test]
async fn what_a_worker_leaves_that_dies_with_its_atom_is_ended() {
    // It has neither the mark of the atom nor its group's leader.
    let begin = "child = subprocess.Popen(['sleep', '1234'], env={'PATH': os.environ['PATH']})";
    let deed = format!(
        "if value == '2' and os.fork() == 0:\n    os.setpgid(0, 0); {begin}; log(f'child {{child.pid}}'); os.kill(os.getppid(), 9); child.wait()"
    );
    let story = Story::new(&deed, "true").await;
    story.run().await.passes();
    let children = story.log("child ");
    assert_eq!(children.len(), 1);
    wait_for_end_of(&children[0]).await;
    story.leaves_nothing().await;
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
        (
            "os.close(1); import time; time.sleep(1234)",
            "ended while it had this atom",
        ),
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
        assert!(
            console.starts_with("clusterrunner: the worker "),
            "{console}"
        );
        assert!(console.contains(said), "{said} is not in: {console}");
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
async fn a_worker_finds_values_as_a_shell_does() {
    let deed = "atom['command'] = 'test -f \"$N\" && echo \"warm $N\" >> \"$LOG\"'";
    let story = Story::with(deed, "test -f \"$N\"", |job| {
        job.atomizer("find $PROJECT_DIR -name '*.py'")
    });
    let story = story.await;
    story.run().await.passes();
    assert_eq!(story.log("ran "), [""; 0], "it was right in the worker");
    let found = story.log("warm ");
    assert!(
        found.iter().all(|path| path.ends_with("/worker.py")) && found.len() == 2,
        "{found:?}"
    );
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
