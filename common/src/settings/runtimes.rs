//! Which container runtimes can be named.

use super::error::SettingsError;
use super::values::{Found, Value};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What `container_runtime` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeChoice {
    /// The first that is there and works: podman, docker.
    Auto,
    /// None: nothing runs in containers.
    None,
    /// This program: a name on PATH, or a path.
    Named(String),
}

/// The runtimes whose command line is known.
pub const RUNTIMES: [&str; 2] = ["podman", "docker"];

impl Value for RuntimeChoice {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = String::read(found)?;
        let is_runtime = || {
            let name = Path::new(&text).file_name();
            RUNTIMES
                .iter()
                .any(|runtime| name.is_some_and(|name| name == *runtime))
        };
        let is_place = || !text.contains('/') || text.starts_with('/');
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            _ if is_runtime() && is_place() => Ok(Self::Named(text)),
            _ => Err(found.wrong(format!(
                "expected auto, none, podman, docker, or the absolute path of a program of one of these names, found \"{text}\""
            ))),
        }
    }
}
