//! The command line of a master, and its life as a process.

use crate::{ServeError, serve};
use clusterrunner_common::child::THIS_PROGRAM;
use clusterrunner_common::daemon::{
    CommonOptions, listen, stop_on_signal, warn_of_unknown_variables, warn_of_weak_secret,
};
use clusterrunner_common::logs::event_log::EventLogTarget;
use clusterrunner_common::logs::logging;
use clusterrunner_common::process::descriptors::keep_from_programs;
use clusterrunner_common::process::open_files;
use clusterrunner_common::process::terminal;
use clusterrunner_common::settings::{Overrides, SettingsError, load_master};
use std::net::{IpAddr, SocketAddr};

/// Options of a master. What is not given comes from the settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MasterOptions {
    /// Listen on this port [default: 43000]
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Listen on this address; 127.0.0.1 keeps the farm on this machine [default: 0.0.0.0]
    #[arg(long, value_name = "ADDRESS")]
    pub bind_address: Option<IpAddr>,
    /// Write events to this file, in the directory `log` below the base directory unless it is a whole
    /// path, or to STDOUT [default: eventlog_master.log]
    #[arg(long, value_name = "FILE")]
    pub eventlog_file: Option<String>,
    /// Log only to the log file, not to standard error as well
    #[arg(long)]
    pub log_file_only: bool,
}

impl MasterOptions {
    /// What of the settings these options set.
    #[must_use]
    pub fn overrides(&self, common: &CommonOptions) -> Overrides {
        Overrides::new()
            .set_if_given("port", self.port)
            .set_if_given("bind_address", self.bind_address)
            .set_if_given("eventlog_filename", self.eventlog_file.as_ref())
            .set_if_given("log_level", common.log_level())
    }
}

/// Runs a master until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// Wrong settings, a port that is taken, a data directory in use, a damaged journal.
pub async fn run(options: MasterOptions, common: &CommonOptions) -> anyhow::Result<()> {
    let flags = options.overrides(common);
    let environment = |name: &str| std::env::var(name).ok();
    let settings = load_master(common.config_file.as_deref(), environment, &flags)?;
    let general = &settings.general;
    general.https.outlive_hangups();
    logging::start(
        general.log_level,
        !options.log_file_only,
        Some(&general.log_file),
        general.max_log_file_size,
    )?;
    for warning in &general.warnings {
        tracing::warn!("{warning}");
    }
    warn_of_unknown_variables();
    warn_of_weak_secret(general);
    open_files::raise_limit();
    if let Err(error) = keep_from_programs() {
        tracing::warn!(%error, "commands inherit what the parent of this process left open");
    }
    terminal::leave();
    let secret = general.secret_or_generate()?;
    let address = SocketAddr::new(settings.service.bind_address, settings.service.port);
    let listener = listen(address).await?;
    let stop = stop_on_signal()?;
    // Programs that read events there expect nothing else.
    let has_events = matches!(general.event_log, EventLogTarget::Stdout);
    let is_output_read = !options.log_file_only && !has_events;
    let program = THIS_PROGRAM.into();
    let serving = serve(settings, secret, listener, stop, program, is_output_read);
    Box::pin(serving).await?;
    Ok(())
}

/// Whether a master could not start because a setting is wrong.
#[must_use]
pub fn is_wrong_setting(error: &anyhow::Error) -> bool {
    error.is::<SettingsError>()
        || error
            .downcast_ref::<ServeError>()
            .is_some_and(ServeError::is_wrong_setting)
}
