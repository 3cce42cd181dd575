//! Constructs the parts of the master and joins them.

mod binder_api;
mod deis_api;
mod effects;
mod error;
mod further_ports;
mod notifying;
mod readers;
mod running;
mod ssh_port;

pub use error::ServeError;

use crate::consoles::Consoles;
use crate::coordinator::{ClusterHandle, Coordinator};
use crate::core::command::Opening;
use crate::core::effect::Effect;
use crate::effects::hunting::Hunter;
use crate::effects::launched::Launched;
use crate::http::accounts::Accounts;
use crate::http::binder;
use crate::http::clusterrunner::{self, Api, BuildPage, Downloads, LastReports, Live};
use crate::http::deis;
use crate::http::description;
use crate::http::git::GitHttp;
use crate::http::page::Page;
use crate::http::polyaxon::{self, Streams};
use crate::http::server::{self, Apis, Families};
use crate::http::sessions::Sessions;
use crate::http::tokens::TokensOf;
use crate::journal::{EndedBuilds, Histories, Journal, Timings};
use crate::notify::{self, Begun, Watcher};
use crate::push::{AppAddresses, Parts, Pushes};
use crate::read::builds::Builds;
use crate::read::feed::Feed;
use crate::read::forecasts::Forecasts;
use crate::read::metrics::Measured;
use crate::read::private::PrivateProjects;
use crate::read::published::Published;
use crate::read::receivers::Receivers;
use crate::read::running::RunningAtoms;
use crate::read::slave_signs::{self, SlaveSigns};
use crate::router::{self, Router, Routes};
use crate::store::app_logs::AppLogs;
use crate::store::instance_logs::InstanceLogs;
use crate::store::own_repositories::{KEEP_CODE, OwnRepositories};
use crate::store::results::Results;
use crate::store::sources::Sources;
use crate::store::templates::Snapshots;
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::child::Children;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::daemon::DataDirectoryLock;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::GitOptions;
use clusterrunner_common::http::cors::AllowedOrigins;
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::ids::{Incarnation, SessionId};
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::process::command::end_marked;
use clusterrunner_common::settings::MasterSettings;
use further_ports::FurtherPorts;
use readers::Readers;
use running::Running;
use ssh_port::SshDoor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many answers wait at a time for what instances print.
const WAITING_FOR_LOGS: usize = 256;

/// Is a master until `stop`: replays its journal, then listens. Builds are prepared by processes of `program`, which
/// must call [`crate::effects::preparer::prepare_build`] if its first argument is
/// [`crate::effects::preparer::PREPARE_BUILD`]. `is_output_read`: somebody reads the standard output, so a secret that was
/// made is printed there once.
///
/// # Errors
/// See [`ServeError`]. A master whose journal fails ends; it never runs ahead of its disk.
pub async fn serve(
    settings: MasterSettings,
    secret: Secret,
    listener: TcpListener,
    stop: CancellationToken,
    program: PathBuf,
    is_output_read: bool,
) -> Result<(), ServeError> {
    let general = &settings.general;
    let tls = general.https.acceptor()?;
    let origins = AllowedOrigins::new(settings.service.cors_allowed_origins_regex.as_deref())?;
    let directory = std::path::absolute(general.base_directory.join("master"))
        .map_err(ServeError::Directory)?;
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let mut lock = DataDirectoryLock::take(&directory, "master")?;
    lock.note_address(address)?;
    let further_ports = FurtherPorts::take(&settings).await?;
    let ssh = SshDoor::take(&settings, &directory).await?;
    let mark = format!("master {}:", directory.display());
    end_marked(&mark, settings.service.atom_kill_grace).await;
    let results = Results::new(directory.join("results")).map_err(ServeError::Results)?;
    results.remove_incoming().map_err(ServeError::Leftovers)?;
    let launched = launched(&settings, &directory).map_err(ServeError::Launched)?;
    let session = SessionId::from_random(random_bytes());
    let recovered = recover(&settings, &directory, (&results, &launched), &session).await?;
    let receivers = recovered.coordinator.1.receivers();
    let (coordinator, readers) = Readers::told_by(recovered.coordinator, &settings, &launched)?;
    let caller = caller(&settings, secret.clone())?;
    let farm = Farm {
        space: space(&settings, &directory),
        measured: Measured::default(),
        receivers,
        running_atoms: RunningAtoms::default(),
        signs: SlaveSigns::default(),
        turns: Turns::default(),
        cluster: recovered.cluster,
        archived: recovered.archived,
        histories: recovered.histories,
        timings: recovered.timings.clone(),
        directory,
        session,
        results,
        launched,
        caller,
        settings,
        is_output_read,
    };
    let own = farm.own_repositories((program.clone(), &mark), &stop)?;
    let router_port = further_ports.of_router().unwrap_or(address.port());
    let addresses = farm.app_addresses(router_port, tls.is_some());
    let told = (readers.feed.clone(), addresses);
    let pushes = farm.pushes(own.clone(), told, (&program, &mark), &stop)?;
    let sources = farm.sources(own.clone(), &stop);
    let projects = farm.projects(&sources, own.clone());
    let preparer = farm.preparer((program, &mark), recovered.timings.clone(), &projects);
    preparer.children.get_ready();
    let running = Running::start(
        coordinator,
        (farm.dispatcher(preparer), recovered.effects),
        farm.keeper(projects),
        farm.learning(recovered.timings, readers.heard, readers.archived),
        &stop,
    );
    // The coordinator answers for the first time when the readers know what was before. Until then they would know of no
    // private project, no app and no instance. Where the coordinator can not answer it has ended, and so does all.
    farm.cluster.read(|_| ()).await.ok();
    let sessions = farm.sessions(secret.clone(), tls.is_some());
    let gate = farm.gate(secret.clone(), &readers.private, &sessions);
    let accounts = farm.accounts(secret.clone());
    let (feed, hunted) = (readers.feed.clone(), readers.feed.clone());
    let deis = farm.deis_api(accounts.clone(), tls.is_some(), feed, ssh.is_settled());
    let live = Live::new(readers.feed.clone(), stop.clone());
    let published = (readers.published, readers.private, live);
    let told = (readers.events, sessions);
    let api = farm.api(sources, accounts.clone(), published, told);
    let binder = binder::router(farm.binder_api(router_port)?);
    let apis = Apis {
        binder: binder.clone(),
        deis: deis::router(deis, &farm.deis_gate(secret)),
        polyaxon: polyaxon::router(farm.polyaxon_api(
            accounts,
            own.clone(),
            tls.is_some(),
            (readers.feed, &stop),
        )),
        clusterrunner: clusterrunner::router(api, &gate, origins),
        git: GitHttp::new(farm.cluster.clone(), pushes.clone()),
        page: Page::default(),
        router: Router::new(readers.routes.clone(), tls.is_some(), stop.clone()),
    };
    let told = (readers.routes, hunted, recovered.begun);
    let tending = farm.tend(told, (address, &mark), &stop)?;
    farm.say_that_it_listens(address);
    let router = apis.router.clone();
    let families = Families::from(apis);
    let hooks = pushes.listen().map_err(ServeError::Pushes)?;
    tokio::join!(
        Box::pin(server::serve(listener, families, tls.clone(), stop.clone())),
        Box::pin(further_ports.serve(router, binder, tls, stop.clone())),
        Box::pin(pushes.clone().meet(hooks)),
        Box::pin(ssh.serve(pushes.clone(), farm.cluster.clone(), stop))
    );
    tending.await?;
    running.end().await?;
    tokio::join!(own.rest(), pushes.ended());
    tracing::info!("the master has ended");
    Ok(())
}

/// What calls slaves.
fn caller(settings: &MasterSettings, secret: Secret) -> Result<Caller, ServeError> {
    let general = &settings.general;
    let timeout = general.default_http_timeout;
    Ok(Caller::with_https(Some(secret), timeout, &general.https)?)
}

/// What lies on the disk of templates and instances.
fn launched(settings: &MasterSettings, directory: &Path) -> std::io::Result<Launched> {
    let logs = directory.join("instance_logs");
    Ok(Launched {
        snapshots: Snapshots::open(directory.join("templates"))?,
        logs: InstanceLogs::open(logs, settings.max_instance_log_bytes)?,
        app_logs: AppLogs::open(directory.join("app_logs"), settings.max_app_log_bytes)?,
    })
}

/// The space that is left on the disk.
fn space(settings: &MasterSettings, directory: &Path) -> DiskSpace {
    let space = DiskSpace::new(directory, settings.service.min_free_space);
    if let Err(short) = space.check(0) {
        tracing::warn!(error = %short, "this master takes no builds and no results yet");
    }
    space
}

/// What comes out of the journal.
struct Recovered {
    /// With one that is to be told of what happens.
    coordinator: (Coordinator, Watcher),
    cluster: ClusterHandle,
    effects: mpsc::UnboundedReceiver<Effect>,
    archived: EndedBuilds,
    timings: Timings,
    histories: Histories,
    /// What is to be told of builds.
    begun: Begun,
}

/// Replays the journal, for a new life of the master.
async fn recover(
    settings: &MasterSettings,
    directory: &Path,
    (results, launched): (&Results, &Launched),
    session: &SessionId,
) -> Result<Recovered, ServeError> {
    let (lease, legacy_lease) = (settings.slave_lost_after, settings.legacy_slave_lost_after);
    let (directory, results) = (directory.join("journal"), results.clone());
    let launched = launched.clone();
    let life = session.clone();
    let told = (settings.notify.clone(), settings.on_finish.clone());
    let recovering = tokio::task::spawn_blocking(move || {
        let journal = Journal::open(&directory)?;
        let (archived, timings) = (journal.ended(), journal.timings());
        let (histories, notified) = (journal.histories(), journal.notified());
        let (coordinator, cluster, effects) = Coordinator::recover(journal, lease)?;
        let (watcher, begun) = notify::begin(coordinator.recovered(), &notified, told)?;
        let (snapshots, instances) = coordinator.launched();
        launched
            .snapshots
            .keep_only(&snapshots)
            .map_err(ServeError::Launched)?;
        launched
            .logs
            .keep_only(&instances)
            .map_err(ServeError::Launched)?;
        launched
            .app_logs
            .keep_only(&coordinator.apps())
            .map_err(ServeError::Launched)?;
        // A journal that does not know of these is older than they are.
        let stored = results.all_stored(&coordinator.open_builds());
        let opening = Opening {
            life,
            fresh: Incarnation::from_random(random_bytes()),
            stored: stored.map_err(ServeError::Stored)?,
        };
        let coordinator = coordinator.opening(opening).with_legacy_lease(legacy_lease);
        Ok(Recovered {
            coordinator: (coordinator, watcher),
            cluster,
            effects,
            archived,
            timings,
            histories,
            begun,
        })
    });
    recovering.await?
}

/// What the parts of a master share.
struct Farm {
    settings: MasterSettings,
    is_output_read: bool,
    directory: PathBuf,
    session: SessionId,
    cluster: ClusterHandle,
    archived: EndedBuilds,
    histories: Histories,
    timings: Timings,
    results: Results,
    launched: Launched,
    space: DiskSpace,
    caller: Caller,
    measured: Measured,
    receivers: Receivers,
    running_atoms: RunningAtoms,
    signs: SlaveSigns,
    /// For what is large to read, whatever the API.
    turns: Turns,
}

impl Farm {
    fn say_that_it_listens(&self, address: SocketAddr) {
        tracing::info!(
            data_directory = %self.directory.display(),
            config_file = %self.settings.general.config_file.display(),
            "master listens on {}://{address}",
            self.settings.general.https.scheme()
        );
    }

    fn git(&self) -> GitOptions {
        let service = &self.settings.service;
        GitOptions {
            allow_local_sources: service.allow_local_sources,
            strict_host_key_checking: service.git_strict_host_key_checking,
            connect_timeout: service.fetch_timeout,
            limits: service.git_limits,
            ..GitOptions::default()
        }
    }

    /// The repositories of projects, written to by processes of `program`, which have `mark`.
    fn own_repositories(
        &self,
        (program, mark): (PathBuf, &str),
        stop: &CancellationToken,
    ) -> Result<OwnRepositories, ServeError> {
        let service = &self.settings.service;
        OwnRepositories::open(
            self.directory.join("own"),
            (service.git_limits, service.git_max_memory_bytes),
            Children::new(program, KEEP_CODE, mark, service.atom_kill_grace),
            stop.clone(),
        )
        .map_err(ServeError::OwnRepositories)
    }

    /// Ends instances that nobody uses, and those whose successors are up once nothing is with them any more. Looks how
    /// busy slaves are. Hunts for flakes. Tells others of builds.
    fn tend(
        &self,
        (routes, feed, begun): (Routes, Feed, Begun),
        (address, mark): (SocketAddr, &str),
        stop: &CancellationToken,
    ) -> Result<JoinHandle<()>, ServeError> {
        let notifying = self.notifying(begun, address, mark, stop)?;
        let hunter = Hunter {
            cluster: self.cluster.clone(),
            caller: self.caller.clone(),
            histories: self.histories.clone(),
            life: self.session.clone(),
            by_default: self.settings.hunt_flakes,
        };
        let hunting = hunter.run(feed, stop.clone());
        let culling = router::cull(self.cluster.clone(), routes.clone(), stop.clone());
        let draining = router::drain(self.cluster.clone(), routes, stop.clone());
        let watching = slave_signs::watch(self.signs.clone(), self.cluster.clone(), stop.clone());
        Ok(tokio::spawn(async move {
            tokio::join!(culling, draining, watching, hunting, notifying.end());
        }))
    }

    fn app_addresses(&self, port: u16, is_tls: bool) -> AppAddresses {
        AppAddresses {
            domain: self.settings.apps.domain.clone(),
            port,
            is_tls,
        }
    }

    /// Pushes through a git that has hooks of `program`, with processes that have `mark`.
    fn pushes(
        &self,
        own: OwnRepositories,
        (feed, addresses): (Feed, AppAddresses),
        program: (&Path, &str),
        stop: &CancellationToken,
    ) -> Result<Pushes, ServeError> {
        let service = &self.settings.service;
        let parts = Parts {
            cluster: self.cluster.clone(),
            own,
            consoles: Consoles {
                builds: self.builds(),
                results: self.results.clone(),
                caller: self.caller.clone(),
                turns: self.turns.clone(),
            },
            feed,
            space: self.space.clone(),
            limits: service.git_limits,
            max_memory_bytes: service.git_max_memory_bytes,
            deploy_wait: self.settings.apps.deploy_wait,
            addresses,
            stop: stop.clone(),
        };
        Pushes::open(parts, self.directory.join("pushes"), program).map_err(ServeError::Pushes)
    }

    fn sources(&self, own: OwnRepositories, stop: &CancellationToken) -> Sources {
        Sources::new(
            &self.directory,
            own,
            self.git(),
            self.settings.get_project_from_master,
            self.space.clone(),
            stop.clone(),
        )
    }

    fn gate(&self, secret: Secret, private: &PrivateProjects, sessions: &Sessions) -> Arc<Gate> {
        let service = &self.settings.service;
        if service.accept_legacy_peers {
            tracing::warn!("{}", clusterrunner::LEGACY_WARNING);
        }
        let legacy = service
            .accept_legacy_peers
            .then_some(clusterrunner::legacy_proof as _);
        let gate = Gate::with_legacy_peers(
            secret,
            &self.session,
            service.signature_max_age,
            clusterrunner::takes_body_digest,
            legacy,
        )
        .with_open_routes(clusterrunner::is_open)
        .with_tokens(
            Arc::new(TokensOf(self.cluster.clone())),
            clusterrunner::takes_token,
            clusterrunner::shows_more(private.clone()),
        )
        .with_sessions(Arc::new(sessions.clone()));
        match service.require_signed_reads {
            true => gate.with_proved_reads(self.settings.general.read_token.clone()),
            false => gate,
        }
    }

    fn sessions(&self, secret: Secret, is_tls: bool) -> Sessions {
        let opens = clusterrunner::session_opens;
        Sessions::new(self.cluster.clone(), secret, is_tls, opens)
    }

    fn accounts(&self, secret: Secret) -> Accounts {
        Accounts::new(self.cluster.clone(), secret, self.settings.registration)
    }

    fn polyaxon_api(
        &self,
        accounts: Accounts,
        own: OwnRepositories,
        is_tls: bool,
        (feed, stop): (Feed, &CancellationToken),
    ) -> polyaxon::Api {
        let consoles = (
            self.results.clone(),
            self.caller.clone(),
            self.turns.clone(),
        );
        polyaxon::Api {
            streams: Streams::new(self.builds(), consoles, feed, stop.clone()),
            is_tls,
            allow_local_sources: self.settings.service.allow_local_sources,
            cluster: self.cluster.clone(),
            accounts,
            builds: self.builds(),
            own,
            space: self.space.clone(),
            max_upload_bytes: self.settings.max_code_upload_bytes,
            image_policy: self.settings.image_policy,
        }
    }

    fn builds(&self) -> Builds {
        Builds {
            cluster: self.cluster.clone(),
            archived: self.archived.clone(),
        }
    }

    fn api(
        &self,
        sources: Sources,
        accounts: Accounts,
        (published, private, live): (Published<BuildPage>, PrivateProjects, Live),
        (events, sessions): (EventLog, Sessions),
    ) -> Api {
        Api {
            cluster: self.cluster.clone(),
            accounts,
            sessions,
            builds: self.builds(),
            histories: self.histories.clone(),
            forecasts: Forecasts::new(
                self.cluster.clone(),
                self.running_atoms.clone(),
                self.timings.clone(),
            ),
            private,
            published,
            running: self.running_atoms.clone(),
            signs: self.signs.clone(),
            results: self.results.clone(),
            space: self.space.clone(),
            sources,
            caller: self.caller.clone(),
            events,
            measured: self.measured.clone(),
            turns: self.turns.clone(),
            live,
            downloads: Downloads::default(),
            receivers: self.receivers.clone(),
            session: self.session.clone(),
            snapshots: self.launched.snapshots.clone(),
            instance_logs: self.launched.logs.clone(),
            app_logs: self.launched.app_logs.clone(),
            app_domain: self.settings.apps.domain.clone(),
            last_reports: LastReports::default(),
            waiting: Turns::at_a_time(WAITING_FOR_LOGS),
            image_policy: self.settings.image_policy,
            description: description::text(),
            remote_files: self.settings.service.remote_files.clone(),
        }
    }
}
