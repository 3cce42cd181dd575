//! What may be asked of git here, and of which app. Pure.

use serde::{Deserialize, Serialize};

/// The longest id of an app.
const LONGEST_ID: usize = 64;

/// The two programs of git that may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Takes a push.
    Receive,
    /// Answers a fetch or a clone.
    Upload,
}

impl Service {
    /// The name of the program, as git's protocols have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Receive => "git-receive-pack",
            Self::Upload => "git-upload-pack",
        }
    }

    /// The service with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::Receive, Self::Upload];
        all.into_iter().find(|service| service.name() == name)
    }
}

/// A version of git's protocol, as a client asks for it: `version=2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Protocol(String);

impl Protocol {
    /// The version in a text; none for what git never sends.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let known = ["version=0", "version=1", "version=2"];
        known.contains(&text).then(|| Self(text.to_owned()))
    }

    /// As git reads it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of the app that a path to a repository names: `/<id>.git`.
pub(crate) fn app_in(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let id = path.strip_suffix(".git")?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    ((1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(fits)).then_some(id)
}

/// The service and the app in a command line that git sends through SSH: `git-receive-pack '/<id>.git'`. Nothing is ever
/// given to a shell: what is of another form means nothing.
pub(crate) fn command(line: &[u8]) -> Option<(Service, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (program, path) = match line.strip_prefix("git ") {
        Some(rest) => rest.split_once(' ')?,
        None => line.strip_prefix("git-")?.split_once(' ')?,
    };
    let service = Service::named(&format!("git-{program}"))?;
    let unquoted = path
        .strip_prefix('\'')
        .and_then(|path| path.strip_suffix('\''));
    Some((service, app_in(unquoted.unwrap_or(path))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_services_are_known_in_each_form_that_git_sends() {
        for (line, expected) in [
            ("git-receive-pack '/hill.git'", (Service::Receive, "hill")),
            ("git-receive-pack 'hill.git'", (Service::Receive, "hill")),
            ("git-upload-pack '/a-1.git/'", (Service::Upload, "a-1")),
            ("git upload-pack '/a-1.git'", (Service::Upload, "a-1")),
            ("git-upload-pack /a-1.git", (Service::Upload, "a-1")),
        ] {
            assert_eq!(command(line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn all_else_means_nothing() {
        let long = format!("git-receive-pack '{}.git'", "x".repeat(65));
        for line in [
            "",
            "sh",
            "git",
            "git-receive-pack",
            "git-receive-pack ",
            "git-receive-pack ''",
            "git-receive-pack '.git'",
            "git-receive-pack 'hill'",
            "git-receive-pack '../hill.git'",
            "git-receive-pack '/a/hill.git'",
            "git-receive-pack '/../../etc/hill.git'",
            "git-receive-pack 'hill.git' ; id",
            "git-receive-pack 'hill.git'; id'",
            "git-receive-pack 'hi'\\''ll.git'",
            "git-receive-pack 'hill.git' '--help'",
            "git-receive-pack --advertise-refs 'hill.git'",
            "git-receive-pack \"hill.git\"",
            "git-receive-pack 'Hill.git'",
            "git-receive-pack '-hill.git\n'",
            "git-receive-pack '$(id).git'",
            "git-receive-pack '~/hill.git'",
            "git-upload-archive 'hill.git'",
            "git-shell -c x",
            "git  upload-pack 'hill.git'",
            "scp -t /tmp",
            "GIT-RECEIVE-PACK 'hill.git'",
            &long,
        ] {
            assert_eq!(command(line.as_bytes()), None, "{line}");
        }
        assert_eq!(command(b"git-receive-pack '\xff.git'"), None);
    }

    #[test]
    fn only_versions_of_the_protocol_are_passed_on() {
        assert_eq!(Protocol::of("version=2").unwrap().as_str(), "version=2");
        for text in ["", "version=3", "version=2:x", "version=2\0", "x"] {
            assert_eq!(Protocol::of(text), None, "{text}");
        }
    }
}
