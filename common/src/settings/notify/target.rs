//! What the master does with a section.

use super::super::error::SettingsError;
use super::super::home::expand_home;
use super::super::section::NamedSection;
use super::super::values::{Found, Value};
use super::forge::Forge;
use super::values::{Events, HttpUrl, Kind, Private, SigningKey};
use crate::auth::secret::Secret;
use crate::disk::regular_file;
use crate::work::BuildEvent;
use reqwest::{Certificate, Url};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

/// Someone who is told of builds.
#[derive(Clone, Debug)]
pub struct NotifyTarget {
    /// The name of the section.
    pub name: String,
    /// What is told.
    pub events: BTreeSet<BuildEvent>,
    /// Patterns of which a project must fit one; none for all projects.
    pub projects: Vec<String>,
    /// Authorities that are trusted beside the system's.
    pub authorities: Vec<Certificate>,
    /// Who is told, and in which words.
    pub receiver: NotifyReceiver,
}

/// Who is told, and in which words.
#[derive(Clone, Debug)]
pub enum NotifyReceiver {
    /// A program that gets each event.
    Webhook(Webhook),
    /// A server with repositories, which shows the status of commits.
    CommitStatuses(CommitStatuses),
}

/// A program that gets each event.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where the requests go.
    pub url: Url,
    /// What signs the requests; none for no signature.
    pub secret: Option<Secret>,
}

/// A server with repositories, which shows the status of commits.
#[derive(Clone, Debug)]
pub struct CommitStatuses {
    /// Whose API it has.
    pub forge: Forge,
    /// The beginning of the API's addresses, without a slash at its end.
    pub api_url: Url,
    /// The hosts of its repositories, in lower case: no other repository is told of.
    pub hosts: Vec<String>,
    /// What opens the API.
    pub token: Secret,
    /// Tells the status from those of other systems; `{job}` stands for the name of the job.
    pub context: String,
}

/// The longest file of a secret.
const LONGEST_SECRET: u64 = 64 << 10;

/// The longest file of authorities: several times what a system has of them all.
const LONGEST_CA_FILE: u64 = 4 << 20;

/// A section whose files are not read yet.
pub(super) struct Draft<'a> {
    section: &'a NamedSection,
    events: BTreeSet<BuildEvent>,
    kind: DraftKind,
}

enum DraftKind {
    Webhook(Url, Option<SecretOrFile>),
    Statuses {
        forge: Forge,
        api_url: Url,
        hosts: Vec<String>,
        token: SecretOrFile,
        context: String,
    },
}

/// A secret, or the file that has one, and how what is in the file is read.
enum SecretOrFile {
    Text(Secret),
    File(Found, String, ReadSecret),
}

type ReadSecret = fn(&Found) -> Result<Secret, SettingsError>;

impl<'a> Draft<'a> {
    pub(super) fn of(section: &'a NamedSection) -> Result<Self, SettingsError> {
        let kind = value(section, "kind")?.unwrap_or(Kind::Webhook);
        let (unused, kind) = match kind {
            Kind::Webhook => {
                let HttpUrl(url) = value(section, "url")?
                    .ok_or_else(|| section.wrong("expected the setting \"url\""))?;
                let unused = &["api_url", "hosts", "token", "token_file", "context"][..];
                (
                    unused,
                    DraftKind::Webhook(url, private(section, ["secret", "secret_file"], key)?),
                )
            }
            Kind::Statuses(forge) => {
                let unused = &["url", "secret", "secret_file"][..];
                (unused, statuses(section, forge)?)
            }
        };
        if let Some(unused) = unused.iter().find_map(|key| section.find(key)) {
            return Err(unused.wrong(match kind {
                DraftKind::Webhook(..) => {
                    "it has no meaning for a webhook; with kind = github, gitlab or gitea it has"
                }
                DraftKind::Statuses { .. } => {
                    "it has a meaning for webhooks alone; statuses need api_url and token"
                }
            }));
        }
        let usual = |event: &BuildEvent| match &kind {
            DraftKind::Webhook(..) => *event == BuildEvent::Building || event.is_end(),
            // GitLab takes no step from failed to canceled.
            DraftKind::Statuses { forge, .. } => {
                *event >= BuildEvent::Prepared
                    && (*event != BuildEvent::Failing || *forge != Forge::GitLab)
            }
        };
        Ok(Self {
            events: match value(section, "events")? {
                Some(Events(events)) => events,
                None => BuildEvent::ALL.into_iter().filter(usual).collect(),
            },
            section,
            kind,
        })
    }

    /// With what the files hold.
    pub(super) fn opened(
        self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<NotifyTarget, SettingsError> {
        let ca_file = self.section.find("ca_file");
        let authorities = ca_file.map(|found| authorities(found, environment));
        Ok(NotifyTarget {
            name: self.section.name.clone(),
            events: self.events,
            projects: value(self.section, "projects")?.unwrap_or_default(),
            authorities: authorities.transpose()?.unwrap_or_default(),
            receiver: match self.kind {
                DraftKind::Webhook(url, secret) => NotifyReceiver::Webhook(Webhook {
                    url,
                    secret: secret.map(|secret| secret.read(environment)).transpose()?,
                }),
                DraftKind::Statuses {
                    forge,
                    api_url,
                    hosts,
                    token,
                    context,
                } => NotifyReceiver::CommitStatuses(CommitStatuses {
                    forge,
                    api_url,
                    hosts,
                    token: token.read(environment)?,
                    context,
                }),
            },
        })
    }
}

fn statuses(section: &NamedSection, forge: Forge) -> Result<DraftKind, SettingsError> {
    let usual = match forge {
        Forge::GitHub => Some("https://api.github.com"),
        Forge::GitLab => Some("https://gitlab.com/api/v4"),
        Forge::Gitea => None,
    };
    let usual = usual.and_then(|usual| Url::parse(usual).ok());
    let set: Option<HttpUrl> = value(section, "api_url")?;
    let mut api_url = set.map(|set| set.0).or(usual).ok_or_else(|| {
        section.wrong("expected the setting \"api_url\", such as https://gitea.example.com/api/v1")
    })?;
    if api_url.query().is_some() {
        return Err(section.wrong("the api_url has a query (?): requests are appended to its path"));
    }
    let path = api_url.path().trim_end_matches('/').to_owned();
    api_url.set_path(&path);
    let hosts: Vec<String> = match value(section, "hosts")? {
        Some(hosts) => hosts,
        None => usual_hosts(&api_url),
    };
    let token = private(section, ["token", "token_file"], |found| {
        Ok(Private::read(found)?.0)
    })?;
    let token = token.ok_or_else(|| {
        section.wrong(
            "expected the setting \"token\" or \"token_file\": without a token no status is taken",
        )
    })?;
    let context: Option<String> = value(section, "context")?;
    Ok(DraftKind::Statuses {
        forge,
        api_url,
        hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        token,
        context: context.unwrap_or_else(|| "clusterrunner/{job}".to_owned()),
    })
}

/// The names of the host by which repositories are fetched, also by those who may use port 443 only.
fn usual_hosts(api_url: &Url) -> Vec<String> {
    let host = api_url.host_str().unwrap_or_default();
    let hosts: &[&str] = match host {
        "api.github.com" => &["github.com", "ssh.github.com"],
        "gitlab.com" => &["gitlab.com", "altssh.gitlab.com"],
        host => &[host],
    };
    hosts.iter().map(|&host| host.to_owned()).collect()
}

fn value<T: Value>(section: &NamedSection, key: &str) -> Result<Option<T>, SettingsError> {
    section.find(key).map(T::read).transpose()
}

/// The certificates in a file.
fn authorities(
    found: &Found,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Certificate>, SettingsError> {
    let path = expand_home(found.key, &String::read(found)?, environment)?;
    let pem = regular_file::read(&path, LONGEST_CA_FILE);
    let path = path.display();
    let pem = pem.map_err(|error| found.wrong(format!("could not read {path}: {error}")))?;
    let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    match certificates.is_empty() {
        true => Err(found.wrong(format!("there is no certificate in PEM in {path}"))),
        false => Ok(certificates),
    }
}

fn key(found: &Found) -> Result<Secret, SettingsError> {
    Ok(SigningKey::read(found)?.0)
}

/// A secret that stands in the section, or in a file.
fn private(
    section: &NamedSection,
    [text, file]: [&str; 2],
    read: ReadSecret,
) -> Result<Option<SecretOrFile>, SettingsError> {
    Ok(match (section.find(text), section.find(file)) {
        (Some(_), Some(file)) => {
            return Err(file.wrong(format!("\"{text}\" is set, too; remove one of them")));
        }
        (Some(found), None) => Some(SecretOrFile::Text(read(found)?)),
        (None, Some(found)) => Some(SecretOrFile::File(
            found.clone(),
            String::read(found)?,
            read,
        )),
        (None, None) => None,
    })
}

impl SecretOrFile {
    fn read(self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SettingsError> {
        let (found, path, read) = match self {
            Self::Text(secret) => return Ok(secret),
            Self::File(found, path, read) => (found, path, read),
        };
        let path = expand_home(found.key, &path, environment)?;
        let failed = |error: std::io::Error| {
            found.wrong(format!("could not read {}: {error}", path.display()))
        };
        let file = regular_file::open(&path).map_err(failed)?;
        let bytes = regular_file::read_opened(&file, LONGEST_SECRET).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(found.wrong(format!(
                "{path} has mode {mode:03o}, so that others can read the secret in it; run: chmod 600 {path}"
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| found.wrong(format!("{} is no text in UTF-8", path.display())))?;
        read(&Found {
            values: vec![text.trim().to_owned()],
            ..found
        })
    }
}
