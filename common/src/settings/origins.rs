//! Each setting with its value and where the value comes from, for people who ask why a program does what it does.

use super::error::{Origin, SettingsError};
use super::keys::{KEYS, Program, SECRET_KEYS, variable};
use super::layers::Layers;
use super::notify;
use super::overrides::Overrides;
use super::pool;
use super::section::NamedSection;
use super::values::Found;
use std::path::{Path, PathBuf};

/// The program whose settings are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The master.
    Master,
    /// A slave.
    Slave,
    /// Every other command.
    Command,
}

impl Reader {
    fn program(self) -> Program {
        match self {
            Self::Master => Program::Master,
            Self::Slave => Program::Slave,
            Self::Command => Program::Client,
        }
    }
}

/// A setting as a program finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingWithOrigin {
    /// Its name.
    pub key: String,
    /// The environment variable that could set it; empty where none could.
    pub variable: String,
    /// What it is set to; of a list each element.
    pub value: SettingValue,
    /// Where that comes from; `None` where no layer has it, so that the program chooses.
    pub origin: Option<SettingOrigin>,
    /// What is wrong with the value.
    pub mistake: Option<String>,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// Nobody has set it.
    Unset,
    /// It is nobody's business.
    Hidden,
    /// As it is written; a list has several lines.
    Text(Vec<String>),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    /// The settings that are shipped.
    Default,
    /// An option of the command line.
    Option,
    /// A line of a settings file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
}

/// The settings that a program would find, in an order of their own. A value that is wrong
/// of the environment or the command line is no error here: what is wrong is told with it.
///
/// # Errors
/// A settings file can not be read, or something in it is wrong.
pub fn settings_with_origins(
    reader: Reader,
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<Vec<SettingWithOrigin>, SettingsError> {
    let program = reader.program();
    let layers = Layers::read_files(program, config_file, &environment, flags)?;
    let read = KEYS.iter().filter(|key| key.is_read_by(program.section()));
    let shown = read.map(|key| {
        let (found, is_default) = layers.found(key.name).unzip();
        let is_secret = SECRET_KEYS.contains(&key.name);
        let value = match &found {
            None => SettingValue::Unset,
            Some(_) if is_secret => SettingValue::Hidden,
            Some(found) => SettingValue::Text(found.values.clone()),
        };
        // What is wrong with a secret may quote the secret.
        let checked = found.as_ref().filter(|_| !is_secret);
        let checked = checked.filter(|found| !(key.is_text && is_empty(&found.values)));
        let mistake = checked.and_then(|found| (key.check)(found).err());
        let origin = found.map(|found| match found.origin {
            _ if is_default == Some(true) => SettingOrigin::Default,
            Origin::Flag => SettingOrigin::Option,
            Origin::File { path, line } => SettingOrigin::File { path, line },
            Origin::Environment(variable) => SettingOrigin::Environment(variable),
        });
        SettingWithOrigin {
            key: key.name.to_owned(),
            variable: variable(key.name),
            value,
            origin,
            mistake: mistake.map(|mistake| mistake.to_string()),
        }
    });
    let told = layers.notify.iter().filter(|_| program == Program::Master);
    let pools = pool::all_found(&layers.pools).filter(|_| program == Program::Master);
    let pools = pools.map(|(key, found)| of_pool(key, found));
    Ok(shown
        .chain(told.flat_map(of_section))
        .chain(pools)
        .collect())
}

/// What stands in a section that says whom the master tells of builds.
fn of_section(section: &NamedSection) -> impl Iterator<Item = SettingWithOrigin> {
    section.found.iter().map(|found| SettingWithOrigin {
        key: format!("notify.{}.{}", section.name, found.key),
        variable: String::new(),
        value: match found.key {
            key if notify::is_secret(key) => SettingValue::Hidden,
            // Who knows the path of a webhook can often use it.
            "url" => SettingValue::Text(found.values.iter().map(|url| host_of(url)).collect()),
            _ => SettingValue::Text(found.values.clone()),
        },
        origin: match &found.origin {
            Origin::File { path, line } => Some(SettingOrigin::File {
                path: path.clone(),
                line: *line,
            }),
            Origin::Flag | Origin::Environment(_) => None,
        },
        mistake: None,
    })
}

/// What stands in a section of a pool; nothing of that is secret.
fn of_pool(key: String, found: &Found) -> SettingWithOrigin {
    SettingWithOrigin {
        key,
        variable: String::new(),
        value: SettingValue::Text(found.values.clone()),
        origin: match &found.origin {
            Origin::File { path, line } => Some(SettingOrigin::File {
                path: path.clone(),
                line: *line,
            }),
            Origin::Flag | Origin::Environment(_) => None,
        },
        mistake: None,
    }
}

/// A URL without all that is behind its host.
fn host_of(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(parsed) if parsed.path() == "/" && parsed.query().is_none() => url.to_owned(),
        Ok(parsed) => format!("{}/(hidden)", parsed.origin().ascii_serialization()),
        Err(_) => "(hidden)".to_owned(),
    }
}

fn is_empty(values: &[String]) -> bool {
    values.iter().all(String::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn shown(file: &str, variables: &[(&str, &str)], flags: &Overrides) -> Vec<SettingWithOrigin> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clusterrunner.conf");
        fs::write(&path, file).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut shown =
            settings_with_origins(Reader::Master, Some(&path), environment, flags).unwrap();
        for setting in &mut shown {
            if let Some(SettingOrigin::File { path, .. }) = &mut setting.origin {
                *path = path.file_name().unwrap().into();
            }
        }
        shown
    }

    fn text(text: &str) -> SettingValue {
        SettingValue::Text(vec![text.to_owned()])
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        let file =
            "[general]\nsecret = a secret of somebody\nfetch_timeout = 7\n[master]\nport = 1234\n";
        let variables = [
            ("CLUSTERRUNNER_SIGNATURE_MAX_AGE", "99"),
            ("CLUSTERRUNNER_PORT", "5"),
        ];
        let flags = Overrides::new().set("keep_builds", "3");
        let shown = shown(file, &variables, &flags);
        let line = |line| SettingOrigin::File {
            path: "clusterrunner.conf".into(),
            line,
        };
        let of = |key: &str| {
            let found = shown.iter().find(|setting| setting.key == key);
            let found = found.unwrap_or_else(|| panic!("{key} is not shown"));
            assert_eq!(found.mistake, None, "{key}");
            (found.value.clone(), found.origin.clone())
        };
        assert_eq!(of("secret"), (SettingValue::Hidden, Some(line(2))));
        assert_eq!(of("fetch_timeout"), (text("7"), Some(line(3))));
        // The file wins over the environment.
        assert_eq!(of("port"), (text("1234"), Some(line(5))));
        let variable = SettingOrigin::Environment("CLUSTERRUNNER_SIGNATURE_MAX_AGE".to_owned());
        assert_eq!(of("signature_max_age"), (text("99"), Some(variable)));
        assert_eq!(of("keep_builds"), (text("3"), Some(SettingOrigin::Option)));
        let (value, origin) = of("default_http_timeout");
        assert_eq!(origin, Some(SettingOrigin::Default));
        assert!(matches!(value, SettingValue::Text(_)));
        assert_eq!(of("binder_api_key"), (SettingValue::Unset, None));
        // What only slaves read is not the master's.
        assert!(!shown.iter().any(|setting| setting.key == "num_executors"));
        // Nothing that is hidden is anywhere else.
        assert!(!format!("{shown:?}").contains("somebody"));
    }

    #[test]
    fn a_wrong_value_is_shown_with_what_is_wrong() {
        let flags = Overrides::new();
        let shown = shown("", &[("CLUSTERRUNNER_PORT", "many")], &flags);
        let port = shown.iter().find(|setting| setting.key == "port").unwrap();
        assert_eq!(port.value, text("many"));
        let mistake = port.mistake.as_deref().unwrap();
        assert!(mistake.contains("CLUSTERRUNNER_PORT"), "{mistake}");
    }

    #[test]
    fn the_shipped_settings_are_right() {
        for reader in [Reader::Master, Reader::Slave, Reader::Command] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("none.conf");
            fs::write(&path, "").unwrap();
            let flags = Overrides::new();
            let shown = settings_with_origins(reader, Some(&path), |_| None, &flags).unwrap();
            for setting in shown {
                let is_default = matches!(setting.origin, None | Some(SettingOrigin::Default));
                assert!(is_default && setting.mistake.is_none(), "{setting:?}");
            }
        }
    }
}
