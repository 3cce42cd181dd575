//! Slaves on demand: the sections `[pool NAME]` of the settings files. The environment and the command line set nothing in
//! them.

mod kubernetes;
mod terms;
#[cfg(test)]
mod tests;
mod values;

pub use kubernetes::{KubernetesAccess, KubernetesPool, Toleration};
pub use terms::{CommandPool, PoolProvider, PoolSettings, SlurmPool};

use super::error::SettingsError;
use super::keys::{Count, Key, key_of};
use super::section::{NamedSection, SectionKind};
use super::values::{Found, Labels, Number, Seconds};
use kubernetes::{AbsolutePath, ApiServer, DnsName, Image, Pairs, Tolerations};
use values::{Kind, MasterUrl, OneLine, SlurmOptions, TimeLimit};

/// More slaves than a master is made for.
type Slaves = Number<u32, 0, 10_000>;

/// What may stand in a section.
const KEYS: &[Key] = &[
    key_of::<Kind>("provider", &[]),
    key_of::<Slaves>("min_slaves", &[]),
    key_of::<Slaves>("max_slaves", &[]),
    key_of::<Count>("executors", &[]),
    key_of::<Labels>("labels", &[]),
    key_of::<Seconds<1>>("idle_timeout", &[]),
    key_of::<Seconds<1>>("target_wait", &[]),
    key_of::<Seconds<1>>("start_timeout", &[]),
    key_of::<Seconds<1>>("list_interval", &[]),
    key_of::<MasterUrl>("master_url", &[]),
    key_of::<OneLine>("start_command", &[]),
    key_of::<OneLine>("stop_command", &[]),
    key_of::<OneLine>("list_command", &[]),
    key_of::<Seconds<1>>("command_timeout", &[]),
    key_of::<OneLine>("slave_command", &[]),
    key_of::<OneLine>("partition", &[]),
    key_of::<OneLine>("account", &[]),
    key_of::<TimeLimit>("time_limit", &[]),
    key_of::<Seconds<1>>("drain_before", &[]),
    key_of::<SlurmOptions>("options", &[]),
    key_of::<Image>("image", &[]),
    key_of::<DnsName>("namespace", &[]),
    key_of::<DnsName>("service_account", &[]),
    key_of::<Pairs>("resources", &[]),
    key_of::<Pairs>("node_selector", &[]),
    key_of::<Tolerations>("tolerations", &[]),
    key_of::<AbsolutePath>("pod_template", &[]),
    key_of::<ApiServer>("api_server", &[]),
    key_of::<AbsolutePath>("token_file", &[]),
    key_of::<AbsolutePath>("ca_file", &[]),
    key_of::<AbsolutePath>("kubectl", &[]),
];

/// How these sections look. Names are a part of the names of jobs, which have bounds of their own; without a hyphen no name
/// begins another one's jobs.
pub(super) static POOL: SectionKind = SectionKind {
    word: "pool",
    keys: KEYS,
    longest_name: 40,
    marks: &['_', '.'],
    example: "big",
    reserved: None,
};

/// What is wrong with the sections.
pub(super) fn check(sections: &[NamedSection]) -> Result<(), SettingsError> {
    let mistakes = sections
        .iter()
        .filter_map(|section| terms::read(section).err());
    SettingsError::all(mistakes.collect()).map_or(Ok(()), Err)
}

/// The pools, in the order of their sections.
pub(super) fn read(sections: &[NamedSection]) -> Result<Vec<PoolSettings>, SettingsError> {
    sections.iter().map(terms::read).collect()
}

/// What stands in the sections, each with the name that people know it by.
pub(super) fn all_found(sections: &[NamedSection]) -> impl Iterator<Item = (String, &Found)> {
    sections.iter().flat_map(|section| {
        let found = section.found.iter();
        found.map(|found| (format!("pool.{}.{}", section.name, found.key), found))
    })
}
