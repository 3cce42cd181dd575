//! Taking a build's project away again.

use super::masked::Masked;
use super::{HURRIED_TEARDOWN, Setup, failed, last_lines};
use crate::build_template::TemplatePlaces;
use crate::data_directory::{TEARDOWN_OUTPUT, remove_all};
use crate::deliver::steps::EndedStep;
use crate::work::Project;
use clusterrunner_common::api::StepKind;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::command::Ended;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

impl Setup {
    /// Takes away what may be left of a build's project, so that it can be set up again.
    pub(crate) async fn make_room(&self, build: BuildId) {
        // They have the old directory.
        self.end_containers(build).await;
        self.end_left(build).await;
        self.sources
            .mirrors
            .remove_work_tree(&self.data, build)
            .await;
    }

    /// Undoes all of a build: `teardown_build`, whatever still runs, every file. Nothing that
    /// fails here fails more than itself. `hurry` gives `teardown_build` a time limit. Says how
    /// `teardown_build` failed, if it did.
    pub(crate) async fn clean_up(
        &self,
        build: BuildId,
        project: Option<Project>,
        hurry: &CancellationToken,
    ) -> Option<String> {
        let mut trouble = None;
        if let Some(project) = &project
            && let Some(teardown_build) = &project.teardown_build
        {
            let torn_down = self.run_teardown(build, teardown_build, project, hurry);
            trouble = torn_down.await.err();
            if let Some(trouble) = &trouble {
                tracing::warn!(build.id = %build, "{trouble}");
            }
        }
        self.end_containers(build).await;
        self.taken.give_up(build);
        self.sweeper.end(self.data.build_mark(build)).await;
        // Who gave up its mark would write to the work tree still.
        self.end_left(build).await;
        self.sources
            .mirrors
            .remove_work_tree(&self.data, build)
            .await;
        let (data, isolator) = (Arc::clone(&self.data), Arc::clone(&self.isolator));
        let places = project.filter(|project| TemplatePlaces::are_of(&project.variables));
        let places = places.map(|_| self.templates.clone());
        let secret_files = self.secret_files.clone();
        let removed = spawn_blocking(move || {
            isolator.forget(build);
            if let Some(places) = places {
                places.remove_left();
            }
            secret_files.remove(build);
            for path in [data.artifacts(build), data.results(build)] {
                if let Err(error) = remove_all(&path) {
                    tracing::warn!(build.id = %build, path = %path.display(), %error, "could not remove what a build left");
                }
            }
        });
        if let Err(error) = removed.await {
            tracing::error!(build.id = %build, %error, "the task that removes a build's files failed");
        }
        trouble
    }

    async fn run_teardown(
        &self,
        build: BuildId,
        teardown_build: &str,
        project: &Project,
        hurry: &CancellationToken,
    ) -> Result<(), String> {
        let not_run =
            |error: &dyn std::fmt::Display| format!("teardown_build was not run: {error}");
        let made = self.output(build, TEARDOWN_OUTPUT).await;
        let (output, file) = made.map_err(|error| not_run(&error))?;
        let cut_off = CancellationToken::new();
        let command = self.command(build, teardown_build, project);
        let masked = self.masked(file, &command);
        let (file, masked) = masked.map_err(|error| not_run(&error))?;
        let began_at = Timestamp::now();
        let run = async {
            let limit = project.teardown_timeout;
            match &project.image {
                None => {
                    let enclosure = self.enclosed(build, project, &command).await?;
                    let run = self.run_enclosed(command, enclosure, (file, limit), &cut_off);
                    run.await.map(|ran| ran.end)
                }
                Some(image) => {
                    let contained =
                        self.contained(build, command, project, Arc::clone(image), false);
                    let run = contained.run(file, &cut_off, limit);
                    run.await.map(|ran| ran.end).map_err(failed(image))
                }
            }
        };
        let limit = async {
            hurry.cancelled().await;
            tokio::time::sleep(HURRIED_TEARDOWN).await;
            cut_off.cancel();
            std::future::pending::<()>().await;
        };
        let end = tokio::select! {
            end = run => end,
            () = limit => Ok(Ended::TimedOut.into()),
        };
        Masked::end(masked).await;
        let end = end.map_err(|error| not_run(&error))?;
        let step = EndedStep {
            kind: StepKind::Teardown,
            ended: end.ended,
            hit: end.hit,
            limit: project.teardown_timeout,
            began_at,
            output: output.clone(),
        };
        self.steps.deliver(build, step).await;
        let how = match (end.ended, project.teardown_timeout) {
            (Ended::Exited(0), _) => return Ok(()),
            (Ended::Exited(code), _) => format!("exited with {code}"),
            (Ended::Signaled(signal), _) => format!("was killed by signal {signal}"),
            (Ended::TimedOut, Some(limit)) if !hurry.is_cancelled() => {
                format!("timed out after {} s", limit.as_secs())
            }
            (Ended::Canceled | Ended::TimedOut, _) => "timed out and was killed".to_owned(),
        };
        let output = last_lines(output, self.max_output).await;
        Err(format!("teardown_build {how}{}{output}", end.told()))
    }

    /// Ends what a build has of containers.
    async fn end_containers(&self, build: BuildId) {
        let containers = Arc::clone(&self.containers);
        if let Err(error) = spawn_blocking(move || containers.end(build)).await {
            tracing::error!(build.id = %build, %error, "the task that ends a build's containers failed");
        }
    }
}
