//! The texts of these sections, read as what they mean.

use super::super::error::SettingsError;
use super::super::section::NamedSection;
use super::super::values::{Found, Value};

/// What a section says under a key.
pub(super) fn value<T: Value>(
    section: &NamedSection,
    key: &str,
) -> Result<Option<T>, SettingsError> {
    section.find(key).map(T::read).transpose()
}

/// A text of one line.
pub(super) fn text(section: &NamedSection, key: &str) -> Result<Option<String>, SettingsError> {
    Ok(value::<OneLine>(section, key)?.map(|text| text.0))
}

/// What runs a slave on its machine.
pub(super) fn slave_command(section: &NamedSection) -> Result<String, SettingsError> {
    let set = text(section, "slave_command")?;
    Ok(set.unwrap_or_else(|| "clusterrunner slave".to_owned()))
}

/// What starts the slaves of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    Slurm,
    Kubernetes,
}

impl Value for Kind {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let kind: String = found.parse("command, slurm or kubernetes")?;
        match kind.to_ascii_lowercase().as_str() {
            "command" => Ok(Self::Command),
            "slurm" => Ok(Self::Slurm),
            "kubernetes" => Ok(Self::Kubernetes),
            _ => Err(found.wrong(format!(
                "expected command, slurm or kubernetes, found \"{kind}\""
            ))),
        }
    }
}

/// A text of one line.
pub(super) struct OneLine(pub(super) String);

impl Value for OneLine {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        match found.values.as_slice() {
            [text] if !text.trim().is_empty() && !text.contains(char::is_control) => {
                Ok(Self(text.clone()))
            }
            _ => Err(found.wrong(
                "expected one text; put it in quotes if it has a comma or a #, and remove the line if it is empty",
            )),
        }
    }
}

/// `HOST:PORT` of a master.
pub(super) struct MasterUrl(pub(super) String, pub(super) u16);

impl Value for MasterUrl {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text: String = found.parse("HOST:PORT")?;
        let parts = text.rsplit_once(':');
        let parsed = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parsed {
            Some((host, port)) if crate::text::host_name::is_host(host) => {
                Ok(Self(host.to_owned(), port))
            }
            _ => Err(found.wrong(format!(
                "expected HOST:PORT, such as farm-1:43000, found \"{text}\""
            ))),
        }
    }
}

/// A time limit as `sbatch --time` takes it.
pub(super) struct TimeLimit(pub(super) String);

impl TimeLimit {
    /// How many seconds that is; none where it is no limit.
    pub(super) fn seconds(&self) -> Option<u64> {
        let (days, times) = match self.0.split_once('-') {
            Some((days, times)) => (Some(days), times),
            None => (None, self.0.as_str()),
        };
        let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
        let mut parts = times.split(':').map(number);
        let parts = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
        let in_seconds = |units: [u64; 3]| {
            let each = parts.into_iter().zip(units);
            each.fold(0_u64, |sum, (part, unit)| {
                sum.saturating_add(part.saturating_mul(unit))
            })
        };
        let is_short = times.split(':').count() < 3;
        let seconds = match days {
            Some(days) => {
                in_seconds([3600, 60, 1]).saturating_add(number(days).saturating_mul(86_400))
            }
            None if is_short => in_seconds([60, 1, 0]),
            None => in_seconds([3600, 60, 1]),
        };
        (seconds > 0).then_some(seconds)
    }
}

impl Value for TimeLimit {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text: String = found.parse("a time limit")?;
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (days, times) = match text.split_once('-') {
            Some((days, times)) => (Some(days), times),
            None => (None, text.as_str()),
        };
        let is_right = days.is_none_or(is_part)
            && times.split(':').count() <= 3
            && times.split(':').all(is_part);
        match is_right {
            true => Ok(Self(text)),
            false => Err(found.wrong(format!(
                "expected a time limit of Slurm: minutes, minutes:seconds, hours:minutes:seconds or days-hours, found \"{text}\""
            ))),
        }
    }
}

/// Further options for `sbatch`, each as it stands in a job script behind `#SBATCH`.
pub(super) struct SlurmOptions(pub(super) Vec<String>);

/// Options that the master sets, by which it finds its jobs and their slaves end in time, and that would make several jobs of
/// one.
const OWN: [&str; 8] = [
    "-J",
    "-a",
    "--array",
    "--job-name",
    "--signal",
    "--export",
    "--comment",
    "--parsable",
];

/// Which of the master's own options this is: sbatch takes values right behind a letter, and the beginnings of names.
fn own_option(name: &str) -> Option<&'static str> {
    let is_own = |own: &&str| match own.starts_with("--") {
        true => name.len() > 2 && own.starts_with(name),
        false => name.starts_with(*own),
    };
    OWN.into_iter().find(is_own)
}

impl Value for SlurmOptions {
    const IS_TEXT: bool = true;

    fn read(found: &Found) -> Result<Self, SettingsError> {
        let options = Vec::<String>::read(found)?;
        for option in &options {
            let name = option.split(['=', ' ']).next().unwrap_or_default();
            if !option.starts_with('-') || option.contains(char::is_control) {
                return Err(found.wrong(format!(
                    "expected a list of options of sbatch, such as --mem=8G, --exclusive, found \"{option}\""
                )));
            }
            if let Some(own) = own_option(name) {
                return Err(found.wrong(match own {
                    "-a" | "--array" => {
                        format!("a pool starts one slave for each job; remove {name}")
                    }
                    _ => format!("the master itself sets {own}; remove {name}"),
                }));
            }
        }
        Ok(Self(options))
    }
}
