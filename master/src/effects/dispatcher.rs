//! Hands each effect to the part that carries it out, and what that part reports to the cluster.

use crate::coordinator::ClusterHandle;
use crate::effects::archiver::{self, Archived, Archiver};
use crate::effects::launched::Launched;
use crate::effects::preparer::Preparer;
use crate::effects::retention::Remover;
use crate::effects::slave_calls::{Callee, Giving, Keeping, ProjectLinks, SlaveCalls};
use crate::journal::EndedBuilds;
use crate::read::metrics::{InternalError, Measured};
use crate::read::running::RunningAtoms;
use crate::store::results::Results;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::command::Command;
use clusterrunner_core::effect::Effect;
use std::collections::HashMap;
use std::io;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Carries effects out.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    preparer: Preparer,
    archiver: Archiver,
    launched: Launched,
    results: Results,
    remover: Remover,
    slaves: SlaveCalls,
    measured: Measured,
    cluster: ClusterHandle,
    /// What is done for a build right now: preparing, archiving or removing, never two of them.
    under_way: HashMap<BuildId, (u64, CancellationToken)>,
    num_started: u64,
    tasks: JoinSet<Ended>,
}

/// In place of the build of a task that belongs to none. Builds have numbers from 1.
const NO_BUILD: BuildId = BuildId(0);

/// A task has ended: which, of which build.
type Ended = (BuildId, u64);

impl Dispatcher {
    /// Nothing to do yet.
    #[must_use]
    pub(crate) fn new(
        preparer: Preparer,
        archiver: Archiver,
        launched: Launched,
        caller: Caller,
        cluster: ClusterHandle,
        (links, running): (ProjectLinks, RunningAtoms),
        ended: EndedBuilds,
    ) -> Self {
        let measured = preparer.measured.clone();
        let results = archiver.results.clone();
        let keeping = Keeping {
            results: results.clone(),
            space: archiver.space.clone(),
            running,
        };
        Self {
            preparer,
            archiver,
            launched,
            remover: Remover::new(results.clone(), ended, measured.clone()),
            results,
            slaves: SlaveCalls::new(caller, cluster.clone(), links, keeping, measured.clone()),
            measured,
            cluster,
            under_way: HashMap::new(),
            num_started: 0,
            tasks: JoinSet::new(),
        }
    }

    /// The same, and slaves get projects from the master if `given`.
    #[must_use]
    pub(crate) fn giving_projects(mut self, given: bool) -> Self {
        self.slaves = self.slaves.giving_projects(given);
        self
    }

    /// The same, and slaves are given the secrets of builds.
    #[must_use]
    pub(crate) fn giving_secrets(mut self, giving: Giving) -> Self {
        self.slaves = self.slaves.giving_secrets(giving);
        self
    }

    /// Works until `stop`, then ends what is under way and waits for it: commands that it started
    /// must not outlive it.
    pub(crate) async fn run(
        mut self,
        mut effects: mpsc::UnboundedReceiver<Effect>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next() => self.forget(ended),
                effect = effects.recv() => match effect {
                    Some(effect) => self.carry_out(effect),
                    None => break,
                },
            }
        }
        for (_, token) in self.under_way.values() {
            token.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
        self.preparer.sweeper.rest().await;
        self.preparer.children.rest().await;
    }

    fn forget(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok((build, number)) => {
                if self
                    .under_way
                    .get(&build)
                    .is_some_and(|(latest, _)| *latest == number)
                {
                    self.under_way.remove(&build);
                }
            }
            Err(error) => tracing::error!(%error, "a task for a build failed"),
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Prepare { build, request } => {
                let (preparer, results) = (self.preparer.clone(), self.results.clone());
                self.start(build, move |stop| async move {
                    let ready = results.get_ready(build);
                    let prepared = preparer.prepare(build, *request, stop).await;
                    if !matches!(prepared, Some(Command::ReportPrepared { .. })) {
                        ready.await;
                        remove_place(results, build).await;
                    }
                    // Told to stop: the master ends, or the build is over and this comes too late to matter.
                    prepared.or(Some(Command::ReportPreparationStopped { build }))
                });
            }
            Effect::Archive {
                build,
                results,
                failed_attempts,
                failures,
                made,
                product,
            } => {
                let archived = Archived {
                    subjobs: results,
                    failed_attempts,
                    failures,
                    made,
                    product,
                };
                self.archive(build, archived);
            }
            Effect::Abandon { build } => {
                if let Some((_, token)) = self.under_way.remove(&build) {
                    token.cancel();
                }
            }
            Effect::ClearResults { build } => {
                if self.results.is_tidy(build) {
                    return;
                }
                let results = self.results.clone();
                let number = self.next_number();
                self.tasks.spawn_blocking(move || {
                    if let Err(error) = results.clear_unused(build) {
                        tracing::warn!(build.id = build.0, %error, "could not remove results");
                    }
                    (build, number)
                });
            }
            Effect::RemoveBuild { build } => {
                let remover = self.remover.clone();
                self.start(build, move |stop| remover.remove(build, stop));
            }
            Effect::MakeResult { build, made } => {
                let results = self.results.clone();
                let number = self.next_number();
                self.tasks.spawn(async move {
                    if let Err(error) = archiver::store_made(&results, build, &made).await {
                        // The archiver tries again, and fails the build if it can not.
                        tracing::warn!(build.id = build.0, %error, "could not write a result");
                    }
                    (build, number)
                });
            }
            Effect::OpenSlave {
                slave,
                url,
                session,
                incarnation,
                is_legacy,
            } => {
                let callee = Callee {
                    slave,
                    url,
                    session,
                    incarnation,
                };
                self.slaves.open(callee, is_legacy);
            }
            Effect::CloseSlave { slave } => self.slaves.close(slave),
            Effect::EndSlave { slave } => self.slaves.end(slave),
            Effect::Call { slave, build, call } => self.slaves.call(slave, build, call),
            Effect::OrderInstances {
                slave,
                instances,
                preloads,
            } => self.slaves.order_instances(slave, instances, preloads),
            Effect::RemoveSnapshot { digest } => {
                let (launched, cluster) = (self.launched.clone(), self.cluster.clone());
                self.beside(async move { launched.remove_snapshot(&cluster, digest).await });
            }
            Effect::RemoveInstanceLog { instance } => {
                let launched = self.launched.clone();
                self.beside(async move { launched.remove_log(instance).await });
            }
        }
    }

    fn archive(&mut self, build: BuildId, archived: Archived) {
        let (archiver, measured) = (self.archiver.clone(), self.measured.clone());
        let cluster = self.cluster.clone();
        self.start(build, move |stop| async move {
            let (command, kept) = archiver.archive(build, archived, stop).await?;
            if matches!(command, Command::ReportArchivingFailed { .. }) {
                measured.count(InternalError::PostBuildFailure);
            }
            if kept.is_none() {
                return Some(command);
            }
            // The snapshot is held until the cluster knows of it.
            if let Err(error) = cluster.command(command).await {
                tracing::debug!(build.id = build.0, %error, "ignored a late template");
            }
            None
        });
    }

    /// Does what belongs to no build.
    fn beside(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let number = self.next_number();
        self.tasks.spawn(async move {
            work.await;
            (NO_BUILD, number)
        });
    }

    fn start<F, W>(&mut self, build: BuildId, work: W)
    where
        W: FnOnce(CancellationToken) -> F,
        F: Future<Output = Option<Command>> + Send + 'static,
    {
        let token = CancellationToken::new();
        let number = self.next_number();
        self.under_way.insert(build, (number, token.clone()));
        let work = work(token.clone());
        let cluster = self.cluster.clone();
        self.tasks.spawn(async move {
            if let Some(command) = work.await
                && let Err(error) = cluster.command(command).await
            {
                tracing::debug!(build.id = build.0, %error, "ignored a late report");
            }
            (build, number)
        });
    }

    fn next_number(&mut self) -> u64 {
        self.num_started += 1;
        self.num_started
    }
}

/// Nothing comes of this build, so it needs no place for results, unless its atomizers have printed something.
async fn remove_place(results: Results, build: BuildId) {
    let removed = tokio::task::spawn_blocking(move || match results.steps(build)?.is_empty() {
        true => results.remove(build),
        false => Ok(()),
    });
    let removed = removed.await;
    if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
        tracing::warn!(build.id = build.0, %error, "could not remove the place for results");
    }
}
