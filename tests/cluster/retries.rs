//! Atoms that fail and are run again, whatever happens meanwhile.

use crate::archives::zip_of;
use crate::farm::Farm;
use crate::job::{Job, job};
use crate::repository::Repository;
use crate::wait::wait_for;
use crate::whole_build::runs;
use clusterrunner_common::api::{AtomState, AtomView, BuildResult, BuildStatus};
use clusterrunner_common::ids::BuildId;
use serde_json::json;
use std::fs;

/// A job whose atom 3 fails when it runs first; each leaves a line when it starts, in a file of the repository.
fn flaky_job(repository: &Repository, retries: u32) -> Job {
    let log = repository.outside("runs");
    let first = repository.outside("first");
    job(format!("echo \"$N\" >> '{}'", log.display()))
        .then("echo attempt $CLUSTERRUNNER_ATTEMPT of $N | tee \"$ARTIFACT_DIR/note\"")
        .then(format!(
            "if [ $N = 3 ] && mkdir '{}' 2>/dev/null; then exit 7; fi",
            first.display()
        ))
        .with("retries", retries)
}

fn atom_3(atoms: Vec<AtomView>) -> AtomView {
    let mut atoms = atoms.into_iter();
    let atom = atoms.find(|atom| atom.value.as_deref() == Some("3"));
    atom.expect("it is there")
}

#[tokio::test]
async fn an_atom_that_passes_when_it_is_run_again_is_flaky() {
    let repository = Repository::empty();
    repository.commit_job(&flaky_job(&repository, 2));
    let farm = Farm::start(&[1, 1]).await;
    let build = farm.run(&repository.request()).await.passes();
    assert_eq!(
        (build.num_atoms_failed, build.num_atoms_flaky),
        (0, Some(1))
    );
    let counts = runs(&repository.outside("runs"));
    assert_eq!(counts.values().sum::<usize>(), 5, "{counts:?}");
    let atom = atom_3(farm.atoms(build.id).await);
    let failed = &atom.failed_attempts;
    assert_eq!(
        (atom.is_flaky, atom.exit_code, failed.len()),
        (true, Some(0), 1)
    );
    let last = atom.attempt.unwrap();
    assert_eq!((failed[0].exit_code, failed[0].attempt < last), (7, true));
    let slave = failed[0].slave_url.clone();
    let subjobs = farm.subjobs(build.id).await;
    assert_ne!(subjobs[atom.subjob_id.0 as usize].slave, slave, "elsewhere");

    let shows = |attempt: &str, expected: &str| {
        let (id, name) = (build.id.to_string(), format!("{}_0", atom.subjob_id));
        let mut line = vec!["logs", &*id, &*name];
        line.extend(attempt.split_whitespace());
        let ended = farm.user(&line);
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(0), expected),
            "{ended:#?}"
        );
    };
    shows("", &format!("attempt {last} of 3\n"));
    let first = failed[0].attempt;
    shows(
        &format!("--attempt {first}"),
        &format!("attempt {first} of 3\n"),
    );
    let status = farm.user(&["status", &build.id.to_string()]).stdout;
    assert!(status.contains("0 failed, 1 flaky"), "{status}");
    let tests = farm.user(&["tests", &build.id.to_string()]).stdout;
    let why = "passed when run again, failed before: exit code 7";
    assert!(tests.contains(why), "{tests}");
    let files = zip_of(&farm, build.id).await;
    let note = |directory: &str| String::from_utf8(files[&format!("{directory}/note")].clone());
    let directory = format!("artifact_{}_0", atom.subjob_id);
    assert_eq!(note(&directory).unwrap(), format!("attempt {last} of 3\n"));
    let earlier = format!("{directory}.attempt_{first}");
    assert_eq!(note(&earlier).unwrap(), format!("attempt {first} of 3\n"));
    assert!(!files.contains_key("failures.txt"));
}

#[tokio::test]
async fn an_atom_fails_once_it_was_run_as_often_as_it_may() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    let failing = job(format!("echo $N >> '{}'; exit $((N == 2))", log.display()));
    repository.commit_job(&failing.with("retries", 5));
    let farm = Farm::start(&[2]).await;
    let request = repository.request_with(json!({"retries": 1}));
    let build = farm.run(&request).await.fails(&[(2, 1)]);
    assert_eq!(
        (build.num_atoms_failed, build.num_atoms_flaky),
        (1, Some(0))
    );
    assert_eq!(runs(&log)[&2], 2);
}

#[tokio::test]
async fn a_flaky_atom_fails_a_build_whose_job_says_so() {
    let repository = Repository::empty();
    repository.commit_job(&flaky_job(&repository, 1).with("flaky", "fail"));
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await.fails(&[(3, 0)]);
    assert_eq!(
        (build.num_atoms_failed, build.result),
        (1, Some(BuildResult::Failure))
    );
    let files = zip_of(&farm, build.id).await;
    assert!(files.contains_key("failures.txt"));
}

/// A job whose atom 3 fails first, and waits when it runs again, until a file is there.
fn waiting_job(repository: &Repository) -> Job {
    let [runs, go] = ["again", "go"].map(|name| repository.outside(name));
    flaky_job(repository, 1).then(format!(
        "if [ $N = 3 ]; then echo $N >> '{}'; until [ -e '{}' ]; do sleep 0.02; done; fi",
        runs.display(),
        go.display()
    ))
}

async fn wait_for_retries(repository: &Repository, number: usize) {
    let log = repository.outside("again");
    wait_for("atom 3 runs again", async || {
        let counts = runs(&log);
        (counts.values().sum::<usize>() >= number).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_is_killed_in_a_retry_does_not_count() {
    let repository = Repository::empty();
    repository.commit_job(&waiting_job(&repository));
    let mut farm = Farm::start(&[1, 1]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for_retries(&repository, 1).await;
    let holder = farm.client().slaves().await.unwrap();
    let holder = holder
        .into_iter()
        .find(|slave| slave.num_executors_in_use > 0);
    let holder = holder.expect("one runs the atom").url;
    let killed = (0..2).find(|slave| farm.slave_address(*slave) == holder);
    farm.kill_slave(killed.expect("it is one of ours"));
    wait_for_retries(&repository, 2).await;
    fs::write(repository.outside("go"), "").unwrap();
    let view = farm.end_of(build).await.passes();
    assert_eq!(
        (view.num_atoms_completed, view.num_atoms_flaky),
        (4, Some(1))
    );
    assert_eq!(atom_3(farm.atoms(build).await).failed_attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_between_failure_and_retry_runs_the_atom_again() {
    let repository = Repository::empty();
    let (hold, log) = (repository.outside("hold"), repository.outside("held"));
    // The others hold the only executor, so that atom 3 waits for its second run.
    let others = format!(
        "if [ $N = 4 ]; then echo $N >> '{}'; until [ -e '{}' ]; do sleep 0.02; done; fi",
        log.display(),
        hold.display()
    );
    repository.commit_job(&flaky_job(&repository, 1).then(others));
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("the last atom holds the executor", async || {
        (!runs(&log).is_empty()).then_some(())
    })
    .await;
    farm.wait_for_build(build, "the others have ended", |view| {
        view.num_atoms_completed == 2
    })
    .await;
    assert_eq!(atom_3(farm.atoms(build).await).failed_attempts.len(), 1);
    farm.kill_master();
    farm.start_master().await;
    fs::write(hold, "").unwrap();
    let view = farm.end_of(build).await.passes();
    assert_eq!(
        (view.num_atoms_completed, view.num_atoms_flaky),
        (4, Some(1))
    );
    assert_eq!(runs(&repository.outside("runs"))[&3], 2);
}

#[tokio::test]
async fn a_build_that_fails_fast_does_not_run_the_rest() {
    let repository = Repository::empty();
    // What waits on the slave may begin before the build ends: it never ends by itself.
    let failing = job("[ $N != 2 ]").then("until [ $N -lt 3 ]; do sleep 0.02; done");
    repository.commit_job(&failing.atoms(9).with("max_fail", 1));
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await.fails(&[(2, 1)]);
    assert_eq!(
        (build.num_atoms_completed, build.num_atoms_not_run),
        (2, Some(7))
    );
    let not_run = |atom: &&AtomView| atom.state == AtomState::NotRun;
    assert_eq!(farm.atoms(build.id).await.iter().filter(not_run).count(), 7);
    let status = farm.user(&["status", &build.id.to_string()]).stdout;
    assert!(status.contains("1 failed, 7 not run"), "{status}");
    let files = zip_of(&farm, build.id).await;
    assert_eq!(files["failures.txt"], b"artifact_1_0");
    farm.wait_for_rest().await;
}

/// What runs when the build ends is stopped; the wait ends with the first failure, long before the build would.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_failing_at_its_first_failure() {
    let repository = Repository::empty();
    let go = repository.outside("go");
    let waits = format!(
        "if [ $N = 2 ]; then exit 3; fi; until [ -e '{}' ]; do sleep 0.02; done",
        go.display()
    );
    repository.commit_job(&job(waits).atoms(2));
    let farm = Farm::start(&[2]).await;
    let build = farm.submit(&repository.request()).await;
    let id = build.to_string();
    let waited = farm.user(&["wait", &id, "--until", "failing"]);
    assert_eq!(waited.code, Some(1), "{waited:#?}");
    let verdict = format!("Build {build} is failing: 1 atom failed");
    assert!(waited.stdout.contains(&verdict), "{waited:#?}");
    let view = farm.client().build(build).await.unwrap();
    assert_eq!(
        (view.failing, view.status),
        (Some(true), BuildStatus::Building)
    );
    fs::write(go, "").unwrap();
    farm.end_of(build).await.fails(&[(2, 3)]);
}

#[tokio::test]
async fn a_build_is_run_again_with_its_commit_and_variables() {
    let repository = Repository::empty();
    let failing = job("echo \"$N $WORD\"; cat word; exit $((N == 2))").atoms(3);
    let first = repository.commit(&[
        ("clusterrunner.yaml", &failing.to_string()),
        ("word", "one\n"),
    ]);
    let farm = Farm::start(&[2]).await;
    let request = repository.request_with(json!({"env": {"WORD": "kept"}}));
    let before = farm.run(&request).await.fails(&[(2, 1)]);
    repository.commit(&[("word", "two\n")]);
    // It has left memory, and its variables are still there.
    farm.wait_for_rest().await;
    let again = |arguments: &[&str]| {
        let id = before.id.to_string();
        let mut line = vec!["retry", &*id, "--detach"];
        line.extend(arguments);
        let ended = farm.user(&line);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        BuildId(ended.stdout.trim().parse().unwrap())
    };
    let failed = farm.end_of(again(&["--failed"])).await.fails(&[(2, 1)]);
    assert_eq!(
        (failed.num_atoms, failed.retry_of),
        (Some(1), Some(before.id))
    );
    assert_eq!(failed.commit.as_deref(), Some(first.trim()));
    assert_eq!(farm.consoles(failed.id).await, ["2 kept\none\n"]);
    let newest = farm.end_of(again(&["--newest"])).await.fails(&[(2, 1)]);
    assert_eq!(newest.num_atoms, Some(3));
    assert_eq!(farm.consoles(newest.id).await[0], "1 kept\ntwo\n");
    let shown = farm.user(&["status", &failed.id.to_string()]).stdout;
    assert!(
        shown.contains(&format!("retry of  build {}", before.id)),
        "{shown}"
    );
}

#[tokio::test]
async fn build_failed_runs_what_failed_in_the_last_build_of_the_job() {
    let repository = Repository::empty();
    let mended = repository.outside("mended");
    let failing = format!("[ $N != 3 ] || [ -e '{}' ]", mended.display());
    repository.commit_job(&job(failing));
    let farm = Farm::start(&[2]).await;
    farm.run(&repository.request()).await.fails(&[(3, 1)]);
    fs::write(mended, "").unwrap();
    let url = repository.path().display().to_string();
    let line = [
        "build",
        "--failed",
        "--no-results",
        "git",
        "--url",
        &url,
        "--branch",
        "main",
    ];
    let ended = farm.user(&line);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("passed: 1 atom"), "{ended:#?}");
    let ended = farm.user(&line);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stderr.contains("nothing to run"), "{ended:#?}");
}

/// That no atom failed does not say that a build passed.
#[tokio::test]
async fn a_build_without_a_failed_atom_that_did_not_pass_is_told() {
    let repository = Repository::empty();
    let farm = Farm::start(&[1]).await;
    repository.commit_job(&job("true").atomizer("true"));
    let empty = farm.submit(&repository.request()).await;
    farm.end_of(empty).await;
    repository.commit_job(&job("true").atomizer("exit 3"));
    let broken = farm.submit(&repository.request()).await;
    farm.end_of(broken).await;
    repository.commit_job(&job("true").with("matrix", json!({"PY": ["1", "2"]})));
    let parent = farm.run(&repository.request()).await.passes().id;
    for (build, code) in [(empty, 6), (broken, 3), (parent, 0)] {
        let again = ["retry", &build.to_string(), "--failed", "--no-results"];
        let ended = farm.user(&again);
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        assert!(ended.stderr.contains("nothing to run"), "{ended:#?}");
        let is_told = ended.stderr.contains("did not pass all the same");
        assert_eq!(is_told, code != 0, "{ended:#?}");
    }
}
