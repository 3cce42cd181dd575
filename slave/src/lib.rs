//! The slave of a ClusterRunner farm: sets builds up and runs their atoms.
//!
//! `work` decides and knows nothing of the world; `coordinator` owns it and has its decisions
//! carried out by the other modules, which report back to it.

mod connection;
mod coordinator;
mod data_directory;
mod deliver;
mod http;
mod master;
pub mod options;
mod run;
mod setup;
mod source;
#[doc(hidden)]
pub mod trial;
mod withdrawal;
mod work;

pub use data_directory::DataDirectoryError;
pub use options::{SlaveOptions, is_wrong_setting, run};
pub use source::fetch_project;

use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::child::Children;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::GitOptions;
use clusterrunner_common::http::cors::{AllowedOrigins, InvalidPattern};
use clusterrunner_common::http::tls::TlsError;
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::logs::event_log::{EventLog, EventLogError};
use clusterrunner_common::process::command::end_marked;
use clusterrunner_common::process::stop_signals::StopSignals;
use clusterrunner_common::process::sweeper::Sweeper;
use clusterrunner_common::remote_files::RemoteFileRules;
use clusterrunner_common::settings::{ServiceSettings, SettingsError, SlaveSettings};
use connection::Registration;
use coordinator::{Surroundings, WorkHandle};
use data_directory::DataDirectory;
use deliver::delivery::Deliveries;
use deliver::held_results::HeldResults;
use master::api::{Dialect, MasterApi};
use master::lineage::Lineage;
use run::subjob_executor::Limits;
use setup::Setup;
use source::{Fetching, Sources};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The longest that a heartbeat or another short call waits for its answer, whatever the settings
/// allow: a slave that waits longer would be given up meanwhile.
const SHORT_CALL: Duration = Duration::from_secs(10);

/// The first argument of a process that fetches a project, see [`fetch_project`].
pub const FETCH_PROJECT: &str = "fetch-project";

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
    /// Its executors can not be started.
    #[error("could not start the executors: {0}")]
    Executors(#[source] std::io::Error),
    /// A setting can not be used.
    #[error(transparent)]
    Origins(#[from] InvalidPattern),
    /// The address that it listens on is not known.
    #[error("could not find out the address that is listened on: {0}")]
    Address(#[source] std::io::Error),
    /// It can not go on where it works.
    #[error("the slave ends: {0}")]
    Broken(String),
    /// One of its parts ended for a reason that nobody foresaw.
    #[error("a part of the slave broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl ServeError {
    /// Whether a setting is wrong, and not this machine.
    #[must_use]
    pub fn is_wrong_setting(&self) -> bool {
        matches!(
            self,
            Self::Secret(_) | Self::Tls(_) | Self::Origins(_) | Self::Caller(CallError::Tls(_))
        )
    }
}

/// Is a slave until `stop`, or until a signed call ends it; then cancels what runs, tears its
/// builds down and returns. Projects are fetched by processes of `program`, which must call [`fetch_project`] if its first
/// argument is [`FETCH_PROJECT`].
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
    let StopSignals {
        drain: withdraw,
        stop,
        blame,
        mut ignored,
    } = signals;
    let SlaveSettings {
        general, service, ..
    } = &settings;
    let tls = general.https.acceptor()?;
    let origins = AllowedOrigins::new(service.cors_allowed_origins_regex.as_deref())?;
    let secret = general.secret_or_generate()?;
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let master = format!("{}:{}", general.master_hostname, settings.master_port);
    let own_address = if address.ip().is_loopback() {
        address.to_string()
    } else {
        format!("{}:{}", general.hostname, address.port())
    };
    let session = SessionId::from_random(random_bytes());
    let data = {
        let (base, session) = (general.base_directory.clone(), session.clone());
        let open = move || DataDirectory::open(&base, address.port(), session);
        Arc::new(tokio::task::spawn_blocking(open).await??)
    };
    // What an earlier life of this slave may have left running, and then what that left on disk.
    end_marked(&data.mark(), service.atom_kill_grace).await;
    let collect = {
        let data = Arc::clone(&data);
        move || {
            let collected = HeldResults::collect(&data);
            let collected = collected.map_err(|source| DataDirectoryError::Left {
                path: data.path().to_owned(),
                source,
            })?;
            data.empty()?;
            Ok::<_, DataDirectoryError>(collected)
        }
    };
    let (held, held_deliveries) = tokio::task::spawn_blocking(collect).await??;

    let events = EventLog::open(&general.event_log, general.max_log_file_size)?;
    run::event_log::started(&events);
    let timeout = general.default_http_timeout;
    let caller = |timeout| Caller::with_https(Some(secret.clone()), timeout, &general.https);
    let short_caller = caller(timeout.min(SHORT_CALL))?;
    let api = MasterApi {
        uploader: caller(timeout)?.knowing_whom(&short_caller),
        caller: short_caller,
        master: master.clone(),
        own_address: own_address.clone(),
        session: session.clone(),
        num_executors: settings.num_executors,
        labels: settings.labels.clone(),
        accepts_original: service.accept_legacy_peers,
        dialect: Dialect::default(),
        lineage: Lineage::default(),
    };
    held.remember_in(&api.lineage);
    let registration = Registration::new();
    // A child, so that a call that ends this slave ends nothing else of the process.
    let stop = stop.child_token();
    let space = DiskSpace::new(data.path(), service.min_free_space);
    let children = Children::new(
        program,
        FETCH_PROJECT,
        &data.mark(),
        service.atom_kill_grace,
    );
    children.get_ready();
    let waiting_children = children.clone();
    let surroundings = Arc::new(Surroundings {
        data: Arc::clone(&data),
        setup: Setup {
            data: Arc::clone(&data),
            sources: Sources::new(
                general.hostname.clone(),
                git_options(service),
                RemoteFileRules {
                    idle_timeout: service.fetch_timeout,
                    ..service.remote_files.clone()
                },
                Fetching {
                    children,
                    max_memory_bytes: service.git_max_memory_bytes,
                },
                (api.clone(), registration.clone()),
            ),
            kill_grace: service.atom_kill_grace,
            sweeper: Sweeper::new(service.atom_kill_grace),
            space: space.clone(),
            max_output: settings.max_console_size,
        },
        deliveries: Arc::new(Deliveries::new(api.clone(), registration.clone())),
        reports: Arc::default(),
        events: events.clone(),
        session: session.clone(),
        limits: Limits {
            kill_grace: service.atom_kill_grace,
            max_console_size: settings.max_console_size,
        },
        space: space.clone(),
        ending: stop.clone(),
        consoles: Arc::default(),
    });
    let work = WorkHandle::new(settings.num_executors, Arc::clone(&surroundings));
    let work = work.map_err(ServeError::Executors)?;

    if service.accept_legacy_peers {
        tracing::warn!("{}", http::LEGACY_WARNING);
    }
    let legacy = service
        .accept_legacy_peers
        .then_some(http::legacy_proof as _);
    let max_age = service.signature_max_age;
    let gate = Gate::with_legacy_peers(secret, &session, max_age, |_, _| false, legacy);
    let gate = match service.require_signed_reads {
        true => gate.with_proved_reads(general.read_token.clone()),
        false => gate,
    };
    let routes = http::router(
        http::Api {
            work: work.clone(),
            registration: registration.clone(),
            dialect: api.dialect.clone(),
            lineage: api.lineage.clone(),
            consoles: Arc::clone(&surroundings.consoles),
            reports: Arc::clone(&surroundings.reports),
            events,
            session,
            max_console_size: settings.max_console_size,
            master_url: master.clone(),
            turns: Turns::default(),
            stop: stop.clone(),
        },
        &gate,
        origins,
    );
    let scheme = general.https.scheme();
    tracing::info!(
        data_directory = %data.path().display(),
        "slave listens on {scheme}://{own_address}, master {scheme}://{master}"
    );
    // It answers until all is cleaned up: reads still work then, and orders are refused.
    let listening = CancellationToken::new();
    let end_listening = listening.clone().drop_guard();
    let interval = settings.heartbeat_interval;
    tokio::join!(
        clusterrunner_common::http::serve_secured(listener, routes, tls, listening, DRAIN),
        async {
            tokio::join!(
                work.run(),
                source::retention::keep(&surroundings, service.kept_projects, &stop),
                withdrawal::when_asked(&api, &work, &registration, &withdraw, &stop),
                run::misdeeds::watch(&data, &work, (&blame, &mut ignored), &stop),
                connection::keep(
                    api.clone(),
                    work.clone(),
                    registration.clone(),
                    &space,
                    (held, Arc::clone(&data)),
                    interval,
                    (stop.clone(), blame.clone()),
                ),
                surroundings.reports.deliver(&api, &registration, &stop),
                held_deliveries.run(
                    Arc::clone(&data),
                    &surroundings.deliveries,
                    &registration,
                    &stop
                ),
            );
            drop(end_listening);
        },
    );
    waiting_children.rest().await;
    if let Some(reason) = data.why_broken() {
        return Err(ServeError::Broken(reason));
    }
    tracing::info!("the slave has ended");
    Ok(())
}

fn git_options(service: &ServiceSettings) -> GitOptions {
    GitOptions {
        allow_local_sources: service.allow_local_sources,
        strict_host_key_checking: service.git_strict_host_key_checking,
        idle_timeout: service.fetch_timeout,
        limits: service.git_limits,
        ..GitOptions::default()
    }
}
