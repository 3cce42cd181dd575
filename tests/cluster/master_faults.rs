//! A master that dies in the middle of a build and is started again: nothing that it had acknowledged
//! is lost, and no finished work is done again.

use crate::archives::{tar_of, zip_of};
use crate::farm::Farm;
use crate::gate::Gate;
use crate::job::job;
use crate::processes;
use crate::repository::Repository;
use crate::wait::{measure, wait_for};
use crate::whole_build::{ATOMS, check_results, many_atoms, number, runs};
use clusterrunner_common::api::{AtomState, BuildStatus, BuildView};
use clusterrunner_common::ids::BuildId;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

/// The atoms that have a result, by their numbers.
async fn completed(farm: &Farm, build: BuildId) -> BTreeSet<u32> {
    let atoms = farm.atoms(build).await;
    let done = atoms
        .iter()
        .filter(|atom| atom.state == AtomState::Completed);
    done.map(number).collect()
}

#[tokio::test]
async fn a_master_is_killed_in_mid_build() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.05"))]);
    let mut farm = Farm::start(&[2, 2]).await;
    let build = farm.submit(&repository.request()).await;
    let mut kept = BTreeSet::new();
    for least in [30, 90, 150] {
        wait_for(&format!("{least} atoms have a result"), async || {
            kept = completed(&farm, build).await;
            (kept.len() >= least).then_some(())
        })
        .await;
        farm.kill_master();
        farm.start_master().await;
        let after = completed(&farm, build).await;
        assert!(kept.is_subset(&after), "results are lost");
    }
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    let runs = runs(&log);
    assert_eq!(runs.len(), ATOMS as usize);
    for atom in kept {
        assert_eq!(
            runs[&atom], 1,
            "atom {atom} ran again after it was finished"
        );
    }
    let next = farm.submit(&repository.request()).await;
    assert_eq!(next, BuildId(build.0 + 1));
    farm.client().cancel(next).await.unwrap();
}

/// Slaves that outlive the master's absence keep what they hold.
#[tokio::test]
async fn running_atoms_go_on_while_the_master_is_away() {
    let gate = Gate::with(|job| job.then("echo done").atoms(2));
    let mut farm = Farm::start(&[2]).await;
    let build = farm.submit(&gate.request()).await;
    gate.wait_for_runs(2).await;
    farm.kill_master();
    // They end while nobody takes their results.
    gate.open();
    farm.start_master().await;
    farm.end_of(build).await.passes();
    assert_eq!(farm.consoles(build).await, ["done\n"; 2]);
    assert!(gate.ran_once());
}

#[tokio::test]
async fn a_master_is_killed_while_it_prepares() {
    let repository = Repository::empty();
    let (log, release) = (repository.outside("log"), repository.outside("release"));
    let (log_path, release_path) = (log.display(), release.display());
    let wait = format!("until test -e '{release_path}'; do sleep 0.02; done");
    let atomizer = format!("echo x >> '{log_path}'; {wait}; seq 1 5");
    repository.commit_job(&job("echo \"$N\"").atomizer(atomizer));
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let tries = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    wait_for("the atomizer runs", async || (tries() == 1).then_some(())).await;
    farm.kill_master();
    farm.start_master().await;
    wait_for("it runs anew", async || (tries() == 2).then_some(())).await;
    fs::write(&release, "").unwrap();
    let view = farm.end_of(build).await.passes();
    assert_eq!(view.num_atoms, Some(5));
}

#[tokio::test]
async fn a_master_is_killed_while_it_archives() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    let noise = "head -c 8000000 /dev/urandom > \"$ARTIFACT_DIR/noise\"";
    let note = job(format!("echo \"$N\" >> '{}'", log.display()));
    repository.commit_job(&note.then(noise).atoms(6));
    let mut farm = Farm::start(&[2]).await;
    let build = farm.submit(&repository.request()).await;
    let done = |view: &BuildView| view.num_atoms_completed == 6;
    farm.wait_for_build(build, "all atoms have a result", done)
        .await;
    farm.kill_master();
    farm.start_master().await;
    farm.end_of(build).await.passes();
    assert!(runs(&log).values().all(|times| *times == 1));
    let (tar, zip) = (tar_of(&farm, build).await, zip_of(&farm, build).await);
    assert_eq!(zip.len(), 6 * 5);
    // A directory with five files for each atom.
    assert_eq!(tar.len(), 6 * 6);
    for subjob in 0..6 {
        assert_eq!(zip[&format!("artifact_{subjob}_0/noise")].len(), 8_000_000);
    }
}

/// The power fails: master and slaves are gone at once.
#[tokio::test]
async fn everything_is_killed_in_mid_build() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.05"))]);
    let mut farm = Farm::start(&[2, 2]).await;
    let build = farm.submit(&repository.request()).await;
    let mut kept = BTreeSet::new();
    wait_for("some atoms have a result", async || {
        kept = completed(&farm, build).await;
        (kept.len() >= 60).then_some(())
    })
    .await;
    farm.kill_master();
    farm.kill_slave(0);
    farm.kill_slave(1);
    // The master waits for the slaves that it knew, but not for ever.
    farm.start_master().await;
    let view = farm.client().build(build).await.unwrap();
    assert_eq!(view.status, BuildStatus::Building, "{view:?}");
    farm.restart_slave(0, 1);
    farm.start_slave(2);
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    let runs = runs(&log);
    for atom in kept {
        assert_eq!(
            runs[&atom], 1,
            "atom {atom} ran again after it was finished"
        );
    }
}

/// The power fails in the middle of a write: behind what was acknowledged there is the beginning of
/// something, or nonsense.
#[tokio::test]
async fn the_end_of_the_journal_is_torn() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.02"))]);
    let mut farm = Farm::start(&[2, 2]).await;
    let build = farm.submit(&repository.request()).await;
    for (least, tail) in [
        (20, vec![0x5a; 700]),
        (60, vec![0; 5000]),
        (100, vec![0xff; 70_000]),
    ] {
        let mut kept = BTreeSet::new();
        wait_for(&format!("{least} atoms have a result"), async || {
            kept = completed(&farm, build).await;
            (kept.len() >= least).then_some(())
        })
        .await;
        farm.kill_master();
        let journal = farm.path("base/master/journal/db");
        let mut file = fs::File::options().append(true).open(journal).unwrap();
        file.write_all(&tail).unwrap();
        farm.start_master().await;
        let after = completed(&farm, build).await;
        assert!(kept.is_subset(&after), "results are lost");
    }
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    assert!(runs(&log).values().all(|times| *times == 1));
}

/// A master that does nothing for longer than its patience with slaves has no reason to blame them.
#[tokio::test]
async fn a_master_hangs_for_a_while() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.05"))]);
    let farm = Farm::start(&[2, 2]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("some atoms have a result", async || {
        (completed(&farm, build).await.len() >= 40).then_some(())
    })
    .await;
    farm.signal_master(Signal::STOP);
    // There is nothing to wait for: this time is what the test is about.
    tokio::time::sleep(Duration::from_secs(5)).await;
    farm.signal_master(Signal::CONT);
    let before = completed(&farm, build).await.len();
    measure("a master that hung takes results", async || {
        (completed(&farm, build).await.len() > before).then_some(())
    })
    .await;
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    farm.wait_for_slaves(2).await;
}

/// What was answered with 202 is there, however soon the master dies.
#[tokio::test]
async fn an_accepted_build_is_never_lost() {
    let repository =
        Repository::with_jobs("Job:\n  commands: [echo]\n  atomizers: [{N: echo 1}]\n");
    let mut farm = Farm::start(&[2]).await;
    let mut accepted = Vec::new();
    for _ in 0..5 {
        let first = accepted.len();
        for _ in 0..3 {
            accepted.push(farm.submit(&repository.request()).await);
        }
        farm.kill_master();
        farm.start_master().await;
        // A second death over the preparing of one of them would end that build by rule.
        for build in &accepted[first..] {
            farm.end_of(*build).await.passes();
        }
    }
    let builds = farm.client().builds().await.unwrap();
    let known: Vec<BuildId> = builds.iter().map(|build| build.id).collect();
    assert_eq!(known, accepted);
    assert_eq!(known, (1..=15).map(BuildId).collect::<Vec<_>>());
}

/// A canceled build stays canceled, and what it ran is ended, although the master dies at once.
#[tokio::test]
async fn a_cancel_survives_a_restart() {
    let repository = Repository::empty();
    let marker = &format!("MARKER={}", repository.path().display());
    let job = format!(
        "Job:\n  commands: [export {marker}, setsid sleep 300]\n  atomizers: [{{N: seq 1 4}}]\n"
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let mut farm = Farm::start(&[2]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("atoms run", async || {
        (processes::with_text(marker).len() >= 2).then_some(())
    })
    .await;
    farm.client().cancel(build).await.unwrap();
    farm.kill_master();
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    farm.end_of(build).await.ends_canceled();
    farm.wait_for_rest().await;
    let left = processes::with_text(marker);
    assert!(left.is_empty(), "{left:?}");
}

/// What is over stays as it was, and stays readable.
#[tokio::test]
async fn a_finished_build_survives_a_restart() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0"))]);
    let mut farm = Farm::start(&[2]).await;
    let view = farm.run(&repository.request()).await;
    let bad = repository.request_with(serde_json::json!({"job_name": "Nobody"}));
    let failed = farm.run(&bad).await;
    let canceled = farm.submit(&repository.request()).await;
    farm.client().cancel(canceled).await.unwrap();
    let canceled = farm.end_of(canceled).await;
    farm.kill_master();
    farm.start_master().await;
    let client = farm.client();
    for before in [&view, &failed, &canceled] {
        assert_eq!(client.build(before.id).await.unwrap(), before.0);
    }
    check_results(&farm, &view).await;
}
