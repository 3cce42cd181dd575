//! Slaves that are told to end when they have finished what they run.

use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use crate::whole_build::{ATOMS, check_results, many_atoms, runs};
use clusterrunner_common::api::BuildStatus;
use std::process::Stdio;

fn shut_down(farm: &Farm, arguments: &[&str]) {
    let mut command = farm.command();
    command.args(["shutdown", "--master-url", &farm.master_address()]);
    let output = command.args(arguments).stderr(Stdio::piped()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_finishes_what_it_runs_and_ends_while_the_build_goes_on() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.05"))]);
    let mut farm = Farm::start(&[2, 2]).await;
    let slaves = farm.client().slaves().await.unwrap();
    let of = |slave: usize| {
        let address = farm.slave_address(slave);
        let found = slaves.iter().find(|view| view.url == address);
        found.expect("it is in contact").id.to_string()
    };
    let (first, second) = (of(0), of(1));
    let build = farm.submit(&repository.request()).await;
    wait_for("some atoms have run", async || {
        (runs(&log).len() >= 20).then_some(())
    })
    .await;
    shut_down(&farm, &["--slave-id", &first]);
    assert_eq!(farm.end_of_slave(0).await.code(), Some(0));
    assert_eq!(farm.client().slaves().await.unwrap().len(), 1);
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    let runs = runs(&log);
    assert_eq!(runs.len(), ATOMS as usize);
    let again: Vec<_> = runs.iter().filter(|(_, times)| **times > 1).collect();
    assert!(
        again.is_empty(),
        "these atoms ran more than once: {again:?}"
    );

    // One without work goes at once, and is no slave of this master any more.
    shut_down(&farm, &["--all-slaves"]);
    assert_eq!(farm.end_of_slave(1).await.code(), Some(0));
    assert!(farm.client().slaves().await.unwrap().is_empty());
    let mut again = farm.command();
    again.args(["shutdown", "-s", &second]);
    again.args(["--master-url", &farm.master_address()]);
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(" has no slave "), "{said}");
    // A slave that is started in its place works.
    farm.restart_slave(1, 2);
    farm.wait_for_slaves(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_meanwhile_still_ends_the_slave_and_the_build_waits_for_another() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    let jobs = format!(
        "Slow:\n  commands:\n    - echo \"$N\" >> '{}'\n    - sleep 2\n  atomizers:\n    - N: seq 1 3\n",
        log.display()
    );
    repository.commit(&[("clusterrunner.yaml", &jobs)]);
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("the first atom runs", async || {
        (!runs(&log).is_empty()).then_some(())
    })
    .await;
    shut_down(&farm, &["--all-slaves"]);
    farm.kill_master();
    farm.start_master().await;
    assert_eq!(farm.end_of_slave(0).await.code(), Some(0));
    assert!(farm.client().slaves().await.unwrap().is_empty());
    let view = farm.client().build(build).await.unwrap();
    assert_eq!(view.status, BuildStatus::Building);
    assert_eq!(view.num_atoms_completed, 1, "what it ran counts");
    farm.start_slave(2);
    farm.end_of(build).await.passes();
    assert!(runs(&log).values().all(|times| *times == 1));
}
