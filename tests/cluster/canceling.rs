//! Canceling: nothing that a build started outlives it.

use crate::archives::{tar_of, zip_of};
use crate::farm::Farm;
use crate::job::job;
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{AtomState, BuildStatus, BuildView};
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// A project whose two atoms start processes in every way that leaves the shell, and `last`.
fn spreading(last: &str) -> Repository {
    let repository = Repository::empty();
    let marker = repository.outside("atom").display().to_string();
    let atoms = format!("echo '{marker}1'; echo '{marker}2'");
    let job = job("sleep 301 &")
        .then("setsid sleep 302 &")
        .then("(setsid sh -c 'sleep 303 & sleep 304' &)")
        .then(r#"(sh -c 'sleep 305 & exec setsid sh -c "sleep 306 & exit"' &)"#)
        .then("touch \"$MARKER\"")
        .then(last)
        .with("atomizers", json!([{"MARKER": atoms}]));
    repository.commit_job(&job);
    repository
}

async fn start(farm: &Farm, repository: &Repository) -> BuildId {
    let build = farm.submit(&repository.request()).await;
    wait_for("both atoms have started all of theirs", async || {
        let all = ["atom1", "atom2"]
            .iter()
            .all(|atom| repository.outside(atom).exists());
        (all && processes::with_text(&repository.marker()).len() >= 12).then_some(())
    })
    .await;
    build
}

async fn check_canceled(farm: &Farm, build: BuildId) {
    let view = farm.end_of(build).await.ends_canceled();
    assert_eq!(view.result, None);
    assert_eq!(view.failed_atoms, Some(Vec::new()));
    for atom in farm.atoms(build).await {
        assert_eq!(atom.exit_code, None, "{atom:?}");
    }
}

#[tokio::test]
async fn a_canceled_build_leaves_no_process() {
    let repository = spreading("sleep 307");
    let farm = Farm::start(&[2]).await;
    let build = start(&farm, &repository).await;
    farm.client().cancel(build).await.unwrap();
    repository.wait_until_gone().await;
    check_canceled(&farm, build).await;
    // A second order means nothing more.
    farm.client().cancel(build).await.unwrap();
    check_canceled(&farm, build).await;
    farm.works().await;
}

/// Commands that do not end when they are asked to are killed.
#[tokio::test]
async fn a_stubborn_build_can_be_canceled_too() {
    let repository = spreading("trap '' TERM; while true; do sleep 0.1; done");
    let farm = Farm::start(&[2]).await;
    let build = start(&farm, &repository).await;
    farm.client().cancel(build).await.unwrap();
    repository.wait_until_gone().await;
    check_canceled(&farm, build).await;
    farm.works().await;
}

#[tokio::test]
async fn a_build_is_canceled_while_it_is_prepared_or_set_up() {
    for section in ["atomizers", "setup_build"] {
        let repository = Repository::empty();
        let slow = format!(
            "export {}; setsid sleep 301 & sleep 302",
            repository.marker()
        );
        repository.commit_job(&match section {
            "atomizers" => job("echo never").atomizer(slow),
            _ => job("echo never").setup(slow),
        });
        let farm = Farm::start(&[1]).await;
        let build = farm.submit(&repository.request()).await;
        wait_for("the slow step runs", async || {
            (processes::with_text(&repository.marker()).len() >= 2).then_some(())
        })
        .await;
        farm.client().cancel(build).await.unwrap();
        repository.wait_until_gone().await;
        check_canceled(&farm, build).await;
        farm.works().await;
    }
}

/// Wherever a build is, processes that ignore the request to end and have left their session are
/// reached, also those whose parents are gone.
#[tokio::test]
async fn stubborn_children_are_reached_in_every_state() {
    for state in ["atomizers", "setup_build", "commands", "teardown_build"] {
        let repository = Repository::empty();
        let (marker, there) = (repository.marker(), repository.outside("there"));
        let stubborn = format!(
            "export {marker}; \
             setsid bash -c 'trap \"\" TERM; sleep 301 & sleep 302; sleep 303' & \
             (setsid bash -c 'trap \"\" TERM; (sleep 304; sleep 305) & sleep 306; sleep 307' &); \
             trap '' TERM; touch '{}'; sleep 308; sleep 309",
            there.display()
        );
        let job = match state {
            "atomizers" => job("echo").atomizer(stubborn),
            "setup_build" => job("echo").setup(stubborn),
            "commands" => job(stubborn),
            _ => job("sleep 310").teardown(stubborn),
        };
        // It may go on after the cancel, to clear away; but not for ever.
        repository.commit_job(&job.with("teardown_timeout", 1));
        let farm = Farm::start(&[1]).await;
        let build = farm.submit(&repository.request()).await;
        if state == "teardown_build" {
            let runs = |view: &BuildView| view.num_atoms_in_progress > 0;
            farm.wait_for_build(build, "an atom runs", runs).await;
            farm.client().cancel(build).await.unwrap();
        }
        wait_for("the stubborn step runs", async || {
            there.exists().then_some(())
        })
        .await;
        farm.client().cancel(build).await.unwrap();
        repository.wait_until_gone().await;
        check_canceled(&farm, build).await;
        farm.works().await;
    }
}

/// Orders to cancel meet builds in whatever they are just doing.
#[tokio::test]
async fn builds_are_canceled_at_any_moment() {
    let short = job("echo \"$N\"").then("sleep 0.02").setup("sleep 0.02");
    let repository = Repository::of(&short.atoms(8));
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
        if view.status == BuildStatus::Canceled {
            assert_ne!(round % 5, 0, "{view:?}");
        } else {
            assert_eq!(view.passes().num_atoms_completed, 8);
        }
    }
    farm.wait_for_rest().await;
    farm.works().await;
}

/// A child that an atom leaves in the background does not hold the atom up, and is gone after the
/// build.
#[tokio::test]
async fn background_children_end_with_the_build() {
    let repository = spreading("echo ended");
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await.passes();
    assert_eq!(farm.consoles(build.id).await, ["ended\n"; 2]);
    repository.wait_until_gone().await;
}

/// An atom that has ended, one that runs and one that waits, when their build is canceled.
async fn cut_off(farm: &Farm) -> (Repository, BuildId) {
    let atom = job(r#"echo "seen $N"; [ "$N" = 1 ] || sleep 300"#).atoms(3);
    let repository = Repository::of(&atom);
    let build = farm.submit(&repository.request()).await;
    wait_for("the second atom has printed", async || {
        let atoms = farm.atoms(build).await;
        let runs = atoms.get(1)?.state == AtomState::InProgress;
        (runs && farm.console(build, &atoms[1]).await == "seen 2\n").then_some(())
    })
    .await;
    farm.client().cancel(build).await.unwrap();
    (repository, build)
}

async fn check_kept(farm: &Farm, build: BuildId) {
    let atoms = farm.atoms(build).await;
    let states: Vec<AtomState> = atoms.iter().map(|atom| atom.state).collect();
    let ran = [AtomState::Completed, AtomState::Canceled];
    assert_eq!(states, [ran[0], ran[1], AtomState::NotStarted]);
    for (atom, expected) in atoms.iter().zip(["seen 1\n", "seen 2\n"]) {
        assert_eq!(farm.console(build, atom).await, expected);
    }
    let path = format!("/v1/build/{build}/subjob/2/atom/0/console");
    let refused = farm.client().read::<Value>(&path).await.unwrap_err();
    assert_eq!(refused.status().map(|status| status.as_u16()), Some(404));
    let files = zip_of(farm, build).await;
    let console = |atom| &files[&format!("artifact_{atom}_0/clusterrunner_console_output")];
    assert_eq!(console(1), b"seen 2\n");
    assert!(!files.contains_key("failures.txt"));
    let names = tar_of(farm, build).await;
    assert!(names.contains_key("./artifact_0_0/"), "{names:?}");
    assert!(names.contains_key("./artifact_1_0/clusterrunner_console_output"));
    assert!(!names.contains_key("./artifact_2_0/"), "{names:?}");
}

/// Also after the master has put the build away and was started again.
#[tokio::test]
async fn a_canceled_build_keeps_what_was_seen_of_it() {
    let mut farm = Farm::start(&[1]).await;
    let (_repository, build) = cut_off(&farm).await;
    farm.end_of(build).await.ends_canceled();
    farm.wait_for_rest().await;
    check_kept(&farm, build).await;
    farm.stop_master();
    farm.start_master().await;
    check_kept(&farm, build).await;
    let (text, master) = (build.to_string(), farm.master_address());
    let arguments = ["logs", &text, "--master-url", &master];
    let printed = farm.command().args(arguments).output();
    let printed = String::from_utf8(printed.unwrap().stdout).unwrap();
    assert!(printed.contains("artifact_1_0  canceled"), "{printed}");
    assert!(printed.contains("artifact_2_0  not run"), "{printed}");
    // As when its time is over.
    fs::remove_dir_all(farm.path(&format!("base/master/results/{build}"))).unwrap();
    let path = format!("/v1/build/{build}/artifacts.tar.gz");
    let gone = farm.client().read::<Value>(&path).await.unwrap_err();
    assert_eq!(gone.status().map(|status| status.as_u16()), Some(410));
}

#[tokio::test]
async fn each_version_says_what_came_of_a_canceled_build() {
    let farm = Farm::start(&[1]).await;
    let (_repository, build) = cut_off(&farm).await;
    farm.end_of(build).await.ends_canceled();
    let archive = format!("/v1/build/{build}/artifacts.tar.gz");
    for (path, result, artifacts) in [
        ("v1/build", Value::Null, Value::Null),
        ("v2/builds", "CANCELED".into(), archive.into()),
    ] {
        let client = farm.client();
        let one: Value = client.read(&format!("/{path}/{build}")).await.unwrap();
        let all: Value = client.read(&format!("/{path}")).await.unwrap();
        for view in [&one["build"], &all["builds"][0]] {
            assert_eq!(view["result"], result, "{path}");
            assert_eq!(view["artifacts"], artifacts, "{path}");
        }
    }
}

#[tokio::test]
async fn a_build_that_ended_before_its_first_result_has_no_archive() {
    let farm = Farm::start(&[1]).await;
    let broken = Repository::of(&job("true").setup("exit 3"));
    let failed = farm
        .run(&broken.request())
        .await
        .errs(&["exited with 3"])
        .id;
    let slow = Repository::of(&job("true").setup("sleep 300"));
    let canceled = farm.submit(&slow.request()).await;
    let builds = |view: &BuildView| view.status == BuildStatus::Building;
    farm.wait_for_build(canceled, "it is set up", builds).await;
    farm.client().cancel(canceled).await.unwrap();
    farm.wait_for_rest().await;
    for (build, form) in [(failed, "tar.gz"), (canceled, "zip")] {
        let path = format!("/v1/build/{build}/artifacts.{form}");
        let refused = farm.client().read::<Value>(&path).await.unwrap_err();
        assert_eq!(refused.status().map(|status| status.as_u16()), Some(404));
        let why = "it ended before any of its atoms had a result";
        assert!(refused.to_string().contains(why), "{refused}");
    }
}
