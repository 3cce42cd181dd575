//! What becomes of a build that asks for a container image where there is no container runtime.

use super::error::SettingsError;
use super::values::{Found, Value};
use std::str::FromStr;

/// What a slave without a container runtime does with a build that names an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePolicy {
    /// Its steps run as plain processes, and the first line of its log says so.
    Use,
    /// It fails with that sentence.
    Require,
}

impl FromStr for ImagePolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "use" => Ok(Self::Use),
            "require" => Ok(Self::Require),
            _ => Err(()),
        }
    }
}

impl Value for ImagePolicy {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        found.parse("use or require")
    }
}
