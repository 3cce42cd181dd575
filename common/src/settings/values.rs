//! The texts of settings, read as the types that the programs want.

use super::error::{Origin, SettingsError};
use crate::auth::secret::Secret;
use crate::logs::logging::LogLevel;
use crate::remote_files::AllowedSources;
use crate::text::host_name::is_host;
use crate::text::labels::{LABEL_FORM, is_label};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// A setting as it was found: not yet checked for its type.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) key: &'static str,
    pub(super) origin: Origin,
    /// One element, or those of a list.
    pub(super) values: Vec<String>,
}

impl Found {
    /// A place for a secret, which is no wrong one.
    pub(super) fn is_empty_secret(&self) -> bool {
        self.key == "secret" && self.values.iter().all(String::is_empty)
    }

    fn expected(&self, what: &str, found: &str) -> SettingsError {
        self.wrong(format!("expected {what}, found \"{found}\""))
    }

    pub(super) fn wrong(&self, what: impl fmt::Display) -> SettingsError {
        SettingsError::WrongValue {
            origin: self.origin.clone(),
            key: self.key.to_owned(),
            what: what.to_string(),
        }
    }

    fn text(&self) -> Result<&str, SettingsError> {
        match self.values.as_slice() {
            [text] if !text.is_empty() => Ok(text),
            [_] => {
                Err(self
                    .wrong("expected a value (leave the line out for the default), found nothing"))
            }
            _ => {
                Err(self
                    .wrong("expected one value; put it in quotes if it has a comma, found a list"))
            }
        }
    }

    pub(super) fn parse<T: FromStr>(&self, what: &str) -> Result<T, SettingsError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.expected(what, text))
    }

    fn number(&self, least: u64, most: u64, what: &str) -> Result<u64, SettingsError> {
        match self.parse(what)? {
            number if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.expected(what, self.text()?)),
        }
    }
}

/// The type of a setting.
pub(super) trait Value: Sized {
    /// Whether a setting that is empty counts as left out.
    const IS_TEXT: bool = false;

    /// Reads the value, or says what is wrong with it.
    fn read(found: &Found) -> Result<Self, SettingsError>;
}

impl Value for String {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        found.text().map(str::to_owned)
    }
}

impl Value for bool {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        match found.text()?.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(found.expected("True or False", found.text()?)),
        }
    }
}

/// A whole number within bounds.
pub(super) struct Number<T, const LEAST: u64, const MOST: u64>(pub(super) T);

/// Port 0 lets the system choose, which tests and local farms need.
pub(super) type Port = Number<u16, 0, { u16::MAX as u64 }>;
/// 0 or more, of bytes or of anything else.
pub(super) type Amount = Number<u64, 0, MOST>;
/// 1 or more.
pub(super) type Limit = Number<u64, 1, MOST>;
/// More than any disk has.
pub(super) const MOST: u64 = i64::MAX as u64;

impl<T: TryFrom<u64>, const LEAST: u64, const MOST: u64> Value for Number<T, LEAST, MOST> {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let what = format!("a whole number between {LEAST} and {MOST}");
        let number = T::try_from(found.number(LEAST, MOST, &what)?);
        number
            .map(Self)
            .map_err(|_| found.wrong(format!("expected {what}")))
    }
}

/// Whole seconds.
pub(super) struct Seconds<const LEAST: u64>(pub(super) Duration);

impl<const LEAST: u64> Value for Seconds<LEAST> {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        /// About 31 million years. Larger times would overflow when added to a clock.
        const MOST: u64 = 1_000_000_000_000_000;
        let what = format!("a whole number of seconds, {LEAST} or more");
        let seconds = found.number(LEAST, MOST, &what)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// Ports from the first to the last, as in `27000-28999`.
pub(super) struct Ports(pub(super) (u16, u16));

impl Value for Ports {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let what = "two ports between 1 and 65535, the lower one first, such as 27000-28999";
        let text = found.text()?;
        let ports = text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (0 < first && first <= last).then_some((first, last))
        });
        ports.map(Self).ok_or_else(|| found.expected(what, text))
    }
}

/// An absolute path of a directory.
pub(super) struct Directory(pub(super) PathBuf);

impl Value for Directory {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = found.text()?;
        let path = Path::new(text);
        let is_plain = path
            .components()
            .all(|component| matches!(component, Component::RootDir | Component::Normal(_)));
        match path.is_absolute() && is_plain {
            // Without a slash at its end.
            true => Ok(Self(path.components().collect())),
            false => Err(found.expected("an absolute path without \"..\"", text)),
        }
    }
}

/// An amount; `None`, which is no bound, where it is 0.
pub(super) struct Bound(pub(super) Option<u64>);

impl Value for Bound {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let amount = Amount::read(found)?.0;
        Ok(Self((amount > 0).then_some(amount)))
    }
}

/// An age in days, at most a hundred years; `None`, which is no bound, where it is 0.
pub(super) struct Days(pub(super) Option<Duration>);

impl Value for Days {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        const DAY: u64 = 24 * 60 * 60;
        let days = Number::<u64, 0, 36_500>::read(found)?.0;
        Ok(Self((days > 0).then(|| Duration::from_secs(days * DAY))))
    }
}

/// What can stand in front of `:port`; an IPv6 address has the brackets that it needs there.
pub(super) struct Host(pub(super) String);

impl Value for Host {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = found.text()?;
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self(format!("[{text}]")));
        }
        let is_stray = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@');
        let is_bracketed = text.starts_with('[') && text.ends_with(']');
        if text.contains(is_stray) || (!is_bracketed && text.contains(':')) {
            return Err(found.expected(
                "the name or address of a machine and nothing more, such as farm-1 or [::1]; ports are settings of \
                 their own (port, master_port)",
                text,
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The beginning of addresses that users open, without a slash at its end.
pub(super) struct PublicUrl(pub(super) String);

impl Value for PublicUrl {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = found.text()?;
        let what =
            "an http or https URL and nothing behind its path, such as https://ci.example.com";
        let url = reqwest::Url::parse(text).ok().filter(|url| {
            let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
            let is_bare = url.username().is_empty() && url.password().is_none();
            is_http && is_bare && url.query().is_none() && url.fragment().is_none()
        });
        let url = url.ok_or_else(|| found.expected(what, text))?;
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// The name of a domain, in lower case and without a dot at its end.
pub(super) struct Domain(pub(super) String);

impl Value for Domain {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text = found.text()?;
        let what = "the name of a domain, such as apps.example.com";
        let name = domain_name(text).ok_or_else(|| found.expected(what, text))?;
        Ok(Self(name))
    }
}

/// Names of domains, as [`Domain`] has one.
pub(super) struct Domains(pub(super) Vec<String>);

impl Value for Domains {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let what = "a list of names, such as ci.example.com, builds.example.com";
        let texts = Vec::<String>::read(found)?;
        let names = texts
            .iter()
            .map(|text| domain_name(text).ok_or_else(|| found.expected(what, text)));
        Ok(Self(names.collect::<Result<_, _>>()?))
    }
}

fn domain_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    (is_host(&name) && !is_address && !name.contains('_')).then_some(name)
}

impl Value for IpAddr {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        found.parse("an IP address such as 0.0.0.0 (all networks) or 127.0.0.1 (this machine only)")
    }
}

impl Value for LogLevel {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        found.parse(&format!("one of {}", Self::NAMES.join(", ")))
    }
}

/// Who may create an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Every caller that reaches the port.
    Open,
    /// The holder of the secret, and superusers.
    Closed,
}

impl Value for Registration {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        match found.text()?.to_ascii_lowercase().as_str() {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err(found.expected("open or closed", found.text()?)),
        }
    }
}

/// The port for pushes by SSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshPort {
    /// The usual one, once there is an app, where it is free.
    WhenNeeded,
    /// No port: nobody pushes by SSH.
    Off,
    /// This one, from the start.
    At(u16),
}

impl Value for SshPort {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        if found.text()?.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        let most = u64::from(u16::MAX);
        let what = format!("a whole number between 0 and {most}, or OFF");
        let number = found.number(0, most, &what)?;
        let port = u16::try_from(number).map_err(|_| found.wrong(format!("expected {what}")))?;
        Ok(Self::At(port))
    }
}

impl Value for Vec<String> {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let elements: Vec<&str> = match (&found.origin, found.values.as_slice()) {
            (Origin::Environment(_), [text]) => text.split(',').map(str::trim).collect(),
            (_, values) => values.iter().map(String::as_str).collect(),
        };
        let given = elements.into_iter().filter(|element| !element.is_empty());
        Ok(given.map(str::to_owned).collect())
    }
}

/// Ports, each once.
pub(super) struct PortList(pub(super) Vec<u16>);

impl Value for PortList {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let mut ports = Vec::new();
        for text in Vec::<String>::read(found)? {
            let what = "a list of ports such as 8082, 8084";
            let port = text.parse();
            let port: u16 = port.map_err(|_| found.expected(what, &text))?;
            // Of ports that the system chooses there may be several.
            if port != 0 && ports.contains(&port) {
                return Err(found.wrong(format!("port {port} stands there twice")));
            }
            ports.push(port);
        }
        Ok(Self(ports))
    }
}

/// What jobs may ask for in a slave.
pub(super) struct Labels(pub(super) BTreeSet<String>);

impl Value for Labels {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let labels = Vec::read(found)?;
        match labels.iter().find(|label| !is_label(label)) {
            Some(wrong) => Err(found.expected(LABEL_FORM, wrong)),
            None => Ok(Self(labels.into_iter().collect())),
        }
    }
}

impl Value for AllowedSources {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let what = "expected a list of hosts, addresses, networks such as 10.0.0.0/8, or any";
        let sources = Self::parse(&Vec::read(found)?);
        sources.map_err(|wrong| found.wrong(format!("{what}, found {}", wrong.entry())))
    }
}

/// It may still be weak.
impl Value for Secret {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        match found.values.as_slice() {
            [text] => Self::of_the_original(text.clone()).map_err(|weak| found.wrong(weak)),
            _ => {
                Err(found
                    .wrong("expected one text; put it in quotes if it has a comma, found a list"))
            }
        }
    }
}
