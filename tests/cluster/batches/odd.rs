//! Batches where something else is odd: a master that dies, a matrix, odd values, a limit of failures.

use super::Story;
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

/// A batch command that says of each atom that it passed, by the lines of its file.
const PASSES_ALL: &str =
    r#"while IFS= read -r atom; do printf 'ok %s\n' "$atom"; done < "$ATOMS_FILE""#;

#[tokio::test]
async fn a_master_that_is_killed_in_the_middle_of_a_batch_runs_nothing_again() {
    let deed = "while ! test -e \"$LOG.go\"; do sleep 0.05; done; report";
    let mut story = Story::new(&[2], deed, Some("true")).await;
    let build = story.farm.submit(&story.repository.request()).await;
    wait_for("a batch", async || (!story.log().is_empty()).then_some(())).await;
    story.farm.kill_master();
    fs::write(story.repository.outside("log.go"), "").unwrap();
    story.farm.start_master().await;
    story.farm.end_of(build).await.passes();
    let mut runs: BTreeMap<String, u32> = BTreeMap::new();
    for line in story.log() {
        let atoms = line.split_once(": ").unwrap().1.to_owned();
        for atom in atoms.split(' ') {
            *runs.entry(atom.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(runs.len(), 24, "{:#?}", story.log());
    assert!(runs.values().all(|times| *times == 1), "{:#?}", story.log());
    story.farm.wait_for_rest().await;
}

#[tokio::test]
async fn the_batches_of_a_matrix_have_its_variables() {
    let repository = Repository::empty();
    let log = repository.outside("log");
    let batch = format!(
        "echo \"$PY: $BATCH_SIZE\" >> {}; {PASSES_ALL}",
        log.display()
    );
    let job = job("false")
        .with("batch_command", batch)
        .with("atomizers", json!([{"N": "seq 6"}]))
        .with("matrix", json!({"PY": ["1", "2"]}));
    repository.commit_job(&job);
    let farm = Farm::start(&[1]).await;
    farm.run(&repository.request()).await.passes();
    let log = fs::read_to_string(log).unwrap();
    for python in ["1", "2"] {
        let sizes = log
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{python}: ")));
        let atoms: u32 = sizes.map(|size| size.parse::<u32>().unwrap()).sum();
        assert_eq!(atoms, 6, "{log}");
    }
}

/// Values reach a batch as they are: what a shell would take for something else, and what is too long to be beside others.
#[tokio::test]
async fn odd_values_reach_a_batch_as_they_are() {
    let long = "x".repeat(100_000);
    let values = [
        "a b", " blank ", "$HOME", "`id`", "it's", "\"q\"", "-n", "*", "a\\nb", "ü ☃", "#", "~",
        &long,
    ];
    let repository = Repository::empty();
    let log = repository.outside("log");
    let batch = format!("cat \"$ATOMS_FILE\" >> {}; {PASSES_ALL}", log.display());
    let alone = format!("printf '%s\\n' \"$V\" >> {}", log.display());
    let job = job(&alone)
        .with("batch_command", batch)
        .with("atomizers", json!([{"V": "cat values"}]));
    repository.commit_job(&job);
    repository.commit(&[("values", &(values.join("\n") + "\n"))]);
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await.passes();
    assert_eq!(build.num_atoms, Some(values.len() as u64));
    let log = fs::read_to_string(log).unwrap();
    for value in values {
        let runs = log.lines().filter(|line| *line == value).count();
        assert!(runs >= 1, "{value:.50}: {log:.2000}");
    }
}

#[tokio::test]
async fn after_so_many_failures_no_batch_begins() {
    let deed = "test $atom -ge 3 && report || fail no";
    let alone = Some("test $N -ge 3");
    let story = Story::with(&[1], deed, alone, |job| job.with("max_fail", 2)).await;
    let build = story.run().await;
    assert_eq!(build.num_atoms_failed, 2, "{build:#?}");
    assert!(build.num_atoms_not_run > Some(0), "{:#?}", story.log());
}
