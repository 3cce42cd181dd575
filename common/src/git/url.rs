//! Which repositories may be named, and how their names are shown.

mod place;
#[cfg(test)]
mod tests;

pub(super) use place::{Place, SshAddress};

use super::address::{host_of, path_start, percent_decoded};
use crate::ids::ProjectId;
use reqwest::Url;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;

/// No honest URL is longer; a bound keeps messages and headers small.
const MAXIMUM_LENGTH: usize = 4096;

/// Readable characters at the front of a mirror's directory name.
const READABLE_LENGTH: usize = 60;

/// Where a repository is, checked against the list of what is allowed: `https`, `http`, `ssh` (also written
/// `user@host:path`), `git`, and, only where the settings allow it, `file://` URLs and absolute paths.
///
/// Nothing in it can be taken for an option or for shell syntax by a program it is handed to. `Display` and `Debug`
/// show it without user name and password where it has a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    place: Place,
}

/// Why a text is not accepted as a repository's URL. Never contains a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GitUrlError {
    /// Nothing was given.
    #[error("the repository URL is empty")]
    Empty,
    /// Longer than any honest URL.
    #[error("the repository URL is longer than {MAXIMUM_LENGTH} characters")]
    TooLong,
    /// A scheme that is not on the list.
    #[error(
        "repository URL {url}: only https, ssh, git and http URLs (and user@host:path) can be used"
    )]
    Scheme {
        /// The URL without credentials.
        url: String,
    },
    /// A `file://` URL or a path, and the settings do not allow it.
    #[error(
        "repository {url} is on the local disk, which is not allowed here; the setting allow_local_sources = True \
         allows it"
    )]
    LocalNotAllowed {
        /// The URL or path.
        url: String,
    },
    /// Anything else.
    #[error("repository URL {url}: {reason}")]
    Malformed {
        /// The URL without credentials.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
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
        let place = Place::parse(text, allow_local_sources)?;
        Ok(Self { place })
    }

    /// The repository that a project has on the master. It is taken from the master, and can not be fetched.
    #[must_use]
    pub fn own(project: ProjectId) -> Self {
        Self {
            place: Place::Own(project),
        }
    }

    /// A name for the folder of this repository's mirror: readable, and different for different URLs. It has only
    /// letters, digits, `.`, `_` and `-`, and does not begin with a dot.
    pub fn directory_name(&self) -> String {
        let full = self.address();
        let digest = hex::encode(Sha256::digest(full.as_bytes()));
        let shown = match &self.place {
            Place::Http(url) => format!("{}/{}", url.host_str().unwrap_or_default(), url.path()),
            Place::Ssh(ssh) => format!("{}/{}", host_of(&ssh.destination), ssh.path),
            Place::Daemon { host, path, .. } => format!("{host}/{path}"),
            Place::Local(path) => path.to_string_lossy().into_owned(),
            Place::Own(_) => full.clone(),
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
        let Place::Http(url) = &self.place else {
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
            Place::Http(url) => url.as_str().to_owned(),
            Place::Ssh(ssh) => ssh.text.clone(),
            Place::Daemon { text, .. } => text.clone(),
            Place::Local(path) => path.to_string_lossy().into_owned(),
            Place::Own(project) => format!("project {project}"),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The directory, if the repository lies on this machine's disk.
    pub(super) fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local(path) => Some(path),
            _ => None,
        }
    }

    /// `text` without this URL's user name and password, wherever they stand in it.
    pub(super) fn redact(&self, text: &str) -> String {
        let Place::Http(url) = &self.place else {
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
            Place::Http(url) => formatter.write_str(&without_credentials(url)),
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

/// `text`, which may be no URL at all, fit to be shown: without user name, password and query, where tokens are.
pub(crate) fn redact_url(text: &str) -> String {
    let start = text.find("://").map_or(0, |position| position + 3);
    let rest = &text[start..];
    let (user, rest) = match credentials_end(rest, start > 0) {
        Some(at) => ("***", &rest[at..]),
        None => ("", rest),
    };
    // An address without a scheme has no query.
    let (rest, query) = match rest.find(['?', '#']) {
        Some(end) if start > 0 => (&rest[..end], "?***"),
        _ => (rest, ""),
    };
    let shown = format!("{}{user}{rest}{query}", &text[..start]);
    let mut shown: String = shown
        .chars()
        .flat_map(char::escape_debug)
        .take(300)
        .collect();
    shown.insert(0, '"');
    shown.push('"');
    shown
}

/// Where the `@` is that ends user name and password. A password may have slashes, which are none of a path then: an
/// `@` further on counts where what stands before the first slash has a colon that begins no port.
fn credentials_end(rest: &str, has_scheme: bool) -> Option<usize> {
    let authority_end = rest.find(['/', '\\']).unwrap_or(rest.len());
    let authority = &rest[..authority_end];
    if let Some(at) = authority.rfind('@') {
        // A user name alone is often a token; before `host:path` it is a user of ssh.
        return (has_scheme || authority[..at].contains(':')).then_some(at);
    }
    let Some((_, port)) = authority.split_once(':') else {
        let after = rest.trim_start_matches(['/', '\\']);
        let is_odd = !has_scheme && authority.is_empty() && rest.len() - after.len() > 1;
        let at = rest.rfind('@').filter(|_| is_odd)?;
        return rest[..at].contains(':').then_some(at);
    };
    let is_port = has_scheme && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match is_port {
        true => None,
        false => rest.rfind('@'),
    }
}

pub(super) fn malformed(text: &str, reason: &'static str) -> GitUrlError {
    GitUrlError::Malformed {
        url: redact_url(text),
        reason,
    }
}

/// Quotes and backslashes are refused because a path travels through a remote shell's single quotes (ssh), control
/// characters because they end lines in protocols and logs.
pub(super) fn forbidden_character(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        Some("it contains a control character")
    } else if text.contains(['\'', '"', '`', '\\']) {
        Some("it contains a quote or a backslash")
    } else if text.starts_with('-') {
        Some("it begins with \"-\"")
    } else {
        None
    }
}
