//! Constructs the parts of the master and joins them.

mod binder_api;
mod deis_api;
mod doors;
mod effects;
mod error;
mod farm;
mod further_ports;
mod notifying;
mod pools;
mod readers;
mod running;
mod ssh_port;

pub use error::ServeError;

use crate::coordinator::{ClusterHandle, Coordinator};
use crate::effects::launched::Launched;
use crate::http::binder;
use crate::http::clusterrunner::{self, Live};
use crate::http::deis;
use crate::http::git::GitHttp;
use crate::http::page::Page;
use crate::http::polyaxon;
use crate::http::server::Apis;
use crate::journal::{AuditLog, EndedBuilds, Histories, Journal, Timings};
use crate::notify::{self, Begun, Watcher};
use crate::polls::Lines;
use crate::read::metrics::Measured;
use crate::read::pools::Pools;
use crate::read::running::RunningAtoms;
use crate::read::slave_keys::SlaveKeys;
use crate::read::slave_signs::SlaveSigns;
use crate::router::Router;
use crate::store::app_logs::AppLogs;
use crate::store::build_secrets::BuildSecrets;
use crate::store::instance_logs::InstanceLogs;
use crate::store::own_keys::{Kept, MASTER_KEY, master_key};
use crate::store::results::Results;
use crate::store::templates::Snapshots;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::daemon::DataDirectoryLock;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::http::cors::AllowedOrigins;
use clusterrunner_common::ids::{Incarnation, SessionId};
use clusterrunner_common::process::command::end_marked;
use clusterrunner_common::settings::MasterSettings;
use clusterrunner_common::turns::Turns;
use clusterrunner_core::command::Opening;
use clusterrunner_core::effect::Effect;
use doors::Doors;
use farm::Farm;
use further_ports::FurtherPorts;
use readers::Readers;
use running::Running;
use ssh_port::SshDoor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The directory of the master's data, which nobody else has as long as the lock is held.
fn take_directory(
    settings: &MasterSettings,
    address: SocketAddr,
) -> Result<(PathBuf, DataDirectoryLock), ServeError> {
    let directory = std::path::absolute(settings.general.base_directory.join("master"))
        .map_err(ServeError::Directory)?;
    let mut lock = DataDirectoryLock::take(&directory, "master")?;
    lock.note_address(address)?;
    Ok((directory, lock))
}

/// The results of builds in this directory, without what was only coming in.
fn results_in(directory: &Path) -> Result<Results, ServeError> {
    let results = Results::new(directory.join("results")).map_err(ServeError::Results)?;
    results.remove_incoming().map_err(ServeError::Leftovers)?;
    Ok(results)
}

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
    let tls = settings.general.https.door()?;
    let origins = AllowedOrigins::new(settings.service.cors_allowed_origins_regex.as_deref())?;
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let (directory, _lock) = take_directory(&settings, address)?;
    let further_ports = FurtherPorts::take(&settings).await?;
    let ssh = SshDoor::take(&settings, &directory).await?;
    let mark = unused_mark(&settings, &directory).await;
    let results = results_in(&directory)?;
    let launched = launched(&settings, &directory).map_err(ServeError::Launched)?;
    let session = SessionId::from_random(random_bytes());
    let slave_keys = slave_keys(&directory, secret.clone()).map_err(ServeError::MasterKey)?;
    let recovered = recover(&settings, &directory, (&results, &launched), &session).await?;
    let receivers = recovered.coordinator.1.receivers();
    let told = (recovered.coordinator, slave_keys.clone());
    let (coordinator, readers) = Readers::told_by(told, &settings, &launched)?;
    let lines = Lines::default();
    let farm = Farm {
        space: space(&settings, &directory),
        measured: Measured::default(),
        receivers,
        pools: Pools::default(),
        running_atoms: RunningAtoms::default(),
        signs: SlaveSigns::default(),
        turns: Turns::default(),
        secrets: BuildSecrets::new(directory.join("secrets"), secret.clone()),
        cluster: recovered.cluster.sealing_marks(slave_keys.mark_seal()),
        archived: recovered.archived,
        histories: recovered.histories,
        audit: recovered.audit,
        timings: recovered.timings.clone(),
        directory,
        session,
        results,
        launched,
        caller: caller(&settings, (secret.clone(), slave_keys), &lines)?,
        lines,
        settings,
        is_output_read,
    };
    let own = farm.own_repositories((program.clone(), &mark), &stop)?;
    let working_trees = farm.working_trees((program.clone(), &mark), &stop)?;
    let router_port = further_ports.of_router().unwrap_or(address.port());
    let addresses = farm.app_addresses(router_port, tls.is_some());
    let told = (readers.feed.clone(), addresses);
    let pushes = farm.pushes(own.clone(), told, (&program, &mark), &stop)?;
    let sources = farm.sources(own.clone(), &stop);
    let projects = farm.projects(&sources, own.clone(), working_trees.clone());
    let preparer = farm.preparer((program, &mark), recovered.timings.clone(), &projects);
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
    let known = (&readers.private, &readers.slave_keys);
    let gate = farm.gate(secret.clone(), known, &sessions);
    let accounts = farm.accounts(secret.clone());
    let (feed, hunted) = (readers.feed.clone(), readers.feed.clone());
    let deis = farm.deis_api(accounts.clone(), tls.is_some(), feed, ssh.is_settled());
    let live = Live::new(readers.feed.clone(), stop.clone());
    let known = (readers.slave_keys.clone(), readers.events.clone());
    let pools = farm.pools_tender(known, address)?;
    let published = (readers.published, readers.private, live, readers.slave_keys);
    let (told, sent) = ((readers.events, sessions), (sources, working_trees.clone()));
    let api = farm.api(sent, accounts.clone(), published, told);
    let told_polyaxon = (readers.feed, &stop);
    let polyaxon = farm.polyaxon_api(accounts, own.clone(), tls.is_some(), told_polyaxon);
    let apis = Apis {
        binder: binder::router(farm.binder_api(router_port)?),
        deis: deis::router(deis, &farm.deis_gate(secret)),
        polyaxon: polyaxon::router(polyaxon),
        clusterrunner: clusterrunner::router(api, &gate, origins),
        git: GitHttp::new(farm.cluster.clone(), pushes.clone()),
        page: Page::default(),
        router: Router::new(readers.routes.clone(), tls.is_some(), stop.clone()),
    };
    let told = (readers.routes, hunted, recovered.begun);
    let tending = farm.tend(told, (address, &mark), pools, &stop)?;
    farm.say_that_it_listens(address);
    let doors = Doors {
        listener,
        further_ports,
        ssh,
        tls,
        limits: farm.settings.service.serving,
        pushes: pushes.clone(),
        cluster: farm.cluster.clone(),
        stop,
    };
    doors.serve(apis).await?;
    tending.await?;
    running.end().await?;
    tokio::join!(own.rest(), working_trees.rest(), pushes.ended());
    tracing::info!("the master has ended");
    Ok(())
}

/// The keys of slaves and of the master. Blocks for as long as it takes to read a small file, or to write one.
fn slave_keys(directory: &Path, secret: Secret) -> std::io::Result<SlaveKeys> {
    let own = match master_key(directory)? {
        Kept::Known(key) => key,
        Kept::Made(key) => {
            tracing::info!(
                key = key.public().fingerprint(),
                "made a key for this master in {}; slaves that have joined another master do not take this one for theirs \
                 (docs/slaves.md, Keys)",
                directory.join(MASTER_KEY).display()
            );
            key
        }
    };
    Ok(SlaveKeys::new(secret, own))
}

/// What marks the processes that this master starts. Those of an earlier one are ended.
async fn unused_mark(settings: &MasterSettings, directory: &Path) -> String {
    let mark = format!("master {}:", directory.display());
    end_marked(&mark, settings.service.atom_kill_grace).await;
    mark
}

/// What calls slaves.
fn caller(
    settings: &MasterSettings,
    (secret, keys): (Secret, SlaveKeys),
    lines: &Lines,
) -> Result<Caller, ServeError> {
    let general = &settings.general;
    let timeout = general.default_http_timeout;
    let caller = Caller::with_https(Some(secret), timeout, &general.https)?;
    Ok(caller
        .with_signer(Arc::new(keys))
        .with_carrier(Arc::new(lines.clone())))
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
    audit: AuditLog,
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
    let audit_kept = settings.keep_audit_entries;
    let told = (settings.notify.clone(), settings.on_finish.clone());
    let recovering = tokio::task::spawn_blocking(move || {
        let journal = Journal::open(&directory)?.keeping_audit(audit_kept);
        let audit = journal.audit_log();
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
            audit,
            begun,
        })
    });
    recovering.await?
}
