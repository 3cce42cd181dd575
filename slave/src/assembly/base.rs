//! What the parts of a slave are made of, and how each is made.

use super::ServeError;
use super::joining::identity;
use crate::FETCH_PROJECT;
use crate::build_template::TemplatePlaces;
use crate::containers::{Availability, BuildContainers};
use crate::coordinator::{Surroundings, WorkHandle};
use crate::data_directory::{DataDirectory, DataDirectoryError};
use crate::deliver::delivery::Deliveries;
use crate::deliver::held_results::{HeldDeliveries, HeldResults};
use crate::deliver::steps::StepDeliveries;
use crate::http::{Api, LEGACY_WARNING, legacy_proof};
use crate::isolation::{Isolator, hidden_places};
use crate::keeper::Rules;
use crate::master::api::MasterApi;
use crate::master::clock::MasterClock;
use crate::master::dialect::Dialect;
use crate::master::identity::Identity;
use crate::master::lineage::Lineage;
use crate::master::registration::Registration;
use crate::polling::Polling;
use crate::run::consoles::Consoles;
use crate::run::subjob_executor::Limits;
use crate::secret_files::SecretFiles;
use crate::setup::{Setup, TakenTemplates};
use crate::setup_cache::{HANDLE_ENTRY, SetupCaches, Sharing};
use crate::source::{Fetching, Sources};
use crate::supervisor::{Means, Places, Supervisor};
use crate::templates::{Fetching as FetchingTemplates, Templates, UNPACK_SNAPSHOT};
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::child::Children;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::GitOptions;
use clusterrunner_common::http::around::Inside;
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::process::command::end_marked;
use clusterrunner_common::process::guardian::Guardian;
use clusterrunner_common::process::sweeper::Sweeper;
use clusterrunner_common::remote_files::RemoteFileRules;
use clusterrunner_common::settings::SlaveSettings;
use clusterrunner_common::text::slave_address;
use clusterrunner_common::turns::Turns;
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

/// What the parts are made of.
pub(super) struct Base {
    pub(super) settings: SlaveSettings,
    /// The farm's secret, where this slave has it.
    pub(super) secret: Option<Secret>,
    pub(super) identity: Identity,
    pub(super) session: SessionId,
    /// `host:port` of the master and of this slave.
    pub(super) master: String,
    pub(super) own_address: String,
    pub(super) data: Arc<DataDirectory>,
    pub(super) events: EventLog,
    pub(super) space: DiskSpace,
    pub(super) stop: CancellationToken,
}

impl Base {
    pub(super) async fn new(
        settings: SlaveSettings,
        listener: &TcpListener,
        stop: &CancellationToken,
    ) -> Result<Self, ServeError> {
        let general = &settings.general;
        let address = listener.local_addr().map_err(ServeError::Address)?;
        let random = SessionId::from_random(random_bytes());
        let data = {
            let (base, random) = (general.base_directory.clone(), random.clone());
            let open = move || DataDirectory::open(&base, address.port(), random);
            Arc::new(spawn_blocking(open).await??)
        };
        let (identity, secret) = identity(&settings, &data).await?;
        let session = identity.life(&random);
        let general = &settings.general;
        // What an earlier life of this slave may have left running.
        end_marked(&data.mark(), settings.service.atom_kill_grace).await;
        Ok(Self {
            master: format!("{}:{}", general.master_hostname, settings.master_port),
            own_address: own_address(address, &settings),
            events: EventLog::open(&general.event_log, general.max_log_file_size)?,
            space: DiskSpace::new(data.path(), settings.service.min_free_space),
            stop: stop.clone(),
            secret,
            identity,
            session,
            data,
            settings,
        })
    }

    /// Empties the data directory but for results that are not delivered yet.
    pub(super) async fn left_results(&self) -> Result<(HeldResults, HeldDeliveries), ServeError> {
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

    pub(super) fn master_api(&self) -> Result<MasterApi, ServeError> {
        let general = &self.settings.general;
        let timeout = general.default_http_timeout;
        let signer = Arc::new(self.identity.clone());
        let caller = |timeout| {
            let caller = Caller::with_https(self.secret.clone(), timeout, &general.https)?;
            Ok::<_, CallError>(caller.with_signer(signer.clone()))
        };
        let short_caller = caller(timeout.min(SHORT_CALL))?;
        Ok(MasterApi {
            uploader: caller(timeout)?.knowing_whom(&short_caller),
            caller: short_caller,
            master: self.master.clone(),
            own_address: self.own_address.clone(),
            session: self.session.clone(),
            num_executors: self.settings.num_executors,
            labels: self.settings.labels.clone(),
            isolation: self.settings.isolation.demanded.level,
            accepts_original: self.settings.service.accept_legacy_peers,
            dialect: Dialect::default(),
            lineage: Lineage::default(),
            identity: self.identity.clone(),
            clock: MasterClock::default(),
        })
    }

    /// Without one, what this slave started runs on when it is killed, until it starts again.
    pub(super) fn guardian(&self, program: &Path) -> Option<Guardian> {
        let grace = self.settings.service.atom_kill_grace;
        let guardian = Guardian::start(program, &self.data.life_mark(), grace);
        let told = guardian.inspect_err(|error| {
            tracing::warn!(%error, "nothing ends the processes of this slave if it is killed");
        });
        told.ok()
    }

    pub(super) fn children(&self, program: PathBuf) -> Children {
        let grace = self.settings.service.atom_kill_grace;
        let children = Children::new(program, FETCH_PROJECT, &self.data.mark(), grace);
        children.get_ready();
        children
    }

    pub(super) fn sources(
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

    pub(super) fn templates(
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

    pub(super) fn setup_caches(
        &self,
        program: &Path,
        (api, registration): (&MasterApi, &Registration),
    ) -> Arc<SetupCaches> {
        let (program, mark) = (program.to_owned(), self.data.mark());
        let sharing = Sharing {
            api: api.clone(),
            registration: registration.clone(),
            secret: self.setup_secret(),
            is_shared: self.secret.is_some(),
        };
        let grace = self.settings.service.atom_kill_grace;
        SetupCaches::open(
            self.data.path().join("setup-cache"),
            self.settings.service.max_setup_cache_bytes,
            Children::new(program, HANDLE_ENTRY, &mark, grace),
            (self.space.clone(), sharing),
        )
    }

    pub(super) fn supervisor(
        &self,
        program: &Path,
        templates: &Arc<Templates>,
        containers: Availability,
    ) -> std::io::Result<Supervisor> {
        let settings = &self.settings.instances;
        let instances = self.data.path().join("instances");
        let own = slave_address::host_and_port(&self.own_address);
        let (host, _) = own.rsplit_once(':').unwrap_or_default();
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
    pub(super) fn container_search(&self) -> Result<Availability, ServeError> {
        let found = Availability::search(&self.settings.containers, self.data.path());
        found.map_err(|error| ServeError::Containers(error.to_string()))
    }

    pub(super) fn setup(
        &self,
        sources: &Arc<Sources>,
        program: &Path,
        (containers, taken, isolator): (&Arc<BuildContainers>, TakenTemplates, &Arc<Isolator>),
        (steps, caches): (StepDeliveries, Arc<SetupCaches>),
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
            isolator: Arc::clone(isolator),
            taken,
            steps,
            caches,
            secret: self.setup_secret(),
            secret_files: SecretFiles::open(self.data.path()),
        }
    }

    /// What keeps commands of builds apart from this machine.
    fn isolator(&self, program: &Path) -> Isolator {
        let join_token = self.settings.join_token_file.as_deref();
        let hidden = hidden_places(&self.settings.general, join_token);
        let (settings, data) = (self.settings.isolation.clone(), Arc::clone(&self.data));
        let isolator = Isolator::new(settings, program.to_owned(), data, hidden);
        isolator.remove_left();
        isolator
    }

    /// What the effects of the work need.
    pub(super) fn surroundings(
        &self,
        sources: &Arc<Sources>,
        api: &MasterApi,
        registration: &Registration,
        (containers, taken): (Arc<BuildContainers>, TakenTemplates),
        (program, caches): (&Path, Arc<SetupCaches>),
    ) -> Surroundings {
        let consoles = Arc::<Consoles>::default();
        let steps = StepDeliveries {
            api: api.clone(),
            registration: registration.clone(),
            max_output: self.settings.max_console_size,
        };
        let isolator = Arc::new(self.isolator(program));
        let parts = (&containers, taken, &isolator);
        Surroundings {
            data: Arc::clone(&self.data),
            setup: self.setup(sources, program, parts, (steps, caches)),
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
            isolator,
        }
    }

    /// Names and seals what set-ups make: the farm's secret, by which slaves share it; a slave that has not got that keeps
    /// what it makes for itself.
    fn setup_secret(&self) -> Secret {
        let secret = self.secret.clone();
        secret.unwrap_or_else(|| self.identity.derived("kept set-ups"))
    }

    /// Lets calls to the slave in.
    pub(super) fn gate(&self) -> Arc<Gate> {
        let service = &self.settings.service;
        if service.accept_legacy_peers {
            tracing::warn!("{LEGACY_WARNING}");
        }
        let legacy = service.accept_legacy_peers.then_some(legacy_proof as _);
        // Without the farm's secret nobody can sign with it here.
        let secret = self.secret.clone();
        let secret = secret.unwrap_or_else(|| self.identity.derived("nobody's secret"));
        let max_age = service.signature_max_age;
        let gate = Gate::with_legacy_peers(secret, &self.session, max_age, |_, _| false, legacy)
            .with_keys(Arc::new(self.identity.clone()));
        match service.require_signed_reads {
            true => gate.with_proved_reads(self.settings.general.read_token.clone()),
            false => gate,
        }
    }

    /// What the HTTP handlers need.
    pub(super) fn routes_api(
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
            identity: self.identity.clone(),
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

    /// What polls the master for calls, where it can not call this slave. `router` answers them.
    pub(super) fn polling<R: Inside>(
        &self,
        api: &MasterApi,
        registration: &Registration,
        router: &R,
    ) -> Result<Option<Polling<R>>, ServeError> {
        if self.settings.reachable {
            return Ok(None);
        }
        let (general, length) = (&self.settings.general, self.settings.poll_length);
        let patience = SHORT_CALL + length;
        let caller = Caller::with_https(self.secret.clone(), patience, &general.https)?;
        let caller = caller
            .with_signer(Arc::new(self.identity.clone()))
            .knowing_whom(&api.caller);
        Ok(Some(Polling {
            api: api.clone(),
            caller,
            registration: registration.clone(),
            router: router.clone(),
            length,
        }))
    }

    pub(super) fn greet(&self) {
        let scheme = self.settings.general.https.scheme();
        let (own_address, master) = (&self.own_address, &self.master);
        let listens = match self.settings.reachable {
            true => format!("slave listens on {scheme}://{own_address}"),
            false => format!("slave {own_address} can not be called and polls for its calls"),
        };
        tracing::info!(
            data_directory = %self.data.path().display(),
            "{listens}, master {scheme}://{master}"
        );
    }
}

/// Where the master reaches this slave; of one that it can not reach, what it is called.
fn own_address(address: SocketAddr, settings: &SlaveSettings) -> String {
    let (hostname, port) = (&settings.general.hostname, address.port());
    match (settings.reachable, address.ip().is_loopback()) {
        (false, _) => slave_address::of_polling(&format!("{hostname}:{port}")),
        (true, true) => address.to_string(),
        (true, false) => format!("{hostname}:{port}"),
    }
}
