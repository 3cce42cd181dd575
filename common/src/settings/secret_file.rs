//! The secret's line in the settings file: found, or generated and written.

use super::error::SettingsError;
use super::file::SettingsFile;
use super::lines::{Content, lines};
use super::location::read_file;
use crate::auth::secret::Secret;
use crate::disk::whole_file;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What stands in a settings file that did not exist before.
const NEW_FILE: &str = "## Settings of ClusterRunner. The shipped clusterrunner.conf explains every key.\n\n[general]\n";

/// The secret of `[general]` in the settings file; if it has none, a new one is generated and written there.
///
/// A new file gets mode 0600 and new directories 0700. Of an existing one only the line `secret = ` changes; it is
/// replaced as a whole (written beside, synced, renamed), also with mode 0600. Processes that do this at the same
/// time wait for each other and return the same secret.
///
/// # Errors
/// [`SettingsError`] when the file is wrong, readable by others although it holds a secret, or can not be written.
pub(crate) fn ensure_secret(config_file: &Path) -> Result<Secret, SettingsError> {
    let write_failed = |source: io::Error| SettingsError::Write {
        path: config_file.to_owned(),
        source,
    };
    let directory = directory_of(config_file);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(write_failed)?;
    let lock = File::open(&directory).map_err(write_failed)?;
    // Released when `lock` is closed, also by a crash. The directory is locked and not the file, which is replaced.
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| write_failed(error.into()))?;

    // Only now is it certain that no other process is about to write one.
    if let Some(found) = read_file(config_file)?.as_ref().and_then(secret_of) {
        return found;
    }
    let secret = Secret::generate().map_err(SettingsError::Random)?;
    // A link stays a link: what it points to is replaced. Nothing is there yet if this fails.
    let target = fs::canonicalize(config_file).unwrap_or_else(|_| config_file.to_owned());
    let text = match fs::read_to_string(&target) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => NEW_FILE.to_owned(),
        Err(source) => {
            return Err(SettingsError::Read {
                path: config_file.to_owned(),
                source,
            });
        }
    };
    let text = with_secret(&text, secret.expose());
    whole_file::replace(&target, text.as_bytes()).map_err(write_failed)?;
    Ok(secret)
}

/// `None` when there is no secret in `[general]`.
fn secret_of(file: &SettingsFile) -> Option<Result<Secret, SettingsError>> {
    let found = file.find("secret", "general")?;
    let text = found.values.first().cloned().unwrap_or_default();
    Some(Secret::new(text).map_err(|source| found.clone().wrong(source)))
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The text with the one line set, everything else byte for byte as before.
fn with_secret(text: &str, secret: &str) -> String {
    let new_line = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let setting = format!("secret = {secret}");
    let (header, place) = places(text);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(line) = place.and_then(|number| lines.get_mut(number - 1)) {
        let end = line.len() - line.trim_end_matches(['\r', '\n']).len();
        *line = format!("{setting}{}", &line[line.len() - end..]);
        return lines.concat();
    }
    let (at, block) = match header {
        Some(number) => (number, format!("{setting}{new_line}")),
        None => (
            lines.len(),
            format!("[general]{new_line}{setting}{new_line}"),
        ),
    };
    if let Some(before) = at.checked_sub(1).and_then(|index| lines.get_mut(index))
        && !before.ends_with('\n')
    {
        before.push_str(new_line);
    }
    lines.insert(at, block);
    lines.concat()
}

/// The numbers of the lines `[general]` and, below it, `secret =`.
fn places(text: &str) -> (Option<usize>, Option<usize>) {
    let (mut header, mut secret, mut is_general) = (None, None, false);
    // A file that can not be read was refused before.
    for line in lines(text).unwrap_or_default() {
        match line.content {
            Content::Section { name, depth } => {
                is_general = depth == 1 && name == "general";
                header = header.or(is_general.then_some(line.number));
            }
            Content::Setting { key, .. } if is_general && key == "secret" => {
                secret = secret.or(Some(line.number));
            }
            Content::Setting { .. } => {}
        }
    }
    (header, secret)
}

/// Whether a settings file is not there; it can be made, since its directory is.
pub(super) fn is_missing(path: &Path) -> Result<bool, SettingsError> {
    if path.exists() {
        return Ok(false);
    }
    match fs::metadata(directory_of(path)) {
        Ok(_) => Ok(true),
        Err(source) => Err(SettingsError::Missing {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Makes a settings file that is not there, closed to others; says whether it did. Its directory must be there.
pub(super) fn make_missing(path: &Path) -> Result<bool, SettingsError> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let made = options
        .open(path)
        .and_then(|mut file| file.write_all(NEW_FILE.as_bytes()));
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // It may be there and its directory closed to us; then it can be read, or not, all the same.
        Err(_) if path.exists() => Ok(false),
        Err(source) => Err(SettingsError::Missing {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_changes() {
        for (before, after) in [
            ("", "[general]\nsecret = S\n"),
            (NEW_FILE, &*format!("{NEW_FILE}secret = S\n")),
            ("[general]", "[general]\nsecret = S\n"),
            (
                "[master]\nport=1",
                "[master]\nport=1\n[general]\nsecret = S\n",
            ),
            (
                "[general]\n  secret =   # mine\nhostname = é\n",
                "[general]\nsecret = S\nhostname = é\n",
            ),
            ("[general]\nsecret=", "[general]\nsecret = S"),
            (
                "# a\r\n[general]\r\n# secret = x\r\n[slave]\r\n",
                "# a\r\n[general]\r\nsecret = S\r\n# secret = x\r\n[slave]\r\n",
            ),
            (
                "[slave]\nsecret = x\n[general]\n",
                "[slave]\nsecret = x\n[general]\nsecret = S\n",
            ),
        ] {
            assert_eq!(with_secret(before, "S"), after, "{before:?}");
        }
    }
}
