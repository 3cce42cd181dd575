//! What the master does with a section.

use super::super::error::SettingsError;
use super::super::keys::Count;
use super::super::section::NamedSection;
use super::super::values::{Labels, Seconds};
use super::Slaves;
use super::kubernetes::{self, KubernetesPool};
use super::values::{Kind, MasterUrl, SlurmOptions, TimeLimit, slave_command, text, value};
use std::collections::BTreeSet;
use std::time::Duration;

/// A pool: slaves that are started when work waits, and ended when they are idle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// The name of the section.
    pub name: String,
    /// How many slaves are there at least.
    pub min_slaves: u32,
    /// How many slaves are there at most.
    pub max_slaves: u32,
    /// How many executors each slave has.
    pub executors: u32,
    /// The labels of its slaves.
    pub labels: BTreeSet<String>,
    /// For how long a slave is idle before it is ended.
    pub idle_timeout: Duration,
    /// Within which time all that waits is to be done.
    pub target_wait: Duration,
    /// For how long a slave may take to join.
    pub start_timeout: Duration,
    /// How often the provider is asked what there is.
    pub list_interval: Duration,
    /// Host and port by which slaves reach the master, where that is not its own name and port.
    pub master_url: Option<(String, u16)>,
    /// What starts and ends slaves.
    pub provider: PoolProvider,
}

/// What starts and ends the slaves of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolProvider {
    /// Commands of the operator.
    Command(CommandPool),
    /// Jobs of a Slurm cluster.
    Slurm(SlurmPool),
    /// Jobs of a Kubernetes cluster, of one pod each.
    Kubernetes(KubernetesPool),
}

/// Commands that start and end slaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandPool {
    /// Starts a slave.
    pub start_command: String,
    /// Ends what was started.
    pub stop_command: String,
    /// Lists what there is.
    pub list_command: String,
    /// How long each of them may take.
    pub timeout: Duration,
}

/// How Slurm is asked for slaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmPool {
    /// The partition; none for the cluster's default.
    pub partition: Option<String>,
    /// The account; none for the user's default.
    pub account: Option<String>,
    /// The time limit of a job, as `sbatch --time` takes it; none for the partition's.
    pub time_limit: Option<String>,
    /// How long before its time limit a slave begins to end.
    pub drain_before: Duration,
    /// Further options for `sbatch`.
    pub options: Vec<String>,
    /// What runs a slave on a node.
    pub slave_command: String,
    /// How long a command of Slurm may take.
    pub timeout: Duration,
}

fn seconds(section: &NamedSection, key: &str, usual: u64) -> Result<Duration, SettingsError> {
    let set = value::<Seconds<1>>(section, key)?;
    Ok(set.map_or(Duration::from_secs(usual), |set| set.0))
}

/// The pool of a section, or what is wrong with it.
pub(super) fn read(section: &NamedSection) -> Result<PoolSettings, SettingsError> {
    let needed = |key: &str| section.wrong(format!("expected the setting \"{key}\""));
    let kind = value(section, "provider")?.ok_or_else(|| needed("provider"))?;
    let min_slaves = value::<Slaves>(section, "min_slaves")?.map_or(0, |set| set.0);
    let max_slaves = value::<Slaves>(section, "max_slaves")?;
    let max_slaves = max_slaves.ok_or_else(|| needed("max_slaves"))?.0;
    if min_slaves > max_slaves {
        return Err(section.wrong(format!(
            "min_slaves = {min_slaves} is more than max_slaves = {max_slaves}"
        )));
    }
    let of_command = ["start_command", "stop_command", "list_command"];
    let of_slurm = [
        "partition",
        "account",
        "time_limit",
        "drain_before",
        "options",
    ];
    let own = [
        (Kind::Command, "command", &of_command[..]),
        (Kind::Slurm, "slurm", &of_slurm[..]),
        (Kind::Kubernetes, "kubernetes", &kubernetes::OWN_KEYS[..]),
    ];
    for (_, other, keys) in own.iter().filter(|(of, ..)| *of != kind) {
        if let Some(found) = keys.iter().find_map(|key| section.find(key)) {
            return Err(found.wrong(format!("it has a meaning with provider = {other} alone")));
        }
    }
    if let Some(found) = section
        .find("slave_command")
        .filter(|_| kind == Kind::Command)
    {
        return Err(
            found.wrong("it has no meaning with provider = command: start_command does that")
        );
    }
    let timeout = seconds(section, "command_timeout", 60)?;
    let command = |key: &str| text(section, key)?.ok_or_else(|| needed(key));
    let provider = match kind {
        Kind::Command => PoolProvider::Command(CommandPool {
            start_command: command("start_command")?,
            stop_command: command("stop_command")?,
            list_command: command("list_command")?,
            timeout,
        }),
        Kind::Slurm => PoolProvider::Slurm(SlurmPool {
            partition: text(section, "partition")?,
            account: text(section, "account")?,
            time_limit: value::<TimeLimit>(section, "time_limit")?.map(|limit| limit.0),
            drain_before: seconds(section, "drain_before", 120)?,
            options: value::<SlurmOptions>(section, "options")?
                .map(|options| options.0)
                .unwrap_or_default(),
            slave_command: slave_command(section)?,
            timeout,
        }),
        Kind::Kubernetes => PoolProvider::Kubernetes(kubernetes::read(section, timeout)?),
    };
    Ok(PoolSettings {
        name: section.name.clone(),
        min_slaves,
        max_slaves,
        executors: value::<Count>(section, "executors")?.map_or(1, |set| set.0),
        labels: value::<Labels>(section, "labels")?
            .map(|labels| labels.0)
            .unwrap_or_default(),
        idle_timeout: seconds(section, "idle_timeout", 300)?,
        target_wait: seconds(section, "target_wait", 120)?,
        start_timeout: seconds(section, "start_timeout", 300)?,
        list_interval: seconds(section, "list_interval", 15)?,
        master_url: value::<MasterUrl>(section, "master_url")?.map(|url| (url.0, url.1)),
        provider,
    })
}
