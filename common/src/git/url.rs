//! Which repositories may be named, and how their names are shown.

mod place;
#[cfg(test)]
mod tests;

use place::SENT;
pub(super) use place::{RepositoryPlace, SshAddress};

use super::address::{host_of, path_start, percent_decoded};
use super::url_error::{GitUrlError, MAXIMUM_LENGTH, forbidden_character, malformed};
use crate::ids::ProjectId;
use reqwest::Url;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;

/// Readable characters at the front of a mirror's directory name.
const READABLE_LENGTH: usize = 60;

/// Where a repository is, checked against the list of what is allowed: `https`, `http`, `ssh` (also written
/// `user@host:path`), `git`, `sent` for code that clients have sent, and, only where the settings allow it, `file://` URLs and absolute paths.
///
/// Nothing in it can be taken for an option or for shell syntax by a program it is handed to. `Display` and `Debug`
/// show it without user name and password where it has a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    place: RepositoryPlace,
}

impl GitUrl {
    /// Checks `text`. Blanks around it are ignored.
    ///
    /// # Errors
    /// [`GitUrlError`], which is fit to be shown to the user who gave the URL. `allow_local_sources` is the setting of that
    /// name; without it everything on the local disk is refused.
    pub fn parse(text: &str, allow_local_sources: bool) -> Result<Self, GitUrlError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(GitUrlError::Empty);
        }
        if text.len() > MAXIMUM_LENGTH {
            return Err(GitUrlError::TooLong);
        }
        if let Some(reason) = forbidden_character(text) {
            return Err(malformed(text, reason));
        }
        let place = RepositoryPlace::parse(text, allow_local_sources)?;
        Ok(Self { place })
    }

    /// The repository that a project has on the master. It is taken from the master, and can not be fetched.
    #[must_use]
    pub fn own(project: ProjectId) -> Self {
        Self {
            place: RepositoryPlace::Own(project),
        }
    }

    /// Whether no server has it: clients send it, and it can not be fetched.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self.place, RepositoryPlace::Sent(_))
    }

    /// The name of the folder for what clients send on top of this repository: beside that of its own mirror, so that
    /// nothing that was sent is found where only the repository's commits are looked for.
    #[must_use]
    pub fn sent_directory_name(&self) -> String {
        format!("{}.sent", self.directory_name())
    }

    /// The host, in lower case and without its port, and the path there, without slashes around it and `.git` at its
    /// end; nothing for a repository that is not on another machine.
    #[must_use]
    pub fn host_and_path(&self) -> Option<(String, String)> {
        let (host, path) = match &self.place {
            RepositoryPlace::Http(url) => (url.host_str()?, percent_decoded(url.path())?),
            RepositoryPlace::Ssh(ssh) => (host_of(&ssh.destination), ssh.path.clone()),
            RepositoryPlace::Daemon { host, path, .. } => (&**host, path.clone()),
            RepositoryPlace::Local(_) | RepositoryPlace::Sent(_) | RepositoryPlace::Own(_) => {
                return None;
            }
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        Some((host.to_ascii_lowercase(), path.to_owned()))
    }

    /// A name for the folder of this repository's mirror: readable, and different for different URLs. It has only
    /// letters, digits, `.`, `_` and `-`, and does not begin with a dot.
    pub fn directory_name(&self) -> String {
        let full = self.address();
        let digest = hex::encode(Sha256::digest(full.as_bytes()));
        let shown = match &self.place {
            RepositoryPlace::Http(url) => {
                format!("{}/{}", url.host_str().unwrap_or_default(), url.path())
            }
            RepositoryPlace::Ssh(ssh) => format!("{}/{}", host_of(&ssh.destination), ssh.path),
            RepositoryPlace::Daemon { host, path, .. } => format!("{host}/{path}"),
            RepositoryPlace::Local(path) => path.to_string_lossy().into_owned(),
            RepositoryPlace::Sent(name) => name.clone(),
            RepositoryPlace::Own(_) => full.clone(),
        };
        let shown = shown.trim_end_matches('/');
        let shown = shown.strip_suffix(".git").unwrap_or(shown);
        let mut readable = String::new();
        for character in shown.chars() {
            if character.is_ascii_alphanumeric() || matches!(character, '.' | '_') {
                readable.push(character);
            } else if !readable.ends_with('-') {
                readable.push('-');
            }
        }
        // The end of a path tells more than its beginning.
        let from = readable.len().saturating_sub(READABLE_LENGTH);
        let readable = readable[from..].trim_matches(|c: char| matches!(c, '-' | '.'));
        format!("{readable}-{}", &digest[..16])
    }

    /// The URL for other machines: without user name and password where these open it.
    pub fn without_credentials(&self) -> String {
        let RepositoryPlace::Http(url) = &self.place else {
            return self.address();
        };
        let mut url = url.clone();
        match url.set_password(None).and_then(|()| url.set_username("")) {
            Ok(()) => url.into(),
            // They only fail for URLs that can have no credentials.
            Err(()) => self.to_string(),
        }
    }

    /// The whole URL, with credentials, as libgit2 is told it.
    pub(super) fn address(&self) -> String {
        match &self.place {
            RepositoryPlace::Http(url) => url.as_str().to_owned(),
            RepositoryPlace::Ssh(ssh) => ssh.text.clone(),
            RepositoryPlace::Daemon { text, .. } => text.clone(),
            RepositoryPlace::Local(path) => path.to_string_lossy().into_owned(),
            RepositoryPlace::Sent(name) => format!("{SENT}://{name}"),
            RepositoryPlace::Own(project) => format!("project {project}"),
        }
    }

    pub(super) fn place(&self) -> &RepositoryPlace {
        &self.place
    }

    /// The directory, if the repository lies on this machine's disk.
    pub(super) fn local_path(&self) -> Option<&Path> {
        match &self.place {
            RepositoryPlace::Local(path) => Some(path),
            _ => None,
        }
    }

    /// `text` without this URL's user name and password, wherever they stand in it.
    pub(super) fn redact(&self, text: &str) -> String {
        let RepositoryPlace::Http(url) = &self.place else {
            return text.to_owned();
        };
        let mut text = text.replace(url.as_str(), &self.to_string());
        // A user name without a password is usually a token.
        let secret = url.password().unwrap_or(url.username());
        let decoded = percent_decoded(secret).unwrap_or_default();
        for secret in [secret, &decoded] {
            if !secret.is_empty() {
                text = text.replace(secret, "***");
            }
        }
        text
    }

    /// The submodule URL `relative` (beginning with `./` or `../`) seen from this repository, as
    /// `git submodule` reads it: `..` removes the last part of the path.
    pub(super) fn join(&self, relative: &str) -> Result<Self, GitUrlError> {
        let address = self.address();
        let (server, path) = address.split_at(path_start(&address));
        let mut path = path.trim_end_matches('/');
        let mut rest = relative;
        loop {
            if let Some(next) = rest.strip_prefix("./") {
                rest = next;
            } else if let Some(next) = rest.strip_prefix("../") {
                rest = next;
                if path.is_empty() {
                    let reason = "the relative URL goes above the root of its repository's server";
                    return Err(malformed(relative, reason));
                }
                path = &path[..path.rfind('/').unwrap_or(0)];
            } else {
                break;
            }
        }
        let separator = if path.is_empty() && server.ends_with(':') {
            ""
        } else {
            "/"
        };
        Self::parse(
            &format!("{server}{path}{separator}{rest}"),
            self.local_path().is_some(),
        )
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            RepositoryPlace::Http(url) => formatter.write_str(&without_credentials(url)),
            _ => formatter.write_str(&self.address()),
        }
    }
}

impl fmt::Debug for GitUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GitUrl({self})")
    }
}

/// A user name alone is often a token too, so both go.
fn without_credentials(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.username().is_empty() && shown.password().is_none() {
        return shown.into();
    }
    // Both only fail for URLs that can have no credentials.
    let cleared = shown
        .set_password(None)
        .and_then(|()| shown.set_username("***"));
    if cleared.is_err() {
        "***".to_owned()
    } else {
        shown.into()
    }
}
