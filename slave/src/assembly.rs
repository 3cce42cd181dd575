//! Constructs the parts of a slave and joins them.

mod base;
mod joining;

use crate::connection::{self, Connection};
use crate::containers::BuildContainers;
use crate::coordinator::WorkHandle;
use crate::data_directory::DataDirectoryError;
use crate::http::{self};
use crate::master::registration::Registration;
use crate::polling;
use crate::run::{event_log, misdeeds};
use crate::setup::TakenTemplates;
use crate::source::retention;
use crate::withdrawal;
use crate::work::Command;
use base::Base;
use clusterrunner_common::auth::strangers::Strangers;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::http::cors::{AllowedOrigins, InvalidPattern};
use clusterrunner_common::http::serve_secured;
use clusterrunner_common::http::tls::{TlsDoor, TlsError};
use clusterrunner_common::logs::event_log::EventLogError;
use clusterrunner_common::process::stop_signals::StopSignals;
use clusterrunner_common::settings::{SettingsError, SlaveSettings};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
    /// Its keys can not be read or kept.
    #[error("could not read or make this slave's keys: {0}")]
    Identity(#[source] std::io::Error),
    /// There is no join token where the settings say.
    #[error("join_token_file {}: {reason}", .file.display())]
    JoinToken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
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
                | Self::JoinToken { .. }
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
    let tls = settings.general.https.door()?;
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
    let caches = base.setup_caches(&program, (&api, &registration));
    let surroundings = base.surroundings(
        &sources,
        &api,
        &registration,
        (containers, taken),
        (&program, Arc::clone(&caches)),
    );
    let surroundings = Arc::new(surroundings);
    let isolator = Arc::clone(&surroundings.isolator);
    tokio::task::spawn_blocking(move || isolator.warn_if_not_here()).await?;
    let work = WorkHandle::new(base.settings.num_executors, Arc::clone(&surroundings));
    let work = work.map_err(ServeError::Executors)?;
    let parts = (&work, &supervisor);
    let routes_api = base.routes_api(parts, &api, &registration, &surroundings);
    let routes = http::router(routes_api, &base.gate(), origins);
    let limits = base.settings.service.serving;
    let routes = Strangers::new(limits.unproved_requests).before(routes);
    let polling = base.polling(&api, &registration, &routes)?;
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
        ends_when_unknown: base.settings.end_when_unknown,
    };
    base.greet();
    Box::pin(supervisor.adopt()).await;
    // It answers until all is cleaned up: reads still work then, and orders are refused.
    let listening = CancellationToken::new();
    let end_listening = listening.clone().drop_guard();
    let polled = listening.clone();
    let (data, deliveries) = (&base.data, &surroundings.deliveries);
    // It is never refused; at its end the slave does not care.
    let note = |command: Command| {
        work.send(command).ok();
    };
    let mut ignored = signals.ignored;
    let door = tls.clone();
    tokio::join!(
        serve_secured(listener, routes, (tls, limits), listening, DRAIN),
        polling::until(polling, &polled, DRAIN),
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
                TlsDoor::keep_fresh(door.as_ref(), &stop),
            );
            drop(end_listening);
        },
    );
    supervisor.rest().await;
    children.rest().await;
    caches.rest().await;
    if let Some(reason) = base.data.why_broken() {
        return Err(ServeError::Broken(reason));
    }
    tracing::info!("the slave has ended");
    Ok(())
}
