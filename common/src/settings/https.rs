//! The settings of HTTPS, as far as they can be read without their files.

use super::error::SettingsError;
use super::layers::Layers;
use crate::http::tls::{Authorities, HttpsSettings, Identity};
use std::path::Path;

/// What is set about HTTPS.
pub(super) fn settings(layers: &Layers<'_>) -> Result<HttpsSettings, SettingsError> {
    const CERTIFICATE: &str = "https_cert_file";
    const KEY: &str = "https_key_file";
    let half = |set, missing| SettingsError::HalfIdentity { set, missing };
    let files = (
        layers.optional_path(CERTIFICATE)?,
        layers.optional_path(KEY)?,
    );
    let identity = match files {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => return Err(half(CERTIFICATE, KEY)),
        (None, Some(_)) => return Err(half(KEY, CERTIFICATE)),
    };
    let authorities = match layers.optional_path("https_ca_file")? {
        Some(name) if name == Path::new("SYSTEM") => Some(Authorities::System),
        Some(file) => Some(Authorities::File(file)),
        None => None,
    };
    Ok(HttpsSettings {
        identity,
        authorities,
    })
}
