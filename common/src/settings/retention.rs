//! What the settings say of how much is kept: 0 is no bound.

use super::error::SettingsError;
use super::layers::Layers;
use crate::disk::retention::{BuildBounds, ProjectBounds};
use std::time::Duration;

const DAY: u64 = 24 * 60 * 60;

pub(super) fn builds(layers: &Layers<'_>) -> Result<BuildBounds, SettingsError> {
    Ok(BuildBounds {
        max_age: days(layers, "keep_builds_days")?,
        max_number: bound(layers, "keep_builds")?,
        max_bytes: bound(layers, "keep_results_bytes")?,
        max_partial_age: days(layers, "keep_partial_results_days")?,
    })
}

pub(super) fn projects(layers: &Layers<'_>) -> Result<ProjectBounds, SettingsError> {
    Ok(ProjectBounds {
        max_age: days(layers, "keep_projects_days")?,
        max_bytes: bound(layers, "keep_projects_bytes")?,
    })
}

fn bound(layers: &Layers<'_>, key: &'static str) -> Result<Option<u64>, SettingsError> {
    let number = layers.number(key)?;
    Ok((number > 0).then_some(number))
}

fn days(layers: &Layers<'_>, key: &'static str) -> Result<Option<Duration>, SettingsError> {
    let days = bound(layers, key)?;
    Ok(days.map(|days| Duration::from_secs(days * DAY)))
}
