//! `clusterrunner stop`: end the daemons of this base directory, the original's among them, by the process ids they left
//! there.

use crate::farm::{Daemon, client_of, master_pid_file, originals_in, own_master, slave_pid_files};
use crate::options::{CommonOptions, StopOptions};
use crate::output;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::ids::BuildId;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long a master may take to say what it works on.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Ends slaves, then the master. The order spares the master from handing work of slaves that are
/// about to go to others.
pub(crate) async fn run(options: StopOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let base = Settings::base_directory(&common)?;
    let master = Daemon::find(&master_pid_file(&base));
    let slaves: Vec<(String, Daemon)> = slave_pid_files(&base)
        .into_iter()
        .filter_map(|(what, pid_file)| Some((what, Daemon::find(&pid_file)?)))
        .collect();
    let originals = originals_in(&base);
    if let Some(default) = Settings::default_directory().filter(|default| *default != base) {
        for (what, daemon) in originals_in(&default) {
            let pid = daemon.pid();
            output::note(format!(
                "The {what} (process {pid}) runs, and goes on: its process id stands in {}.",
                default.display()
            ));
        }
    }
    if master.is_none() && slaves.is_empty() && originals.is_empty() {
        output::tell(format!(
            "No ClusterRunner is running for {}.",
            base.display()
        ));
        return Ok(ExitCode::Success);
    }
    if options.drain {
        drain(&slaves)?;
    }
    // Asked before its slaves go, told when all is done.
    let unfinished = match &master {
        Some(master) => unfinished(master, &common).await,
        None => Vec::new(),
    };
    for (what, daemon) in slaves.iter().chain(&originals) {
        daemon.end(what)?;
    }
    if let Some(master) = &master {
        master.end("master")?;
    }
    match unfinished.as_slice() {
        [] => {}
        [one] => output::say(format!(
            "Build {one} is not over: it goes on when the master is started again."
        )),
        builds => {
            let builds: Vec<String> = builds.iter().map(BuildId::to_string).collect();
            output::say(format!(
                "Builds {} are not over: they go on when the master is started again.",
                builds.join(", ")
            ));
        }
    }
    Ok(ExitCode::Success)
}

/// Waits until the slaves have finished what they run, however long that takes.
fn drain(slaves: &[(String, Daemon)]) -> Result<(), Trouble> {
    for (what, slave) in slaves {
        if slave.drain()? {
            output::note(format!("The {what} finishes the atoms that it runs."));
        }
    }
    for (_, slave) in slaves {
        slave.wait();
    }
    Ok(())
}

/// The builds that a master of this machine has not brought to an end, as far as it says so in time.
async fn unfinished(master: &Daemon, common: &CommonOptions) -> Vec<BuildId> {
    let Ok(settings) = Settings::load(common) else {
        return Vec::new();
    };
    let port = master.port().unwrap_or(settings.port);
    let address = match own_master(&settings.base_directory) {
        Some(own) => own.to_string(),
        None => format!("{}:{port}", Ipv4Addr::LOCALHOST),
    };
    let Ok(client) = client_of(&address, Duration::ZERO, &settings) else {
        return Vec::new();
    };
    match tokio::time::timeout(ANSWER_LIMIT, client.queue()).await {
        Ok(Ok(builds)) => builds.iter().map(|build| build.id).collect(),
        // It may be hung, which is why it is stopped.
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}
