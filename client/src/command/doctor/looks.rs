//! The looks at this machine and its farm that `doctor` judges. They change nothing.

use super::findings::{self, Finding};
use crate::farm::{client_of, is_this_machine, unbracketed};
use crate::options::CommonOptions;
use crate::settings::{Settings, isolation_settings};
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_common::api::SlaveView;
use clusterrunner_common::child::THIS_PROGRAM;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::process::confinement::keeps_abstract_sockets;
use clusterrunner_common::process::ports::Holder;
use clusterrunner_common::text::slave_address;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// The most slaves that are called, one after the other.
const MAX_CALLED: usize = 100;

/// The programs that daemons start.
pub(super) fn programs() -> Vec<Finding> {
    let needs = [
        ("bash", "--version", "all commands of jobs need it", true),
        (
            "git",
            "--version",
            "a master needs it for `git push` to apps",
            false,
        ),
        (
            "ssh",
            "-V",
            "a master needs it for repositories at ssh URLs, `deploy` too",
            false,
        ),
    ];
    needs
        .map(|(name, flag, purpose, is_needed)| {
            findings::program(name, version(name, flag).as_deref(), purpose, is_needed)
        })
        .into()
}

/// The first line of what a program says of its version.
fn version(program: &str, flag: &str) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.arg(flag).stdin(Stdio::null()).output().ok()?;
    let text = match output.stdout.is_empty() {
        true => output.stderr,
        false => output.stdout,
    };
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(str::to_owned)
}

/// The directory of the daemons, or else where it would be made.
pub(super) fn disk(settings: &Settings) -> Finding {
    let wanted = &settings.base_directory;
    let directory = wanted.ancestors().find(|directory| directory.exists());
    let directory = directory.unwrap_or(wanted);
    // A file without a name: nothing is left, whatever happens.
    let can_write = tempfile::tempfile_in(directory).map(drop);
    let space = DiskSpace::new(directory, settings.min_free_space);
    findings::disk(
        &directory.display().to_string(),
        can_write.map_err(|error| error.to_string()),
        space.free(),
        settings.min_free_space,
    )
}

/// How far a slave that this user starts here can keep the commands of builds apart.
pub(super) async fn isolation(common: &CommonOptions) -> Vec<Finding> {
    let settings = isolation_settings(common);
    let (level, settings) = match settings {
        Ok(settings) => (settings.demanded.level, settings),
        // Somebody else says what is wrong there.
        Err(_) => return Vec::new(),
    };
    let tried = move || {
        let directory = tempfile::tempdir()?;
        clusterrunner_slave::isolation_here(&settings, Path::new(THIS_PROGRAM), directory.path())
    };
    match tokio::task::spawn_blocking(tried).await {
        Ok(Ok(tried)) => findings::isolation(level, &tried, keeps_abstract_sockets()),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// The addresses of this machine's name.
pub(super) async fn name(settings: &Settings) -> Finding {
    let host = &settings.hostname;
    let asked = tokio::net::lookup_host((unbracketed(host), 0));
    match tokio::time::timeout(LIMIT, asked).await {
        Err(_) => findings::name(host, Err("its resolver does not answer".to_owned())),
        Ok(Err(error)) => findings::name(host, Err(error.to_string())),
        Ok(Ok(found)) => {
            let mut addresses: Vec<String> = found.map(|found| found.ip().to_string()).collect();
            addresses.dedup();
            findings::name(host, Ok(&addresses))
        }
    }
}

/// The master at an address, and its slaves.
pub(super) async fn farm(address: &str, settings: &Settings) -> Result<Vec<Finding>, Trouble> {
    let client = client_of(address, Duration::ZERO, settings)?;
    let host = host(address);
    let is_here = is_this_machine(host);
    let version = match tokio::time::timeout(LIMIT, client.version()).await {
        Ok(Ok(version)) => version.version,
        Ok(Err(error)) => return Ok(vec![no_master(address, is_here, &error.to_string())]),
        Err(_) => return Ok(vec![no_master(address, is_here, "it takes too long")]),
    };
    let mut found = vec![findings::master(
        address,
        &version,
        env!("CARGO_PKG_VERSION"),
    )];
    found.extend(clock(&client, settings).await);
    found.push(secret(&client, settings).await);
    // Who may not see them, or asks an older master, hears of the secret or the version already.
    if let Ok(body) = client.secrets().await {
        found.extend(findings::secrets_of_builds(&body.secrets));
    }
    match client.slaves_in_full().await {
        Err(error) => found.push(findings::unknown_slaves(&error.to_string())),
        Ok(slaves) => {
            found.push(findings::slaves(&slaves));
            for slave in slaves.iter().take(MAX_CALLED) {
                found.push(look_at(slave, is_here, settings).await?);
            }
        }
    }
    Ok(found)
}

fn no_master(address: &str, is_here: bool, error: &str) -> Finding {
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let here = port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let holder = here.filter(|_| is_here).and_then(Holder::of);
    let holder = holder.map(|holder| holder.to_string());
    findings::no_master(address, is_here, holder.as_deref(), error)
}

/// How far this machine's clock is from the master's, where the master's answers have a time.
async fn clock(client: &Client, settings: &Settings) -> Option<Finding> {
    let before = Timestamp::now().as_unix_seconds();
    let there = client.clock().await.ok()??;
    let here = f64::midpoint(before, Timestamp::now().as_unix_seconds());
    // The header has whole seconds only: on average, half of one is cut off.
    let ahead = here - (there.as_unix_seconds() + 0.5);
    Some(findings::clock(
        ahead,
        settings.signature_max_age.as_secs_f64(),
    ))
}

async fn secret(client: &Client, settings: &Settings) -> Finding {
    let file = settings.file.display().to_string();
    let proves = settings.secret.is_some() || settings.user_token.is_some();
    let takes_it = match proves {
        true => Some(client.is_trusted().await.map_err(|error| error.to_string())),
        false => None,
    };
    findings::secret(&file, takes_it)
}

/// A slave as the master tells of it, called from here.
async fn look_at(
    slave: &SlaveView,
    is_from_master: bool,
    settings: &Settings,
) -> Result<Finding, Trouble> {
    if slave_address::polls(&slave.url) {
        // Only its master has something to call it with.
        return Ok(findings::slave(slave, Ok(()), is_from_master));
    }
    let client = client_of(&slave.url, Duration::ZERO, settings)?;
    let reached = match slave.is_alive {
        false => Ok(()),
        true => match tokio::time::timeout(LIMIT, client.version()).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer in time".to_owned()),
        },
    };
    Ok(findings::slave(slave, reached, is_from_master))
}

/// The host of an address, which may be a URL and have a port.
fn host(address: &str) -> &str {
    let host = address.split_once("://").map_or(address, |(_, host)| host);
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}
