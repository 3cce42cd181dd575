//! What the subcommands do, one file each, and what several of them need.

mod build;
mod cancel;
mod deploy;
mod drain;
mod interrupt;
mod journal;
mod logs;
mod manual;
mod originals;
mod progress;
mod request;
mod shutdown;
mod status;
mod stop;
mod table;
mod text;
mod validate;
mod watch;

pub(crate) use stop::{Daemon, MAX_PID, master_pid_file};

use crate::daemons;
use crate::local_farm;
use crate::options::{Command, CommonOptions, MasterAddress, Options};
use crate::output;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::client::Outage;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::settings::unknown_variables_here;
use std::sync::Arc;
use std::time::Duration;

/// Does what the command line says.
pub(crate) fn run(options: Options) -> Result<ExitCode, Trouble> {
    let common = options.common;
    // A daemon tells its own log.
    if !matches!(options.command, Command::Master(_) | Command::Slave(_)) {
        for unknown in unknown_variables_here() {
            output::note(unknown.to_string());
        }
    }
    match options.command {
        Command::Master(options) => serve(daemons::run_master(options, &common)),
        Command::Slave(options) => serve(daemons::run_slave(options, &common)),
        Command::Build(options) => wait_for(build::run(*options, common)),
        Command::Status(options) => wait_for(status::run(options, common)),
        Command::Logs(options) => wait_for(logs::run(options, common)),
        Command::Cancel(options) => wait_for(cancel::run(options, common)),
        Command::Slaves(options) => wait_for(status::slaves(options, common)),
        Command::Validate(options) => validate::run(&options),
        Command::Shutdown(options) => wait_for(shutdown::run(options, common)),
        Command::Completions(options) => Ok(manual::completions(&options)),
        Command::Man(options) => manual::man(&options),
        Command::Drain(options) => wait_for(drain::run(options, common)),
        Command::Undrain(options) => wait_for(drain::undo(options, common)),
        Command::Deploy(options) => wait_for(deploy::run(*options, common)),
        Command::Journal(options) => journal::run(&options, &common),
        Command::Stop(options) => wait_for(stop::run(options, common)),
    }
}

/// Runs a daemon, which has more to do at a time than a command.
fn serve(daemon: impl Future<Output = Result<(), Trouble>>) -> Result<ExitCode, Trouble> {
    clusterrunner_common::process::allocator::keep_little();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(not_started)?.block_on(daemon)?;
    Ok(ExitCode::Success)
}

fn not_started(error: std::io::Error) -> Trouble {
    Trouble::new(format!("could not start: {error}"))
}

fn wait_for(command: impl Future<Output = Result<ExitCode, Trouble>>) -> Result<ExitCode, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(not_started)?;
    let outcome = runtime.block_on(command);
    // An unpacking that was given up must not hold the process.
    runtime.shutdown_background();
    outcome
}

/// A client of the master at `master`.
pub(crate) fn client_of(
    master: &str,
    patience: u64,
    settings: &Settings,
) -> Result<Client, Trouble> {
    let secret = settings.secret.clone();
    let caller = Caller::with_https(secret, settings.http_timeout, &settings.https)?
        .with_read_token(settings.read_token.clone());
    let client = Client::new(caller, master, Duration::from_secs(patience));
    let listener = |outage: Outage<'_>| match outage {
        Outage::Began { error, patience } => output::note(format!(
            "{error}; trying again for {} s",
            patience.as_secs()
        )),
        Outage::Ended => output::note("the master is back"),
    };
    let client = client.with_outage_listener(Arc::new(listener));
    if !settings.accept_legacy_peers {
        return Ok(client);
    }
    Ok(client.with_legacy_masters(Arc::new(|| {
        output::note(
            "the master is one of the original ClusterRunner: the request is signed by its body alone",
        );
    })))
}

/// A client of the master that the command line or the settings name.
async fn connect(address: &MasterAddress, common: &CommonOptions) -> Result<Client, Trouble> {
    let settings = Settings::load(common)?;
    let master = match address.with_port(settings.port) {
        Some(master) => master,
        None => local_farm::find(&settings).await?,
    };
    tell_whom(&master, &settings);
    client_of(&master, address.patience, &settings)
}

/// Says under `--verbose` which master is asked, and whose settings are used.
fn tell_whom(master: &str, settings: &Settings) {
    let file = settings.file.display();
    output::detail(format!("master {master}, settings {file}"));
}

/// The same client for a look at a farm: where no master is now, the user wants to know it now.
fn impatient(client: &Client) -> Client {
    client.with_patience(Duration::ZERO)
}
