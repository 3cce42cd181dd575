//! The build of a pushed commit: queued, followed for the pusher, canceled when the pusher leaves.

use super::meeting::{Hook, Left};
use super::updates::Meaningless;
use super::{Opened, Pushes, told};
use crate::consoles::{ConsoleFailure, Follower, Step, happens};
use crate::coordinator::{ClusterHandle, CommandFailure, Gone, asked_from, asking_address};
use crate::read::builds::ReadError;
use clusterrunner_common::git::CommitId;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::variables::{self, Variables};
use clusterrunner_common::templates::{Recipe, usable_name};
use clusterrunner_common::work::ProjectSource;
use clusterrunner_common::work::product_build::product_build;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::build::BuildState;
use clusterrunner_core::builds::details::NewDetails;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Fact};
use serde_json::Value;
use std::net::IpAddr;

/// Why a push is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// For the pusher.
    #[error("{0}")]
    Refused(String),
    /// It means nothing.
    #[error(transparent)]
    Meaningless(#[from] Meaningless),
    /// The core refuses something.
    #[error(transparent)]
    Command(#[from] CommandFailure),
    /// The master ends.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The build can not be read.
    #[error("the build can not be read: {0}")]
    Read(#[from] ReadError),
    /// What the build prints can not be read.
    #[error("the output of the build can not be read: {0}")]
    Console(#[from] ConsoleFailure),
    /// There is nobody to tell.
    #[error(transparent)]
    Left(#[from] Left),
}

/// A build that somebody waits for. It is canceled when this is dropped before it is over.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// The build.
    pub(super) build: BuildId,
    by: Actor,
    /// The address of who waits.
    from: Option<IpAddr>,
    cluster: ClusterHandle,
    is_over: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (cluster, by, build) = (self.cluster.clone(), self.by, self.build);
        let cancel = async move {
            if let Err(error) = cluster.command(Command::CancelBuild { by, build }).await {
                tracing::warn!(%error, build.id = %build, "the build of a push could not be canceled");
            }
        };
        tokio::spawn(asked_from(self.from, cancel));
    }
}

/// What the environment of a build is made of.
struct Config {
    variables: Variables,
    /// Names of variables that no build can have.
    left_out: Vec<String>,
    has_slaves: bool,
}

impl Pushes {
    /// Queues the build of a commit.
    pub(super) async fn queue(
        &self,
        opened: &Opened,
        commit: &CommitId,
        branch: &str,
        hook: &mut Hook,
    ) -> Result<UnderWay, NotTaken> {
        let config = self.config(opened).await?;
        for name in &config.left_out {
            let line =
                format!("The variable {name} is not set for the build: it is not allowed there.");
            hook.say(told::detail(&line)).await?;
        }
        let source = ProjectSource::Own {
            project: opened.project,
            commit: Some(commit.to_string()),
        };
        let recipe = Recipe::default();
        let name = usable_name(&opened.app);
        let request = product_build(source, &name, &recipe, config.variables, false);
        let by = Actor::User(opened.caller.id);
        let queue = Command::QueueBuildOf {
            by,
            project: opened.project,
            request: Box::new(request),
            details: NewDetails {
                description: Some(format!("git push of {branch}")),
                ..NewDetails::default()
            },
        };
        let events = self.parts.cluster.command(queue).await?;
        let queued = events.iter().find_map(|event| match &event.fact {
            Fact::Build(build, BuildFact::Queued { .. }) => Some(*build),
            _ => None,
        });
        let under_way = UnderWay {
            build: queued.ok_or(Gone)?,
            by,
            from: asking_address(),
            cluster: self.parts.cluster.clone(),
            is_over: false,
        };
        let line = format!("Building {} (build {})", opened.app, under_way.build);
        hook.say(told::step(&line)).await?;
        if !config.has_slaves {
            let line = "No slave of the farm is there: the build waits for one.";
            hook.say(told::detail(line)).await?;
        }
        Ok(under_way)
    }

    async fn config(&self, opened: &Opened) -> Result<Config, NotTaken> {
        let (project, id) = (opened.project, opened.app.clone());
        let look = move |cluster: &Cluster| {
            let app = cluster.app(project).filter(|app| app.id == id)?;
            let values = app.config_of(app.newest()).values.clone();
            let has_slaves = cluster.slaves().any(|slave| slave.is_alive());
            Some((values, has_slaves))
        };
        let found = self.parts.cluster.read(look).await?;
        let gone = || NotTaken::Refused("The app was deleted meanwhile.".to_owned());
        let (values, has_slaves) = found.ok_or_else(gone)?;
        let mut config = Config {
            variables: Variables::default(),
            left_out: Vec::new(),
            has_slaves,
        };
        for (name, value) in values {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            match variables::check(&name, &text) {
                Ok(()) => config.variables.set(name, text),
                Err(_) => config.left_out.push(name),
            }
        }
        Ok(config)
    }

    /// Shows the pusher what the build prints, until it is over. Returns what it has left, as an app names it.
    pub(super) async fn follow(
        &self,
        under_way: &mut UnderWay,
        commit: &CommitId,
        hook: &mut Hook,
    ) -> Result<String, NotTaken> {
        let build = under_way.build;
        let mut feed = self.parts.feed.reader_after(self.parts.feed.latest());
        let mut follower = Follower::new(self.parts.consoles.clone(), build);
        loop {
            match follower.next().await? {
                Step::Lines(lines) => {
                    for line in lines {
                        hook.say(told::detail(&line)).await?;
                    }
                }
                Step::Later(pause) => {
                    if happens(&mut feed, build, pause).await {
                        follower.look_again();
                    }
                }
                Step::End => break,
            }
        }
        under_way.is_over = true;
        self.left_by(build, commit).await
    }

    /// The template that a build has left.
    async fn left_by(&self, build: BuildId, commit: &CommitId) -> Result<String, NotTaken> {
        type Ended = (BuildState, u64, Option<String>);
        let ended = |known: &clusterrunner_core::builds::build::Build| -> Ended {
            let product = known.request.product.as_ref();
            let name = product.map(|product| product.name.clone());
            (known.state.clone(), known.atoms_failed, name)
        };
        let builds = &self.parts.consoles.builds;
        let seen = builds.seen(
            build,
            move |_, known| ended(known),
            |archived| ended(&archived.build),
        );
        let refused = |reason: String| Err(NotTaken::Refused(reason));
        let name = match seen.await? {
            (BuildState::Finished, 0, Some(name)) => name,
            (BuildState::Finished, ..) => return refused(format!("Build {build} failed.")),
            (BuildState::Error { reason }, ..) => {
                return refused(format!("Build {build} failed: {reason}"));
            }
            (BuildState::Canceled, ..) => return refused(format!("Build {build} was canceled.")),
            (state, ..) => return refused(format!("Build {build} is not over: {state:?}.")),
        };
        let commit = commit.to_string();
        let look = move |cluster: &Cluster| {
            let named = cluster.template_name(&name);
            let named = named.filter(|named| named.named_by == Some(build));
            let named = named.and_then(|named| cluster.template(named.template?));
            // Another build may have come between.
            let mut all = cluster.templates().rev();
            let found = named.or_else(|| {
                all.find(|template| {
                    template.build == build && template.commit.as_ref() == Some(&commit)
                })
            });
            found.map(|template| format!("{}:{}", template.name, template.build))
        };
        let found = self.parts.cluster.read(look).await?;
        let none = || NotTaken::Refused(format!("Build {build} has left nothing to run."));
        found.ok_or_else(none)
    }
}
