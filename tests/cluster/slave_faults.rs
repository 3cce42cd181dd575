//! Slaves that die, come back, or are stopped in the middle of a build: the results are those of a
//! build in which nothing happened.

use crate::farm::Farm;
use crate::job::job;
use crate::processes;
use crate::repository::Repository;
use crate::wait::{measure, wait_for};
use crate::whole_build::{ATOMS, check_results, many_atoms, runs};
use clusterrunner_common::api::BuildStatus;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::guardian::GUARD;
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;

/// A build of many atoms, well under way.
struct Scene {
    farm: Farm,
    build: BuildId,
    log: PathBuf,
    _repository: Repository,
}

impl Scene {
    async fn set(slaves: &[u32]) -> Self {
        let repository = Repository::empty();
        let log = repository.outside("runs");
        repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.05"))]);
        let farm = Farm::start(slaves).await;
        let build = farm.submit(&repository.request()).await;
        let scene = Self {
            farm,
            build,
            log,
            _repository: repository,
        };
        scene.wait_for_runs(40).await;
        scene
    }

    async fn wait_for_runs(&self, number: usize) {
        wait_for(&format!("{number} atoms have run"), async || {
            (runs(&self.log).len() >= number).then_some(())
        })
        .await;
    }

    /// Waits for the end and checks that each atom has one result, the right one. Which atoms had
    /// to run twice depends on the moment, but it can only be those that a lost slave had.
    async fn check_end(&self, lost_at_most: usize) {
        let view = self.farm.end_of(self.build).await;
        check_results(&self.farm, &view).await;
        self.farm.wait_for_rest().await;
        let runs = runs(&self.log);
        assert_eq!(runs.len(), ATOMS as usize);
        let again = runs.values().filter(|times| **times > 1).count();
        assert!(again <= lost_at_most, "{again} atoms ran more than once");
    }
}

/// How many atoms a slave with two executors may lose: those that run, those that were sent ahead,
/// those whose results are on the way.
const HELD: usize = 12;

#[tokio::test]
async fn a_slave_is_killed() {
    let mut scene = Scene::set(&[2, 2, 2]).await;
    scene.farm.kill_slave(1);
    let client = scene.farm.client();
    measure("a killed slave is given up", async || {
        let slaves = client.slaves().await.unwrap();
        slaves.iter().any(|slave| !slave.is_alive).then_some(())
    })
    .await;
    scene.check_end(HELD).await;
    let slaves = scene.farm.wait_for_slaves(2).await;
    let dead: Vec<&str> = slaves
        .iter()
        .filter(|slave| !slave.is_alive)
        .map(|slave| slave.url.as_str())
        .collect();
    assert_eq!(dead, [scene.farm.slave_address(1)]);
}

#[tokio::test]
async fn a_slave_is_killed_and_comes_back() {
    let mut scene = Scene::set(&[2, 2]).await;
    scene.farm.kill_slave(0);
    scene.farm.restart_slave(0, 2);
    scene.wait_for_runs(90).await;
    // Once more, now that the master has forgotten the first life perhaps.
    scene.farm.kill_slave(0);
    scene.farm.restart_slave(0, 2);
    scene.check_end(2 * HELD).await;
    scene.farm.wait_for_slaves(2).await;
}

#[tokio::test]
async fn the_only_slave_is_killed_and_comes_back_late() {
    let mut scene = Scene::set(&[2]).await;
    scene.farm.kill_slave(0);
    scene.farm.wait_for_slaves(0).await;
    let view = scene.farm.client().build(scene.build).await.unwrap();
    assert_eq!(view.status, BuildStatus::Building, "it waits: {view:?}");
    scene.farm.restart_slave(0, 2);
    scene.check_end(HELD).await;
}

/// Machines that are replaced by others: nothing waits for those that were there first.
#[tokio::test]
async fn all_slaves_are_killed_and_others_come() {
    let mut scene = Scene::set(&[2, 2]).await;
    scene.farm.kill_slave(0);
    scene.farm.kill_slave(1);
    scene.farm.wait_for_slaves(0).await;
    scene.farm.start_slave(2);
    scene.farm.start_slave(2);
    let before = runs(&scene.log).len();
    measure("new slaves run the first atom", async || {
        (runs(&scene.log).len() > before).then_some(())
    })
    .await;
    scene.check_end(2 * HELD).await;
    scene.farm.wait_for_slaves(2).await;
}

/// What the slave ends because it is stopped must not count as failed.
#[tokio::test]
async fn a_slave_is_stopped() {
    let mut scene = Scene::set(&[2, 2]).await;
    let status = scene.farm.stop_slave(1);
    assert!(status.success(), "it ended with {status}");
    scene.check_end(HELD).await;
}

#[tokio::test]
async fn the_only_slave_is_stopped_and_comes_back() {
    let mut scene = Scene::set(&[2]).await;
    let status = scene.farm.stop_slave(0);
    assert!(status.success(), "it ended with {status}");
    let mark = scene.farm.mark() + "/slave-";
    assert_eq!(
        processes::with_text(&mark).len(),
        0,
        "it has left something"
    );
    scene.farm.restart_slave(0, 2);
    scene.check_end(HELD).await;
}

/// A slave that hangs is given up like one that is dead; when it goes on, its late results do no
/// harm.
#[tokio::test]
async fn a_slave_hangs_for_a_while() {
    let scene = Scene::set(&[2, 2]).await;
    scene.farm.signal_slave(1, Signal::STOP);
    let slaves = scene.farm.wait_for_slaves(1).await;
    assert_eq!(slaves.iter().filter(|slave| !slave.is_alive).count(), 1);
    scene.farm.signal_slave(1, Signal::CONT);
    let client = scene.farm.client();
    measure("a slave that hung is back", async || {
        let slaves = client.slaves().await.unwrap();
        (slaves.iter().filter(|slave| slave.is_alive).count() == 2).then_some(())
    })
    .await;
    scene.check_end(HELD).await;
    scene.farm.wait_for_slaves(2).await;
}

/// What a killed slave leaves running is ended when the slave is started again, before it takes work.
#[tokio::test]
async fn a_slave_that_comes_back_ends_what_its_last_life_left() {
    let repository = Repository::empty();
    let first = repository.outside("first");
    let marker = &format!("MARKER={}", repository.path().display());
    let once = format!(
        "mkdir '{}' && setsid sleep 300 || echo again",
        first.display()
    );
    repository.commit_job(&job(format!("export {marker}")).then(once).atoms(1));
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("the atom waits", async || {
        (first.exists() && !processes::with_text(marker).is_empty()).then_some(())
    })
    .await;
    // The process that would end it without the slave is killed too, as by the end of a whole session.
    let guardian = format!("{GUARD}\0{}", farm.slave_directory(0).display());
    processes::kill_with_text(&guardian);
    farm.kill_slave(0);
    assert!(!processes::with_text(marker).is_empty());
    farm.restart_slave(0, 1);
    farm.end_of(build).await.passes();
    let left = processes::with_text(marker);
    assert!(left.is_empty(), "{left:?}");
    farm.wait_for_rest().await;
}

/// An atom that ends its slave each time is not handed out for ever, and its build still ends.
#[tokio::test]
async fn an_atom_that_ends_its_slave_does_not_hold_the_farm() {
    let repository = Repository::empty();
    let pids = repository.outside("pids");
    let job = job(format!("echo x >> '{}'", pids.display())).then("sleep 300");
    repository.commit_job(&job.atoms(1));
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let tries = || {
        fs::read_to_string(&pids)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let client = farm.client();
    for try_number in 1.. {
        let over = wait_for("the atom runs again, or the build is over", async || {
            let over = client.build(build).await.unwrap().status.is_over();
            (over || tries() >= try_number).then_some(over)
        })
        .await;
        if over {
            break;
        }
        assert!(try_number <= 10, "it is handed out again and again");
        farm.kill_slave(0);
        farm.restart_slave(0, 1);
    }
    let view = farm.end_of(build).await.fails(&[(1, 125)]);
    let failed = view.failed_atoms.as_ref().unwrap();
    let trouble = failed[0].trouble.as_deref().unwrap();
    assert!(trouble.contains("3 slaves were lost"), "{trouble}");

    farm.works().await;
}
