//! Why a text is no repository's URL, and how a text that may be one is shown.

/// No honest URL is longer; a bound keeps messages and headers small.
pub(super) const MAXIMUM_LENGTH: usize = 4096;

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
        /// What is wrong with it.
        reason: &'static str,
    },
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
