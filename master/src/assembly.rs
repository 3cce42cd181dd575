//! Constructs the parts of the master and joins them.

use crate::coordinator::Coordinator;
use crate::core::command::Opening;
use crate::effects::dispatcher::Dispatcher;
use crate::effects::learning::Durations;
use crate::effects::preparer::{PREPARE_BUILD, Preparer};
use crate::effects::project_locks::ProjectLocks;
use crate::effects::retention::{Keeper, Projects};
use crate::effects::slave_calls::ProjectLinks;
use crate::http::clusterrunner::{self, Downloads};
use crate::http::server::{self, Families};
use crate::journal::{Journal, JournalError};
use crate::read::metrics::Measured;
use crate::read::published::Published;
use crate::store::results::Results;
use crate::store::sources::Sources;
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::child::Children;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::daemon::{DataDirectoryLock, LockError};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::GitOptions;
use clusterrunner_common::http::cors::{AllowedOrigins, InvalidPattern};
use clusterrunner_common::http::tls::TlsError;
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::ids::{Incarnation, SessionId};
use clusterrunner_common::logs::event_log::{EventLog, EventLogError};
use clusterrunner_common::process::command::end_marked;
use clusterrunner_common::process::sweeper::Sweeper;
use clusterrunner_common::settings::MasterSettings;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Why a master could not start, or ended too early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its data directory can not be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The base directory has no absolute path.
    #[error("could not find the base directory: {0}")]
    Directory(#[source] std::io::Error),
    /// Its facts can not be read or stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It can not speak HTTPS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its event log can not be written.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// It can not call slaves.
    #[error(transparent)]
    Caller(#[from] CallError),
    /// A setting can not be used.
    #[error(transparent)]
    Origins(#[from] InvalidPattern),
    /// What an earlier process left can not be cleared away.
    #[error("could not clear away what an earlier process left: {0}")]
    Leftovers(#[source] std::io::Error),
    /// What results there are can not be looked through.
    #[error("could not look through the results that are stored: {0}")]
    Stored(#[source] std::io::Error),
    /// Nothing can be written by a thread of its own.
    #[error("could not begin to store results: {0}")]
    Results(#[source] std::io::Error),
    /// The address that it listens on is not known.
    #[error("could not find out the address that is listened on: {0}")]
    Address(#[source] std::io::Error),
    /// One of its parts ended for a reason that nobody foresaw.
    #[error("a part of the master broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl ServeError {
    /// Whether a setting is wrong, and not this machine.
    #[must_use]
    pub fn is_wrong_setting(&self) -> bool {
        matches!(
            self,
            Self::Tls(_) | Self::Origins(_) | Self::Caller(CallError::Tls(_))
        )
    }
}

/// Is a master until `stop`: replays its journal, then listens. Builds are prepared by processes of `program`, which
/// must call [`crate::effects::preparer::prepare_build`] if its first argument is [`PREPARE_BUILD`].
///
/// # Errors
/// See [`ServeError`]. A master whose journal fails ends; it never runs ahead of its disk.
pub async fn serve(
    settings: MasterSettings,
    secret: Secret,
    listener: TcpListener,
    stop: CancellationToken,
    program: PathBuf,
) -> Result<(), ServeError> {
    let (general, service) = (&settings.general, &settings.service);
    let tls = general.https.acceptor()?;
    let origins = AllowedOrigins::new(service.cors_allowed_origins_regex.as_deref())?;
    let directory = std::path::absolute(general.base_directory.join("master"))
        .map_err(ServeError::Directory)?;
    let _lock = DataDirectoryLock::take(&directory, "master")?;
    let mark = format!("master {}:", directory.display());
    end_marked(&mark, service.atom_kill_grace).await;
    let results = Results::new(directory.join("results")).map_err(ServeError::Results)?;
    results.remove_incoming().map_err(ServeError::Leftovers)?;

    let space = DiskSpace::new(&directory, service.min_free_space);
    if let Err(short) = space.check(0) {
        tracing::warn!(error = %short, "this master takes no builds and no results yet");
    }

    let session = SessionId::from_random(random_bytes());
    let lease = settings.slave_lost_after;
    let (life, stored) = (session.clone(), results.clone());
    let journal_directory = directory.join("journal");
    let recovered = tokio::task::spawn_blocking(move || {
        let journal = Journal::open(&journal_directory)?;
        let kept = (journal.ended(), journal.timings());
        let (coordinator, cluster, effects) = Coordinator::recover(journal, lease)?;
        // A journal that does not know of these is older than they are.
        let stored = stored.all_stored(&coordinator.open_builds());
        let coordinator = coordinator.opening(Opening {
            life,
            fresh: Incarnation::from_random(random_bytes()),
            stored: stored.map_err(ServeError::Stored)?,
        });
        Ok::<_, ServeError>(((coordinator, cluster, effects), kept))
    });
    let ((coordinator, cluster, effects), (ended, timings)) = recovered.await??;
    let events = EventLog::open(&general.event_log, general.max_log_file_size)?;
    let mut to_event_log = crate::read::event_log::listener(events.clone());
    let (mut to_learning, heard) = crate::effects::learning::listener();
    let published = Published::default();
    let mut to_readers = published.listener();
    let coordinator = coordinator
        .with_legacy_lease(settings.legacy_slave_lost_after)
        .telling(move |cluster, events| {
            to_readers(cluster, events);
            to_event_log(cluster, events);
            to_learning(cluster, events);
        });
    // It ends with the coordinator, which alone tells it something.
    let learning = tokio::spawn(crate::effects::learning::learn(timings.clone(), heard));
    let measured = Measured::default();
    let caller = Caller::with_https(
        Some(secret.clone()),
        general.default_http_timeout,
        &general.https,
    )?;
    let git = GitOptions {
        allow_local_sources: service.allow_local_sources,
        strict_host_key_checking: service.git_strict_host_key_checking,
        connect_timeout: service.fetch_timeout,
        limits: service.git_limits,
        ..GitOptions::default()
    };
    let sources = Sources::new(
        &directory,
        git.clone(),
        settings.get_project_from_master,
        space.clone(),
        stop.clone(),
    );
    let projects = Projects {
        mirrors: sources.mirrors.clone(),
        work_trees: directory.join("work"),
        locks: ProjectLocks::default(),
        bounds: service.kept_projects,
    };
    let preparer = Preparer {
        mirrors: projects.mirrors.clone(),
        work_trees: projects.work_trees.clone(),
        git,
        remote_files: service.remote_files.clone(),
        git_max_memory_bytes: service.git_max_memory_bytes,
        children: Children::new(program, PREPARE_BUILD, &mark, service.atom_kill_grace),
        kill_grace: service.atom_kill_grace,
        sweeper: Sweeper::new(service.atom_kill_grace),
        default_timeouts: settings.default_timeouts,
        hostname: general.hostname.clone(),
        projects: projects.locks.clone(),
        durations: Durations {
            timings,
            files: crate::effects::timing_files::directory(&general.base_directory),
        },
        space: space.clone(),
        measured: measured.clone(),
    };
    preparer.children.get_ready();
    let links = ProjectLinks {
        directory: settings.build_symlink_directory.clone(),
        session: session.clone(),
    };
    let dispatcher = Dispatcher::new(
        preparer,
        results.clone(),
        space.clone(),
        caller.clone(),
        cluster.clone(),
        links,
        ended.clone(),
    )
    .giving_projects(settings.get_project_from_master);
    let keeper = Keeper::new(
        cluster.clone(),
        results.clone(),
        ended.clone(),
        settings.kept_builds,
        projects,
        measured.clone(),
    );
    if service.accept_legacy_peers {
        tracing::warn!("{}", clusterrunner::LEGACY_WARNING);
    }
    let legacy = service
        .accept_legacy_peers
        .then_some(clusterrunner::legacy_proof as _);
    let gate = Gate::with_legacy_peers(
        secret,
        &session,
        service.signature_max_age,
        clusterrunner::takes_body_digest,
        legacy,
    );
    let gate = match service.require_signed_reads {
        true => gate.with_proved_reads(general.read_token.clone()),
        false => gate,
    };
    let api = clusterrunner::Api {
        cluster,
        published,
        results,
        space,
        sources,
        ended,
        caller,
        events,
        measured,
        turns: Turns::default(),
        downloads: Downloads::default(),
        session,
        remote_files: service.remote_files.clone(),
    };
    let families = Families {
        clusterrunner: clusterrunner::router(api, &gate, origins),
    };
    let address = listener.local_addr().map_err(ServeError::Address)?;
    tracing::info!(
        data_directory = %directory.display(),
        config_file = %general.config_file.display(),
        "master listens on {}://{address}",
        general.https.scheme()
    );

    // The coordinator goes last, so that the others can report to the end. If it goes first its
    // journal has failed, and if one of the two breaks off nothing works any more: all must go then,
    // which the guards see to also where a task panics.
    let end = CancellationToken::new();
    let coordinating = tokio::spawn({
        let (end, with_all) = (end.clone(), stop.clone().drop_guard());
        async move {
            let _with_all = with_all;
            coordinator.run(end).await
        }
    });
    let dispatching = tokio::spawn({
        let (stop, with_all) = (stop.clone(), stop.clone().drop_guard());
        async move {
            let _with_all = with_all;
            dispatcher.run(effects, stop).await;
        }
    });
    let keeping = tokio::spawn(keeper.run(stop.clone()));
    server::serve(listener, families, tls, stop).await;
    dispatching.await?;
    keeping.await?;
    end.cancel();
    coordinating.await??;
    learning.await?;
    tracing::info!("the master has ended");
    Ok(())
}
