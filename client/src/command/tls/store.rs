//! The directory of an authority of one's own: `ca.pem` and `ca.key`, and for each machine a `.pem` and a `.key`.
//!
//! A key is made once and stays; a certificate is replaced as a whole. So whatever breaks off in between, each certificate
//! fits its key, and another run does the rest.

use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::http::tls::authority::{
    Authority, AuthorityError, HostName, NoHost, Term, new_key,
};
use clusterrunner_common::http::tls::certificate::{Certificate, Standing};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The authority's certificate.
pub(crate) const CA_FILE: &str = "ca.pem";

/// The authority's key, which nobody else needs.
pub(crate) const CA_KEY_FILE: &str = "ca.key";

/// How the subject of an authority that is made here begins.
pub(crate) const CA_SUBJECT: &str = "ClusterRunner authority";

/// The name that the authority's files have, and so no machine.
const CA_NAME: &str = "ca";

/// The longest name of a person, in characters: that of a common name.
const LONGEST_PERSON: usize = 64;

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an authority is valid, in days.
const CA_DAYS: u32 = 3650;

/// How long a machine's certificate is valid, in days.
const DAYS: u32 = 365;

/// How long before it is made a certificate is valid: clocks differ.
const BEFORE: Duration = DAY;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("'{name}' is no machine: {source}")]
    Name { name: String, source: NoHost },
    #[error(
        "'{name}' is no person here: expected letters, digits, '-', '_', '.' and '@', such as alice"
    )]
    Person { name: String },
    #[error(
        "a machine can not be called {CA_NAME} here, since the authority's files are; call it by a longer name first"
    )]
    Taken,
    #[error("could not use {}: {source}", .path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error(
        "{} has mode {mode:03o}, so that others can read the key; run: chmod 600 '{}'",
        .path.display(), .path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    #[error(
        "{} is there without {CA_KEY_FILE}: certificates are made where that is",
        .path.display()
    )]
    NoKey { path: PathBuf },
    #[error("the authority of {} has ended; make another one in another directory, and bring its {CA_FILE} to all machines", .path.display())]
    Ended { path: PathBuf },
    #[error("{}: {source}", .path.display())]
    Certificate {
        path: PathBuf,
        source: AuthorityError,
    },
}

/// A machine, with all the names that its certificate is to have; or a person, whose certificate is only for calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The name of its files.
    pub(crate) file_name: String,
    /// As it is called: by others first. None for a person.
    pub(crate) names: Vec<HostName>,
}

impl Machine {
    /// Reads `HOST[,NAME...]`. The names by which a machine calls itself are added.
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        let mut names: Vec<HostName> = Vec::new();
        let own = [
            HostName::Name("localhost".to_owned()),
            HostName::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            HostName::Address(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        for name in text.split(',') {
            let parsed = name.parse().map_err(|source| StoreError::Name {
                name: name.to_owned(),
                source,
            })?;
            if !names.contains(&parsed) {
                names.push(parsed);
            }
        }
        // A certificate for all hosts of a domain is no machine's own.
        let file_name = names[0].to_string().replace("*.", "all.");
        if file_name == CA_NAME {
            return Err(StoreError::Taken);
        }
        names.extend(
            own.into_iter()
                .filter(|name| !names.contains(name))
                .collect::<Vec<_>>(),
        );
        Ok(Self { file_name, names })
    }
}

impl Machine {
    /// Reads the name of a person.
    pub(crate) fn person(name: &str) -> Result<Self, StoreError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if name.is_empty()
            || name.len() > LONGEST_PERSON
            || name.starts_with('.')
            || !name.bytes().all(is_plain)
        {
            return Err(StoreError::Person {
                name: name.to_owned(),
            });
        }
        match name == CA_NAME {
            true => Err(StoreError::Taken),
            false => Ok(Self {
                file_name: name.to_owned(),
                names: Vec::new(),
            }),
        }
    }

    pub(crate) fn is_person(&self) -> bool {
        self.names.is_empty()
    }
}

/// Whether something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    New,
    Renewed,
    Kept,
}

/// A certificate on the disk.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) made: Made,
    pub(crate) path: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) certificate: Certificate,
}

/// The directory, with its authority.
pub(crate) struct Store {
    directory: PathBuf,
    authority: Authority,
    /// The authority's own certificate.
    pub(crate) own: Stored,
}

impl Store {
    /// Opens the authority of a directory, or makes one.
    pub(crate) fn open(directory: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let failed = |source| disk(directory, source);
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let directory = std::path::absolute(directory).map_err(failed)?;
        let (path, key_path) = (directory.join(CA_FILE), directory.join(CA_KEY_FILE));
        let there = read(&path)?;
        if there.is_some() && !key_path.exists() {
            return Err(StoreError::NoKey { path });
        }
        let key = key_at(&key_path)?;
        let failed = |source| StoreError::Certificate {
            path: path.clone(),
            source,
        };
        let (authority, pem, made) = match there {
            Some(pem) => (
                Authority::read(&pem, &key).map_err(failed)?,
                pem,
                Made::Kept,
            ),
            None => {
                let mark = random_bytes::<4>();
                let name = format!("{CA_SUBJECT} {:08x}", u32::from_be_bytes(mark));
                let authority = Authority::found(&key, &name, random_bytes(), term(now, CA_DAYS));
                let authority = authority.map_err(failed)?;
                let pem = authority.certificate().map_err(failed)?;
                replace(&path, &pem)?;
                (authority, pem, Made::New)
            }
        };
        let own = Stored {
            made,
            certificate: only(&path, &pem)?,
            path,
            key: key_path,
        };
        if own.certificate.standing(now) == Standing::Ended {
            return Err(StoreError::Ended { path: own.path });
        }
        Ok(Self {
            directory,
            authority,
            own,
        })
    }

    /// The machines and persons that this authority has certificates of in its directory, by the names in these.
    pub(crate) fn machines(&self) -> Result<Vec<Machine>, StoreError> {
        let failed = |source| disk(&self.directory, source);
        let mut machines = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let key_path = path.with_extension("key");
            let is_pem = path.extension().is_some_and(|ending| ending == "pem");
            if !is_pem || !key_path.exists() || path == self.own.path {
                continue;
            }
            let (key, Some(pem)) = (key_at(&key_path)?, read(&path)?) else {
                continue;
            };
            let Ok(certificate) = only(&path, &pem) else {
                continue;
            };
            let names = certificate.names.iter().map(|name| name.parse());
            let names: Result<Vec<HostName>, NoHost> = names.collect();
            let name = path.file_stem().and_then(|name| name.to_str());
            // What somebody else has certified is not this authority's to renew.
            if let (Ok(names), Some(name), true) =
                (names, name, self.authority.has_certified(&pem, &key))
            {
                machines.push(Machine {
                    file_name: name.to_owned(),
                    names,
                });
            }
        }
        machines.sort_by(|one, other| one.file_name.cmp(&other.file_name));
        Ok(machines)
    }

    /// The certificate of a machine, which is made if there is none, if it does not have all names, is another
    /// authority's, or is not valid for long (or for whatever reason, with `renew`).
    pub(crate) fn certificate(
        &self,
        machine: &Machine,
        renew: bool,
        now: Timestamp,
    ) -> Result<Stored, StoreError> {
        let file = |ending: &str| {
            self.directory
                .join(format!("{}.{ending}", machine.file_name))
        };
        let (path, key_path) = (file("pem"), file("key"));
        let (key, there) = (key_at(&key_path)?, read(&path)?);
        let is_fine = |pem: &String| {
            let Ok(certificate) = only(&path, pem) else {
                return false;
            };
            let has = |name: &HostName| certificate.names.contains(&name.to_string());
            certificate.standing(now) == Standing::Valid
                && certificate.is_for_hosts != machine.is_person()
                && machine.names.iter().all(has)
                && self.authority.has_certified(pem, &key)
        };
        let (pem, made) = match there {
            Some(pem) if !renew && is_fine(&pem) => (pem, Made::Kept),
            there => {
                let mut term = term(now, DAYS);
                // Nothing is valid for longer than its authority.
                term.until = term.until.min(self.own.certificate.until);
                let pem = match machine.is_person() {
                    true => {
                        let name = &machine.file_name;
                        self.authority
                            .certify_caller(&key, name, random_bytes(), term)
                    }
                    false => self
                        .authority
                        .certify(&key, &machine.names, random_bytes(), term),
                };
                let pem = pem.map_err(|source| StoreError::Certificate {
                    path: path.clone(),
                    source,
                })?;
                replace(&path, &pem)?;
                (pem, there.map_or(Made::New, |_| Made::Renewed))
            }
        };
        Ok(Stored {
            made,
            certificate: only(&path, &pem)?,
            path,
            key: key_path,
        })
    }
}

fn term(now: Timestamp, days: u32) -> Term {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Term {
        from: Timestamp(now.0.saturating_sub(ms(BEFORE))),
        until: Timestamp(now.0.saturating_add(ms(DAY * days))),
    }
}

/// The one certificate of a text.
fn only(path: &Path, pem: &str) -> Result<Certificate, StoreError> {
    let broken = |what: String| disk(path, io::Error::new(io::ErrorKind::InvalidData, what));
    let mut all = Certificate::all_of(pem.as_bytes())
        .map_err(broken)?
        .into_iter();
    all.next()
        .ok_or_else(|| broken("no certificate in PEM format".to_owned()))
}

fn disk(path: &Path, source: io::Error) -> StoreError {
    StoreError::Disk {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Option<String>, StoreError> {
    match regular_file::read_to_string(path, MAX_FILE) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk(path, error)),
    }
}

/// The key in a file, made if there is none; nobody else can read it.
fn key_at(path: &Path) -> Result<String, StoreError> {
    if let Some(key) = read(path)? {
        let mode = fs::metadata(path)
            .map_err(|error| disk(path, error))?
            .permissions()
            .mode()
            & 0o777;
        return match mode & 0o077 {
            0 => Ok(key),
            _ => Err(StoreError::Open {
                path: path.to_owned(),
                mode,
            }),
        };
    }
    let key = loop {
        // Hardly ever are 32 bytes of chance no key.
        match new_key(random_bytes()) {
            Ok(key) => break key,
            Err(AuthorityError::Chance(_)) => {}
            Err(source) => {
                return Err(StoreError::Certificate {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    };
    place(path, &key, 0o600)?;
    Ok(key)
}

fn replace(path: &Path, pem: &str) -> Result<(), StoreError> {
    place(path, pem, 0o644)
}

/// Puts a whole file into its place.
fn place(path: &Path, text: &str, mode: u32) -> Result<(), StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let placed = (|| {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    placed.map_err(|error| {
        fs::remove_file(&new).ok();
        disk(path, error)
    })
}

#[cfg(test)]
mod tests;
