//! Pushes of code to apps, and fetches of it, by the system's `git`: what one may do, the conversation with git's hook,
//! and the way of a push from its commit to a release. SSH and HTTP carry the bytes; nothing here knows how.

mod building;
mod conduct;
mod git;
mod hook;
mod meeting;
mod names;
mod packing;
mod places;
mod running;
mod told;
mod updates;

pub(crate) use git::Part;
pub use hook::{PUSH_HOOK, push_hook};
pub(crate) use names::{Protocol, Service, app_in, command};
pub(crate) use running::Running;

use crate::consoles::Consoles;
use crate::coordinator::{ClusterHandle, Gone, asking_address};
use crate::read::feed::Feed;
use crate::store::own_repositories::{OwnCodeError, OwnRepositories};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::space::{DiskSpace, ShortOfSpace};
use clusterrunner_common::git::GitLimits;
use clusterrunner_common::ids::{ProjectId, UserId};
use clusterrunner_common::lock::lock;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, UserCaller, access};
use clusterrunner_core::accounts::users::Role;
use git::Git;
use places::Places;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What an operator reads where there is no git.
pub(crate) const NO_GIT: &str =
    "This master has no program `git`, which pushes need: its operator must install git there.";

/// The parts of a master that pushes need.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Where apps, builds and users are.
    pub(crate) cluster: ClusterHandle,
    /// Where the commits go.
    pub(crate) own: OwnRepositories,
    /// Where the output of builds is read.
    pub(crate) consoles: Consoles,
    /// What happens to builds.
    pub(crate) feed: Feed,
    /// The space that is left on the disk.
    pub(crate) space: DiskSpace,
    /// How large a push may be.
    pub(crate) limits: GitLimits,
    /// How much memory each process of git may take.
    pub(crate) max_memory_bytes: u64,
    /// How long a push waits for what it deploys.
    pub(crate) deploy_wait: Duration,
    /// Where apps are found.
    pub(crate) addresses: AppAddresses,
    /// All ends then.
    pub(crate) stop: CancellationToken,
}

/// How users find apps by their names, as far as the settings say it.
#[derive(Clone, Debug)]
pub(crate) struct AppAddresses {
    /// The domain below which each app has a name.
    pub(crate) domain: Option<String>,
    /// The port that leads to apps.
    pub(crate) port: u16,
    /// Whether it takes TLS only.
    pub(crate) is_tls: bool,
}

impl AppAddresses {
    /// The address of an app.
    fn of(&self, app: &str) -> Option<String> {
        let domain = self.domain.as_ref()?;
        let (scheme, usual) = match self.is_tls {
            true => ("https", 443),
            false => ("http", 80),
        };
        let port = match self.port {
            port if port == usual => String::new(),
            port => format!(":{port}"),
        };
        Some(format!("{scheme}://{app}.{domain}{port}/"))
    }
}

/// Pushes and fetches. Clones are the same.
#[derive(Clone, Debug)]
pub struct Pushes {
    parts: Parts,
    git: Git,
    places: Places,
    /// Pushes whose hook has not come yet, by what tells them from others.
    awaited: Arc<Mutex<HashMap<String, Pushed>>>,
    /// Whose turn it is to have a repository packed.
    packing: Arc<AsyncMutex<()>>,
}

/// A repository that the caller may use in a way.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// The way.
    service: Service,
    /// The caller.
    caller: UserCaller,
    /// The project.
    project: ProjectId,
    /// The app's id.
    app: String,
    /// Where the repository lies.
    directory: PathBuf,
    /// Whether a branch was ever pushed to it, or code uploaded.
    has_code: bool,
}

/// A push, as its hook finds it.
#[derive(Clone, Debug)]
struct Pushed {
    opened: Opened,
    /// The address that it comes from.
    from: Option<IpAddr>,
    /// Fires when the pusher has left, or has all that git had to say.
    left: CancellationToken,
    /// Fires when nothing of its git runs any more.
    ended: CancellationToken,
}

/// A git that talks with a user. What it does ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Talk {
    /// The git.
    pub(crate) git: Running,
    _left: Option<DropGuard>,
}

/// Takes a push off the list at its end.
#[derive(Debug)]
struct Awaited {
    token: String,
    all: Arc<Mutex<HashMap<String, Pushed>>>,
    _ended: DropGuard,
}

/// Why nothing is pushed or fetched. The texts are for users.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    /// There is no such app, or the caller may not see it.
    #[error("There is no app {0}, or you may not use it.")]
    NotFound(String),
    /// The caller may read only.
    #[error("You may fetch the code of {0}, but not push to it.")]
    ReadOnly(String),
    /// The code of the app is elsewhere.
    #[error("The code of {app} is at {url}: push there.")]
    Elsewhere {
        /// The app.
        app: String,
        /// Where it is.
        url: String,
    },
    /// Others are before.
    #[error("Too many pushes and fetches are under way. Try again in a moment.")]
    Busy,
    /// The machine has no git.
    #[error("{NO_GIT}")]
    NoGit,
    /// The disk is full.
    #[error("The master takes no code now: {0}")]
    Space(#[from] ShortOfSpace),
    /// The master ends.
    #[error("The master is going down. Try again in a moment.")]
    Gone(#[from] Gone),
    /// The master is in trouble; its log says which.
    #[error("The master can not do that now; its log says why.")]
    Failed,
}

impl From<OwnCodeError> for NotOpened {
    fn from(error: OwnCodeError) -> Self {
        tracing::error!(%error, "a repository can not be used for a push or a fetch");
        Self::Failed
    }
}

impl Pushes {
    /// Gets ready in a directory. `program` is that of this process, and `mark` begins the marks of what it starts.
    /// Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn open(
        parts: Parts,
        directory: PathBuf,
        (program, mark): (&Path, &str),
    ) -> io::Result<Self> {
        let space = parts.space.clone();
        let limits = (parts.limits, parts.max_memory_bytes, space);
        Ok(Self {
            git: Git::prepare(directory, program, mark, limits)?,
            parts,
            places: Places::default(),
            awaited: Arc::default(),
            packing: Arc::default(),
        })
    }

    /// Whether the machine has a git.
    pub(crate) async fn has_git(&self) -> bool {
        self.git.is_here().await
    }

    /// The user to whom an SSH key belongs, by its base64; none for a key of nobody, or of a user that may nothing.
    pub(crate) async fn owner_of(&self, key: String) -> Result<Option<UserCaller>, Gone> {
        let look = move |cluster: &Cluster| {
            let owner = cluster.accounts().owner_of_key(&key)?;
            caller(cluster, owner.id)
        };
        self.parts.cluster.read(look).await
    }

    /// The name of a user.
    pub(crate) async fn name_of(&self, user: UserId) -> Result<Option<String>, Gone> {
        let look = move |cluster: &Cluster| Some(cluster.accounts().user(user)?.name.clone());
        self.parts.cluster.read(look).await
    }

    /// The repository of an app, if the caller may use it in this way.
    pub(crate) async fn repository(
        &self,
        caller: UserCaller,
        app: &str,
        service: Service,
    ) -> Result<Opened, NotOpened> {
        let id = app.to_owned();
        let look = move |cluster: &Cluster| may_use(cluster, caller, &id, service);
        let project = self.parts.cluster.read(look).await??;
        if service == Service::Receive {
            self.parts.space.check(0)?;
        }
        let directory = self.parts.own.directory_of(project);
        let (directory, has_code) = match service {
            // What is there already is read whoever writes.
            Service::Upload if directory.exists() && self.has_code(project, app).await? => {
                (directory, true)
            }
            Service::Upload | Service::Receive => {
                let writer = self.parts.own.writer(project).await;
                let has_code = self.has_code(project, app).await?;
                (
                    self.parts.own.ready_for_git(&writer, has_code).await?,
                    has_code,
                )
            }
        };
        Ok(Opened {
            service,
            caller,
            project,
            app: app.to_owned(),
            directory,
            has_code,
        })
    }

    /// Whether a branch was ever pushed to the repository of an app, or code uploaded.
    async fn has_code(&self, project: ProjectId, app: &str) -> Result<bool, NotOpened> {
        let has_code = move |cluster: &Cluster| {
            let project = cluster.project(project)?;
            Some(project.code.is_some())
        };
        let has_code = self.parts.cluster.read(has_code).await?;
        has_code.ok_or_else(|| NotOpened::NotFound(app.to_owned()))
    }

    /// Starts git for a repository.
    pub(crate) fn start(
        &self,
        opened: Opened,
        part: Part,
        protocol: Option<&Protocol>,
    ) -> Result<Talk, NotOpened> {
        let place = self.places.place(opened.caller.id);
        let place = place.ok_or(NotOpened::Busy)?;
        let (service, directory) = (opened.service, opened.directory.clone());
        let takes_a_push = service == Service::Receive && part != Part::Offer;
        let pushed = takes_a_push.then(|| self.awaited(opened));
        let (awaited, left) = pushed.unzip();
        let token = awaited.as_ref().map(|awaited| awaited.token.clone());
        let token = token.as_deref();
        let held = (place, awaited);
        let started = self
            .git
            .start((service, part), &directory, protocol, token, held);
        let git = started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                tracing::error!("{NO_GIT}");
                NotOpened::NoGit
            }
            _ => {
                tracing::error!(%error, "git could not be started");
                NotOpened::Failed
            }
        })?;
        Ok(Talk { git, _left: left })
    }

    /// Waits until nothing runs any more of what was pushed and fetched. To be called when nobody is served any more.
    pub(crate) async fn ended(&self) {
        self.git.ended().await;
    }

    /// Has the hook of a push be awaited. The push is given up when the guard is dropped.
    fn awaited(&self, opened: Opened) -> (Awaited, DropGuard) {
        let token = hex::encode(random_bytes::<32>());
        let left = self.parts.stop.child_token();
        let guard = left.clone().drop_guard();
        let ended = CancellationToken::new();
        let awaited = Awaited {
            token: token.clone(),
            all: Arc::clone(&self.awaited),
            _ended: ended.clone().drop_guard(),
        };
        let pushed = Pushed {
            opened,
            from: asking_address(),
            left,
            ended,
        };
        lock(&self.awaited).insert(token, pushed);
        (awaited, guard)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.token);
    }
}

/// A user as one who has shown to be that, and may do all that the user may.
fn caller(cluster: &Cluster, user: UserId) -> Option<UserCaller> {
    let user = cluster.accounts().user(user)?;
    (!user.is_deactivated).then_some(UserCaller {
        id: user.id,
        is_superuser: user.is_superuser,
        role: Role::Admin,
    })
}

/// The project of an app, if the caller may use its code in this way.
fn may_use(
    cluster: &Cluster,
    caller: UserCaller,
    id: &str,
    service: Service,
) -> Result<ProjectId, NotOpened> {
    let not_found = || NotOpened::NotFound(id.to_owned());
    let app = cluster.app_of_id(id).ok_or_else(not_found)?;
    let project = cluster.project(app.project).ok_or_else(not_found)?;
    let may = access(Caller::User(caller), Subject::Project(project), false);
    match service {
        _ if may < Access::Read => return Err(not_found()),
        Service::Receive if may < Access::Use => return Err(NotOpened::ReadOnly(id.to_owned())),
        Service::Receive | Service::Upload => {}
    }
    if !project.has_own_repository() {
        return Err(NotOpened::Elsewhere {
            app: id.to_owned(),
            url: project.git_url().unwrap_or("another place").to_owned(),
        });
    }
    Ok(project.id)
}
