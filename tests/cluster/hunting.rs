//! Idle executors hunt for flakes: what they find, that they give way to work, and that a master's death costs nothing.

use crate::archives::zip_of;
use crate::farm::{Extra, Farm};
use crate::job::{Job, job};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_client::client::WantedJobs;
use clusterrunner_common::api::history::{FlakyVerdict, HistoryView};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::junit::TestOutcome::Passed;
use std::fs;
use std::path::Path;

/// A job whose first atom waits until a file `go` is there. The second fails when it runs for the third time. The third
/// leaves a file `hunting` when it runs after the second one has passed once more, and goes on for ever then.
fn tempting_job(repository: &Repository) -> Job {
    let [go, runs, hunting] = ["go", "runs", "hunting"].map(|name| repository.outside(name));
    job(format!(
        "while [ $N = 1 ] && [ ! -e '{}' ]; do sleep 0.05; done",
        go.display()
    ))
    .then(format!(
        "if [ $N = 3 ] && [ \"$(grep -c . '{}')\" = 4 ]; then touch '{}'; exec sleep 3600; fi",
        runs.display(),
        hunting.display()
    ))
    .then(format!(
        "[ $N != 2 ] || {{ echo run >> '{runs}'; grep -c . '{runs}' | tee \"$ARTIFACT_DIR/note\"; [ $(grep -c . '{runs}') != 3 ]; }}",
        runs = runs.display()
    ))
    .atoms(3)
}

/// A build that passes at once.
fn other_build() -> Repository {
    let other = Repository::empty();
    other.commit_job(&job("true").atomizer("echo other"));
    other
}

async fn hunting_farm() -> Farm {
    let mut farm = Farm::with(&Extra {
        master: "hunt_flakes = True\n",
        ..Extra::default()
    });
    farm.start_all(&[1, 1]).await;
    farm
}

/// Waits until a hunt has found a flake, and another one runs.
async fn until_it_hunts(farm: &Farm, build: BuildId, hunting: &Path) {
    let client = farm.client();
    wait_for("a flake is found", async || {
        let explanation = client.explanation(build).await.ok()?;
        (explanation.hunting?.flakes == 1).then_some(())
    })
    .await;
    wait_for("a hunt runs", async || hunting.exists().then_some(())).await;
}

/// What is known of an atom once its build counts.
async fn known(farm: &Farm, name: &str) -> HistoryView {
    let client = farm.client();
    wait_for("the build counts", async || {
        let known = client.history(name, &WantedJobs::default()).await.unwrap();
        known.history.into_iter().next()
    })
    .await
}

#[track_caller]
fn assert_one_flake(atom: &HistoryView) {
    let flakiness = &atom.flakiness;
    assert_eq!(
        (flakiness.trials, flakiness.flakes, flakiness.hunted),
        (3, 1, 2)
    );
    assert_eq!(flakiness.verdict, FlakyVerdict::Suspicious);
    assert_eq!(atom.runs.len(), 1);
    assert_eq!(
        (atom.runs[0].outcome, atom.runs[0].failed_attempts),
        (Passed, 0)
    );
}

#[tokio::test]
async fn a_flake_is_found_and_neither_its_build_nor_another_one_notices() {
    let repository = Repository::empty();
    repository.commit_job(&tempting_job(&repository));
    let farm = hunting_farm().await;
    let build = farm.submit(&repository.request()).await;
    until_it_hunts(&farm, build, &repository.outside("hunting")).await;

    // One executor waits with the first atom, the other one hunts: the build gets it all the same.
    let other = other_build();
    farm.run(&other.request()).await.passes();
    let first = farm.client().build(build).await.unwrap();
    assert!(!first.status.is_over(), "{first:?}");

    fs::write(repository.outside("go"), "").unwrap();
    let over = farm.end_of(build).await.passes();
    assert_eq!((over.num_atoms_failed, over.num_atoms_flaky), (0, Some(0)));
    // Hunts go on after the end of the build, until another one comes.
    farm.run(&other.request()).await.passes();
    let atoms = farm.atoms(build).await;
    let second = atoms.iter().find(|atom| atom.value.as_deref() == Some("2"));
    let second = second.unwrap();
    assert_eq!((second.exit_code, second.is_flaky), (Some(0), false));
    assert_eq!(farm.console(build, second).await, "1\n");
    let files = zip_of(&farm, build).await;
    let note = files.iter().find(|(name, _)| name.ends_with("/note"));
    assert_eq!(note.map(|(_, text)| &text[..]), Some(&b"1\n"[..]));

    assert_one_flake(&known(&farm, "2").await);
    let shown = farm.user(&["history", "2"]).stdout;
    assert!(shown.contains("in 1 of 3 runs (2 hunts)"), "{shown}");
    let explained = farm.user(&["explain", &build.to_string()]).stdout;
    assert!(
        explained.contains("hunted for flakes meanwhile"),
        "{explained}"
    );
    let runs = fs::read_to_string(repository.outside("runs")).unwrap();
    assert_eq!(runs.lines().count(), 4, "once, and three times more");
}

#[tokio::test]
async fn what_a_hunt_found_counts_once_though_the_master_dies_while_another_runs() {
    let repository = Repository::empty();
    repository.commit_job(&tempting_job(&repository));
    let mut farm = hunting_farm().await;
    let build = farm.submit(&repository.request()).await;
    let hunting = repository.outside("hunting");
    until_it_hunts(&farm, build, &hunting).await;
    farm.kill_master();
    fs::remove_file(&hunting).unwrap();
    farm.start_master().await;
    // The executor is idle again only if the slave has ended the hunt of the master that died.
    until_it_hunts(&farm, build, &hunting).await;
    fs::write(repository.outside("go"), "").unwrap();
    let over = farm.end_of(build).await.passes();
    assert_eq!((over.num_atoms_failed, over.num_atoms_flaky), (0, Some(0)));
    let other = other_build();
    farm.run(&other.request()).await.passes();
    assert_one_flake(&known(&farm, "2").await);
    let runs = fs::read_to_string(repository.outside("runs")).unwrap();
    assert_eq!(runs.lines().count(), 4, "once, and three times more");
}
