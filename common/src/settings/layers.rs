//! Command line above files above environment above defaults.

use super::error::{Origin, SettingsError};
use super::file::SettingsFile;
use super::home::expand_home;
use super::keys::{self, Program, nearest_key, no_default, variable};
use super::location::{default_config_file, read_file};
use super::notify;
use super::pool;
use super::secret_file::{is_missing, make_missing};
use super::section::{NamedSection, SectionKind};
use super::values::{Found, Value};
use super::{Overrides, SHIPPED_SETTINGS, second_file};
use std::fmt;
use std::path::{Path, PathBuf};

/// Everything a setting may come from, for one program.
pub(super) struct Layers<'a> {
    pub(super) program: Program,
    flags: &'a Overrides,
    /// The strongest first.
    files: Vec<SettingsFile>,
    /// Whom the master tells of builds.
    pub(super) notify: Vec<NamedSection>,
    /// Slaves on demand.
    pub(super) pools: Vec<NamedSection>,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    defaults: SettingsFile,
    /// The settings file that was read, or where it would be.
    pub(super) config_file: PathBuf,
    pub(super) warnings: Vec<String>,
}

impl<'a> Layers<'a> {
    pub(super) fn read_files(
        program: Program,
        config_file: Option<&Path>,
        environment: &'a dyn Fn(&str) -> Option<String>,
        flags: &'a Overrides,
    ) -> Result<Self, SettingsError> {
        let mut warnings = Vec::new();
        let config_file = match config_file {
            Some(path) => {
                let shown = path.display();
                // Commands only look; the file is made when a secret is to be kept.
                if program == Program::Client {
                    if is_missing(path)? {
                        warnings.push(format!(
                            "there is no settings file {shown}: the shipped values count"
                        ));
                    }
                } else if make_missing(path)? {
                    warnings.push(format!(
                        "there was no settings file {shown}; a new one was made"
                    ));
                }
                path.to_owned()
            }
            None => default_config_file(environment)?,
        };
        let first = read_file(&config_file)?;
        let second = read_file(&second_file(&config_file))?;
        for file in first.iter().chain(&second) {
            warnings.extend_from_slice(&file.warnings);
        }
        if let Some((key, _)) = flags
            .values
            .iter()
            .find(|(key, _)| keys::key(key).is_none())
        {
            return Err(SettingsError::UnknownKey {
                origin: Origin::Flag,
                key: (*key).to_owned(),
                nearest: nearest_key(key),
            });
        }
        let files: Vec<SettingsFile> = second.into_iter().chain(first).collect();
        let sections: Vec<_> = files.iter().map(|file| &file.notify[..]).collect();
        let notify = SectionKind::merged(&sections);
        notify::check(&notify)?;
        let sections: Vec<_> = files.iter().map(|file| &file.pools[..]).collect();
        let pools = SectionKind::merged(&sections);
        pool::check(&pools)?;
        Ok(Self {
            program,
            flags,
            files,
            notify,
            pools,
            environment,
            defaults: SettingsFile::parse(SHIPPED_SETTINGS, Path::new("conf/clusterrunner.conf"))?,
            config_file,
            warnings,
        })
    }

    /// The value of a key that the shipped settings have.
    pub(super) fn get<T: Value>(&self, key: &'static str) -> Result<T, SettingsError> {
        self.get_if_set(key)?
            .ok_or_else(|| no_default(key, "the shipped settings have none"))
    }

    pub(super) fn get_if_set<T: Value>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, SettingsError> {
        self.get_from(self.program.section(), key)
    }

    /// Whether nobody has set a key, so that the shipped settings count.
    pub(super) fn is_default(&self, key: &'static str) -> bool {
        let found = self.find(key, self.program.section());
        let default = self.defaults.find(key, self.program.section());
        match (found, default) {
            (Some(found), Some(default)) => found.origin == default.origin,
            (found, _) => found.is_none(),
        }
    }

    /// As the program of that section would find it.
    pub(super) fn get_from<T: Value>(
        &self,
        section: &str,
        key: &'static str,
    ) -> Result<Option<T>, SettingsError> {
        let found = self.find(key, section);
        found.map(|found| T::read(&found)).transpose()
    }

    /// A path; a leading `~` becomes the home directory.
    pub(super) fn path_if_set(&self, key: &'static str) -> Result<Option<PathBuf>, SettingsError> {
        let text: Option<String> = self.get_if_set(key)?;
        text.map(|text| expand_home(key, &text, self.environment))
            .transpose()
    }

    /// A file that is named from the directory of the settings file that names it, unless the whole path is given: commands
    /// and daemons read the same settings wherever they are started.
    pub(super) fn file_if_set(&self, key: &'static str) -> Result<Option<PathBuf>, SettingsError> {
        let Some(path) = self.path_if_set(key)? else {
            return Ok(None);
        };
        let found = self.find(key, self.program.section());
        Ok(Some(match found.map(|found| found.origin) {
            Some(Origin::File { path: file, .. }) if path.is_relative() => {
                let directory = file.parent().unwrap_or(Path::new(""));
                directory.join(path)
            }
            _ => path,
        }))
    }

    pub(super) fn path(&self, key: &'static str) -> Result<PathBuf, SettingsError> {
        self.path_if_set(key)?
            .ok_or_else(|| no_default(key, "the shipped settings have none"))
    }

    /// What is wrong with the value of a key, with its place.
    pub(super) fn wrong(&self, key: &'static str, what: impl fmt::Display) -> SettingsError {
        match self.find(key, self.program.section()) {
            Some(found) => found.wrong(what),
            None => no_default(key, "it is not set"),
        }
    }

    /// What the program finds for a key, and whether that is the default.
    pub(super) fn found(&self, key: &'static str) -> Option<(Found, bool)> {
        let section = self.section_of(key, self.program.section());
        let set = self.find_set(key, section).map(|found| (found, false));
        set.or_else(|| Some((self.defaults.find(key, section)?.clone(), true)))
    }

    fn find(&self, key: &'static str, section: &str) -> Option<Found> {
        let section = self.section_of(key, section);
        let default = || self.defaults.find(key, section).cloned();
        self.find_set(key, section).or_else(default)
    }

    fn section_of<'s>(&self, key: &str, section: &'s str) -> &'s str {
        // The files below [master] are the master's; a client that wrote there too would mix up its logs.
        let is_log = matches!(key, "log_filename" | "eventlog_filename");
        match self.program {
            Program::Client if is_log => "general",
            _ => section,
        }
    }

    /// What somebody has set, wherever that was.
    fn find_set(&self, key: &'static str, section: &str) -> Option<Found> {
        let found = |origin, text| Found {
            key,
            origin,
            values: vec![text],
        };
        let flag = || {
            let (_, text) = self.flags.values.iter().find(|(flag, _)| *flag == key)?;
            Some(found(Origin::Flag, text.clone()))
        };
        let file = || self.files.iter().find_map(|file| file.find(key, section));
        let environment = || {
            let text = (self.environment)(&variable(key)).filter(|text| !text.is_empty())?;
            Some(found(Origin::Environment(variable(key)), text))
        };
        flag().or_else(|| file().cloned()).or_else(environment)
    }
}
