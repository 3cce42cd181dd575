//! How a caller speaks TLS: whom it believes, and the certificate that it shows to who asks for one.
//!
//! Files are looked at again at each new connection, so a daemon that runs for months calls with what is there now. No
//! session is resumed, so each connection is one on which certificates are looked at.

use super::fresh::{Fresh, Look};
use super::{Authorities, CLIENT_KEYS, HttpsSettings, IDENTITY_KEYS, Identity, TlsError};
use reqwest::ClientBuilder;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// An HTTP client that calls as the settings say.
///
/// # Errors
/// [`TlsError`], whose message names the file.
pub(super) fn client_builder(https: &HttpsSettings) -> Result<ClientBuilder, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let whom = match &https.authorities {
        Some(Authorities::File(path)) => Whom::File(authorities_in(path, &provider)?),
        Some(Authorities::System) | None => Whom::System(OnceLock::new()),
    };
    let believed = Believed {
        provider: Arc::clone(&provider),
        whom,
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Client)?
        // The words of rustls for every verifier that is not its own. This one leaves all to that of the platform or of
        // rustls: what is new is when certificates are read.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(believed));
    let mut config = match own_certificate(https, &provider)? {
        Some(own) => config.with_client_cert_resolver(Arc::new(own)),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is resumed shows no certificate again: whoever was believed before would be for as long as it lasts.
    config.resumption = Resumption::disabled();
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config))
}

fn authorities_in(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Fresh<Arc<WebPkiServerVerifier>>, TlsError> {
    let (path, provider) = (path.to_owned(), Arc::clone(provider));
    Fresh::open(vec![path.clone()], move || {
        const SETTING: &str = "https_ca_file";
        let roots = super::roots(SETTING, &path)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        verifier.build().map_err(|error| TlsError::Content {
            setting: SETTING,
            path: path.clone(),
            wanted: "certificate",
            reason: error.to_string(),
        })
    })
}

/// What a caller shows: its own certificate, or else that of the daemon, where this user can read it.
fn own_certificate(
    https: &HttpsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<OwnCertificate>, TlsError> {
    let open = |identity: &Identity, keys| {
        let (identity, provider) = (identity.clone(), Arc::clone(provider));
        Fresh::open(identity.files(), move || {
            identity.certified_key(keys, &provider)
        })
    };
    if let Some(identity) = &https.client_identity {
        return Ok(Some(OwnCertificate(open(identity, CLIENT_KEYS)?)));
    }
    let Some(identity) = &https.identity else {
        return Ok(None);
    };
    match open(identity, IDENTITY_KEYS) {
        Ok(own) => Ok(Some(OwnCertificate(own))),
        Err(error) => {
            // Who only calls needs none, and may not even be allowed to read the daemon's key.
            tracing::debug!(%error, "calls are made without a certificate");
            Ok(None)
        }
    }
}

/// The caller's certificate, as its files are now.
struct OwnCertificate(Fresh<CertifiedKey>);

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnCertificate")
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        tell(&self.0.look(false));
        Some(self.0.value())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn tell(look: &Look) {
    if let Look::Kept(error) = look {
        tracing::warn!(%error, "calls are made with the certificates of before");
    }
}

/// Whom a caller believes.
enum Whom {
    /// Those whom the system does. They are read when they are needed first: these are hundreds of files, which take
    /// longer to read than most commands have to do, and most farms speak plain HTTP. Some machines have none of them.
    System(OnceLock<Result<Verifier, Error>>),
    /// Those in a file.
    File(Fresh<Arc<WebPkiServerVerifier>>),
}

struct Believed {
    provider: Arc<CryptoProvider>,
    whom: Whom,
}

impl fmt::Debug for Believed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Believed")
    }
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.whom {
            Whom::System(verifier) => {
                let made = || Verifier::new(Arc::clone(&self.provider));
                let verifier = verifier.get_or_init(made).as_ref().map_err(Error::clone)?;
                verifier.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                )
            }
            Whom::File(fresh) => {
                tell(&fresh.look(false));
                let verifier = fresh.value();
                verifier.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                )
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
