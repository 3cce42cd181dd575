//! Slaves that are sick or drained, atoms that take slaves down, and what a user sees of it.

use crate::archives::zip_of;
use crate::farm::{Extra, Farm};
use crate::gate::Gate;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use crate::whole_build::runs;
use clusterrunner_common::api::{BuildResult, BuildStatus, SlaveView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use rustix::process::Signal;
use std::fs;

/// What a command of the farm's user prints; it must succeed.
fn said(farm: &Farm, arguments: &[&str]) -> String {
    let ended = farm.user(arguments);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ended.stdout
}

async fn view_of(farm: &Farm, slave: usize) -> SlaveView {
    let address = farm.slave_address(slave);
    let slaves = farm.client().slaves().await.unwrap();
    let mut found = slaves.into_iter().filter(|view| view.url == address);
    found.next().expect("it is listed")
}

async fn wait_for_quarantine(farm: &Farm, slave: usize) -> String {
    wait_for("the slave is quarantined", async || {
        let view = view_of(farm, slave).await;
        assert_eq!(view.is_quarantined, view.quarantine_reason.is_some());
        view.quarantine_reason
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atom_that_kills_its_slaves_fails_by_itself() {
    let deadly = job("if [ $N = 3 ]; then kill -9 $PPID; sleep 1; fi").then("echo $N");
    let repository = Repository::of(&deadly.atoms(8));
    let mut farm = Farm::start(&[1, 1, 1]).await;
    let build = farm.submit(&repository.request()).await;
    let client = farm.client();
    wait_for("the build is over", async || {
        farm.restart_ended_slaves();
        let view = client.build(build).await.unwrap();
        view.status.is_over().then_some(())
    })
    .await;
    let view = farm.end_of(build).await.fails(&[(3, 125)]);
    assert_eq!((view.num_atoms_failed, view.num_atoms_in_trouble), (1, 1));
    let failed = view.failed_atoms.as_ref().unwrap();
    let trouble = "poison: 3 slaves were lost while they ran it";
    assert_eq!(failed[0].trouble.as_deref(), Some(trouble));
    let console = farm.console(build, &failed[0]).await;
    assert!(console.contains("3 slaves were lost"), "{console}");
    let files = zip_of(&farm, build).await;
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let file = |name: &str| text(&format!("artifact_2_0/{name}"));
    assert_eq!(file("clusterrunner_exit_code"), "125\n");
    assert!(file("clusterrunner_command").contains("export N=\"3\";"));
    assert_eq!(file("clusterrunner_console_output"), console);
    assert_eq!(text("failures.txt"), "artifact_2_0");
    let shown = said(&farm, &["status", &build.to_string()]);
    assert!(shown.contains("poison: 3 slaves"), "{shown}");
    // The last one may be on its way back.
    farm.restart_ended_slaves();
    farm.wait_for_slaves(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_can_not_set_up_what_others_can_is_quarantined_until_undrained() {
    let farm = Farm::start(&[1, 1]).await;
    let repository = Repository::empty();
    let (mended, tried) = (repository.outside("mended"), repository.outside("tried"));
    let setup = format!(
        "case $PWD in {}/*) touch '{tried}'; test -e '{}' || {{ echo no compiler; exit 7; }};; esac",
        farm.slave_directory(1).display(),
        mended.display(),
        tried = tried.display()
    );
    // The build is not over before the second slave has tried to set it up.
    let atom = format!("until test -e '{}'; do sleep 0.02; done", tried.display());
    repository.commit_job(&job(atom).setup(setup));
    farm.run(&repository.request()).await.passes();
    let reason = wait_for_quarantine(&farm, 1).await;
    assert!(reason.contains("no compiler"), "{reason}");
    assert!(reason.contains("exited with 7"), "{reason}");
    assert!(!view_of(&farm, 0).await.is_quarantined);
    let shown = said(&farm, &["slaves"]);
    assert!(shown.contains("quarantined"), "{shown}");
    assert!(shown.contains("no compiler"), "{shown}");

    fs::write(&mended, "").unwrap();
    let told = said(&farm, &["undrain", &farm.slave_address(1)]);
    assert!(told.contains("released from quarantine"), "{told}");
    farm.run(&repository.request()).await.passes();
    assert!(!view_of(&farm, 1).await.is_quarantined);
    farm.wait_for_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_on_which_everything_fails_is_found_before_it_harms_many() {
    let farm = Farm::start(&[1, 1]).await;
    let sound = farm.slave_directory(0);
    let command = format!(
        "case $PWD in {}/*) sleep 0.05;; *) exit 9;; esac",
        sound.display()
    );
    let view = farm.runs(&job(command).atoms(40)).await;
    assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
    assert_eq!(view.num_atoms_completed, 40);
    // What it failed after that was run elsewhere before it counted.
    assert!(view.num_atoms_failed <= 2, "{view:?}");
    let reason = wait_for_quarantine(&farm, 1).await;
    assert!(reason.contains("failed while others passed"), "{reason}");
    let next = view_of(&farm, 1).await.next_probe_at.unwrap();
    let left = next - Timestamp::now().as_unix_seconds();
    assert!((0.0..=60.0).contains(&left), "{left}");
    for command in ["slaves", "status"] {
        let shown = said(&farm, &[command]);
        assert!(shown.contains("failed while others passed"), "{shown}");
        assert!(shown.contains("it is tried again in"), "{shown}");
    }
    farm.wait_for_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_slave_is_blamed_for_a_test_that_always_fails() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    let note = job(format!("echo $N >> '{}'", log.display()));
    let fail = "if [ $N = 1 ]; then sleep 0.2; exit 1; else sleep 0.05; fi";
    repository.commit_job(&note.then(fail).atoms(3));
    let farm = Farm::start(&[2, 2]).await;
    let mut builds = Vec::new();
    for _ in 0..10 {
        builds.push(farm.submit(&repository.request()).await);
    }
    for build in builds {
        let view = farm.end_of(build).await.fails(&[(1, 1)]);
        assert_eq!((view.num_atoms_completed, view.num_atoms_failed), (3, 1));
    }
    for slave in 0..2 {
        assert!(!view_of(&farm, slave).await.is_quarantined);
    }
    // At most once another slave was asked.
    let runs = runs(&log);
    assert!(
        runs[&1] <= 11 && runs[&2] == 10 && runs[&3] == 10,
        "{runs:?}"
    );
    farm.wait_for_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_slave_finishes_its_work_and_takes_none_until_undrained() {
    let gate = Gate::new(4);
    let mut farm = Farm::start(&[1, 1]).await;
    let build = farm.submit(&gate.request()).await;
    gate.wait_for_runs(2).await;
    let drained = said(&farm, &["drain", &farm.slave_address(0)]);
    assert!(drained.contains("finishes its running atoms"), "{drained}");
    let view = view_of(&farm, 0).await;
    assert!(
        view.is_drained && view.num_executors_in_use == 1,
        "{view:?}"
    );
    gate.open();
    said(&farm, &["drain", "--wait", &view.id.to_string()]);
    farm.end_of(build).await.passes();
    assert!(gate.ran_once());
    let of_first = farm.subjobs(build).await;
    let of_first = of_first
        .iter()
        .filter(|subjob| subjob.slave.as_deref() == Some(&farm.slave_address(0)));
    assert_eq!(of_first.count(), 1, "it ran what it had");

    // Nobody forgets it: not the master, not the slave.
    farm.stop_master();
    farm.stop_slave(0);
    farm.start_master().await;
    farm.restart_slave(0, 1);
    let slaves = farm.wait_for_slaves(2).await;
    let drained: Vec<bool> = slaves.iter().map(|slave| slave.is_drained).collect();
    assert_eq!(drained.iter().filter(|drained| **drained).count(), 1);
    let host = farm.slave_address(0);
    let host = host.rsplit_once(':').unwrap().0;
    said(&farm, &["drain", host]);
    let build = farm.submit(&gate.request()).await;
    let client = farm.client();
    let details = wait_for("the build is prepared", async || {
        client.build(build).await.unwrap().details
    })
    .await;
    let waits = "It waits: no slave takes work: 2 drained.";
    assert!(details.contains(waits), "{details}");
    said(&farm, &["undrain", host]);
    farm.end_of(build).await.passes();
    let unknown = farm.user(&["drain", "nowhere"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

async fn wait_for_withdrawal(farm: &Farm, slave: usize) {
    wait_for("the slave takes nothing new", async || {
        view_of(farm, slave).await.is_in_shutdown_mode.then_some(())
    })
    .await;
}

async fn withdrawing(atoms: u32, executors: &[u32]) -> (Farm, Gate, BuildId) {
    let mut farm = Farm::with(&Extra {
        slave: "drain_on_stop = True",
        ..Extra::default()
    });
    farm.start_all(executors).await;
    let gate = Gate::new(atoms);
    let build = farm.submit(&gate.request()).await;
    let num_executors: u32 = executors.iter().sum();
    gate.wait_for_runs(num_executors as usize).await;
    farm.signal_slave(0, Signal::TERM);
    wait_for_withdrawal(&farm, 0).await;
    (farm, gate, build)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_drains_on_stop_delivers_what_it_runs_and_ends() {
    let (mut farm, gate, build) = withdrawing(5, &[1, 1]).await;
    assert!(!farm.has_ended(0));
    gate.open();
    assert_eq!(farm.end_of_slave(0).await.code(), Some(0));
    farm.end_of(build).await.passes();
    assert!(gate.ran_once());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_its_atom_runs_elsewhere() {
    let (mut farm, gate, build) = withdrawing(2, &[1]).await;
    farm.signal_slave(0, Signal::TERM);
    assert_eq!(farm.end_of_slave(0).await.code(), Some(0));
    farm.start_slave(1);
    gate.open();
    farm.end_of(build).await.passes();
    assert_eq!(runs(&gate.log)[&1], 2);
    // It is stopped by the first signal too where nothing runs.
    farm.wait_for_rest().await;
    farm.signal_slave(1, Signal::TERM);
    assert_eq!(farm.end_of_slave(1).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tear_down_that_fails_is_a_warning() {
    let farm = Farm::start(&[1]).await;
    let mounted = job("echo on")
        .teardown("echo still mounted")
        .teardown("exit 3");
    let build = farm.runs(&mounted).await.id;
    let client = farm.client();
    let warnings = wait_for("there is a warning", async || {
        let view = client.build(build).await.unwrap();
        assert_eq!(view.result, Some(BuildResult::NoFailures));
        (!view.warnings.is_empty()).then_some(view.warnings)
    })
    .await;
    assert!(
        warnings[0].contains("teardown_build exited with 3"),
        "{warnings:?}"
    );
    assert!(warnings[0].contains("still mounted"), "{warnings:?}");
    let shown = said(&farm, &["status", &build.to_string()]);
    assert!(shown.contains("still mounted"), "{shown}");
}
