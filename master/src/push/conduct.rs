//! The way of one push, from what its hook tells to the release: what is pushed is stored, built, recorded and deployed,
//! and only then git moves the branch.

use super::building::NotTaken;
use super::meeting::Hook;
use super::names::Service;
use super::updates::{Meaning, Update, meaning, short};
use super::{NotOpened, Opened, Pushed, Pushes, may_use, told};
use crate::consoles::ConsoleFailure;
use crate::read::app_story;
use crate::read::builds::ReadError;
use crate::read::settling::settled;
use crate::store::own_repositories::Writer;
use clusterrunner_common::git::{CommitId, push_ref};
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::apps::command::{AppCommand, NewAppBuild};
use clusterrunner_core::apps::facts::AppFact;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::Fact;
use clusterrunner_core::instances::instance::InstanceState;
use std::time::Duration;

/// How long git may take to move the branch when all else is done.
const MOVING: Duration = Duration::from_secs(60);

/// How many processes are named that are not up.
const SHOWN: usize = 10;

/// A push that git may take now.
#[derive(Debug)]
struct Taken {
    /// Nobody else writes to the repository until git has.
    writer: Writer,
    /// The whole name of the branch that is deployed; none where no branch is.
    branch: Option<String>,
}

impl Pushes {
    /// Conducts a push to its end, whoever of hook, master and git goes first.
    pub(super) async fn conduct(&self, pushed: Pushed, updates: Vec<Update>, mut hook: Hook) {
        let opened = &pushed.opened;
        let app = opened.app.as_str();
        let Some(_only) = self.places.only(opened.project) else {
            let line = format!("Another push to {app} is under way. Push again when it is over.");
            refuse(hook, &line).await;
            return;
        };
        let hook_is_gone = hook.gone.clone();
        let taken = tokio::select! {
            // Nothing is begun for a pusher that has left.
            biased;
            () = pushed.left.cancelled() => {
                tracing::info!(app, "a push was broken off");
                None
            }
            () = hook_is_gone.cancelled() => {
                tracing::info!(app, "a push was broken off: its hook is gone");
                None
            }
            taken = self.taken(opened, &updates, &mut hook) => match taken {
                Ok(taken) => Some(taken),
                Err(NotTaken::Left(_)) => None,
                Err(reason) => {
                    refuse(hook, &sentence(app, &reason)).await;
                    return self.put_away(opened, &updates, None).await;
                }
            },
        };
        let branch = match taken {
            Some(Taken { writer, branch }) => {
                if hook.end(true).await.is_ok() {
                    // The git is gone then, and has moved the branch.
                    tokio::time::timeout(MOVING, pushed.ended.cancelled())
                        .await
                        .ok();
                }
                drop(writer);
                branch
            }
            None => None,
        };
        self.put_away(opened, &updates, branch).await;
    }

    /// Does all that comes before git moves the branch.
    async fn taken(
        &self,
        opened: &Opened,
        updates: &[Update],
        hook: &mut Hook,
    ) -> Result<Taken, NotTaken> {
        let own = &self.parts.own;
        let meaning = meaning(updates)?;
        let refs = own.number_of_refs(opened.project).await;
        let refs = refs.map_err(|error| trouble(&error))?;
        if refs.saturating_add(updates.len() as u64) > self.parts.limits.refs {
            let most = self.parts.limits.refs;
            let sentence =
                format!("The repository may have {most} branches and tags (git_max_refs).");
            return Err(NotTaken::Refused(sentence));
        }
        let Meaning::Deploy { branch, commit } = meaning else {
            // What has no branch is taken for the rest of a project that is gone.
            if !opened.has_code {
                let sentence = "Push a branch first, and then tags.".to_owned();
                return Err(NotTaken::Refused(sentence));
            }
            return Ok(Taken {
                writer: own.writer(opened.project).await,
                branch: None,
            });
        };
        self.store(opened, &commit, hook).await?;
        let mut under_way = self.queue(opened, &commit, short(&branch), hook).await?;
        let image = self.follow(&mut under_way, &commit, hook).await?;
        let version = self.release(opened, &commit, image, hook).await?;
        self.tell_how_it_runs(opened, version, hook).await?;
        Ok(Taken {
            writer: own.writer(opened.project).await,
            branch: Some(branch),
        })
    }

    /// Has git store the commit where slaves can be given it.
    async fn store(
        &self,
        opened: &Opened,
        commit: &CommitId,
        hook: &mut Hook,
    ) -> Result<(), NotTaken> {
        let _writer = self.parts.own.writer(opened.project).await;
        let name = push_ref(commit);
        let directory = &opened.directory;
        match hook.keep(directory, commit.as_str(), name).await? {
            true => Ok(()),
            false => {
                let sentence = "git could not store the commit: see above.".to_owned();
                Err(NotTaken::Refused(sentence))
            }
        }
    }

    /// Makes app build and release, if the pusher still may. Returns the version of the release.
    async fn release(
        &self,
        opened: &Opened,
        commit: &CommitId,
        image: String,
        hook: &mut Hook,
    ) -> Result<u64, NotTaken> {
        let _writer = self.parts.own.writer(opened.project).await;
        let (caller, id) = (opened.caller, opened.app.clone());
        let look = move |cluster: &Cluster| {
            let caller = super::caller(cluster, caller.id).map(|now| super::UserCaller {
                role: caller.role,
                ..now
            });
            let caller = caller.ok_or_else(|| NotOpened::NotFound(id.clone()))?;
            may_use(cluster, caller, &id, Service::Receive)
        };
        let project = self.parts.cluster.read(look).await?;
        let project = project.map_err(|error| NotTaken::Refused(error.to_string()))?;
        if project != opened.project {
            let sentence = "The app was deleted meanwhile.".to_owned();
            return Err(NotTaken::Refused(sentence));
        }
        hook.say(told::step("Launching...")).await?;
        let by = Actor::User(opened.caller.id);
        let command = ProjectCommand::CommitCode {
            project,
            commit: commit.to_string(),
        };
        let cluster = &self.parts.cluster;
        cluster.command(Command::Project { by, command }).await?;
        let build = Box::new(NewAppBuild {
            image,
            sha: commit.to_string(),
            ..NewAppBuild::default()
        });
        let command = AppCommand::Build { project, build };
        let events = cluster.command(Command::App { by, command }).await?;
        let version = events.iter().find_map(|event| match &event.fact {
            Fact::App(_, AppFact::Released { release, .. }) => Some(release.version),
            _ => None,
        });
        let version = version.unwrap_or_default();
        tracing::info!(app = opened.app, version, user = %opened.caller.id, "a push was deployed");
        Ok(version)
    }

    /// Waits for the processes of a release, and says what became of them. The release is made: nothing here is a reason
    /// to refuse the push.
    async fn tell_how_it_runs(
        &self,
        opened: &Opened,
        version: u64,
        hook: &mut Hook,
    ) -> Result<(), NotTaken> {
        let (parts, project) = (&self.parts, opened.project);
        let farm = (&parts.cluster, &parts.feed);
        settled(farm, parts.deploy_wait, project).await?;
        let look = move |cluster: &Cluster| {
            let all = cluster.app_instances(project);
            let newest = all.filter(|one| one.purpose.release() == Some(version));
            let failing = newest.filter(|one| one.state != InstanceState::Up);
            let shown = failing.take(SHOWN).map(|one| {
                let process = app_story::process(&one.purpose).unwrap_or_default();
                let state = one.state.name();
                let reason = one.reason.as_ref();
                let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
                format!("{process} is {state}{reason}")
            });
            shown.collect::<Vec<String>>()
        };
        for line in parts.cluster.read(look).await? {
            hook.say(told::detail(&line)).await?;
        }
        let line = format!("done, {}:v{version} deployed", opened.app);
        hook.say(told::detail(&line)).await?;
        if let Some(address) = parts.addresses.of(&opened.app) {
            hook.say(told::detail(&address)).await?;
        }
        Ok(())
    }

    /// What is left to do when git is gone.
    async fn put_away(&self, opened: &Opened, updates: &[Update], branch: Option<String>) {
        let Ok(Meaning::Deploy { commit, .. }) = meaning(updates) else {
            return;
        };
        let own = &self.parts.own;
        if !opened.directory.exists() {
            return;
        }
        let writer = own.writer(opened.project).await;
        if let Some(branch) = branch
            && let Err(error) = own.show_first(&writer, branch).await
        {
            tracing::warn!(%error, "clones will not check out the branch that was pushed");
        }
        if let Err(error) = own.end_push(&writer, commit).await {
            tracing::warn!(%error, "a ref of a push stays");
        }
    }
}

async fn refuse(mut hook: Hook, sentence: &str) {
    // If the pusher has left, nobody is to be told.
    if hook.say(told::refusal(sentence)).await.is_ok() {
        hook.end(false).await.ok();
    }
}

/// What a pusher is told of a push that is not taken.
fn sentence(app: &str, reason: &NotTaken) -> String {
    match reason {
        NotTaken::Refused(sentence) => sentence.clone(),
        NotTaken::Meaningless(why) => why.to_string(),
        NotTaken::Command(_) | NotTaken::Gone(_) => format!("{app} was not deployed: {reason}"),
        NotTaken::Read(ReadError::Refused(_))
        | NotTaken::Console(ConsoleFailure::Read(ReadError::Refused(_))) => {
            format!("{app} was not deployed: its build was deleted meanwhile.")
        }
        NotTaken::Read(_) | NotTaken::Console(_) | NotTaken::Left(_) => {
            tracing::error!(error = %reason, app, "a push is refused, since its build can not be followed");
            format!("{app} was not deployed: the master's log says why.")
        }
    }
}

fn trouble(error: &impl std::fmt::Display) -> NotTaken {
    tracing::error!(%error, "a repository can not be used for a push");
    NotTaken::Refused("The master can not do that now; its log says why.".to_owned())
}
