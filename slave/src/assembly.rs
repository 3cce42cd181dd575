//! Constructs the parts of a slave and joins them.

use crate::build_template::TemplatePlaces;
use crate::connection::{self, Connection};
use crate::containers::{Availability, BuildContainers};
use crate::coordinator::{Surroundings, WorkHandle};
use crate::data_directory::{DataDirectory, DataDirectoryError};
use crate::deliver::delivery::Deliveries;
use crate::deliver::held_results::{HeldDeliveries, HeldResults};
use crate::deliver::steps::StepDeliveries;
use crate::http::{self, Api, LEGACY_WARNING, legacy_proof};
use crate::keeper::Rules;
use crate::master::api::{Dialect, MasterApi};
use crate::master::clock::MasterClock;
use crate::master::lineage::Lineage;
use crate::master::registration::Registration;
use crate::run::consoles::Consoles;
use crate::run::subjob_executor::Limits;
use crate::run::{event_log, misdeeds};
use crate::setup::{Setup, TakenTemplates};
use crate::source::{Fetching, Sources, retention};
use crate::supervisor::{Means, Places, Supervisor};
use crate::templates::{Fetching as FetchingTemplates, Templates, UNPACK_SNAPSHOT};
use crate::work::Command;
use crate::{FETCH_PROJECT, withdrawal};
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::child::Children;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::GitOptions;
use clusterrunner_common::http::cors::{AllowedOrigins, InvalidPattern};
use clusterrunner_common::http::serve_secured;
use clusterrunner_common::http::tls::TlsError;
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::logs::event_log::{EventLog, EventLogError};
use clusterrunner_common::process::command::end_marked;
use clusterrunner_common::process::guardian::Guardian;
use clusterrunner_common::process::stop_signals::StopSignals;
use clusterrunner_common::process::sweeper::Sweeper;
use clusterrunner_common::remote_files::RemoteFileRules;
use clusterrunner_common::settings::{SettingsError, SlaveSettings};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// The longest that a heartbeat or another short call waits for its answer, whatever the settings
/// allow: a slave that waits longer would be given up meanwhile.
const SHORT_CALL: Duration = Duration::from_secs(10);

/// How long answers in flight may take at the end.
const DRAIN: Duration = Duration::from_millis(500);

/// Why a slave could not start, or ended too early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is no secret, and none could be made.
    #[error(transparent)]
    Secret(#[from] SettingsError),
    /// Its data directory can not be used.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// It can not speak HTTPS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its event log can not be written.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// It can not call the master.
    #[error(transparent)]
    Caller(#[from] CallError),
    /// Its instances and templates can not be kept.
    #[error("could not make the directories of instances and templates: {0}")]
    Instances(#[source] std::io::Error),
    /// Its executors can not be started.
    #[error("could not start the executors: {0}")]
    Executors(#[source] std::io::Error),
    /// A setting can not be used.
    #[error(transparent)]
    Origins(#[from] InvalidPattern),
    /// The address that it listens on is not known.
    #[error("could not determine the listening address: {0}")]
    Address(#[source] std::io::Error),
    /// There is not the container runtime that the settings name.
    #[error("{0}")]
    Containers(String),
    /// It can not go on where it works.
    #[error("the slave ends: {0}")]
    Broken(String),
    /// One of its parts ended for an unforeseen reason.
    #[error("a part of the slave failed: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl ServeError {
    /// Whether a setting is wrong, and not this machine.
    #[must_use]
    pub fn is_wrong_setting(&self) -> bool {
        matches!(
            self,
            Self::Secret(_)
                | Self::Tls(_)
                | Self::Origins(_)
                | Self::Containers(_)
                | Self::Caller(CallError::Tls(_))
        )
    }
}

/// Is a slave until `stop`, or until a signed call ends it; then cancels what runs, tears its
/// builds down and returns. Projects are fetched by processes of `program`, which must be what [`crate::hidden`]
/// says of its first argument.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    settings: SlaveSettings,
    listener: TcpListener,
    stop: CancellationToken,
    program: PathBuf,
) -> Result<(), ServeError> {
    let signals = StopSignals::none(CancellationToken::new(), stop);
    serve_until_told(settings, listener, signals, program).await
}

/// The same until signals end it; asked to drain, it takes no new work, finishes and delivers what it runs, and
/// returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_until_told(
    settings: SlaveSettings,
    listener: TcpListener,
    signals: StopSignals,
    program: PathBuf,
) -> Result<(), ServeError> {
    let tls = settings.general.https.acceptor()?;
    let origins = settings.service.cors_allowed_origins_regex.as_deref();
    let origins = AllowedOrigins::new(origins)?;
    let interval = settings.heartbeat_interval;
    let bounds = settings.service.kept_projects;
    // A child, so that a call that ends this slave ends nothing else of the process.
    let stop = signals.stop.child_token();
    let base = Base::new(settings, &listener, &stop).await?;
    let (held, held_deliveries) = base.left_results().await?;
    event_log::started(&base.events);
    let api = base.master_api()?;
    held.remember_in(&api.lineage);
    let registration = Registration::new();
    let _guardian = base.guardian(&program);
    let found = base.container_search()?;
    let templates = base.templates(&program, (&api, &registration), &found);
    let templates = templates.map_err(ServeError::Instances)?;
    let supervisor = base.supervisor(&program, &templates, found.clone());
    let supervisor = supervisor.map_err(ServeError::Instances)?;
    let taken = TakenTemplates::new(templates, found.clone());
    let children = base.children(program.clone());
    let sources = Arc::new(base.sources(&children, &api, &registration));
    let containers = Arc::new(BuildContainers::new(found));
    let surroundings =
        base.surroundings(&sources, &api, &registration, (&program, containers, taken));
    let surroundings = Arc::new(surroundings);
    let work = WorkHandle::new(base.settings.num_executors, Arc::clone(&surroundings));
    let work = work.map_err(ServeError::Executors)?;
    let parts = (&work, &supervisor);
    let routes_api = base.routes_api(parts, &api, &registration, &surroundings);
    let routes = http::router(routes_api, &base.gate(), origins);
    let connection = Connection {
        api: api.clone(),
        work: work.clone(),
        supervisor: supervisor.clone(),
        registration: registration.clone(),
        space: base.space.clone(),
        consoles: Arc::clone(&surroundings.consoles),
        held,
        data: Arc::clone(&base.data),
        interval,
    };
    base.greet();
    Box::pin(supervisor.adopt()).await;
    // It answers until all is cleaned up: reads still work then, and orders are refused.
    let listening = CancellationToken::new();
    let end_listening = listening.clone().drop_guard();
    let (data, deliveries) = (&base.data, &surroundings.deliveries);
    // It is never refused; at its end the slave does not care.
    let note = |command: Command| {
        work.send(command).ok();
    };
    let mut ignored = signals.ignored;
    tokio::join!(
        serve_secured(listener, routes, tls, listening, DRAIN),
        async {
            tokio::join!(
                work.run(),
                retention::keep(&sources, data, bounds, &stop),
                withdrawal::when_asked(&api, &work, &registration, &signals.drain, &stop),
                misdeeds::watch(data, &note, (&signals.blame, &mut ignored), &stop),
                Box::pin(connection::keep(&connection, &stop, &signals.blame)),
                surroundings.reports.deliver(&api, &registration, &stop),
                Box::pin(supervisor.report(&api, &registration, &stop)),
                Box::pin(supervisor.push_logs(&api, &registration, &stop)),
                held_deliveries.run(Arc::clone(data), deliveries, &registration, &stop),
            );
            drop(end_listening);
        },
    );
    supervisor.rest().await;
    children.rest().await;
    if let Some(reason) = base.data.why_broken() {
        return Err(ServeError::Broken(reason));
    }
    tracing::info!("the slave has ended");
    Ok(())
}

/// What the parts are made of.
struct Base {
    settings: SlaveSettings,
    secret: Secret,
    session: SessionId,
    /// `host:port` of the master and of this slave.
    master: String,
    own_address: String,
    data: Arc<DataDirectory>,
    events: EventLog,
    space: DiskSpace,
    stop: CancellationToken,
}

impl Base {
    async fn new(
        settings: SlaveSettings,
        listener: &TcpListener,
        stop: &CancellationToken,
    ) -> Result<Self, ServeError> {
        let general = &settings.general;
        let secret = general.secret_or_generate()?;
        let address = listener.local_addr().map_err(ServeError::Address)?;
        let session = SessionId::from_random(random_bytes());
        let data = {
            let (base, session) = (general.base_directory.clone(), session.clone());
            let open = move || DataDirectory::open(&base, address.port(), session);
            Arc::new(spawn_blocking(open).await??)
        };
        // What an earlier life of this slave may have left running.
        end_marked(&data.mark(), settings.service.atom_kill_grace).await;
        Ok(Self {
            master: format!("{}:{}", general.master_hostname, settings.master_port),
            own_address: own_address(address, &general.hostname),
            events: EventLog::open(&general.event_log, general.max_log_file_size)?,
            space: DiskSpace::new(data.path(), settings.service.min_free_space),
            stop: stop.clone(),
            secret,
            session,
            data,
            settings,
        })
    }

    /// Empties the data directory but for results that are not delivered yet.
    async fn left_results(&self) -> Result<(HeldResults, HeldDeliveries), ServeError> {
        let data = Arc::clone(&self.data);
        let templates_path = self.settings.instances.templates_path.clone();
        let collect = move || {
            let collected = HeldResults::collect(&data);
            let collected = collected.map_err(|source| DataDirectoryError::Left {
                path: data.path().to_owned(),
                source,
            })?;
            data.empty()?;
            TemplatePlaces::new(Path::new(""), &templates_path).remove_left();
            Ok::<_, DataDirectoryError>(collected)
        };
        Ok(spawn_blocking(collect).await??)
    }

    fn master_api(&self) -> Result<MasterApi, ServeError> {
        let general = &self.settings.general;
        let timeout = general.default_http_timeout;
        let caller =
            |timeout| Caller::with_https(Some(self.secret.clone()), timeout, &general.https);
        let short_caller = caller(timeout.min(SHORT_CALL))?;
        Ok(MasterApi {
            uploader: caller(timeout)?.knowing_whom(&short_caller),
            caller: short_caller,
            master: self.master.clone(),
            own_address: self.own_address.clone(),
            session: self.session.clone(),
            num_executors: self.settings.num_executors,
            labels: self.settings.labels.clone(),
            accepts_original: self.settings.service.accept_legacy_peers,
            dialect: Dialect::default(),
            lineage: Lineage::default(),
            clock: MasterClock::default(),
        })
    }

    /// Without one, what this slave started runs on when it is killed, until it starts again.
    fn guardian(&self, program: &Path) -> Option<Guardian> {
        let grace = self.settings.service.atom_kill_grace;
        let guardian = Guardian::start(program, &self.data.life_mark(), grace);
        let told = guardian.inspect_err(|error| {
            tracing::warn!(%error, "nothing ends the processes of this slave if it is killed");
        });
        told.ok()
    }

    fn children(&self, program: PathBuf) -> Children {
        let grace = self.settings.service.atom_kill_grace;
        let children = Children::new(program, FETCH_PROJECT, &self.data.mark(), grace);
        children.get_ready();
        children
    }

    fn sources(
        &self,
        children: &Children,
        api: &MasterApi,
        registration: &Registration,
    ) -> Sources {
        let service = &self.settings.service;
        let git = GitOptions {
            allow_local_sources: service.allow_local_sources,
            strict_host_key_checking: service.git_strict_host_key_checking,
            idle_timeout: service.fetch_timeout,
            limits: service.git_limits,
            ..GitOptions::default()
        };
        let remote_files = RemoteFileRules {
            idle_timeout: service.fetch_timeout,
            ..service.remote_files.clone()
        };
        let fetching = Fetching {
            children: children.clone(),
            max_memory_bytes: service.git_max_memory_bytes,
        };
        let hostname = self.settings.general.hostname.clone();
        let master = (api.clone(), registration.clone());
        Sources::new(hostname, git, remote_files, fetching, master)
    }

    fn templates(
        &self,
        program: &Path,
        (api, registration): (&MasterApi, &Registration),
        containers: &Availability,
    ) -> std::io::Result<Arc<Templates>> {
        let settings = &self.settings.instances;
        let grace = self.settings.service.atom_kill_grace;
        let children = Children::new(
            program.to_owned(),
            UNPACK_SNAPSHOT,
            &self.data.mark(),
            grace,
        );
        let fetching = FetchingTemplates {
            api: api.clone(),
            registration: registration.clone(),
        };
        Templates::open(
            self.data.path().join("templates"),
            (
                settings.templates_path.clone(),
                settings.max_template_cache_bytes,
            ),
            (children, fetching),
            (self.space.clone(), containers.clone()),
        )
    }

    fn supervisor(
        &self,
        program: &Path,
        templates: &Arc<Templates>,
        containers: Availability,
    ) -> std::io::Result<Supervisor> {
        let settings = &self.settings.instances;
        let instances = self.data.path().join("instances");
        let (host, _) = self.own_address.rsplit_once(':').unwrap_or_default();
        Ok(Supervisor::new(Means {
            templates: Arc::clone(templates),
            places: Places::open(instances, program.to_owned(), settings.stop_grace)?,
            rules: Rules {
                host: host.to_owned(),
                ports: settings.ports,
                start_timeout: settings.start_timeout,
                grace: settings.stop_grace,
                restarts: settings.restarts,
                alone_for: settings.alone_for,
                max_log_bytes: settings.max_log_bytes,
            },
            max_instances: settings.max_instances,
            containers,
        }))
    }

    /// What of containers there is on this machine.
    fn container_search(&self) -> Result<Availability, ServeError> {
        let found = Availability::search(&self.settings.containers, self.data.path());
        found.map_err(|error| ServeError::Containers(error.to_string()))
    }

    fn setup(
        &self,
        sources: &Arc<Sources>,
        program: &Path,
        (containers, taken): (&Arc<BuildContainers>, TakenTemplates),
        steps: StepDeliveries,
    ) -> Setup {
        let grace = self.settings.service.atom_kill_grace;
        Setup {
            data: Arc::clone(&self.data),
            sources: Arc::clone(sources),
            kill_grace: grace,
            sweeper: Sweeper::new(grace),
            space: self.space.clone(),
            max_output: self.settings.max_console_size,
            templates: TemplatePlaces::new(program, &self.settings.instances.templates_path),
            containers: Arc::clone(containers),
            taken,
            steps,
        }
    }

    /// What the effects of the work need.
    fn surroundings(
        &self,
        sources: &Arc<Sources>,
        api: &MasterApi,
        registration: &Registration,
        (program, containers, taken): (&Path, Arc<BuildContainers>, TakenTemplates),
    ) -> Surroundings {
        let consoles = Arc::<Consoles>::default();
        let steps = StepDeliveries {
            api: api.clone(),
            registration: registration.clone(),
            max_output: self.settings.max_console_size,
        };
        Surroundings {
            data: Arc::clone(&self.data),
            setup: self.setup(sources, program, (&containers, taken), steps),
            deliveries: Arc::new(Deliveries::new(
                api.clone(),
                registration.clone(),
                Arc::clone(&consoles),
            )),
            reports: Arc::default(),
            events: self.events.clone(),
            session: self.session.clone(),
            limits: Limits {
                kill_grace: self.settings.service.atom_kill_grace,
                max_console_size: self.settings.max_console_size,
            },
            space: self.space.clone(),
            ending: self.stop.clone(),
            consoles,
            containers,
        }
    }

    /// Lets calls to the slave in.
    fn gate(&self) -> Arc<Gate> {
        let service = &self.settings.service;
        if service.accept_legacy_peers {
            tracing::warn!("{LEGACY_WARNING}");
        }
        let legacy = service.accept_legacy_peers.then_some(legacy_proof as _);
        let (secret, max_age) = (self.secret.clone(), service.signature_max_age);
        let gate = Gate::with_legacy_peers(secret, &self.session, max_age, |_, _| false, legacy);
        match service.require_signed_reads {
            true => gate.with_proved_reads(self.settings.general.read_token.clone()),
            false => gate,
        }
    }

    /// What the HTTP handlers need.
    fn routes_api(
        &self,
        (work, supervisor): (&WorkHandle, &Supervisor),
        api: &MasterApi,
        registration: &Registration,
        surroundings: &Surroundings,
    ) -> Api {
        Api {
            work: work.clone(),
            registration: registration.clone(),
            dialect: api.dialect.clone(),
            lineage: api.lineage.clone(),
            consoles: Arc::clone(&surroundings.consoles),
            data: Arc::clone(&self.data),
            reports: Arc::clone(&surroundings.reports),
            supervisor: supervisor.clone(),
            events: self.events.clone(),
            session: self.session.clone(),
            max_console_size: self.settings.max_console_size,
            master_url: self.master.clone(),
            turns: Turns::default(),
            stop: self.stop.clone(),
        }
    }

    fn greet(&self) {
        let scheme = self.settings.general.https.scheme();
        let (own_address, master) = (&self.own_address, &self.master);
        tracing::info!(
            data_directory = %self.data.path().display(),
            "slave listens on {scheme}://{own_address}, master {scheme}://{master}"
        );
    }
}

/// Where the master reaches this slave.
fn own_address(address: SocketAddr, hostname: &str) -> String {
    match address.ip().is_loopback() {
        true => address.to_string(),
        false => format!("{hostname}:{}", address.port()),
    }
}
