//! HTTPS: the certificate that a daemon shows, whose certificates a caller believes, and what is read of both.
//!
//! Files that change count as soon as they do, for connections that begin after that. Those of the system's authorities are
//! read once, when they are needed first.

pub mod authority;
mod calling;
pub mod certificate;
mod door;
mod failure;
mod fresh;
mod hangup;

pub use door::TlsDoor;
pub(crate) use failure::failure;

use crate::disk::regular_file;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The settings of what a daemon shows: its certificate, and the key.
pub(crate) const IDENTITY_KEYS: (&str, &str) = ("https_cert_file", "https_key_file");

/// The settings of what a caller shows.
pub(crate) const CLIENT_KEYS: (&str, &str) = ("https_client_cert_file", "https_client_key_file");

/// The setting of the authorities of callers.
pub(crate) const CLIENT_CA_KEY: &str = "https_client_ca_file";

/// The setting of the authorities of daemons.
pub(crate) const CA_KEY: &str = "https_ca_file";

/// Others of the machine may not read a key, nor its group write it. That its group reads it is how
/// many systems keep keys.
const FORBIDDEN_KEY_MODE: u32 = 0o027;

/// What is set about HTTPS. A farm speaks it everywhere or nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpsSettings {
    /// What a daemon shows.
    pub identity: Option<Identity>,
    /// Whom a caller believes; the system's authorities if nothing is said.
    pub authorities: Option<Authorities>,
    /// What a caller shows to daemons that ask for a certificate; `identity` if nothing is said.
    pub client_identity: Option<Identity>,
    /// Who must vouch for callers of a daemon (a file in PEM); if nothing is said, nobody.
    pub client_authorities: Option<PathBuf>,
}

/// A certificate with its key, as files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and behind it those that lead to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Who may vouch for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those that the system knows.
    System,
    /// Those in this file (PEM), and no others.
    File(PathBuf),
}

impl HttpsSettings {
    /// Whether addresses without a scheme mean HTTPS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.identity.is_some() || self.authorities.is_some() || self.client_identity.is_some()
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }

    /// What a caller calls with.
    ///
    /// # Errors
    /// [`TlsError`], whose message names the file.
    pub(crate) fn client_builder(&self) -> Result<reqwest::ClientBuilder, TlsError> {
        calling::client_builder(self)
    }

    /// What a daemon takes connections with; `None` where it speaks plain HTTP.
    ///
    /// # Errors
    /// [`TlsError`], whose message names the file and the cure.
    pub fn door(&self) -> Result<Option<TlsDoor>, TlsError> {
        TlsDoor::open(self)
    }

    /// The files of certificates that are set, with the settings that name them.
    #[must_use]
    pub fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        let own =
            |identity: &Option<Identity>| identity.as_ref().map(|own| own.certificate.clone());
        let authorities = match &self.authorities {
            Some(Authorities::File(path)) => Some(path.clone()),
            Some(Authorities::System) | None => None,
        };
        let set = [
            (IDENTITY_KEYS.0, own(&self.identity)),
            (CLIENT_KEYS.0, own(&self.client_identity)),
            (CA_KEY, authorities),
            (CLIENT_CA_KEY, self.client_authorities.clone()),
        ];
        set.into_iter()
            .filter_map(|(key, path)| Some((key, path?)))
            .collect()
    }
}

/// Why HTTPS can not be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A caller's settings, for a daemon.
    #[error(
        "https_ca_file or https_client_cert_file is set, so the farm speaks HTTPS, but this daemon has no certificate: \
         set https_cert_file and https_key_file, or remove what is set (`clusterrunner tls init` makes certificates)"
    )]
    NoIdentity,
    /// Callers are to show certificates over a connection that has none.
    #[error(
        "https_client_ca_file is set, so callers need a certificate, but this daemon has none itself and so speaks no \
         HTTPS: set https_cert_file and https_key_file, or remove https_client_ca_file"
    )]
    NoIdentityForClients,
    /// No caller can speak it.
    #[error("TLS can not be used: {0}")]
    Client(#[source] rustls::Error),
    /// A file is not there or can not be read.
    #[error("{setting}: could not read {}: {source}", .path.display())]
    Read {
        /// The key in the settings.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file has something else in it.
    #[error("{setting}: {} has no {wanted} in PEM format: {reason}", .path.display())]
    Content {
        /// The key in the settings.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the file should hold.
        wanted: &'static str,
        /// What is wrong with the file.
        reason: String,
    },
    /// Others may read the key.
    #[error(
        "{setting}: {} has mode {mode:03o}, so that others can read or change the key; run: chmod 600 '{}'",
        .path.display(), .path.display()
    )]
    Permissions {
        /// The key in the settings.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The two are not for each other, or of no use.
    #[error(
        "{} {} and {} {} can not be used together: {source}",
        .settings.0, .certificate.display(), .settings.1, .key.display()
    )]
    Unusable {
        /// The keys in the settings.
        settings: (&'static str, &'static str),
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The cause.
        #[source]
        source: Box<rustls::Error>,
    },
}

/// The longest file of certificates, in bytes.
const MAX_PEM: u64 = 16 << 20;

fn read(setting: &'static str, path: &Path) -> Result<(Vec<u8>, u32), TlsError> {
    let failed = |source| TlsError::Read {
        setting,
        path: path.to_owned(),
        source,
    };
    let file = regular_file::open(path).map_err(failed)?;
    let bytes = regular_file::read_opened(&file, MAX_PEM).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    Ok((bytes, mode))
}

impl Identity {
    /// Its files, whose change is one of the identity.
    fn files(&self) -> Vec<PathBuf> {
        vec![self.certificate.clone(), self.key.clone()]
    }

    /// Reads the certificate and its key; `settings` are the keys that name the two.
    fn certified_key(
        &self,
        settings: (&'static str, &'static str),
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let certificates = certificates_in(settings.0, &self.certificate)?;
        let (pem, mode) = read(settings.1, &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| TlsError::Content {
            setting: settings.1,
            path: self.key.clone(),
            wanted: "private key without a password",
            reason: error.to_string(),
        })?;
        if mode & FORBIDDEN_KEY_MODE != 0 {
            return Err(TlsError::Permissions {
                setting: settings.1,
                path: self.key.clone(),
                mode,
            });
        }
        CertifiedKey::from_der(certificates, key, provider)
            .map_err(|source| self.unusable(settings, source))
    }

    fn unusable(&self, settings: (&'static str, &'static str), source: rustls::Error) -> TlsError {
        TlsError::Unusable {
            settings,
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source: Box::new(source),
        }
    }
}

/// The certificates in a file, of which there is at least one.
fn certificates_in(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (pem, _) = read(setting, path)?;
    let content = |reason: String| TlsError::Content {
        setting,
        path: path.to_owned(),
        wanted: "certificate",
        reason,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| content(error.to_string()))?;
    match found.is_empty() {
        true => Err(content("nothing found".to_owned())),
        false => Ok(found),
    }
}

/// The authorities in a file.
fn roots(setting: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_in(setting, path)? {
        roots.add(certificate).map_err(|error| TlsError::Content {
            setting,
            path: path.to_owned(),
            wanted: "certificate",
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
