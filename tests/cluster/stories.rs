//! What many tests do with a farm.

use crate::farm::Farm;
use crate::job::{Job, job};
use crate::machine::Ended;
use crate::outcome::Over;
use crate::repository::Repository;
use clusterrunner_common::ids::BuildId;

impl Farm {
    /// Runs a build of a project with one job.
    pub(crate) async fn runs(&self, job: &Job) -> Over {
        self.run(&Repository::of(job).request()).await
    }

    /// What each atom of a build printed.
    pub(crate) async fn consoles(&self, build: BuildId) -> Vec<String> {
        let mut consoles = Vec::new();
        for atom in self.atoms(build).await {
            consoles.push(self.console(build, &atom).await);
        }
        consoles
    }

    /// Runs one more build, as if nothing had been, and waits until all are at rest.
    pub(crate) async fn works(&self) {
        let build = self.runs(&job("echo on")).await.passes();
        assert_eq!(self.consoles(build.id).await, ["on\n"; 4]);
        self.wait_for_rest().await;
    }

    /// Runs a command of this farm's user to its end.
    pub(crate) fn user(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command();
        command.args(arguments);
        command.args(["--master-url", &self.master_address()]);
        command.output().unwrap().into()
    }
}
