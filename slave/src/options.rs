//! The command line of a slave, and running one from it.

use crate::{ServeError, serve};
use anyhow::Context as _;
use clusterrunner_common::logging;
use clusterrunner_common::settings::{Overrides, SettingsError, SlaveSettings, load_slave};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Options of `clusterrunner slave` and of `clusterrunner-slave`. What is not given comes from the
/// settings file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SlaveOptions {
    /// The port to listen on; the master calls the slave there.
    ///
    /// Slaves on one machine need different ports. 0 lets the system choose one. Everything this
    /// slave keeps lies in `slave-<port>` below the base directory, among it `slave.pid` with its
    /// process id. Setting: port in [slave], 43001 by default.
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,

    /// The master to work for, such as `build-master:43000`.
    ///
    /// The slave connects to it, and tries again for as long as it is not there. Settings:
    /// master_hostname and master_port, `localhost:43000` by default.
    #[arg(short, long, value_name = "HOST:PORT")]
    pub master_url: Option<MasterAddress>,

    /// How many subjobs to run at the same time.
    ///
    /// As a rule the number of CPU cores, or less where the tests need much memory. Atoms tell
    /// their executors apart by $MACHINE_EXECUTOR_INDEX, for example to use different ports.
    /// Setting: num_executors, 1 by default.
    #[arg(short = 'e', long, value_name = "NUMBER")]
    pub num_executors: Option<u32>,

    /// The settings file, in place of `clusterrunner.conf` in the base directory.
    ///
    /// It must hold the same `secret` as the master's, or master and slave refuse each other.
    #[arg(short, long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// The file for the event log, or STDOUT. Accepted as in the original; no effect yet.
    #[arg(long, value_name = "FILE", hide = true)]
    pub eventlog_file: Option<String>,

    /// Log more: the level DEBUG.
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Log less: the level ERROR.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Where a master listens, as it is written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterAddress {
    host: String,
    port: Option<u16>,
}

/// A text is no address of a master.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT, such as build-master:43000 or [::1]:43000")]
pub struct InvalidMasterAddress;

impl std::str::FromStr for MasterAddress {
    type Err = InvalidMasterAddress;

    /// Reads `HOST:PORT` or `HOST`; `http://` before it and a slash behind it do not matter.
    fn from_str(text: &str) -> Result<Self, InvalidMasterAddress> {
        let text = text.strip_prefix("http://").unwrap_or(text);
        let text = text.trim_end_matches('/');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| InvalidMasterAddress)?))
            }
            _ => (text, None),
        };
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let stray = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@');
        if host.is_empty() || host.contains(stray) || (host.contains(':') && !is_bracketed) {
            return Err(InvalidMasterAddress);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl SlaveOptions {
    /// Loads the settings, with these options over them.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load(&self) -> Result<SlaveSettings, SettingsError> {
        let master = self.master_url.as_ref();
        let level = match (self.verbose, self.quiet) {
            (true, _) => Some("DEBUG"),
            (false, true) => Some("ERROR"),
            (false, false) => None,
        };
        let flags = Overrides::new()
            .set_if_given("port", self.port)
            .set_if_given("master_hostname", master.map(|master| &master.host))
            .set_if_given("master_port", master.and_then(|master| master.port))
            .set_if_given("num_executors", self.num_executors)
            .set_if_given("eventlog_filename", self.eventlog_file.as_ref())
            .set_if_given("log_level", level);
        let environment = |name: &str| std::env::var(name).ok();
        load_slave(self.config_file.as_deref(), environment, &flags)
    }
}

/// Runs a slave until SIGTERM, SIGINT or a signed call ends it.
///
/// # Errors
/// When it can not start; the message says what to do.
pub async fn run(options: SlaveOptions) -> anyhow::Result<()> {
    let settings = options.load()?;
    let general = &settings.general;
    logging::start(
        general.log_level,
        true,
        Some(&general.log_file),
        general.max_log_file_size,
    )?;
    let address = SocketAddr::new(settings.service.bind_address, settings.service.port);
    let listener = listen(address).await?;
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("could not watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not watch for SIGINT")?;
    let served = serve(settings, listener, stop.clone());
    let signaled = async {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("ending on SIGTERM"),
            _ = interrupt.recv() => tracing::info!("ending on SIGINT"),
        }
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = served => served.map_err(|error: ServeError| error.into()),
        () = signaled => Ok(()),
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let port = address.port();
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => anyhow::bail!(
            "port {port} is in use, maybe by another slave: end that one, or start this one with another --port"
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => anyhow::bail!(
            "port {port} may only be used by the administrator: start the slave with another --port"
        ),
        Err(error) => Err(error).with_context(|| {
            format!("could not listen on {address}: check bind_address in clusterrunner.conf")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: Option<u16>) -> Result<MasterAddress, InvalidMasterAddress> {
        Ok(MasterAddress {
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
        assert_eq!("[::1]:2".parse(), address("[::1]", Some(2)));
        assert_eq!("[::1]".parse(), address("[::1]", None));
        assert_eq!("m".parse(), address("m", None));
        for wrong in [
            "",
            ":1",
            "m:",
            "m:x",
            "m:70000",
            "::1",
            "a b:1",
            "https://m:1",
            "m/x",
        ] {
            assert_eq!(
                wrong.parse::<MasterAddress>(),
                Err(InvalidMasterAddress),
                "{wrong}"
            );
        }
    }
}
