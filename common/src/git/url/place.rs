//! The kinds of places where a repository may be, and how each is written.

use crate::git::address::{
    destination, parse_authority, percent_decoded, split_authority, split_scp,
};
use crate::git::url_error::{GitUrlError, forbidden_character, malformed, redact_url};
use crate::ids::ProjectId;
use reqwest::Url;
use std::path::PathBuf;

/// The scheme of code that clients have sent and that no server has.
pub(super) const SENT: &str = "sent";

/// The longest name of such code.
const LONGEST_NAME: usize = 200;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::git) enum RepositoryPlace {
    Http(Url),
    Ssh(SshAddress),
    Daemon {
        host: String,
        port: u16,
        path: String,
        text: String,
    },
    Local(PathBuf),
    /// Code that clients have sent, under a name; it is nowhere else.
    Sent(String),
    /// A project's own repository on the master. No text means it.
    Own(ProjectId),
}

/// What the `ssh` program is told.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::git) struct SshAddress {
    /// `host` or `user@host`.
    pub(in crate::git) destination: String,
    pub(in crate::git) port: Option<u16>,
    /// As the far side's `git-upload-pack` gets it.
    pub(in crate::git) path: String,
    pub(super) text: String,
}

impl RepositoryPlace {
    /// `text` has no blanks around it and no character that is forbidden.
    pub(super) fn parse(text: &str, allow_local_sources: bool) -> Result<Self, GitUrlError> {
        if text.starts_with('/') {
            local(text, text, allow_local_sources)
        } else if let Some((scheme, rest)) = text.split_once("://") {
            match scheme.to_ascii_lowercase().as_str() {
                "http" | "https" if rest.starts_with('/') => {
                    Err(malformed(text, "it has no usable host"))
                }
                "http" | "https" => http(text),
                "ssh" => ssh(text, rest),
                "git" => daemon(text, rest),
                SENT => sent(text, rest),
                "file" => local(text, &file_url_path(text, rest)?, allow_local_sources),
                _ => Err(GitUrlError::Scheme {
                    url: redact_url(text),
                }),
            }
        } else if text.contains("::") && !text.contains('[') {
            // `ext::`, `fd::` and others of the kind that make the git program run something.
            Err(GitUrlError::Scheme {
                url: redact_url(text),
            })
        } else if let Some((host, path)) = split_scp(text) {
            scp(text, host, path)
        } else {
            Err(malformed(text, "it is neither a URL nor an absolute path"))
        }
    }
}

fn http(text: &str) -> Result<RepositoryPlace, GitUrlError> {
    let url = Url::parse(text).map_err(|_| malformed(text, "it is not a valid URL"))?;
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() || host.starts_with('-') {
        return Err(malformed(text, "it has no usable host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(malformed(
            text,
            "it has a query (?) or a fragment (#), which a repository URL can not have",
        ));
    }
    if percent_decoded(url.path())
        .as_deref()
        .and_then(forbidden_character)
        .is_some()
    {
        return Err(malformed(
            text,
            "its path contains an escaped control character or quote",
        ));
    }
    Ok(RepositoryPlace::Http(url))
}

fn ssh(text: &str, rest: &str) -> Result<RepositoryPlace, GitUrlError> {
    let (authority, path) = split_authority(text, rest)?;
    let (user, host, port) = parse_authority(text, authority)?;
    if user.is_some_and(|user| user.contains(':')) {
        return Err(malformed(
            text,
            "ssh can not use a password in the URL; use a key",
        ));
    }
    // As git does: `ssh://host/~user/x` means a path in that user's home.
    let path = if path.starts_with("/~") {
        &path[1..]
    } else {
        &path
    };
    Ok(RepositoryPlace::Ssh(SshAddress {
        destination: destination(user, host),
        port,
        path: path.to_owned(),
        text: text.to_owned(),
    }))
}

fn scp(text: &str, authority: &str, path: &str) -> Result<RepositoryPlace, GitUrlError> {
    let (user, host, _) = parse_authority(text, authority)?;
    if user.is_some_and(|user| user.contains(':')) || path.is_empty() || path.starts_with('-') {
        return Err(malformed(text, "it is not of the form user@host:path"));
    }
    Ok(RepositoryPlace::Ssh(SshAddress {
        destination: destination(user, host),
        port: None,
        path: path.to_owned(),
        text: text.to_owned(),
    }))
}

fn daemon(text: &str, rest: &str) -> Result<RepositoryPlace, GitUrlError> {
    const GIT_DAEMON_PORT: u16 = 9418;
    let (authority, path) = split_authority(text, rest)?;
    let (user, host, port) = parse_authority(text, authority)?;
    if user.is_some() {
        return Err(malformed(text, "git:// can not use a user name"));
    }
    Ok(RepositoryPlace::Daemon {
        host: host.to_owned(),
        port: port.unwrap_or(GIT_DAEMON_PORT),
        path,
        text: text.to_owned(),
    })
}

fn local(text: &str, path: &str, allowed: bool) -> Result<RepositoryPlace, GitUrlError> {
    if allowed {
        Ok(RepositoryPlace::Local(PathBuf::from(path)))
    } else {
        Err(GitUrlError::LocalNotAllowed {
            url: redact_url(text),
        })
    }
}

/// A name of letters, digits, `.`, `_` and `-`.
fn sent(text: &str, name: &str) -> Result<RepositoryPlace, GitUrlError> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_good) {
        true => Ok(RepositoryPlace::Sent(name.to_owned())),
        false => Err(malformed(
            text,
            "code that was sent has a name of letters, digits, '.', '_' and '-'",
        )),
    }
}

fn file_url_path(text: &str, rest: &str) -> Result<String, GitUrlError> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(malformed(text, "a file URL is file:///absolute/path"));
    }
    percent_decoded(path)
        .filter(|path| forbidden_character(path).is_none())
        .ok_or_else(|| malformed(text, "its path contains an unusable escape"))
}
