//! What the master reads.

use super::error::SettingsError;
use super::keys::no_default;
use super::keys::{LogSize, Program};
use super::layers::Layers;
use super::notify;
use super::pool::{self, PoolSettings};
use super::values::{Amount, Bound, Days, Limit, Port, PublicUrl, Registration, Seconds, SshPort};
use super::{
    AppSettings, BinderSettings, GeneralSettings, ImagePolicy, NotifyTarget, Overrides,
    ServiceSettings,
};
use crate::disk::retention::BuildBounds;
use crate::job::config::{TimeLimit, Timeouts};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings of the master.
#[derive(Debug, Clone)]
pub struct MasterSettings {
    /// What every program has.
    pub general: GeneralSettings,
    /// What both services have.
    pub service: ServiceSettings,
    /// A slave that was silent for this long is given up.
    pub slave_lost_after: Duration,
    /// The same for slaves of the original, which give signs of life more seldom.
    pub legacy_slave_lost_after: Duration,
    /// How long commands may run whose job does not say.
    pub default_timeouts: Timeouts,
    /// How much is kept of builds that are over.
    pub kept_builds: BuildBounds,
    /// Whether executors that are idle at the end of a build run atoms again that may be flaky, where the job does not say.
    pub hunt_flakes: bool,
    /// How many templates are kept; none for any number.
    pub max_templates: Option<u64>,
    /// How many bytes the snapshots of all templates have together; none for any size.
    pub max_templates_bytes: Option<u64>,
    /// Who may create an account.
    pub registration: Registration,
    /// The port that takes requests to instances alone; none where they come to the port of the API only.
    pub router_port: Option<u16>,
    /// The port for pushes by SSH.
    pub ssh_port: SshPort,
    /// Whether slaves get the project from the master.
    pub get_project_from_master: bool,
    /// Where links to the projects of builds are made.
    pub build_symlink_directory: PathBuf,
    /// How many bytes an archive of code may have that a user uploads.
    pub max_code_upload_bytes: u64,
    /// How many bytes a pack may have in which a client sends its working tree.
    pub max_working_tree_bytes: u64,
    /// How many bytes all of them may have together; none for any number.
    pub keep_working_trees_bytes: Option<u64>,
    /// How many entries of the audit log are kept; 0: none is added.
    pub keep_audit_entries: u64,
    /// What becomes of builds that name a container image.
    pub image_policy: ImagePolicy,
    /// How many bytes the snapshot of a template may have.
    pub max_snapshot_bytes: u64,
    /// How many bytes are kept of what an instance prints.
    pub max_instance_log_bytes: u64,
    /// How many bytes are kept of the log of an app.
    pub max_app_log_bytes: u64,
    /// Apps, and the API by which they are deployed.
    pub apps: AppSettings,
    /// The Binder API.
    pub binder: BinderSettings,
    /// Who is told of builds.
    pub notify: Vec<NotifyTarget>,
    /// Slaves on demand.
    pub pools: Vec<PoolSettings>,
    /// What is run when a build is over.
    pub on_finish: Option<OnFinish>,
    /// The beginning of the addresses under which users open the page, without a slash at its end; none where that
    /// follows from the name of the machine and the port.
    pub public_url: Option<String>,
}

/// A command that is run when a build is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnFinish {
    /// What the shell is given.
    pub command: String,
    /// How long it may run.
    pub timeout: Duration,
}

/// Loads the settings of the master.
///
/// `config_file` is the file named on the command line, which is made if it is not there, as the original does;
/// with `None` the file of [`super::default_config_file`] is read if there is one. With each of them goes its
/// [`super::second_file`]. `environment` gives the value of a variable.
///
/// # Errors
/// [`SettingsError`], whose message names the line and the cure. The whole file is checked, also
/// the sections of other programs.
pub fn load_master(
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<MasterSettings, SettingsError> {
    let layers = Layers::read_files(Program::Master, config_file, &environment, flags)?;
    let lost_after: Option<Seconds<1>> = layers.get_if_set("slave_lost_after")?;
    let lost_after = lost_after.map(|seconds| seconds.0);
    let slave_lost_after = slave_lost_after(lost_after, heartbeat_of_slaves(&layers)?)?;
    let limit = |key| {
        let Seconds::<0>(limit) = layers.get(key)?;
        Ok::<_, SettingsError>(Some(TimeLimit::from_seconds(limit.as_secs())))
    };
    let service = ServiceSettings::read(&layers)?;
    let registration = match service.bind_address.is_loopback() {
        true => Registration::Open,
        false => Registration::Closed,
    };
    Ok(MasterSettings {
        general: GeneralSettings::read(&layers)?,
        registration: layers.get_if_set("registration")?.unwrap_or(registration),
        apps: AppSettings::read(&layers)?,
        binder: BinderSettings::read(&layers, service.bind_address.is_loopback())?,
        service,
        slave_lost_after,
        legacy_slave_lost_after: lost_after.unwrap_or(slave_lost_after.max(LEGACY_LOST_AFTER)),
        default_timeouts: Timeouts {
            atom: limit("default_atom_timeout")?,
            atomizer: limit("default_atomizer_timeout")?,
            setup: limit("default_setup_timeout")?,
            teardown: limit("default_teardown_timeout")?,
        },
        kept_builds: BuildBounds {
            max_age: layers.get::<Days>("keep_builds_days")?.0,
            max_number: layers.get::<Bound>("keep_builds")?.0,
            max_bytes: layers.get::<Bound>("keep_results_bytes")?.0,
            max_partial_age: layers.get::<Days>("keep_partial_results_days")?.0,
        },
        router_port: layers.get_if_set::<Port>("router_port")?.map(|port| port.0),
        ssh_port: layers
            .get_if_set("ssh_port")?
            .unwrap_or(SshPort::WhenNeeded),
        hunt_flakes: layers.get("hunt_flakes")?,
        max_templates: layers.get::<Bound>("keep_templates")?.0,
        max_templates_bytes: layers.get::<Bound>("keep_templates_bytes")?.0,
        get_project_from_master: layers.get("get_project_from_master")?,
        build_symlink_directory: layers.path("build_symlink_directory")?,
        max_code_upload_bytes: layers.get::<Limit>("max_code_upload_bytes")?.0,
        max_working_tree_bytes: layers.get::<Limit>("max_working_tree_bytes")?.0,
        keep_working_trees_bytes: layers.get::<Bound>("keep_working_trees_bytes")?.0,
        keep_audit_entries: layers.get::<Amount>("keep_audit_entries")?.0,
        image_policy: layers.get("image_policy")?,
        max_snapshot_bytes: layers.get::<Limit>("max_snapshot_bytes")?.0,
        max_instance_log_bytes: layers.get::<LogSize>("max_instance_log_bytes")?.0,
        max_app_log_bytes: layers.get::<LogSize>("max_app_log_bytes")?.0,
        notify: notify::read(&layers.notify, layers.environment)?,
        pools: pool::read(&layers.pools)?,
        on_finish: on_finish(&layers)?,
        public_url: layers
            .get_if_set::<PublicUrl>("public_url")?
            .map(|url| url.0),
    })
}

fn on_finish(layers: &Layers<'_>) -> Result<Option<OnFinish>, SettingsError> {
    let timeout = layers.get::<Seconds<1>>("on_finish_timeout")?.0;
    let command = layers.get_if_set::<String>("on_finish")?;
    Ok(command.map(|command| OnFinish { command, timeout }))
}

fn heartbeat_of_slaves(layers: &Layers<'_>) -> Result<Duration, SettingsError> {
    const KEY: &str = "heartbeat_interval";
    let interval: Option<Seconds<1>> = layers.get_from(Program::Slave.section(), KEY)?;
    let interval = interval.map(|seconds| seconds.0);
    interval.ok_or_else(|| no_default(KEY, "the shipped settings have none"))
}

/// Three heartbeats of the original's slaves, which call every 60 s unless their own file says otherwise.
const LEGACY_LOST_AFTER: Duration = Duration::from_secs(180);

/// A file of the original may have `heartbeat_interval = 60`: a fixed default of 15 s would lose all slaves
/// again and again, so the default follows the interval.
fn slave_lost_after(
    lost_after: Option<Duration>,
    heartbeat: Duration,
) -> Result<Duration, SettingsError> {
    const HEARTBEATS: u32 = 3;
    match lost_after {
        None => Ok(heartbeat.saturating_mul(HEARTBEATS)),
        Some(lost_after) if lost_after <= heartbeat => Err(SettingsError::LostBeforeHeartbeat {
            lost_after: lost_after.as_secs(),
            heartbeat: heartbeat.as_secs(),
        }),
        Some(lost_after) => Ok(lost_after),
    }
}
