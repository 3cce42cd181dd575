//! Where the settings file is when none is named, and reading it.

use super::error::SettingsError;
use super::file::SettingsFile;
use super::home::expand_home;
use super::keys;
use crate::disk::regular_file;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The settings file that is read when none is named: `clusterrunner.conf` in the default base directory, which
/// is `CLUSTERRUNNER_BASE_DIRECTORY` of the environment, else `/var/lib/clusterrunner` if that is a directory,
/// else `~/.clusterrunner`.
///
/// # Errors
/// [`SettingsError::NoDefault`] when the home directory is needed but not known.
pub fn default_config_file(
    environment: impl Fn(&str) -> Option<String>,
) -> Result<PathBuf, SettingsError> {
    Ok(default_base_directory(&environment)?.join("clusterrunner.conf"))
}

pub(super) fn default_base_directory(
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, SettingsError> {
    const KEY: &str = "base_directory";
    const SYSTEM_WIDE: &str = "/var/lib/clusterrunner";
    match environment(&keys::variable(KEY)).filter(|path| !path.is_empty()) {
        Some(path) => expand_home(KEY, &path, environment),
        None if Path::new(SYSTEM_WIDE).is_dir() => Ok(PathBuf::from(SYSTEM_WIDE)),
        None => expand_home(KEY, "~/.clusterrunner", environment),
    }
}

/// The longest settings file, in bytes.
const MAX_SETTINGS: u64 = 4 << 20;

/// `None` when there is no such file. One with a secret in it must be closed to others.
pub(super) fn read_file(path: &Path) -> Result<Option<SettingsFile>, SettingsError> {
    let failed = |source: io::Error| SettingsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match regular_file::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let bytes = regular_file::read_opened(&file, MAX_SETTINGS).map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let settings = SettingsFile::parse(&text, path)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if settings.holds_secret() && mode & 0o077 != 0 {
        return Err(SettingsError::Permissions {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(Some(settings))
}
