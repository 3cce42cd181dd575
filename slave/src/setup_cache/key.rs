//! What an entry of the set-up cache is good for: all that decides what a set-up makes. Pure.

#[cfg(test)]
mod tests;

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::disk::kept_entries::EntryKey;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::job::setup_cache::SetupCache;
use clusterrunner_common::process::variables::{BuildVariables, OF_BUILDS, Variables};
use clusterrunner_common::work::{GivenSecrets, IsolationLevel, ProjectSource};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Entries of another form have other keys.
const FORM: &str = "setup cache 1";

/// How the refs begin under which forges offer what strangers want to have merged.
const OF_STRANGERS: [&str; 6] = [
    "pull",
    "pulls",
    "pull-requests",
    "merge-requests",
    "merge_requests",
    "changes",
];

/// A file of the project, and the hash of its content.
pub(crate) type HashedFile = (String, [u8; 32]);

/// All that decides what a set-up makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyParts<'a> {
    /// Whose entries are shared, see [`scope`].
    pub(crate) scope: &'a str,
    pub(crate) cache: &'a SetupCache,
    pub(crate) setup_build: &'a str,
    /// What the commands run on, see [`machine`]: the system and its programs, or an image by its content.
    pub(crate) runs_on: &'a str,
    /// The commit, where it is the key.
    pub(crate) commit: Option<&'a str>,
    /// The key files, each with the hash of its content.
    pub(crate) files: &'a [HashedFile],
    /// The same of the build's remote files.
    pub(crate) remote_files: &'a [HashedFile],
    pub(crate) variables: &'a BuildVariables,
    /// How far commands are kept apart: what the slave demands of all builds, and what holds for this one. Where others are
    /// kept less apart, they can change what is kept.
    pub(crate) apart: (IsolationLevel, IsolationLevel),
    /// What the build is given. Its commands run over what is restored, so that must come from a build that had the same.
    pub(crate) secrets: &'a GivenSecrets,
}

/// The key of a set-up. Values of variables are in it, so it can not be computed without the secret of the farm.
pub(crate) fn key(secret: &Secret, parts: &KeyParts<'_>) -> EntryKey {
    let mut digest = Digest::new(secret);
    digest.add(FORM);
    digest.add(std::env::consts::OS);
    digest.add(std::env::consts::ARCH);
    digest.add(parts.scope);
    digest.list(parts.cache.paths());
    digest.add(parts.setup_build);
    digest.add(parts.runs_on);
    digest.add(parts.commit.unwrap_or_default());
    digest.files(parts.files);
    digest.files(parts.remote_files);
    // A set-up of which something is kept is given no secrets.
    let BuildVariables { inherited, set, .. } = parts.variables;
    // What is different in each build would make each build a new one.
    digest.variables(set.iter().filter(|(name, _)| !OF_BUILDS.contains(name)));
    let inherited = inherited.iter().flat_map(Variables::iter);
    digest.variables(inherited.filter(|(name, _)| !is_of_session(name)));
    let (demanded, held) = parts.apart;
    if parts.apart != (IsolationLevel::None, IsolationLevel::None) {
        digest.add(format!("isolation\n{demanded}\n{held}"));
    }
    // Whoever does not have the values can make no entry that a build restores which has them.
    if !parts.secrets.is_empty() {
        digest.number(parts.secrets.0.len());
        for secret in &parts.secrets.0 {
            digest.add(&secret.name);
            digest.add(secret.value.expose());
        }
    }
    EntryKey::of(&digest.0.finalize().into_bytes().into())
}

struct Digest(Hmac<Sha256>);

impl Digest {
    fn new(secret: &Secret) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("a key of any length"))
    }

    fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_le_bytes());
    }

    /// With its length, so that no two lists of texts are the same bytes.
    fn add(&mut self, text: impl AsRef<[u8]>) {
        self.number(text.as_ref().len());
        self.0.update(text.as_ref());
    }

    fn files(&mut self, files: &[HashedFile]) {
        self.number(files.len());
        for (name, content) in files {
            self.add(name);
            self.add(content);
        }
    }

    fn variables<'v>(&mut self, variables: impl Iterator<Item = (&'v str, &'v str)>) {
        let variables: Vec<_> = variables.collect();
        self.number(variables.len());
        for (name, value) in variables {
            self.add(name);
            self.add(value);
        }
    }

    fn list(&mut self, texts: &[String]) {
        self.number(texts.len());
        for text in texts {
            self.add(text);
        }
    }
}

/// What commands run on that run in no container: the release of the system, as `/etc/os-release` tells it, and where this
/// slave finds programs.
pub(crate) fn machine(os_release: &str, path: &str) -> String {
    let tells = |line: &&str| line.starts_with("ID=") || line.starts_with("VERSION_ID=");
    let release: Vec<&str> = os_release.lines().filter(tells).collect();
    format!("machine\n{}\n{path}", release.join("\n"))
}

/// Whether a variable of a user's environment is of a terminal, a login or the run of a job, and says nothing of what a
/// set-up makes.
fn is_of_session(name: &str) -> bool {
    const NAMES: [&str; 26] = [
        "_",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "TERM",
        "COLORTERM",
        "LS_COLORS",
        "COLUMNS",
        "LINES",
        "WINDOWID",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "GPG_AGENT_INFO",
        "GPG_TTY",
        "KRB5CCNAME",
        "MAIL",
        "WINDOW",
        "EDITOR",
        "HISTSIZE",
        "PS1",
        // Of the run of a service, or of a CI system's job.
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "BUILD_ID",
        "BUILD_NUMBER",
        "BUILD_TAG",
        "BUILD_URL",
    ];
    const BEGINNINGS: [&str; 15] = [
        "SSH_",
        "ITERM_",
        "KONSOLE_",
        "WT_",
        "GITHUB_",
        "RUNNER_",
        "CI_",
        "BUILDKITE_",
        "XDG_",
        "DBUS_",
        "TERM_",
        "TMUX",
        "STY",
        "VSCODE_",
        "CLUSTERRUNNER_",
    ];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

/// Whose builds share entries: those of the branches of one repository, and apart from them those of each of its forks, of
/// each request to merge something, and of each commit that a build names itself: nobody knows whose that is. None for a
/// directory, whose files stay from build to build anyway.
pub(crate) fn scope(source: &ProjectSource) -> Option<String> {
    match source {
        ProjectSource::Directory { .. } => None,
        ProjectSource::Own { project, .. } => Some(format!("own\n{project}")),
        ProjectSource::Git {
            url,
            remote,
            branch,
            hash,
            project_directory,
        } => {
            let url = without_credentials(url);
            let fork = remote.as_deref().filter(|remote| *remote != "origin");
            let fork = fork.map(without_credentials).unwrap_or_default();
            let is_apart = |branch: &&str| is_of_stranger(branch) || is_commit(branch);
            let request = branch.as_deref().filter(is_apart);
            let request = request.unwrap_or_default();
            let commit = hash.as_deref().unwrap_or_default();
            let directory = project_directory.as_deref().unwrap_or_default();
            // No part of it has a line break but the directory, which is last.
            Some(format!(
                "git\n{url}\n{fork}\n{request}\n{commit}\n{directory}"
            ))
        }
    }
}

fn without_credentials(url: &str) -> String {
    match GitUrl::parse(url, true) {
        Ok(parsed) => parsed.without_credentials(),
        // It was checked when the build was submitted; such a text is a name all the same.
        Err(_) => url.replace('\n', " "),
    }
}

/// A branch may be the id of a commit, which may be anybody's.
fn is_commit(branch: &str) -> bool {
    branch.len() == 40 && branch.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_of_stranger(branch: &str) -> bool {
    let name = branch.strip_prefix("refs/").unwrap_or(branch);
    let first = name.split_once('/').map(|(first, _)| first);
    first.is_some_and(|first| OF_STRANGERS.contains(&first))
}
