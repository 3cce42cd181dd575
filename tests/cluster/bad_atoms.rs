//! Atoms that signal their slave, or remove what it works in: nobody else's work is lost by that.

use crate::farm::Farm;
use crate::job::job;
use crate::outcome::Over;
use crate::repository::Repository;
use crate::whole_build::runs;
use clusterrunner_common::api::BuildView;
use std::path::PathBuf;

/// A job of eight atoms that note each run; the third does the deed.
fn project(deed: &str) -> (Repository, PathBuf) {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    let job = job(format!("echo \"$N\" >> '{}'", log.display()))
        .then("test -e clusterrunner.yaml")
        .then(format!("if [ \"$N\" = 3 ]; then {deed}; fi"));
    repository.commit_job(&job.atoms(8));
    (repository, log)
}

/// Every atom ran once and passed, and no slave has gone.
async fn run_unharmed(farm: &mut Farm, deed: &str) -> Over {
    let (repository, log) = project(deed);
    let before = farm.wait_for_slaves(1).await;
    let view = farm.run(&repository.request()).await.passes();
    let runs = runs(&log);
    assert!(
        runs.len() == 8 && runs.values().all(|times| *times == 1),
        "{runs:?}"
    );
    assert!(!farm.has_ended(0));
    let after = farm.wait_for_slaves(1).await;
    assert_eq!(before[0].id, after[0].id, "it is the same registration");
    view
}

async fn warnings(farm: &Farm, build: &BuildView) -> String {
    let told = |view: &BuildView| !view.warnings.is_empty();
    let view = farm.wait_for_build(build.id, "there is a warning", told);
    view.await.warnings.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_an_atom_sends_to_its_slave_is_ignored_and_told() {
    let mut farm = Farm::start(&[1]).await;
    for (signal, deed) in [
        ("SIGTERM", "kill -TERM $PPID; sleep 0.3"),
        ("SIGINT", "kill -INT $PPID; sleep 0.3"),
        ("SIGUSR1", "kill -USR1 $PPID; sleep 0.3"),
        // What starts a session of its own is its child all the same.
        (
            "SIGTERM",
            "P=$PPID; setsid bash -c \"kill -TERM $P; sleep 0.3\"",
        ),
    ] {
        let view = run_unharmed(&mut farm, deed).await;
        let told = warnings(&farm, &view).await;
        assert!(
            told.contains(&format!("an atom sent {signal} to its slave")),
            "{told}"
        );
    }
    farm.wait_for_rest().await;
    // Anybody else is obeyed.
    farm.stop_slave(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_makes_anew_what_an_atom_removed_of_its_directories() {
    let mut farm = Farm::start(&[1]).await;
    let base = "\"$ARTIFACT_DIR\"/../..";
    for gone in ["consoles", "artifacts", "results", "work", "repos"] {
        run_unharmed(&mut farm, &format!("rm -rf {base}/{gone}")).await;
    }
    run_unharmed(
        &mut farm,
        "D=$(cd \"$ARTIFACT_DIR\"/../.. && pwd); rm -rf \"$D\"",
    )
    .await;
    run_unharmed(&mut farm, "true").await;
    farm.wait_for_rest().await;
    let said = farm.output("slave 0");
    assert!(said.contains("were missing and were recreated"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atom_that_removes_its_project_fails_no_other() {
    let mut farm = Farm::start(&[1]).await;
    let view = run_unharmed(&mut farm, "rm -rf \"$PROJECT_DIR\"").await;
    let told = warnings(&farm, &view).await;
    assert!(told.contains("removed the project's directory"), "{told}");
    farm.wait_for_rest().await;
}

/// Where nothing can be made any more a slave ends, loudly, and others do its work.
#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_has_lost_its_place_for_good_ends() {
    let mut farm = Farm::start(&[1]).await;
    let once = farm.path("once");
    let deed = format!(
        "D=$(cd \"$ARTIFACT_DIR\"/../.. && pwd); if mkdir '{}'; then rm -rf \"$D\"; touch \"$D\"; fi",
        once.display()
    );
    let (repository, log) = project(&deed);
    let build = farm.submit(&repository.request()).await;
    assert_ne!(farm.end_of_slave(0).await.code(), Some(0));
    let said = farm.output("slave 0");
    assert!(said.contains("is gone and can not be made anew"), "{said}");
    // What it ran may be why, and counts as suspect.
    let told = farm.output("master");
    assert!(told.contains("it ended: its data directory"), "{told}");
    assert!(told.contains("was lost while it ran this subjob"), "{told}");
    farm.start_slave(1);
    farm.end_of(build).await.passes();
    assert_eq!(runs(&log).len(), 8);
}
