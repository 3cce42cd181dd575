//! Whom the master tells of builds: the sections `[notify NAME]` of the settings files. The environment and the
//! command line set nothing in them.
//!
//! All programs check these sections; only the master reads the files that they name.

mod forge;
mod target;
#[cfg(test)]
mod tests;
mod values;

pub use forge::Forge;
pub use target::{CommitStatuses, NotifyReceiver, NotifyTarget, Webhook};
pub use values::WRITTEN_KEY;

use super::error::SettingsError;
use super::keys::{Key, SECRET_KEYS, key_of};
use super::section::{NamedSection, SectionKind};
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

/// How these sections look.
pub(super) static NOTIFY: SectionKind = SectionKind {
    word: "notify",
    keys: KEYS,
    longest_name: 64,
    marks: &['_', '.', '-'],
    example: "chat",
    reserved: Some((
        "on_finish",
        "this name means the command of the setting on_finish; take another one",
    )),
};

/// Those that nobody else may read.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET_KEYS.contains(&key) || key == "token"
}

/// Whether others must not read a file with this section.
pub(super) fn holds_secret(section: &NamedSection) -> bool {
    section.found.iter().any(|found| is_secret(found.key))
}

/// What is wrong with the sections, as far as it can be known without the files that they name.
pub(super) fn check(sections: &[NamedSection]) -> Result<(), SettingsError> {
    let mistakes = sections
        .iter()
        .filter_map(|section| Draft::of(section).err());
    SettingsError::all(mistakes.collect()).map_or(Ok(()), Err)
}

/// The sections with all that they name.
pub(super) fn read(
    sections: &[NamedSection],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<NotifyTarget>, SettingsError> {
    let sections = sections.iter();
    sections
        .map(|section| Draft::of(section)?.opened(environment))
        .collect()
}
