//! What the subcommands do, one file each.

mod apps;
mod artifacts;
mod attach;
mod audit;
mod beside;
mod bisect;
mod build;
mod cancel;
mod chosen;
mod config;
mod console_page;
mod deploy;
mod doctor;
mod drain;
mod explain;
mod failed_before;
mod follow_all;
mod history;
mod init;
mod instances;
mod interrupt;
mod journal;
mod junit_file;
mod launch;
mod logs;
mod manual;
mod matrix;
mod notify;
mod open;
mod password;
mod plan;
mod pools;
mod progress;
mod report;
mod repro;
mod request;
mod results;
mod retry;
mod secret;
mod send;
mod shutdown;
mod slave_keys;
mod standing;
mod status;
mod step_output;
mod stop;
mod summary;
mod tests;
mod tls;
mod token;
mod trace;
mod unpacked;
mod until_over;
mod user;
mod validate;
mod variables;
mod version;
mod watch;

use crate::daemons;
use crate::options::{Command, Options};
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::settings::unknown_variables_here;

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
        Command::Retry(options) => wait_for(retry::run(*options, common)),
        Command::Bisect(options) => wait_for(bisect::run(options, common)),
        Command::Status(options) => wait_for(status::run(options, common)),
        Command::Logs(options) => wait_for(logs::run(options, common)),
        Command::Attach(options) => wait_for(attach::attach(options, common)),
        Command::Wait(options) => wait_for(attach::wait(options, common)),
        Command::Artifacts(options) => wait_for(artifacts::run(options, common)),
        Command::Repro(options) => wait_for(repro::run(options, common)),
        Command::Results(options) => wait_for(results::run(options, common)),
        Command::Cancel(options) => wait_for(cancel::run(options, common)),
        Command::Open(options) => wait_for(open::run(options, common)),
        Command::Explain(options) => wait_for(explain::run(options, common)),
        Command::Plan(options) => wait_for(plan::run(options, common)),
        Command::Tests(options) => wait_for(tests::run(options, common)),
        Command::History(options) => wait_for(history::run(options, common)),
        Command::Flaky(options) => wait_for(history::flaky(options, common)),
        Command::Trace(options) => wait_for(trace::run(options, common)),
        Command::Slaves(options) => wait_for(status::slaves(options, common)),
        Command::Init(options) => init::run(&options),
        Command::Doctor(options) => wait_for(doctor::run(options, common)),
        Command::Config(options) => config::run(options, &common),
        Command::Audit(options) => wait_for(audit::run(options, common)),
        Command::Pools(options) => wait_for(pools::run(options, common)),
        Command::Notify(options) => wait_for(notify::run(options, common)),
        Command::Validate(options) => validate::run(&options),
        Command::Shutdown(options) => wait_for(shutdown::run(options, common)),
        Command::Completions(options) => Ok(manual::completions(&options)),
        Command::Man(options) => manual::man(&options),
        Command::Version(options) => version::run(&options, &common),
        Command::Drain(options) => wait_for(drain::run(options, common)),
        Command::Undrain(options) => wait_for(drain::undo(options, common)),
        Command::Launch(options) => wait_for(launch::run(*options, common)),
        Command::Templates(options) => wait_for(instances::templates(options, common)),
        Command::Template(options) => wait_for(instances::template(options, common)),
        Command::Instances(options) => wait_for(instances::list(options, common)),
        Command::Instance(options) => wait_for(instances::run(options, common)),
        Command::Apps(options) => wait_for(apps::list(options, common)),
        Command::App(options) => wait_for(apps::run(options, common)),
        Command::User(options) => wait_for(user::run(options, common)),
        Command::Secret(options) => wait_for(secret::run(options, common)),
        Command::Token(options) => wait_for(token::run(options, common)),
        Command::Tls(options) => tls::run(options.task, &common),
        Command::Deploy(options) => wait_for(deploy::run(*options, common)),
        Command::Journal(options) => journal::run(&options, &common),
        Command::Stop(options) => wait_for(stop::run(options, common)),
    }
}

/// Runs a daemon, which has more to do at a time than a command.
fn serve(daemon: impl Future<Output = Result<(), Trouble>>) -> Result<ExitCode, Trouble> {
    clusterrunner_common::process::allocator::limit_malloc_arenas();
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
