//! What a release's summary says: what is another than in the release before.

use super::app::{AppBuild, AppConfig};
use std::collections::BTreeMap;

/// How many bytes a summary has at most: users choose the names in it.
const MAX_BYTES: usize = 4_000;

/// What a release consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) build: Option<&'a AppBuild>,
    pub(super) config: &'a AppConfig,
}

/// `owner` is the app's, `user` asked for the release.
pub(super) fn summary(owner: &str, user: &str, before: Content<'_>, after: Content<'_>) -> String {
    let deployed = after.build.filter(|build| {
        let earlier = before.build.map(|before| before.number);
        earlier != Some(build.number)
    });
    let parts = [
        deployed.map(|build| format!("deployed {}", name_of(build))),
        keys(&before.config.values, &after.config.values, ""),
        limits(before.config, after.config),
        keys(&before.config.tags, &after.config.tags, "tag "),
    ];
    let parts = parts.into_iter().flatten();
    let parts: Vec<String> = parts.map(|part| format!("{owner} {part}")).collect();
    let text = match parts.is_empty() {
        true => format!("{user} changed nothing"),
        false => parts.join(" and "),
    };
    shortened(text)
}

pub(super) fn initial(user: &str) -> String {
    format!("{user} created initial release")
}

pub(super) fn rolled_back(user: &str, version: u64) -> String {
    format!("{user} rolled back to v{version}")
}

fn name_of(build: &AppBuild) -> String {
    match build.sha.is_empty() {
        true => build.image.clone(),
        false => build.sha.chars().take(7).collect(),
    }
}

/// Which keys came, changed and went.
fn keys<V: PartialEq>(
    before: &BTreeMap<String, V>,
    after: &BTreeMap<String, V>,
    kind: &str,
) -> Option<String> {
    let added = after.keys().filter(|key| !before.contains_key(*key));
    let is_another =
        |(key, value): &(&String, &V)| before.get(*key).is_some_and(|old| old != *value);
    let changed = after.iter().filter(is_another).map(|(key, _)| key);
    let deleted = before.keys().filter(|key| !after.contains_key(*key));
    let part = |verb: &str, keys: Vec<&String>| {
        let keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
        (!keys.is_empty()).then(|| format!("{verb} {kind}{}", keys.join(", ")))
    };
    let parts = [
        part("added", added.collect()),
        part("changed", changed.collect()),
        part("deleted", deleted.collect()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn limits(before: &AppConfig, after: &AppConfig) -> Option<String> {
    let memory = (before.memory != after.memory).then_some("memory");
    let cpu = (before.cpu != after.cpu).then_some("cpu");
    let changed: Vec<&str> = memory.into_iter().chain(cpu).collect();
    (!changed.is_empty()).then(|| format!("changed limits for {}", changed.join(", ")))
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
        text.push_str(" …");
    }
    text
}
