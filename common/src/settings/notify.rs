//! Whom the master tells of builds: the sections `[notify NAME]` of the settings files. The environment and the
//! command line set nothing in them.
//!
//! All programs check these sections; only the master reads the files that they name.

mod forge;
mod section;
mod target;
#[cfg(test)]
mod tests;
mod values;

pub use forge::Forge;
pub(super) use section::NotifySection;
pub use target::{CommitStatuses, NotifyReceiver, NotifyTarget, Webhook};
pub use values::WRITTEN_KEY;

use super::error::SettingsError;
use super::keys::{Key, SECRET_KEYS, key_of};
use target::Draft;
use values::{Events, HttpUrl, Kind, Private, SigningKey};

/// What may stand in a section.
const KEYS: &[Key] = &[
    key_of::<Kind>("kind", &[]),
    key_of::<HttpUrl>("url", &[]),
    key_of::<HttpUrl>("api_url", &[]),
    key_of::<Events>("events", &[]),
    key_of::<Vec<String>>("projects", &[]),
    key_of::<Vec<String>>("hosts", &[]),
    key_of::<SigningKey>("secret", &[]),
    key_of::<String>("secret_file", &[]),
    key_of::<Private>("token", &[]),
    key_of::<String>("token_file", &[]),
    key_of::<String>("context", &[]),
    key_of::<String>("ca_file", &[]),
];

/// Those that nobody else may read.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET_KEYS.contains(&key) || key == "token"
}

/// What is wrong with the sections, as far as it can be known without the files that they name.
pub(super) fn check(sections: &[NotifySection]) -> Result<(), SettingsError> {
    let mistakes = sections
        .iter()
        .filter_map(|section| Draft::of(section).err());
    SettingsError::all(mistakes.collect()).map_or(Ok(()), Err)
}

/// The sections with all that they name.
pub(super) fn read(
    sections: &[NotifySection],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<NotifyTarget>, SettingsError> {
    let sections = sections.iter();
    sections
        .map(|section| Draft::of(section)?.opened(environment))
        .collect()
}

/// A section of several files: what a stronger one sets wins.
pub(super) fn merged(strongest_first: &[&[NotifySection]]) -> Vec<NotifySection> {
    let mut all: Vec<NotifySection> = Vec::new();
    for section in strongest_first.iter().rev().copied().flatten() {
        match all.iter_mut().find(|known| known.name == section.name) {
            Some(known) => known.overrule(section),
            None => all.push(section.clone()),
        }
    }
    all
}
