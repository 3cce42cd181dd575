//! Results that the master has not acknowledged outlive the slave's process: no atom runs again for
//! which there is a result, and none counts twice.

use crate::farm::Farm;
use crate::gate::Gate;
use crate::outcome::Over;
use crate::wait::wait_for;
use crate::whole_build::runs;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;

/// A slave that has two results, and no master to give them to.
struct Scene {
    farm: Farm,
    build: BuildId,
    gate: Gate,
}

impl Scene {
    async fn set() -> Self {
        let gate = Gate::with(|job| job.then("echo ran $N").then("test $N = 1").atoms(2));
        let mut farm = Farm::start(&[2]).await;
        let build = farm.submit(&gate.request()).await;
        gate.wait_for_runs(2).await;
        let known = |view: &BuildView| view.num_atoms_in_progress == 2;
        farm.wait_for_build(build, "the master knows it", known)
            .await;
        farm.kill_master();
        gate.open();
        wait_for("both results wait", async || {
            let waiting = farm
                .output("slave 0")
                .matches("a result was not delivered")
                .count();
            (waiting == 2).then_some(())
        })
        .await;
        Self { farm, build, gate }
    }

    fn num_runs(&self) -> usize {
        runs(&self.gate.log).values().sum()
    }

    async fn check_end(&self, times: usize) -> Over {
        let view = self.farm.end_of(self.build).await.fails(&[(2, 1)]);
        assert_eq!((view.num_atoms_completed, view.num_atoms_failed), (2, 1));
        for (atom, n) in self.farm.atoms(self.build).await.iter().zip(1..) {
            assert_eq!(atom.exit_code, Some(n - 1), "{atom:?}");
            let console = self.farm.console(self.build, atom).await;
            assert_eq!(console, format!("ran {n}\n"));
        }
        self.farm.wait_for_rest().await;
        assert_eq!(self.num_runs(), 2 * times);
        view
    }
}

#[tokio::test]
async fn a_killed_slave_delivers_what_it_had_when_it_is_back() {
    let mut scene = Scene::set().await;
    scene.farm.kill_slave(0);
    scene.farm.restart_slave(0, 2);
    scene.farm.start_master().await;
    scene.check_end(1).await;
}

#[tokio::test]
async fn results_count_also_when_the_slave_was_lost_meanwhile() {
    let mut scene = Scene::set().await;
    scene.farm.kill_slave(0);
    scene.farm.start_master().await;
    scene.farm.wait_for_slaves(0).await;
    // And when it dies once more before it hears what becomes of them.
    scene.farm.restart_slave(0, 2);
    scene.farm.kill_slave(0);
    scene.farm.restart_slave(0, 2);
    scene.check_end(1).await;
}

#[tokio::test]
async fn a_slave_that_is_stopped_keeps_what_nobody_took() {
    let mut scene = Scene::set().await;
    let status = scene.farm.stop_slave(0);
    assert!(status.success(), "it ended with {status}");
    scene.farm.start_master().await;
    scene.farm.restart_slave(0, 2);
    scene.check_end(1).await;
}

/// Work that went to another slave counts there; what the first one still has is dropped.
#[tokio::test]
async fn results_that_others_made_meanwhile_do_not_count_again() {
    let mut scene = Scene::set().await;
    scene.farm.kill_slave(0);
    scene.farm.start_master().await;
    scene.farm.wait_for_slaves(0).await;
    scene.farm.start_slave(2);
    let view = scene.check_end(2).await;
    scene.farm.restart_slave(0, 2);
    scene.farm.wait_for_slaves(2).await;
    scene.farm.wait_for_rest().await;
    assert_eq!(
        scene.farm.client().build(scene.build).await.unwrap(),
        view.0
    );
}
