//! HTTPS: the certificate that a daemon shows, and whose certificates a caller believes.
//!
//! Certificates are read once, at the start of a program; a renewed one counts from the next start on. Those of the
//! system's authorities are read when they are needed first.

mod system;

use crate::disk::regular_file;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use system::client_builder;
use tokio_rustls::TlsAcceptor;

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
        self.identity.is_some() || self.authorities.is_some()
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
        let certificates = self.authorities.as_ref().map(Authorities::certificates);
        match certificates.transpose()?.flatten() {
            Some(certificates) => Ok(reqwest::Client::builder().tls_certs_only(certificates)),
            None => client_builder().map_err(TlsError::Client),
        }
    }

    /// What a daemon takes connections with; `None` where it speaks plain HTTP.
    ///
    /// # Errors
    /// [`TlsError`], whose message names the file and the cure.
    pub fn acceptor(&self) -> Result<Option<TlsAcceptor>, TlsError> {
        match &self.identity {
            Some(identity) => identity.acceptor().map(Some),
            None if self.is_on() => Err(TlsError::NoIdentity),
            None => Ok(None),
        }
    }
}

/// Why HTTPS can not be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A caller's settings, for a daemon.
    #[error(
        "https_ca_file is set, so the farm speaks HTTPS, but this daemon has no certificate: set https_cert_file \
         and https_key_file, or remove https_ca_file"
    )]
    NoIdentity,
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
        "https_key_file: {} has mode {mode:03o}, so that others can read or change the key; run: chmod 600 '{}'",
        .path.display(), .path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The two are not for each other, or of no use.
    #[error(
        "https_cert_file {} and https_key_file {} can not be used together: {source}",
        .certificate.display(), .key.display()
    )]
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
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
    fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let content = |setting, path: &Path, wanted, reason: String| TlsError::Content {
            setting,
            path: path.to_owned(),
            wanted,
            reason,
        };
        let (pem, _) = read("https_cert_file", &self.certificate)?;
        let no_certificate =
            |reason| content("https_cert_file", &self.certificate, "certificate", reason);
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| no_certificate(error.to_string()))?;
        if certificates.is_empty() {
            return Err(no_certificate("nothing found".to_owned()));
        }
        let (pem, mode) = read("https_key_file", &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
            let wanted = "private key without a password";
            content("https_key_file", &self.key, wanted, error.to_string())
        })?;
        if mode & FORBIDDEN_KEY_MODE != 0 {
            let path = self.key.clone();
            return Err(TlsError::Permissions { path, mode });
        }
        let unusable = |source| TlsError::Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Authorities {
    /// The certificates of the authorities in a file; `None` for the system's.
    ///
    /// # Errors
    /// [`TlsError`], whose message names the file.
    fn certificates(&self) -> Result<Option<Vec<reqwest::Certificate>>, TlsError> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        const SETTING: &str = "https_ca_file";
        let (pem, _) = read(SETTING, path)?;
        let content = |reason: String| TlsError::Content {
            setting: SETTING,
            path: path.clone(),
            wanted: "certificate",
            reason,
        };
        match reqwest::Certificate::from_pem_bundle(&pem) {
            Ok(found) if found.is_empty() => Err(content("nothing found".to_owned())),
            Ok(found) => Ok(Some(found)),
            Err(error) => Err(content(error.to_string())),
        }
    }
}

/// What is wrong with the TLS of a connection, if that is what failed.
pub(crate) fn failure(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        // Inside an `io::Error` the TLS error is its content, not its source.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = match inside {
            Some(inside) => inside.downcast_ref::<rustls::Error>(),
            None => error.downcast_ref::<rustls::Error>(),
        };
        if let Some(tls) = tls {
            return Some(reason(tls));
        }
        cause = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

fn reason(error: &rustls::Error) -> String {
    let cure = match error {
        rustls::Error::InvalidMessage(_) => {
            ". It seems to speak plain HTTP: use http://, or remove https_ca_file and https_cert_file here"
        }
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        ) => ". Name the file of its authority, or of the certificate itself, as https_ca_file",
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        ) => ". The certificate must name the host by which it is called (subjectAltName)",
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            ". The certificate is an authority's; make one for the host itself (basicConstraints CA:FALSE)"
        }
        _ => "",
    };
    format!("{error}{cure}")
}

#[cfg(test)]
mod tests;
