//! Canceling: nothing that a build started outlives it.

use crate::farm::Farm;
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildResult, BuildStatus};
use clusterrunner_common::ids::BuildId;
use std::path::Path;
use std::time::Duration;

/// A job whose atoms start processes in every way that leaves the shell, and `last`. Each has the
/// atom's variable in its environment, which begins with the path of `directory`.
fn spreading(directory: &Path, last: &str) -> String {
    format!(
        r#"Spread:
  commands:
    - sleep 301 &
    - setsid sleep 302 &
    - (setsid sh -c 'sleep 303 & sleep 304' &)
    - (sh -c 'sleep 305 & exec setsid sh -c "sleep 306 & exit"' &)
    - touch "$MARKER"
    - {last}
  atomizers:
    - MARKER: echo '{directory}/.git/atom1'; echo '{directory}/.git/atom2'
"#,
        directory = directory.display()
    )
}

async fn start(farm: &Farm, repository: &Repository) -> BuildId {
    let build = farm.submit(&repository.request()).await;
    wait_for("both atoms have started all of theirs", async || {
        let all = ["atom1", "atom2"]
            .iter()
            .all(|atom| repository.outside(atom).exists());
        (all && processes::with_text(&marker(repository)).len() >= 12).then_some(())
    })
    .await;
    build
}

fn marker(repository: &Repository) -> String {
    format!("MARKER={}/.git/atom", repository.path().display())
}

/// By themselves they would go on for longer than tests wait.
async fn wait_until_gone(repository: &Repository) {
    let marker = marker(repository);
    wait_for("all processes of the build are gone", async || {
        processes::with_text(&marker).is_empty().then_some(())
    })
    .await;
}

async fn check_canceled(farm: &Farm, build: BuildId) {
    let view = farm.end_of(build).await;
    assert_eq!(view.status, BuildStatus::Canceled, "{view:?}");
    assert_eq!(view.result, Some(BuildResult::Failure));
    assert_eq!(view.failed_atoms, Some(Vec::new()));
    for atom in farm.atoms(build).await {
        assert_eq!(atom.exit_code, None, "{atom:?}");
    }
}

/// That the farm works as if nothing had been.
async fn check_next_build(farm: &Farm) {
    let next = Repository::with_jobs("Job:\n  commands: [echo on]\n  atomizers: [{N: seq 1 4}]\n");
    let build = farm.run(&next.request()).await;
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    assert_eq!(build.result, Some(BuildResult::NoFailures));
    for atom in farm.atoms(build.id).await {
        assert_eq!(farm.console(build.id, &atom).await, "on\n");
    }
    farm.wait_for_rest().await;
}

#[tokio::test]
async fn a_canceled_build_leaves_no_process() {
    let repository = Repository::empty();
    let job = spreading(repository.path(), "sleep 307");
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[2]).await;
    let build = start(&farm, &repository).await;
    farm.client().cancel(build).await.unwrap();
    wait_until_gone(&repository).await;
    check_canceled(&farm, build).await;
    // A second order means nothing more.
    farm.client().cancel(build).await.unwrap();
    check_canceled(&farm, build).await;
    check_next_build(&farm).await;
}

/// Commands that do not end when they are asked to are killed.
#[tokio::test]
async fn a_stubborn_build_can_be_canceled_too() {
    let repository = Repository::empty();
    let job = spreading(
        repository.path(),
        "trap '' TERM; while true; do sleep 0.1; done",
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[2]).await;
    let build = start(&farm, &repository).await;
    farm.client().cancel(build).await.unwrap();
    wait_until_gone(&repository).await;
    check_canceled(&farm, build).await;
    check_next_build(&farm).await;
}

#[tokio::test]
async fn a_build_is_canceled_while_it_is_prepared_or_set_up() {
    for section in ["atomizers", "setup_build"] {
        let repository = Repository::empty();
        let slow = format!(
            "export MARKER='{}/.git/atom'; setsid sleep 301 & sleep 302",
            repository.path().display()
        );
        let (atomizer, setup) = match section {
            "atomizers" => (slow.as_str(), "echo"),
            _ => ("seq 1 2", slow.as_str()),
        };
        let job = format!(
            "Job:\n  setup_build:\n    - {setup}\n  commands: [echo never]\n  atomizers:\n    - N: {atomizer}\n"
        );
        repository.commit(&[("clusterrunner.yaml", &job)]);
        let farm = Farm::start(&[1]).await;
        let build = farm.submit(&repository.request()).await;
        let marker = marker(&repository);
        wait_for("the slow step runs", async || {
            (processes::with_text(&marker).len() >= 2).then_some(())
        })
        .await;
        farm.client().cancel(build).await.unwrap();
        wait_until_gone(&repository).await;
        check_canceled(&farm, build).await;
        check_next_build(&farm).await;
    }
}

/// Wherever a build is, processes that ignore the request to end and have left their session are
/// reached, also those whose parents are gone.
#[tokio::test]
async fn stubborn_children_are_reached_in_every_state() {
    for state in ["atomizers", "setup_build", "commands", "teardown_build"] {
        let repository = Repository::empty();
        let directory = repository.path().display();
        let stubborn = format!(
            "export MARKER='{directory}/.git/atom'; \
             setsid bash -c 'trap \"\" TERM; sleep 301 & sleep 302; sleep 303' & \
             (setsid bash -c 'trap \"\" TERM; (sleep 304; sleep 305) & sleep 306; sleep 307' &); \
             trap '' TERM; touch '{directory}/.git/there'; sleep 308; sleep 309"
        );
        let of = |part: &str, otherwise: &str| {
            let command = if part == state {
                stubborn.as_str()
            } else {
                otherwise
            };
            command.to_owned()
        };
        // It may go on after the cancel, to clear away; but not for ever.
        let job = format!(
            "Job:\n  teardown_timeout: 1\n  setup_build:\n    - |-\n      {}\n  commands:\n    - |-\n      {}\n  \
             teardown_build:\n    - |-\n      {}\n  atomizers:\n    - N: |-\n        {}\n",
            of("setup_build", "echo"),
            of(
                "commands",
                if state == "teardown_build" {
                    "sleep 310"
                } else {
                    "echo"
                }
            ),
            of("teardown_build", "echo"),
            of("atomizers", "seq 1 2"),
        );
        repository.commit(&[("clusterrunner.yaml", &job)]);
        let farm = Farm::start(&[1]).await;
        let build = farm.submit(&repository.request()).await;
        if state == "teardown_build" {
            wait_for("an atom runs", async || {
                let view = farm.client().build(build).await.unwrap();
                (view.num_atoms_in_progress > 0).then_some(())
            })
            .await;
            farm.client().cancel(build).await.unwrap();
        }
        wait_for("the stubborn step runs", async || {
            repository.outside("there").exists().then_some(())
        })
        .await;
        farm.client().cancel(build).await.unwrap();
        wait_until_gone(&repository).await;
        check_canceled(&farm, build).await;
        check_next_build(&farm).await;
    }
}

/// Orders to cancel meet builds in whatever they are just doing.
#[tokio::test]
async fn builds_are_canceled_at_any_moment() {
    let repository = Repository::with_jobs(
        "Job:\n  setup_build: [sleep 0.02]\n  commands: [echo \"$N\", sleep 0.02]\n  atomizers: [{N: seq 1 8}]\n",
    );
    let farm = Farm::start(&[2, 2]).await;
    let client = farm.client();
    let mut builds = Vec::new();
    for round in 0..30_u64 {
        let build = farm.submit(&repository.request()).await;
        builds.push(build);
        // From at once to after the end, so that each step of a build is hit by some.
        tokio::time::sleep(Duration::from_millis(round * 15)).await;
        if round % 5 != 0 {
            client.cancel(build).await.unwrap();
        }
    }
    for (round, build) in builds.into_iter().enumerate() {
        let view = farm.end_of(build).await;
        match view.status {
            BuildStatus::Finished => {
                assert_eq!(view.result, Some(BuildResult::NoFailures), "{view:?}");
                assert_eq!(view.num_atoms_completed, 8);
            }
            BuildStatus::Canceled => assert_ne!(round % 5, 0, "{view:?}"),
            _ => panic!("{view:?}"),
        }
    }
    farm.wait_for_rest().await;
    check_next_build(&farm).await;
}

/// A child that an atom leaves in the background does not hold the atom up, and is gone after the
/// build.
#[tokio::test]
async fn background_children_end_with_the_build() {
    let repository = Repository::empty();
    let job = spreading(repository.path(), "echo ended");
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    assert_eq!(build.result, Some(BuildResult::NoFailures));
    for atom in farm.atoms(build.id).await {
        assert_eq!(farm.console(build.id, &atom).await, "ended\n");
    }
    wait_until_gone(&repository).await;
}
