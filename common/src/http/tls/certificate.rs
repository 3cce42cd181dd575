//! What a certificate says: whom it names and how long it is valid. Pure.

use crate::clock::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::IpAddr;
use std::time::Duration;
use x509_cert::Certificate as X509;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::der::{DateTime, Decode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};

/// How long before its end a certificate is to be renewed, in days.
pub const SOON_DAYS: u64 = 30;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Purposes of which one has to be there for a host, where any are.
const FOR_HOSTS: [ObjectIdentifier; 2] = [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE];

/// What one certificate says of itself. Nobody has checked who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// The hosts that it names (subjectAltName): names and addresses.
    pub names: Vec<String>,
    /// Whether it is an authority's, not a host's.
    pub is_authority: bool,
    /// Whether a host may show it (extendedKeyUsage); else it is only for those who call.
    pub is_for_hosts: bool,
    /// When it begins to be valid.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

/// What the time makes of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is valid for longer than [`SOON_DAYS`].
    Valid,
    /// It ends within [`SOON_DAYS`]: after so many whole days.
    EndsSoon(u64),
    /// It has ended.
    Ended,
    /// It is not valid yet.
    NotYet,
}

impl Certificate {
    /// The certificates of a text in PEM, in its order; what else is in the text is left out.
    ///
    /// # Errors
    /// The text is no PEM, or one of its certificates can not be read: what is wrong.
    pub fn all_of(pem: &[u8]) -> Result<Vec<Self>, String> {
        CertificateDer::pem_slice_iter(pem)
            .map(|found| match found {
                Ok(der) => Self::read(&der),
                Err(error) => Err(error.to_string()),
            })
            .collect()
    }

    /// Reads one in DER.
    fn read(der: &[u8]) -> Result<Self, String> {
        let read = X509::from_der(der).map_err(|error| error.to_string())?;
        let certificate = read.tbs_certificate();
        let names = certificate.get_extension::<SubjectAltName>();
        let names = names.map_err(|error| error.to_string())?;
        let constraints = certificate.get_extension::<BasicConstraints>();
        let constraints = constraints.map_err(|error| error.to_string())?;
        let purposes = certificate.get_extension::<ExtendedKeyUsage>();
        let purposes = purposes.map_err(|error| error.to_string())?;
        let is_for_hosts =
            |purposes: ExtendedKeyUsage| purposes.0.iter().any(|one| FOR_HOSTS.contains(one));
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            names: names.map_or_else(Vec::new, |(_, names)| {
                names.0.iter().filter_map(shown).collect()
            }),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            is_for_hosts: purposes.is_none_or(|(_, purposes)| is_for_hosts(purposes)),
            from: at(validity.not_before.to_unix_duration()),
            until: at(validity.not_after.to_unix_duration()),
        })
    }

    /// How it stands at a time.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        if now > self.until {
            return Standing::Ended;
        }
        if now < self.from {
            return Standing::NotYet;
        }
        match (self.until.0 - now.0) / DAY_MS {
            days if days < SOON_DAYS => Standing::EndsSoon(days),
            _ => Standing::Valid,
        }
    }

    /// What is to be told of it at a time, if it is no longer, not yet, or soon no more valid.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<String> {
        let whose = match (self.is_authority, self.names.first()) {
            (true, _) | (false, None) => self.subject.as_str(),
            (false, Some(name)) => name.as_str(),
        };
        let day = day(self.until);
        match self.standing(now) {
            Standing::Valid => None,
            Standing::EndsSoon(0) => Some(format!(
                "the certificate of {whose} ends within a day ({day})"
            )),
            Standing::EndsSoon(days) => Some(format!(
                "the certificate of {whose} ends in {days} days ({day})"
            )),
            Standing::Ended => Some(format!("the certificate of {whose} has ended ({day})")),
            Standing::NotYet => Some(format!(
                "the certificate of {whose} is not valid before {}: compare the clocks",
                self::day(self.from)
            )),
        }
    }
}

/// The day of a time (UTC), such as `2027-11-30`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    match DateTime::from_unix_duration(Duration::from_millis(at.0)) {
        Ok(time) => time.to_string().chars().take(10).collect(),
        // Later than the year 9999.
        Err(_) => "never".to_owned(),
    }
}

fn at(since_the_epoch: Duration) -> Timestamp {
    Timestamp(u64::try_from(since_the_epoch.as_millis()).unwrap_or(u64::MAX))
}

fn shown(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(address) => {
            let address = address.as_bytes();
            let four = <[u8; 4]>::try_from(address).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(from_day: u64, until_day: u64) -> Certificate {
        Certificate {
            subject: "CN=farm".to_owned(),
            names: vec!["farm-1".to_owned()],
            is_authority: false,
            is_for_hosts: true,
            from: Timestamp(from_day * DAY_MS),
            until: Timestamp(until_day * DAY_MS),
        }
    }

    #[test]
    fn the_time_makes_a_certificate_old() {
        let certificate = valid(100, 200);
        let stands = |day| certificate.standing(Timestamp(day * DAY_MS));
        assert_eq!(stands(99), Standing::NotYet);
        assert_eq!(stands(100), Standing::Valid);
        assert_eq!(stands(170), Standing::Valid);
        assert_eq!(stands(171), Standing::EndsSoon(29));
        assert_eq!(stands(200), Standing::EndsSoon(0));
        assert_eq!(stands(201), Standing::Ended);
        // Neither the beginning of time nor its end is more than a wrong clock.
        assert_eq!(stands(0), Standing::NotYet);
        assert_eq!(certificate.standing(Timestamp(u64::MAX)), Standing::Ended);
    }

    #[test]
    fn what_is_told_names_the_host_and_the_day() {
        let certificate = valid(100, 200);
        let told = |day| certificate.trouble(Timestamp(day * DAY_MS));
        assert_eq!(told(100), None);
        assert_eq!(
            told(190).as_deref(),
            Some("the certificate of farm-1 ends in 10 days (1970-07-20)")
        );
        assert_eq!(
            told(201).as_deref(),
            Some("the certificate of farm-1 has ended (1970-07-20)")
        );
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert_eq!(Certificate::all_of(b"nothing"), Ok(Vec::new()));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Certificate::all_of(broken.as_bytes()).is_err());
        assert_eq!(day(Timestamp(u64::MAX)), "never");
    }
}
