//! Slaves on demand: the sections `[pool NAME]` of the settings files. The environment and the command line set nothing in
//! them.

mod section;
mod terms;
#[cfg(test)]
mod tests;
mod values;

pub(super) use section::PoolSection;
pub use terms::{CommandPool, PoolProvider, PoolSettings, SlurmPool};

use super::error::SettingsError;
use super::keys::{Count, Key, key_of};
use super::values::{Found, Labels, Number, Seconds};
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
];

/// What is wrong with the sections.
pub(super) fn check(sections: &[PoolSection]) -> Result<(), SettingsError> {
    let mistakes = sections
        .iter()
        .filter_map(|section| terms::read(section).err());
    SettingsError::all(mistakes.collect()).map_or(Ok(()), Err)
}

/// The pools, in the order of their sections.
pub(super) fn read(sections: &[PoolSection]) -> Result<Vec<PoolSettings>, SettingsError> {
    sections.iter().map(terms::read).collect()
}

/// A section of several files: what a stronger one sets wins.
pub(super) fn merged(strongest_first: &[&[PoolSection]]) -> Vec<PoolSection> {
    let mut all: Vec<PoolSection> = Vec::new();
    for section in strongest_first.iter().rev().copied().flatten() {
        match all.iter_mut().find(|known| known.name == section.name) {
            Some(known) => known.overrule(section),
            None => all.push(section.clone()),
        }
    }
    all
}

/// What stands in the sections, each with the name that people know it by.
pub(super) fn all_found(sections: &[PoolSection]) -> impl Iterator<Item = (String, &Found)> {
    sections.iter().flat_map(|section| {
        let found = section.found.iter();
        found.map(|found| (format!("pool.{}.{}", section.name, found.key), found))
    })
}
