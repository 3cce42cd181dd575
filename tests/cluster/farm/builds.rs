//! What tests ask of a farm's master: builds, and that slaves are there or everybody is at rest.

use super::{Farm, object};
use crate::outcome::Over;
use crate::wait::wait_for;
use clusterrunner_common::api::{AtomView, BuildView, SlaveView, SubjobView};
use clusterrunner_common::ids::BuildId;
use serde_json::Value;

impl Farm {
    /// Submits a build.
    pub(crate) async fn submit(&self, request: &Value) -> BuildId {
        self.client().submit_params(&object(request)).await.unwrap()
    }

    /// Waits until a build is as `condition` wants it.
    pub(crate) async fn wait_for_build(
        &self,
        build: BuildId,
        what: &str,
        condition: impl Fn(&BuildView) -> bool,
    ) -> BuildView {
        let client = self.client();
        wait_for(&format!("build {build}: {what}"), async || {
            let view = client.build(build).await.unwrap();
            condition(&view).then_some(view)
        })
        .await
    }

    /// Waits for the end of a build.
    pub(crate) async fn end_of(&self, build: BuildId) -> Over {
        let over = |view: &BuildView| view.status.is_over();
        Over(self.wait_for_build(build, "it is over", over).await)
    }

    /// Runs a build from beginning to end.
    pub(crate) async fn run(&self, request: &Value) -> Over {
        let build = self.submit(request).await;
        self.end_of(build).await
    }

    /// All subjobs of a build.
    pub(crate) async fn subjobs(&self, build: BuildId) -> Vec<SubjobView> {
        self.client().subjobs(build).await.unwrap()
    }

    /// All atoms of a build.
    pub(crate) async fn atoms(&self, build: BuildId) -> Vec<AtomView> {
        let subjobs = self.subjobs(build).await.into_iter();
        subjobs.flat_map(|subjob| subjob.atoms).collect()
    }

    /// An atom's whole output as the API gives it.
    pub(crate) async fn console(&self, build: BuildId, atom: &AtomView) -> String {
        let client = self.client();
        let console = client.console(build, atom.subjob_id, atom.id, 1_000_000, Some(0));
        console.await.unwrap().content
    }

    /// Waits until so many slaves are alive; all that the master knows.
    pub(crate) async fn wait_for_slaves(&self, number: usize) -> Vec<SlaveView> {
        let client = self.client();
        wait_for(&format!("{number} slaves are in contact"), async || {
            let slaves = client.slaves().await.unwrap();
            let alive = slaves.iter().filter(|slave| slave.is_alive).count();
            (alive == number).then_some(slaves)
        })
        .await
    }

    /// Waits until the master and its slaves have nothing left to do: no executor in use, no build set
    /// up anywhere, no file of one on any slave that was not killed.
    pub(crate) async fn wait_for_rest(&self) {
        let client = self.client();
        wait_for("the farm is at rest", async || {
            let slaves = client.slaves().await.unwrap();
            let idle = |slave: &SlaveView| {
                slave.num_executors_in_use == 0 && slave.current_build_id.is_none()
            };
            let at_rest = slaves.iter().filter(|slave| slave.is_alive).all(idle);
            (at_rest && self.leftovers().is_empty()).then_some(())
        })
        .await;
    }
}
