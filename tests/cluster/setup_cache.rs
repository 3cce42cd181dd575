//! What set-ups make is kept for later builds.

use crate::farm::{Extra, Farm};
use crate::job::{Job, job};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What `clusterrunner logs --setup` prints of a build.
fn set_up(farm: &Farm, build: BuildId) -> String {
    let master = farm.master_address();
    let mut command = farm.command();
    command.args(["logs", &build.to_string(), "--setup"]);
    let output = command.args(["--master-url", &master]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a build whose atoms pass; what its set-up printed.
async fn run(farm: &Farm, repository: &Repository) -> String {
    let build = farm.run(&repository.request()).await.passes().id;
    set_up(farm, build)
}

/// A job whose set-up notes each run in a file outside, and makes a directory where there is none; its atoms look at it,
/// and spoil it.
fn installing(repository: &Repository, cache: Value) -> Job {
    let installs = repository.outside("installs");
    job("grep -q 'of the set-up' made/sub/file && echo spoiled > made/sub/file && rm -rf made")
        .atoms(1)
        .setup("echo setting up")
        .setup(format!(
            "if [ ! -d made ]; then echo install >> '{}'; mkdir -p made/sub; echo of the set-up > made/sub/file; fi",
            installs.display()
        ))
        .with("cache", cache)
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

fn says(set_up: &str, words: &[&str]) {
    assert!(
        words.iter().all(|word| set_up.contains(word)),
        "{words:?}: {set_up}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_build_finds_what_an_earlier_set_up_made() {
    let repository = Repository::empty();
    let installs = repository.outside("installs");
    let job = installing(
        &repository,
        json!({"paths": ["made"], "key": ["versions.txt"]}),
    );
    repository.commit(&[
        ("versions.txt", "1"),
        ("clusterrunner.yaml", &job.to_string()),
    ]);
    let farm = Farm::start(&[1]).await;
    says(
        &run(&farm, &repository).await,
        &["cache missed (", "setting up", "cache saved ("],
    );
    // What the atoms did to it is nothing to the next build, nor is another commit.
    repository.commit(&[("source", "changed")]);
    let second = run(&farm, &repository).await;
    says(
        &second,
        &["cache restored (", " KiB, ", " s)", "setting up"],
    );
    assert!(!second.contains("saved"), "{second}");
    assert_eq!(lines(&installs), 1);

    repository.commit(&[("versions.txt", "2")]);
    says(
        &run(&farm, &repository).await,
        &["cache missed (", "cache saved ("],
    );
    assert_eq!(lines(&installs), 2);
    repository.commit(&[("versions.txt", "1")]);
    says(&run(&farm, &repository).await, &["cache restored ("]);
    assert_eq!(lines(&installs), 2);
    let directory = farm.slave_directory(0).join("setup-cache");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 2);

    // A build that is run again is of its branch as before.
    let again = json!({"retry_of": farm.client().builds().await.unwrap().last().unwrap().id});
    let build = farm.run(&again).await.passes().id;
    says(&set_up(&farm, build), &["cache restored ("]);

    // Whose commit it is that a build names itself, nobody knows.
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let request = repository.request_with(json!({"hash": commit}));
    let build = farm.run(&request).await.passes().id;
    says(&set_up(&farm, build), &["cache missed ("]);
    repository.git(&["rm", "--quiet", "versions.txt"]);
    repository.commit(&[("source", "without versions")]);
    says(
        &run(&farm, &repository).await,
        &[
            "cache not used: there is no key file versions.txt",
            "setting up",
        ],
    );
}

/// Each combination of a matrix has an entry, which the next commit finds.
#[tokio::test(flavor = "multi_thread")]
async fn builds_of_a_matrix_find_what_those_of_other_commits_left() {
    let repository = Repository::empty();
    let installs = repository.outside("installs");
    let job = job("test \"$(cat made/for)\" = \"$PY\"")
        .atoms(1)
        .setup(format!("echo install >> '{}'", installs.display()))
        .setup("mkdir -p made && echo \"$PY\" > made/for")
        .with("cache", json!({"paths": "made", "key": "versions"}))
        .with("setup_once", true)
        .with("matrix", json!({"PY": ["1", "2"]}));
    let job = job.to_string();
    repository.commit(&[("versions", "1"), ("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[1]).await;
    farm.run(&repository.request()).await.passes();
    assert_eq!(lines(&installs), 2);
    repository.commit(&[("source", "changed")]);
    farm.run(&repository.request()).await.passes();
    assert_eq!(lines(&installs), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_job_says_so_a_second_build_does_no_set_up() {
    let repository = Repository::empty();
    let installs = repository.outside("installs");
    // One file is new for git, one is gone, and all others are as they are in the commit.
    let looks =
        "test -x made/tool && test ! -e removed && test $(git status --porcelain | wc -l) = 2";
    let job = job(looks)
        .atoms(2)
        .setup(format!("echo install >> '{}'", installs.display()))
        .setup("mkdir made && touch made/tool && chmod +x made/tool && rm removed")
        .with("setup_once", true);
    let files = [
        ("removed", "x"),
        ("kept/source", "x"),
        ("clusterrunner.yaml", &job.to_string()),
    ];
    repository.commit(&files);
    let farm = Farm::start(&[1]).await;
    says(
        &run(&farm, &repository).await,
        &["cache missed (", "cache saved ("],
    );
    let second = run(&farm, &repository).await;
    says(&second, &["cache restored (", "setup_build is not run"]);
    assert_eq!(lines(&installs), 1);
    // Another commit, another set-up.
    repository.commit(&[("kept/source", "y")]);
    says(&run(&farm, &repository).await, &["cache missed ("]);
    assert_eq!(lines(&installs), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_that_fails_leaves_nothing_behind() {
    let repository = Repository::empty();
    let job = installing(&repository, json!("made")).setup("test -e fixed");
    repository.commit_job(&job);
    let farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    farm.end_of(build).await.errs(&["setup_build"]);
    farm.wait_for_rest().await;
    let said = set_up(&farm, build);
    says(&said, &["cache missed (", "setting up"]);
    assert!(!said.contains("cache saved"), "{said}");
    let directory = farm.slave_directory(0).join("setup-cache");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
}

/// The entries of a slave.
fn entries(farm: &Farm) -> Vec<PathBuf> {
    let directory = farm.slave_directory(0).join("setup-cache");
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_too_much_is_told_and_done_without() {
    let repository = Repository::empty();
    let installs = repository.outside("installs");
    let noise = "head -c $(cat size) /dev/urandom > made/noise";
    let job = installing(&repository, json!({"paths": ["made"], "key": ["size"]})).setup(noise);
    repository.commit(&[("size", "60000"), ("clusterrunner.yaml", &job.to_string())]);
    let mut farm = Farm::with(&Extra {
        slave: "max_setup_cache_bytes = 100000",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    says(&run(&farm, &repository).await, &["cache saved ("]);
    fs::write(&entries(&farm)[0], "no archive").unwrap();
    let said = run(&farm, &repository).await;
    says(
        &said,
        &["cache not restored (", "setting up", "cache saved ("],
    );
    assert_eq!(lines(&installs), 2);
    says(&run(&farm, &repository).await, &["cache restored ("]);

    let first = entries(&farm);
    repository.commit(&[("size", "60001")]);
    says(
        &run(&farm, &repository).await,
        &["cache missed (", "cache saved ("],
    );
    let second = entries(&farm);
    assert_eq!(second.len(), 1);
    assert_ne!(first, second, "what was used longest ago went");
    repository.commit(&[("size", "200000")]);
    let said = run(&farm, &repository).await;
    says(&said, &["cache not saved (", "max_setup_cache_bytes"]);
    assert_eq!(entries(&farm), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_is_killed_while_it_keeps_something_starts_clean() {
    let repository = Repository::empty();
    let noise = "head -c 50000000 /dev/urandom > made/noise";
    let job = installing(&repository, json!("made")).setup(noise);
    repository.commit_job(&job);
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    // It may be done sooner than anybody looks: then the entry is whole.
    wait_for("the slave keeps something", async || {
        (!entries(&farm).is_empty()).then_some(())
    })
    .await;
    farm.kill_slave(0);
    farm.restart_slave(0, 1);
    farm.end_of(build).await.passes();
    says(&run(&farm, &repository).await, &["cache restored ("]);
    farm.wait_for_rest().await;
    let entries = entries(&farm);
    let [entry] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert!(entry.to_string_lossy().ends_with(".tar.gz"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_slave_has_made_no_other_has_to_make() {
    let repository = Repository::empty();
    let installs = repository.outside("installs");
    let set_up = format!(
        "[ -e made/script ] || {{ echo install >> '{}'; mkdir made; echo \"#!$PWD/made/tool\" > made/script; }}",
        installs.display()
    );
    let job = job("grep -qx \"#!$PROJECT_DIR/made/tool\" made/script")
        .atoms(1)
        .setup(set_up)
        .with("cache", json!({"paths": ["made"], "key": ["versions.txt"]}));
    repository.commit(&[
        ("versions.txt", "1"),
        ("clusterrunner.yaml", &job.to_string()),
    ]);
    let mut farm = Farm::start(&[1]).await;
    says(&run(&farm, &repository).await, &["cache saved ("]);
    let of_master = farm.path("base/master/setup-cache");
    wait_for("the master has it", async || {
        let entries = fs::read_dir(&of_master).ok()?;
        let is_entry = |name: String| name.ends_with(".tar.gz");
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(is_entry).then_some(())
    })
    .await;
    farm.stop_slave(0);
    // Also a master that was started again has it.
    farm.kill_master();
    farm.start_master().await;
    let other = farm.start_slave(1);
    farm.wait_for_slaves(1).await;
    let said = run(&farm, &repository).await;
    says(&said, &["cache restored (", ", from the master)"]);
    let said = run(&farm, &repository).await;
    assert!(
        said.contains("cache restored (") && !said.contains("from the master"),
        "{said}"
    );
    assert_eq!(lines(&installs), 1);

    // What is not sealed by the farm is of no use.
    let entry = fs::read_dir(&of_master).unwrap().next().unwrap().unwrap();
    fs::write(entry.path(), "forged").unwrap();
    farm.stop_slave(other);
    farm.start_slave(1);
    farm.wait_for_slaves(1).await;
    let said = run(&farm, &repository).await;
    says(
        &said,
        &["cache not restored (", "not of this farm", "cache saved ("],
    );
    assert_eq!(lines(&installs), 2);
    // It is replaced.
    wait_for("the master has another one", async || {
        let bytes = fs::metadata(entry.path()).ok()?.len();
        (bytes > 100).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_that_fails_over_what_was_restored_runs_without_it() {
    let repository = Repository::empty();
    let job = job("test -d made && test -d other")
        .atoms(1)
        .setup("mkdir made other")
        .with("cache", json!("made"));
    repository.commit_job(&job);
    let farm = Farm::start(&[1]).await;
    says(&run(&farm, &repository).await, &["cache saved ("]);
    let said = run(&farm, &repository).await;
    says(
        &said,
        &[
            "cache restored (",
            "runs once more without that",
            "cache saved (",
        ],
    );
}
