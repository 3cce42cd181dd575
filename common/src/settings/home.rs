//! The home directory in paths.

use super::error::SettingsError;
use super::keys::no_default;
use std::path::{Path, PathBuf};

/// Replaces a leading `~` by the home directory; `~name` stays as it is.
pub(super) fn expand_home(
    key: &'static str,
    path: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, SettingsError> {
    let below = match path.strip_prefix('~') {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => return Ok(PathBuf::from(path)),
    };
    let home = environment("HOME")
        .filter(|home| !home.is_empty())
        .ok_or_else(|| no_default(key, "HOME is not set"))?;
    Ok(Path::new(&home).join(below))
}
