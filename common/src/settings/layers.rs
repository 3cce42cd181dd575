//! Command line above files above environment above defaults, and each setting as its type.

use super::Overrides;
use super::error::{Origin, SettingsError};
use super::file::{SettingsFile, nearest_key};
use super::keys::{self, Found, Program, Value, variable};
use crate::auth::secret::Secret;
use crate::logs::logging::LogLevel;
use crate::remote_files::AllowedSources;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything a setting may come from, for one program.
pub(super) struct Layers<'a> {
    pub(super) program: Program,
    pub(super) flags: &'a Overrides,
    /// The strongest first.
    pub(super) files: Vec<SettingsFile>,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) defaults: SettingsFile,
}

impl Layers<'_> {
    fn find(&self, key: &'static str) -> Option<Found> {
        // The files below [master] are the master's; a client that wrote there too would mix up its logs.
        let own_file =
            matches!(key, "log_filename" | "eventlog_filename") && self.program == Program::Client;
        self.find_for(
            key,
            if own_file {
                "general"
            } else {
                self.program.section()
            },
        )
    }

    /// As the program of that section would find it.
    fn find_for(&self, key: &'static str, section: &str) -> Option<Found> {
        let flag = || {
            let (_, values) = self.flags.values.iter().find(|(flag, _)| *flag == key)?;
            Some(Found {
                key,
                origin: Origin::Flag,
                values: values.clone(),
            })
        };
        let file = || {
            let mut files = self.files.iter();
            files.find_map(|file| file.find(key, section).cloned())
        };
        let environment = || {
            let variable = variable(key);
            let text = (self.environment)(&variable).filter(|text| !text.is_empty())?;
            let is_list = keys::key(key)
                .is_some_and(|key| matches!(key.kind, keys::Kind::List | keys::Kind::Labels));
            let values = if is_list {
                text.split(',')
                    .map(|element| element.trim().to_owned())
                    .collect()
            } else {
                vec![text]
            };
            Some(Found {
                key,
                origin: Origin::Environment(variable),
                values,
            })
        };
        let default = || self.defaults.find(key, section).cloned();
        flag().or_else(file).or_else(environment).or_else(default)
    }

    /// Flags name keys too; a name that does not exist is a mistake of the program.
    pub(super) fn check_flags(&self) -> Result<(), SettingsError> {
        for (key, _) in &self.flags.values {
            if keys::key(key).is_none() {
                return Err(SettingsError::UnknownKey {
                    origin: Origin::Flag,
                    key: (*key).to_owned(),
                    nearest: nearest_key(key),
                });
            }
        }
        Ok(())
    }

    fn read(&self, key: &'static str) -> Result<Option<Value>, SettingsError> {
        self.find(key).map(|found| found.read()).transpose()
    }

    /// A weak one is an error unless it may be as weak as the original's. A read token may: nobody can try one without
    /// asking a daemon.
    pub(super) fn secret(
        &self,
        key: &'static str,
        may_be_weak: bool,
    ) -> Result<Option<Secret>, SettingsError> {
        let Some(found) = self.find(key) else {
            return Ok(None);
        };
        let Value::Secret(secret) = found.read()? else {
            return Ok(None);
        };
        match secret.weakness() {
            Some(source) if !may_be_weak => Err(SettingsError::Secret {
                origin: found.origin,
                key,
                source,
            }),
            Some(_) | None => Ok(Some(secret)),
        }
    }

    /// Hosts, addresses and networks; empty where nobody says anything.
    pub(super) fn sources(&self, key: &'static str) -> Result<AllowedSources, SettingsError> {
        let Some(found) = self.find(key) else {
            return Ok(AllowedSources::default());
        };
        let entries = self.list_if_given(key)?;
        AllowedSources::parse(&entries).map_err(|error| {
            let expected = "a list of hosts, addresses, networks such as 10.0.0.0/8, or any";
            found.wrong(expected, error.entry())
        })
    }

    pub(super) fn optional_text(&self, key: &'static str) -> Result<Option<String>, SettingsError> {
        Ok(self.read(key)?.and_then(|value| {
            if let Value::Text(text) = value {
                Some(text)
            } else {
                None
            }
        }))
    }

    pub(super) fn text(&self, key: &'static str) -> Result<String, SettingsError> {
        self.optional_text(key)?
            .ok_or_else(|| no_default(key, "the shipped settings have none"))
    }

    /// The name or address of a machine, as it stands in front of `:port`.
    pub(super) fn optional_host(&self, key: &'static str) -> Result<Option<String>, SettingsError> {
        let Some(found) = self.find(key) else {
            return Ok(None);
        };
        let text = self.text(key)?;
        match keys::host(&text) {
            Some(host) => Ok(Some(host)),
            None => Err(found.wrong(
                "the name or address of a machine and nothing more, such as farm-1 or [::1]; ports are settings of \
                 their own (port, master_port)",
                format!("\"{text}\""),
            )),
        }
    }

    pub(super) fn optional_path(
        &self,
        key: &'static str,
    ) -> Result<Option<PathBuf>, SettingsError> {
        self.optional_text(key)?
            .map(|text| expand_home(key, &text, self.environment))
            .transpose()
    }

    pub(super) fn path(&self, key: &'static str) -> Result<PathBuf, SettingsError> {
        self.optional_path(key)?
            .ok_or_else(|| no_default(key, "the shipped settings have none"))
    }

    pub(super) fn optional_boolean(
        &self,
        key: &'static str,
    ) -> Result<Option<bool>, SettingsError> {
        Ok(self.read(key)?.and_then(|value| {
            if let Value::Boolean(value) = value {
                Some(value)
            } else {
                None
            }
        }))
    }

    pub(super) fn boolean(&self, key: &'static str) -> Result<bool, SettingsError> {
        self.optional_boolean(key)?
            .ok_or_else(|| no_default(key, "the shipped settings have none"))
    }

    /// The ranges of the keys are within the types that are asked for here.
    pub(super) fn number<T: TryFrom<u64>>(&self, key: &'static str) -> Result<T, SettingsError> {
        match self.read(key)? {
            Some(Value::Number(number)) => {
                T::try_from(number).map_err(|_| no_default(key, "the number is too large"))
            }
            _ => Err(no_default(key, "the shipped settings have none")),
        }
    }

    pub(super) fn seconds(&self, key: &'static str) -> Result<Duration, SettingsError> {
        self.number(key).map(Duration::from_secs)
    }

    /// Like [`Layers::seconds`], as the program of another section would find it.
    pub(super) fn seconds_for(
        &self,
        key: &'static str,
        section: &str,
    ) -> Result<Option<Duration>, SettingsError> {
        let value = self
            .find_for(key, section)
            .map(|found| found.read())
            .transpose()?;
        Ok(value.and_then(|value| {
            if let Value::Number(n) = value {
                Some(Duration::from_secs(n))
            } else {
                None
            }
        }))
    }

    pub(super) fn list(&self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        match self.read(key)? {
            Some(Value::List(values)) => Ok(values),
            _ => Err(no_default(key, "the shipped settings have none")),
        }
    }

    /// As [`Layers::list`], empty where nobody says anything.
    pub(super) fn list_if_given(&self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        match self.read(key)? {
            Some(Value::List(values)) => Ok(values),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn address(&self, key: &'static str) -> Result<IpAddr, SettingsError> {
        match self.read(key)? {
            Some(Value::Address(address)) => Ok(address),
            _ => Err(no_default(key, "the shipped settings have none")),
        }
    }

    pub(super) fn level(&self, key: &'static str) -> Result<LogLevel, SettingsError> {
        match self.read(key)? {
            Some(Value::Level(level)) => Ok(level),
            _ => Err(no_default(key, "the shipped settings have none")),
        }
    }
}

pub(super) fn no_default(key: &'static str, why: &'static str) -> SettingsError {
    SettingsError::NoDefault {
        key,
        why,
        variable: variable(key),
    }
}

/// Replaces a leading `~` by the home directory; `~name` stays as it is.
pub(super) fn expand_home(
    key: &'static str,
    path: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, SettingsError> {
    let below = match path.strip_prefix('~') {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => return Ok(PathBuf::from(path)),
    };
    let home = environment("HOME")
        .filter(|home| !home.is_empty())
        .ok_or_else(|| no_default(key, "HOME is not set"))?;
    Ok(Path::new(&home).join(below))
}
