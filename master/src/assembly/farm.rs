//! What the parts of a master share, and the parts that are made of it alone.

use super::ServeError;
use crate::consoles::Consoles;
use crate::coordinator::ClusterHandle;
use crate::effects::hunting::Hunter;
use crate::effects::launched::Launched;
use crate::http::accounts::Accounts;
use crate::http::clusterrunner::{self, Api, BuildPage, Downloads, LastReports, Live};
use crate::http::description;
use crate::http::polyaxon::{self, Streams};
use crate::http::sessions::Sessions;
use crate::http::tokens::TokensOf;
use crate::journal::{AuditLog, EndedBuilds, Histories, Timings};
use crate::notify::Begun;
use crate::polls::Lines;
use crate::pools::PoolsTender;
use crate::push::{AppAddresses, Parts, Pushes};
use crate::read::builds::Builds;
use crate::read::feed::Feed;
use crate::read::forecasts::Forecasts;
use crate::read::metrics::Measured;
use crate::read::pools::Pools;
use crate::read::private::PrivateProjects;
use crate::read::published::Published;
use crate::read::receivers::Receivers;
use crate::read::running::RunningAtoms;
use crate::read::slave_keys::SlaveKeys;
use crate::read::slave_signs::{self, SlaveSigns};
use crate::router::{self, Routes};
use crate::store::build_secrets::BuildSecrets;
use crate::store::own_repositories::{KEEP_CODE, OwnRepositories};
use crate::store::results::Results;
use crate::store::sources::Sources;
use crate::store::working_trees::{LOOK_AT_PACK, WorkingTrees};
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::child::Children;
use clusterrunner_common::disk::kept_entries::KeptEntries;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::GitOptions;
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::settings::MasterSettings;
use clusterrunner_common::turns::Turns;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many answers wait at a time for what instances print.
const WAITING_FOR_LOGS: usize = 256;

/// What the parts of a master share.
pub(super) struct Farm {
    pub(super) settings: MasterSettings,
    pub(super) is_output_read: bool,
    pub(super) directory: PathBuf,
    pub(super) session: SessionId,
    pub(super) cluster: ClusterHandle,
    pub(super) archived: EndedBuilds,
    pub(super) histories: Histories,
    pub(super) audit: AuditLog,
    pub(super) timings: Timings,
    pub(super) results: Results,
    pub(super) launched: Launched,
    pub(super) space: DiskSpace,
    pub(super) caller: Caller,
    /// The calls to slaves that poll for them.
    pub(super) lines: Lines,
    pub(super) measured: Measured,
    pub(super) receivers: Receivers,
    pub(super) pools: Pools,
    pub(super) running_atoms: RunningAtoms,
    pub(super) signs: SlaveSigns,
    /// Those of builds.
    pub(super) secrets: BuildSecrets,
    /// For what is large to read, whatever the API.
    pub(super) turns: Turns,
}

impl Farm {
    pub(super) fn say_that_it_listens(&self, address: SocketAddr) {
        tracing::info!(
            data_directory = %self.directory.display(),
            config_file = %self.settings.general.config_file.display(),
            "master listens on {}://{address}",
            self.settings.general.https.scheme()
        );
    }

    pub(super) fn git(&self) -> GitOptions {
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
    pub(super) fn own_repositories(
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

    /// What clients send, looked at by processes of `program`, which have `mark`.
    pub(super) fn working_trees(
        &self,
        (program, mark): (PathBuf, &str),
        stop: &CancellationToken,
    ) -> Result<WorkingTrees, ServeError> {
        let service = &self.settings.service;
        let bounds = (
            self.settings.max_working_tree_bytes,
            self.settings.keep_working_trees_bytes,
        );
        WorkingTrees::open(
            self.directory.join("working_trees"),
            (service.git_limits, service.git_max_memory_bytes),
            bounds,
            Children::new(program, LOOK_AT_PACK, mark, service.atom_kill_grace),
            stop.clone(),
        )
        .map_err(ServeError::WorkingTrees)
    }

    /// Ends instances that nobody uses, and those whose successors are up once nothing is with them any more. Looks how
    /// busy slaves are. Hunts for flakes. Tells others of builds. Starts and ends slaves of pools.
    pub(super) fn tend(
        &self,
        (routes, feed, begun): (Routes, Feed, Begun),
        (address, mark): (SocketAddr, &str),
        pools: PoolsTender,
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
        let pools = pools.run(stop.clone());
        Ok(tokio::spawn(async move {
            tokio::join!(culling, draining, watching, hunting, pools, notifying.end());
        }))
    }

    pub(super) fn app_addresses(&self, port: u16, is_tls: bool) -> AppAddresses {
        AppAddresses {
            domain: self.settings.apps.domain.clone(),
            port,
            is_tls,
        }
    }

    /// Pushes through a git that has hooks of `program`, with processes that have `mark`.
    pub(super) fn pushes(
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

    pub(super) fn sources(&self, own: OwnRepositories, stop: &CancellationToken) -> Sources {
        Sources::new(
            &self.directory,
            own,
            self.git(),
            self.settings.get_project_from_master,
            self.space.clone(),
            stop.clone(),
        )
    }

    pub(super) fn gate(
        &self,
        secret: Secret,
        (private, slave_keys): (&PrivateProjects, &SlaveKeys),
        sessions: &Sessions,
    ) -> Arc<Gate> {
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
        .with_sessions(Arc::new(sessions.clone()))
        .with_keys(Arc::new(slave_keys.clone()));
        match service.require_signed_reads {
            true => gate.with_proved_reads(self.settings.general.read_token.clone()),
            false => gate,
        }
    }

    pub(super) fn sessions(&self, secret: Secret, is_tls: bool) -> Sessions {
        let opens = clusterrunner::session_opens;
        Sessions::new(self.cluster.clone(), secret, is_tls, opens)
    }

    pub(super) fn accounts(&self, secret: Secret) -> Accounts {
        Accounts::new(self.cluster.clone(), secret, self.settings.registration)
    }

    pub(super) fn polyaxon_api(
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

    pub(super) fn builds(&self) -> Builds {
        Builds {
            cluster: self.cluster.clone(),
            archived: self.archived.clone(),
        }
    }

    pub(super) fn api(
        &self,
        (sources, working_trees): (Sources, WorkingTrees),
        accounts: Accounts,
        (published, private, live, slave_keys): (
            Published<BuildPage>,
            PrivateProjects,
            Live,
            SlaveKeys,
        ),
        (events, sessions): (EventLog, Sessions),
    ) -> Api {
        Api {
            cluster: self.cluster.clone(),
            accounts,
            sessions,
            builds: self.builds(),
            histories: self.histories.clone(),
            audit: self.audit.clone(),
            forecasts: Forecasts::new(
                self.cluster.clone(),
                self.running_atoms.clone(),
                self.timings.clone(),
            ),
            private,
            slave_keys,
            published,
            running: self.running_atoms.clone(),
            signs: self.signs.clone(),
            results: self.results.clone(),
            space: self.space.clone(),
            sources,
            working_trees,
            caller: self.caller.clone(),
            lines: self.lines.clone(),
            events,
            measured: self.measured.clone(),
            turns: self.turns.clone(),
            live,
            downloads: Downloads::default(),
            receivers: self.receivers.clone(),
            pools: self.pools.clone(),
            session: self.session.clone(),
            snapshots: self.launched.snapshots.clone(),
            kept_setups: Arc::new(KeptEntries::open(
                self.directory.join("setup-cache"),
                self.settings.service.max_setup_cache_bytes,
            )),
            instance_logs: self.launched.logs.clone(),
            app_logs: self.launched.app_logs.clone(),
            app_domain: self.settings.apps.domain.clone(),
            last_reports: LastReports::default(),
            waiting: Turns::at_a_time(WAITING_FOR_LOGS),
            image_policy: self.settings.image_policy,
            description: description::text(),
            remote_files: self.settings.service.remote_files.clone(),
            secrets: self.secrets.clone(),
        }
    }
}
