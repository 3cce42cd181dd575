//! Why there is no secure connection, and what mends it.

use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// What is wrong with the TLS of a connection, if that is what failed.
pub(crate) fn failure(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        // Inside an `io::Error` the TLS error is its content, not its source.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = match inside {
            Some(inside) => inside.downcast_ref::<Error>(),
            None => error.downcast_ref::<Error>(),
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

/// What rustls says, and the cure.
fn reason(error: &Error) -> String {
    let said = error.to_string();
    match cure(error) {
        Some(cure) => format!("{said}. {cure}"),
        None => said,
    }
}

fn cure(error: &Error) -> Option<&'static str> {
    match error {
        Error::InvalidMessage(_) => Some(
            "It seems to speak plain HTTP: use http://, or remove https_ca_file and https_cert_file here",
        ),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        _ => None,
    }
}

/// What mends a certificate that is not believed here.
fn of_certificate(error: &CertificateError) -> Option<&'static str> {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some("Name the file of its authority, or of the certificate itself, as https_ca_file")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some(
                "The certificate must name the host by which it is called (subjectAltName): call it by a name that the \
             certificate has, or make one with this name (`clusterrunner tls init --name HOST`)",
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some(
            "Renew the certificate (`clusterrunner tls init`, for those that it made) and put it into the place of the old \
             one; no restart is needed. Or this machine's clock is wrong",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("Compare the clock of this machine with that of the one that made the certificate")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Some(
            "The certificate is an authority's; make one for the host itself (basicConstraints CA:FALSE)",
        ),
        _ => None,
    }
}

/// What mends a certificate that the other side does not believe.
fn of_alert(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateRequired => Some(
            "It takes only callers with a certificate (its https_client_ca_file): name one as https_client_cert_file and \
             its key as https_client_key_file",
        ),
        AlertDescription::UnknownCA | AlertDescription::DecryptError => Some(
            "It does not know the authority of our certificate (https_client_cert_file, or else https_cert_file): its \
             https_client_ca_file must have that authority",
        ),
        AlertDescription::CertificateExpired => Some(
            "Our certificate (https_client_cert_file, or else https_cert_file) has ended: renew it \
             (`clusterrunner tls init`, for those that it made)",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => Some(
            "It does not take our certificate (https_client_cert_file, or else https_cert_file), which must be one for \
             callers (extendedKeyUsage clientAuth)",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_names_what_mends_it() {
        for (error, cure) in [
            (CertificateError::UnknownIssuer.into(), "https_ca_file"),
            (CertificateError::NotValidForName.into(), "tls init --name"),
            (CertificateError::Expired.into(), "no restart"),
            (CertificateError::NotValidYet.into(), "clock"),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "https_client_cert_file",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "https_client_ca_file",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateExpired),
                "tls init",
            ),
        ] {
            let text: String = reason(&error);
            assert!(text.contains(cure), "no {cure:?} in: {text}");
        }
    }
}
