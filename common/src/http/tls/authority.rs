//! An authority of one's own, and the certificates that it signs. Pure: chance and time come in.
//!
//! Keys are ECDSA on P-256, which every program that speaks TLS knows.

use crate::clock::Timestamp;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder as _, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::Ia5String;
use x509_cert::der::oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use x509_cert::der::{self, DecodePem as _, EncodePem as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

/// The longest name of a host, in characters.
const MAX_NAME: usize = 253;

/// The longest common name, in characters.
const MAX_COMMON_NAME: usize = 64;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A private key can not be read or written.
    #[error("not a private key (ECDSA on P-256, PKCS #8 in PEM): {0}")]
    Key(#[source] p256::pkcs8::Error),
    /// The bytes of chance are no key.
    #[error("no key could be made: {0}")]
    Chance(#[source] p256::ecdsa::Error),
    /// A certificate can not be read or written.
    #[error("not a certificate in PEM: {0}")]
    Certificate(#[from] der::Error),
    /// The certificate of an authority is for another key.
    #[error("the certificate and the key are not for each other")]
    Mismatch,
    /// A certificate can not be signed.
    #[error("no certificate could be made: {0}")]
    Unsigned(#[from] builder::Error),
}

/// What is no host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a host's name, such as farm-1.example.org, or an address, such as 10.0.0.7")]
pub struct NoHost;

/// A host as it is called: what a certificate names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostName {
    /// In small letters; `*.` may stand for its first part.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl FromStr for HostName {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse() {
            return Ok(Self::Address(address));
        }
        let name = text.to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= 63
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        // What ends in a number is read as an address.
        let is_number = plain
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        match name.len() <= MAX_NAME && !is_number && plain.split('.').all(is_part) {
            true => Ok(Self::Name(name)),
            false => Err(NoHost),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// From when until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The beginning.
    pub from: Timestamp,
    /// The end.
    pub until: Timestamp,
}

/// A new private key of these bytes of chance, as PEM (PKCS #8).
///
/// # Errors
/// One in four thousand millions is no key: try others.
pub fn new_key(chance: [u8; 32]) -> Result<String, AuthorityError> {
    let key = SigningKey::from_slice(&chance).map_err(AuthorityError::Chance)?;
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(AuthorityError::Key)?;
    Ok(pem.as_str().to_owned())
}

/// A certificate that may sign others, with its key.
pub struct Authority {
    certificate: Certificate,
    key: SigningKey,
}

impl Authority {
    /// Signs a certificate for a key as its own authority. `name` is its common name; `serial` is chance.
    ///
    /// # Errors
    /// The key can not be read.
    pub fn found(
        key: &str,
        name: &str,
        serial: [u8; 16],
        term: Term,
    ) -> Result<Self, AuthorityError> {
        let key = read_key(key)?;
        let profile = Profile {
            issuer: None,
            subject: common_name(name)?,
            hosts: Vec::new(),
        };
        let certificate = signed(profile, &key, &key, serial, term)?;
        Ok(Self { certificate, key })
    }

    /// Reads one, in PEM.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn read(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let (certificate, key) = (Certificate::from_pem(certificate)?, read_key(key)?);
        match is_for(&certificate, &key)? {
            true => Ok(Self { certificate, key }),
            false => Err(AuthorityError::Mismatch),
        }
    }

    /// Its certificate, in PEM.
    ///
    /// # Errors
    /// It can not be written.
    pub fn certificate(&self) -> Result<String, AuthorityError> {
        Ok(self.certificate.to_pem(LineEnding::LF)?)
    }

    /// Signs a certificate for a host's key, which names the hosts; for a caller as for a daemon. `serial` is chance.
    /// In PEM.
    ///
    /// # Errors
    /// The key can not be read.
    pub fn certify(
        &self,
        key: &str,
        hosts: &[HostName],
        serial: [u8; 16],
        term: Term,
    ) -> Result<String, AuthorityError> {
        let first = hosts.first().map(ToString::to_string).unwrap_or_default();
        let profile = Profile {
            issuer: Some(self.certificate.tbs_certificate().subject().clone()),
            subject: common_name(&first)?,
            hosts: hosts.iter().map(general_name).collect::<Result<_, _>>()?,
        };
        let certificate = signed(profile, &read_key(key)?, &self.key, serial, term)?;
        Ok(certificate.to_pem(LineEnding::LF)?)
    }

    /// Signs a certificate for the key of somebody who only calls: no host can be it. `name` is a common name of plain
    /// characters; `serial` is chance. In PEM.
    ///
    /// # Errors
    /// The key can not be read.
    pub fn certify_caller(
        &self,
        key: &str,
        name: &str,
        serial: [u8; 16],
        term: Term,
    ) -> Result<String, AuthorityError> {
        let profile = Profile {
            issuer: Some(self.certificate.tbs_certificate().subject().clone()),
            subject: common_name(name)?,
            hosts: Vec::new(),
        };
        let certificate = signed(profile, &read_key(key)?, &self.key, serial, term)?;
        Ok(certificate.to_pem(LineEnding::LF)?)
    }

    /// Whether it says that it signed a certificate (PEM) for a key (PEM): by its name, which is its own alone.
    #[must_use]
    pub fn has_certified(&self, certificate: &str, key: &str) -> bool {
        let (Ok(certificate), Ok(key)) = (Certificate::from_pem(certificate), read_key(key)) else {
            return false;
        };
        let issuer = certificate.tbs_certificate().issuer();
        issuer == self.certificate.tbs_certificate().subject()
            && is_for(&certificate, &key).unwrap_or(false)
    }
}

fn read_key(pem: &str) -> Result<SigningKey, AuthorityError> {
    SigningKey::from_pkcs8_pem(pem).map_err(AuthorityError::Key)
}

fn is_for(certificate: &Certificate, key: &SigningKey) -> Result<bool, AuthorityError> {
    let public = public_key(key)?;
    Ok(*certificate.tbs_certificate().subject_public_key_info() == public)
}

fn public_key(key: &SigningKey) -> Result<SubjectPublicKeyInfoOwned, AuthorityError> {
    let public = SubjectPublicKeyInfoOwned::from_key(key.verifying_key());
    public.map_err(|error| AuthorityError::Unsigned(error.into()))
}

fn signed(
    profile: Profile,
    key: &SigningKey,
    signer: &SigningKey,
    mut serial: [u8; 16],
    term: Term,
) -> Result<Certificate, AuthorityError> {
    // A positive number without zeros in front.
    serial[0] = serial[0] & 0x7f | 0x40;
    let validity = Validity::new(time(term.from)?, time(term.until)?);
    let builder = CertificateBuilder::new(
        profile,
        SerialNumber::new(&serial)?,
        validity,
        public_key(key)?,
    )?;
    Ok(builder.build::<_, DerSignature>(signer)?)
}

fn time(at: Timestamp) -> Result<Time, AuthorityError> {
    let time = der::DateTime::from_unix_duration(Duration::from_secs(at.0 / 1000))?;
    Ok(Time::from(time))
}

/// A name of plain characters: those of hosts, letters and blanks.
fn common_name(name: &str) -> Result<Name, AuthorityError> {
    let name: String = name.chars().take(MAX_COMMON_NAME).collect();
    Ok(Name::from_str(&format!("CN={name}"))?)
}

fn general_name(host: &HostName) -> Result<GeneralName, AuthorityError> {
    Ok(match host {
        HostName::Name(name) => GeneralName::DnsName(Ia5String::new(name)?),
        HostName::Address(address) => GeneralName::from(*address),
    })
}

/// What is in a certificate beside its key and its term.
struct Profile {
    /// `None` for an authority, which signs for itself.
    issuer: Option<Name>,
    subject: Name,
    /// None for who only calls.
    hosts: Vec<GeneralName>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.issuer.clone().unwrap_or_else(|| subject.clone())
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        signer: SubjectPublicKeyInfoRef<'_>,
        certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let subject = certificate.subject();
        let is_authority = self.issuer.is_none();
        let constraints = BasicConstraints {
            ca: is_authority,
            path_len_constraint: is_authority.then_some(0),
        };
        let usages = match is_authority {
            true => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            false => KeyUsages::DigitalSignature.into(),
        };
        let mut extensions = vec![
            constraints.to_extension(subject, &[])?,
            KeyUsage(usages).to_extension(subject, &[])?,
            SubjectKeyIdentifier::try_from(key)?.to_extension(subject, &[])?,
        ];
        if !is_authority {
            let purposes = match self.hosts.is_empty() {
                true => vec![ID_KP_CLIENT_AUTH],
                false => vec![ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH],
            };
            extensions.extend([
                AuthorityKeyIdentifier::try_from(signer)?.to_extension(subject, &[])?,
                ExtendedKeyUsage(purposes).to_extension(subject, &[])?,
            ]);
            if !self.hosts.is_empty() {
                let names = SubjectAltName(self.hosts.clone());
                extensions.push(names.to_extension(subject, &[])?);
            }
        }
        Ok(extensions)
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::Certificate;
    use super::*;

    const TERM: Term = Term {
        from: Timestamp(1_000_000),
        until: Timestamp(2_000_000),
    };

    fn hosts(texts: &[&str]) -> Vec<HostName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_certificate_names_its_hosts_and_its_term() {
        let (root, key) = (new_key([1; 32]).unwrap(), new_key([2; 32]).unwrap());
        let authority = Authority::found(&root, "an authority", [3; 16], TERM).unwrap();
        let names = hosts(&["Farm-1", "*.apps.example.org", "127.0.0.1", "[::1]"]);
        let made = authority.certify(&key, &names, [0; 16], TERM).unwrap();
        let [read] = &Certificate::all_of(made.as_bytes()).unwrap()[..] else {
            panic!("one certificate: {made}");
        };
        assert_eq!(
            read.names,
            ["farm-1", "*.apps.example.org", "127.0.0.1", "::1"]
        );
        assert_eq!((read.from, read.until), (TERM.from, TERM.until));
        assert!(!read.is_authority && read.is_for_hosts);
        let person = authority.certify_caller(&key, "alice@example.org", [0; 16], TERM);
        let person = &Certificate::all_of(person.unwrap().as_bytes()).unwrap()[0];
        assert_eq!(
            (person.subject.as_str(), person.is_for_hosts),
            ("CN=alice@example.org", false)
        );
        assert!(person.names.is_empty());
        let own = authority.certificate().unwrap();
        assert!(Certificate::all_of(own.as_bytes()).unwrap()[0].is_authority);

        let again = Authority::read(&own, &root).unwrap();
        assert!(again.has_certified(&made, &key) && !again.has_certified(&made, &root));
        let other = Authority::found(&root, "another", [3; 16], TERM).unwrap();
        assert!(!other.has_certified(&made, &key));
        let error = Authority::read(&own, &key).err().unwrap();
        assert!(matches!(error, AuthorityError::Mismatch), "{error}");
    }

    #[test]
    fn only_what_can_be_called_is_a_host() {
        for text in [
            "a",
            "farm_1",
            "a.b-c.org",
            "*.a.org",
            "1a.2b",
            "::1",
            "10.0.0.7",
        ] {
            assert!(text.parse::<HostName>().is_ok(), "{text}");
        }
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a b",
            "a/b",
            "..",
            "*",
            "a.*",
            "10.0.0.256",
            "a\n",
            "ä",
            &long,
        ] {
            assert_eq!(text.parse::<HostName>(), Err(NoHost), "{text}");
        }
    }

    #[test]
    fn a_key_is_chance_of_the_right_kind() {
        assert!(new_key([0; 32]).is_err() && new_key([255; 32]).is_err());
        assert!(Authority::found("no key", "a", [0; 16], TERM).is_err());
    }
}
