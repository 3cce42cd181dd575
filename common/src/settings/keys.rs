//! Every key: who uses it and what its values look like.

use super::error::{Origin, SettingsError};
use crate::auth::secret::Secret;
use crate::git::MAXIMUM_TREE_DEPTH;
use crate::logs::logging::LogLevel;
use crate::text::labels::{LABEL_FORM, is_label};
use std::net::{IpAddr, Ipv6Addr};

/// A program that reads settings. It reads `[general]` and its own section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Master,
    Slave,
    /// All other commands; they read `[master]`, as `build` does in the original.
    Client,
}

impl Program {
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::Master | Self::Client => "master",
            Self::Slave => "slave",
        }
    }
}

pub(super) const SECTIONS: [&str; 3] = ["general", "master", "slave"];

/// What the values of a key look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Not checked to exist; a leading `~` becomes the home directory.
    Path,
    Boolean,
    Number {
        least: u64,
        most: u64,
    },
    /// Whole seconds.
    Seconds {
        least: u64,
    },
    List,
    /// A list of texts that [`is_label`] takes.
    Labels,
    Address,
    Level,
    Secret,
}

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    in_master: bool,
    in_slave: bool,
}

impl Key {
    pub(super) fn allowed_in(&self, section: &str) -> bool {
        match section {
            "master" => self.in_master,
            "slave" => self.in_slave,
            _ => true,
        }
    }

    /// Whether the original's programs know it; they take it in any section.
    pub(super) fn is_original(&self) -> bool {
        ORIGINAL_KEYS.contains(&self.name)
    }

    pub(super) fn sections(&self) -> String {
        let own = [("[master]", self.in_master), ("[slave]", self.in_slave)];
        let own: Vec<_> = own
            .into_iter()
            .filter(|(_, allowed)| *allowed)
            .map(|(name, _)| name)
            .collect();
        format!("{} or [general]", own.join(", "))
    }
}

const fn all(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        in_master: true,
        in_slave: true,
    }
}

const fn master(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        in_master: true,
        in_slave: false,
    }
}

const fn slave(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        in_master: false,
        in_slave: true,
    }
}

/// Port 0 lets the system choose, which tests and local farms need.
const PORT: Kind = Kind::Number {
    least: 0,
    most: u16::MAX as u64,
};
const COUNT: Kind = Kind::Number {
    least: 1,
    most: u32::MAX as u64,
};

/// 0 for no bound. A hundred years and more than any disk has.
const DAYS: Kind = Kind::Number {
    least: 0,
    most: 36_500,
};
const BOUND: Kind = Kind::Number {
    least: 0,
    most: i64::MAX as u64,
};

const LIMIT: Kind = Kind::Number {
    least: 1,
    most: i64::MAX as u64,
};

pub(super) const KEYS: &[Key] = &[
    all("secret", Kind::Secret),
    all("base_directory", Kind::Path),
    all("hostname", Kind::Text),
    all("log_level", Kind::Level),
    all("log_filename", Kind::Path),
    all("max_log_file_size", BOUND),
    all(
        "min_free_space",
        Kind::Number {
            least: 0,
            most: i64::MAX as u64,
        },
    ),
    all("eventlog_filename", Kind::Path),
    all("port", PORT),
    all("bind_address", Kind::Address),
    all("allow_local_sources", Kind::Boolean),
    all("remote_files_allow", Kind::List),
    all(
        "remote_files_max_size",
        Kind::Number {
            least: 1,
            most: i64::MAX as u64,
        },
    ),
    all("remote_files_timeout", Kind::Seconds { least: 1 }),
    all("accept_legacy_peers", Kind::Boolean),
    master("compat_exit_codes", Kind::Boolean),
    all("signature_max_age", Kind::Seconds { least: 1 }),
    all("default_http_timeout", Kind::Seconds { least: 1 }),
    all("fetch_timeout", Kind::Seconds { least: 1 }),
    all("atom_kill_grace", Kind::Seconds { least: 0 }),
    all("git_strict_host_key_checking", Kind::Boolean),
    all("git_max_entries", LIMIT),
    all(
        "git_max_depth",
        Kind::Number {
            least: 1,
            most: MAXIMUM_TREE_DEPTH as u64,
        },
    ),
    all("git_max_file_bytes", LIMIT),
    all("git_max_work_tree_bytes", LIMIT),
    all("git_max_pack_bytes", LIMIT),
    all("git_max_refs", LIMIT),
    // With less git can not even begin.
    all(
        "git_max_memory_bytes",
        Kind::Number {
            least: 64 << 20,
            most: i64::MAX as u64,
        },
    ),
    all("slaves", Kind::List),
    all("master_hostname", Kind::Text),
    all("cors_allowed_origins_regex", Kind::Text),
    all("https_cert_file", Kind::Path),
    all("https_key_file", Kind::Path),
    all("https_ca_file", Kind::Path),
    all("require_signed_reads", Kind::Boolean),
    all("read_token", Kind::Secret),
    all("get_project_from_master", Kind::Boolean),
    all("keep_projects_days", DAYS),
    all("keep_projects_bytes", BOUND),
    master("keep_builds_days", DAYS),
    master("keep_builds", BOUND),
    master("keep_results_bytes", BOUND),
    master("keep_partial_results_days", DAYS),
    master("slave_lost_after", Kind::Seconds { least: 1 }),
    master("default_atom_timeout", Kind::Seconds { least: 0 }),
    master("default_atomizer_timeout", Kind::Seconds { least: 0 }),
    master("default_setup_timeout", Kind::Seconds { least: 0 }),
    master("default_teardown_timeout", Kind::Seconds { least: 0 }),
    master("build_symlink_directory", Kind::Path),
    // These have no effect, so any number is good.
    master(
        "unresponsive_slaves_cleanup_interval",
        Kind::Seconds { least: 0 },
    ),
    slave("num_executors", COUNT),
    slave("labels", Kind::Labels),
    slave("master_port", PORT),
    slave(
        "max_console_size",
        Kind::Number {
            least: 0,
            most: i64::MAX as u64,
        },
    ),
    slave("heartbeat_interval", Kind::Seconds { least: 1 }),
    slave(
        "heartbeat_failure_threshold",
        Kind::Number {
            least: 0,
            most: u32::MAX as u64,
        },
    ),
    slave("drain_on_stop", Kind::Boolean),
];

/// What the original's programs know; they refuse a file with any other key.
pub(super) const ORIGINAL_KEYS: [&str; 22] = [
    "secret",
    "base_directory",
    "log_level",
    "build_symlink_directory",
    "hostname",
    "slaves",
    "port",
    "num_executors",
    "master_hostname",
    "master_port",
    "log_filename",
    "max_log_file_size",
    "eventlog_filename",
    "git_strict_host_key_checking",
    "cors_allowed_origins_regex",
    "get_project_from_master",
    "default_http_timeout",
    "https_cert_file",
    "https_key_file",
    "heartbeat_interval",
    "heartbeat_failure_threshold",
    "unresponsive_slaves_cleanup_interval",
];

pub(super) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The environment variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("CLUSTERRUNNER_{}", key.to_uppercase())
}

/// A setting as it was found: not yet checked for its type.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) key: &'static str,
    pub(super) origin: Origin,
    /// One element, or those of a list.
    pub(super) values: Vec<String>,
}

/// A setting of the right type.
pub(super) enum Value {
    Text(String),
    Boolean(bool),
    /// Also seconds.
    Number(u64),
    List(Vec<String>),
    Address(IpAddr),
    Level(LogLevel),
    Secret(Secret),
}

/// About 31 million years. Larger times would overflow when added to a clock.
const MOST_SECONDS: u64 = 1_000_000_000_000_000;

impl Found {
    /// Reads the value as its key wants it.
    pub(super) fn read(&self) -> Result<Value, SettingsError> {
        let kind = key(self.key).map_or(Kind::Text, |key| key.kind);
        if kind == Kind::Labels
            && let Some(wrong) = self.values.iter().find(|v| !v.is_empty() && !is_label(v))
        {
            return Err(self.wrong(LABEL_FORM, format!("\"{wrong}\"")));
        }
        match (kind, self.values.as_slice()) {
            (Kind::List | Kind::Labels, values) => Ok(Value::List(
                values
                    .iter()
                    .filter(|value| !value.is_empty())
                    .cloned()
                    .collect(),
            )),
            (Kind::Secret, [text]) => Secret::of_the_original(text.clone())
                .map(Value::Secret)
                .map_err(|source| SettingsError::Secret {
                    origin: self.origin.clone(),
                    key: self.key,
                    source,
                }),
            (Kind::Secret, _) => Err(self.wrong(
                "one text; put it in quotes if it has a comma",
                "a list".to_owned(),
            )),
            (kind, [text]) if !text.is_empty() => {
                let (value, expected) = read_one(kind, text);
                value.ok_or_else(|| self.wrong(&expected, format!("\"{text}\"")))
            }
            (_, [_]) => Err(self.wrong(
                "a value (leave the line out for the default)",
                "nothing".to_owned(),
            )),
            _ => Err(self.wrong(
                "one value; put it in quotes if it has a comma",
                "a list".to_owned(),
            )),
        }
    }

    pub(super) fn wrong(&self, expected: &str, found: String) -> SettingsError {
        SettingsError::WrongValue {
            origin: self.origin.clone(),
            key: self.key.to_owned(),
            expected: expected.to_owned(),
            found,
        }
    }
}

/// The text if it can stand in front of `:port`; an IPv6 address gets the brackets that it needs there.
pub(super) fn host(text: &str) -> Option<String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("[{text}]"));
    }
    let is_stray = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@');
    let is_bracketed = text.starts_with('[') && text.ends_with(']');
    let is_host = !text.contains(is_stray) && (is_bracketed || !text.contains(':'));
    is_host.then(|| text.to_owned())
}

/// The value, if the text is one of that kind, and what such a text looks like.
fn read_one(kind: Kind, text: &str) -> (Option<Value>, String) {
    let number = |least: u64, most: u64| {
        text.parse::<u64>()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .map(Value::Number)
    };
    match kind {
        Kind::Boolean => {
            let value = match text.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            };
            (value.map(Value::Boolean), "True or False".to_owned())
        }
        Kind::Number { least, most } => (
            number(least, most),
            format!("a whole number between {least} and {most}"),
        ),
        Kind::Seconds { least } => (
            number(least, MOST_SECONDS),
            format!("a whole number of seconds, {least} or more"),
        ),
        Kind::Address => (
            text.parse().ok().map(Value::Address),
            "an IP address such as 0.0.0.0 (all networks) or 127.0.0.1 (this machine only)"
                .to_owned(),
        ),
        Kind::Level => (
            text.parse().ok().map(Value::Level),
            format!("one of {}", LogLevel::NAMES.join(", ")),
        ),
        Kind::Text | Kind::Path | Kind::List | Kind::Labels | Kind::Secret => {
            (Some(Value::Text(text.to_owned())), "a text".to_owned())
        }
    }
}
