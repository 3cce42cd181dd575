//! The command line of a slave, and running one from it.

use crate::assembly::{ServeError, serve_until_told};
use crate::data_directory::mark_of;
use clusterrunner_common::child::THIS_PROGRAM;
use clusterrunner_common::daemon::{
    CommonOptions, listen, warn_of_unknown_variables, warn_of_weak_secret,
};
use clusterrunner_common::logs::logging;
use clusterrunner_common::process::descriptors::keep_from_programs;
use clusterrunner_common::process::open_files;
use clusterrunner_common::process::stop_signals::StopSignals;
use clusterrunner_common::process::terminal;
use clusterrunner_common::settings::{Overrides, SettingsError, SlaveSettings, load_slave};
use clusterrunner_common::text::host_name::is_host;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Options of `clusterrunner slave` and of `clusterrunner-slave`. What is not given comes from the
/// settings file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SlaveOptions {
    /// Listen on this port, where the master calls the slave [default: 43001]
    ///
    /// Slaves on one machine need different ports. 0 lets the system choose one. Everything this
    /// slave keeps lies in `slave-<port>` below the base directory, among it `slave.pid` with its
    /// process id. Setting: `port` of the section slave, 43001 by default.
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,

    /// The master to work for, such as `build-master:43000` [default: localhost:43000]
    ///
    /// The slave connects to it, and tries again for as long as it is not there. Settings:
    /// master_hostname and master_port, `localhost:43000` by default.
    #[arg(short, long, value_name = "HOST:PORT")]
    pub master_url: Option<MasterAddress>,

    /// How many atoms to run in parallel [default: 1, whatever the machine has]
    ///
    /// As a rule the number of CPU cores, or less where the tests need much memory. Atoms tell
    /// their executors apart by $MACHINE_EXECUTOR_INDEX, for example to use different ports.
    /// Setting: num_executors, 1 by default.
    #[arg(short = 'e', long, value_name = "NUMBER")]
    pub num_executors: Option<u32>,

    /// Listen on this address; 127.0.0.1 for a slave of this machine's master [default: 0.0.0.0]
    ///
    /// Setting: bind_address, 0.0.0.0 by default.
    #[arg(long, value_name = "ADDRESS")]
    pub bind_address: Option<IpAddr>,

    /// The master can not call this slave (NAT, a laptop, a pod): poll it for its calls
    ///
    /// The slave keeps polls open at the master, and gets its calls through them. It listens on
    /// 127.0.0.1 only, and runs no instances. Setting: reachable, True by default.
    #[arg(long)]
    pub not_reachable: bool,

    /// On SIGTERM or Ctrl-C finish and deliver running atoms, take no new work, then end
    ///
    /// A second signal ends the slave at once: its running atoms are run again elsewhere. Without
    /// this option the first signal does so. Setting: drain_on_stop, False by default.
    #[arg(long)]
    pub drain: bool,

    /// Join the master with the token in this file, as `clusterrunner token create --role slave` prints it
    ///
    /// A slave that joins gets a key of its own and needs no secret; the token counts only while the
    /// master does not know that key. Setting: join_token_file.
    #[arg(long, value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,

    /// Forget the master that this slave has joined, and join the one that answers now
    ///
    /// For a master that was set up anew, with another key. The slave joins with the secret or a join
    /// token.
    #[arg(long)]
    pub forget_master: bool,

    /// Write events to this file, in the directory `log` below the base directory unless it is a
    /// whole path, or to STDOUT [default: eventlog_slave.log]
    #[arg(long, value_name = "FILE")]
    pub eventlog_file: Option<String>,

    /// Log only to the log file, not to standard error as well
    #[arg(long)]
    pub log_file_only: bool,
}

/// Where a master listens, as it is written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterAddress {
    is_https: bool,
    host: String,
    port: Option<u16>,
}

/// A text is no address of a master.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT, such as build-master:43000 or [::1]:43000")]
pub struct InvalidMasterAddress;

impl std::str::FromStr for MasterAddress {
    type Err = InvalidMasterAddress;

    /// Reads `HOST:PORT` or `HOST`; `http://` before it and a slash behind it do not matter. `https://`
    /// says that the settings must be for HTTPS, which they alone decide.
    fn from_str(text: &str) -> Result<Self, InvalidMasterAddress> {
        let (is_https, text) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let text = text.trim_end_matches('/');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| InvalidMasterAddress)?))
            }
            _ => (text, None),
        };
        if !is_host(host) {
            return Err(InvalidMasterAddress);
        }
        Ok(Self {
            is_https,
            host: host.to_owned(),
            port,
        })
    }
}

impl SlaveOptions {
    /// What of the settings these options set.
    #[must_use]
    pub fn overrides(&self, common: &CommonOptions) -> Overrides {
        let master = self.master_url.as_ref();
        Overrides::new()
            .set_if_given("port", self.port)
            .set_if_given("master_hostname", master.map(|master| &master.host))
            .set_if_given("master_port", master.and_then(|master| master.port))
            .set_if_given("num_executors", self.num_executors)
            .set_if_given("bind_address", self.bind_address)
            .set_if_given(
                "join_token_file",
                self.join_token_file.as_ref().map(|file| file.display()),
            )
            .set_if_given("reachable", self.not_reachable.then_some("False"))
            .set_if_given("drain_on_stop", self.drain.then_some("True"))
            .set_if_given("eventlog_filename", self.eventlog_file.as_ref())
            .set_if_given("log_level", common.log_level())
    }

    /// Loads the settings, with these options over them.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load(&self, common: &CommonOptions) -> Result<SlaveSettings, SettingsError> {
        let master = self.master_url.as_ref();
        let flags = self.overrides(common);
        let environment = |name: &str| std::env::var(name).ok();
        let settings = load_slave(common.config_file.as_deref(), environment, &flags)?;
        if master.is_some_and(|master| master.is_https) && !settings.general.https.is_on() {
            return Err(SettingsError::NoHttps);
        }
        Ok(settings)
    }
}

/// Runs a slave until SIGTERM, SIGINT or a signed call ends it.
///
/// # Errors
/// When it can not start; the message says what to do.
pub async fn run(options: SlaveOptions, common: &CommonOptions) -> anyhow::Result<()> {
    let settings = options.load(common)?;
    settings.general.https.outlive_hangups();
    // Nobody calls one that is not reachable but people on its machine.
    let host = match settings.reachable {
        true => settings.service.bind_address,
        false => Ipv4Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(host, settings.service.port);
    let listener = listen(address).await?;
    let port = listener.local_addr()?.port();
    let settings = SlaveSettings {
        general: settings.general.with_files_of_slave(port),
        forgets_master: options.forget_master,
        ..settings
    };
    let general = &settings.general;
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
    hint_at_processors(&settings);
    open_files::raise_limit();
    if let Err(error) = keep_from_programs() {
        tracing::warn!(%error, "commands inherit what the parent of this process left open");
    }
    terminal::leave();
    let own_mark = mark_of(&general.base_directory, port)?;
    let signals = StopSignals::listen(settings.drain_on_stop, own_mark)?;
    serve_until_told(settings, listener, signals, THIS_PROGRAM.into()).await?;
    Ok(())
}

/// The original's default is one executor, whatever the machine has.
fn hint_at_processors(settings: &SlaveSettings) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if settings.has_default_executors && processors > 1 {
        tracing::info!(
            "this slave runs one atom at a time, and its machine has {processors} processors: --num-executors \
             {processors}, or num_executors in the settings, uses all of them"
        );
    }
}

/// Whether a slave could not start because a setting is wrong.
#[must_use]
pub fn is_wrong_setting(error: &anyhow::Error) -> bool {
    error.is::<SettingsError>()
        || error
            .downcast_ref::<ServeError>()
            .is_some_and(ServeError::is_wrong_setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: Option<u16>) -> Result<MasterAddress, InvalidMasterAddress> {
        Ok(MasterAddress {
            is_https: false,
            host: host.to_owned(),
            port,
        })
    }

    #[test]
    fn a_master_is_named_by_host_and_port() {
        assert_eq!("m:1".parse(), address("m", Some(1)));
        assert_eq!(
            "http://m.example:43000/".parse(),
            address("m.example", Some(43000))
        );
        let secure: MasterAddress = "https://m:1".parse().unwrap();
        assert!(secure.is_https && secure.host == "m");
        assert_eq!("[::1]:2".parse(), address("[::1]", Some(2)));
        assert_eq!("[::1]".parse(), address("[::1]", None));
        assert_eq!("m".parse(), address("m", None));
        for wrong in [
            "", ":1", "m:", "m:x", "m:70000", "::1", "a b:1", "https://", "m/x",
        ] {
            assert_eq!(
                wrong.parse::<MasterAddress>(),
                Err(InvalidMasterAddress),
                "{wrong}"
            );
        }
    }
}
