//! Variables of the environment that a build brings along. Their values are for its commands only: no log, no message and
//! no answer has them.

mod allowed;

pub use allowed::AllowedVariables;

use crate::text::masking::Mask;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What our own variables begin with.
const OURS: &str = "CLUSTERRUNNER_";
/// Says which template a build is to leave. The commands of such a build alone have it.
pub const TEMPLATE_VARIABLE: &str = "CLUSTERRUNNER_TEMPLATE";
/// Which of ours commands have: what build they are of.
pub const OF_BUILDS: [&str; 8] = [
    "CLUSTERRUNNER_BUILD_ID",
    "CLUSTERRUNNER_COMMIT",
    "CLUSTERRUNNER_BRANCH",
    "CLUSTERRUNNER_JOB",
    "CLUSTERRUNNER_ATTEMPT",
    TEMPLATE_VARIABLE,
    "CLUSTERRUNNER_PROGRAM",
    "CLUSTERRUNNER_CONTAINERS",
];
/// Those that are set for each command, whatever a build says.
const OF_COMMANDS: [&str; 6] = [
    "PROJECT_DIR",
    "ARTIFACT_DIR",
    "ATOM_ID",
    "EXECUTOR_INDEX",
    "MACHINE_EXECUTOR_INDEX",
    "BUILD_EXECUTOR_INDEX",
];
/// The most bytes of one with its name: the system gives no program more in one variable.
const LONGEST: usize = 127 << 10;

/// Names and values. What is shown of them for debugging is their number.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({})", self.0.len())
    }
}

impl Variables {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes they take.
    #[must_use]
    pub fn size(&self) -> usize {
        let sizes = self.0.iter();
        sizes.map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Sets one variable.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets all of these variables.
    pub fn set_all(&mut self, others: &Self) {
        self.0.extend(others.0.clone());
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.0.iter();
        entries.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What commands of a build find in their environment besides what is set for each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildVariables {
    /// In place of the daemon's own environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited: Option<Variables>,
    /// What is added to the environment.
    #[serde(default, skip_serializing_if = "Variables::is_empty")]
    pub set: Variables,
    /// What is added beside that for commands that are given the secrets of the build. Only a slave has it, and only in
    /// memory: no message and no file has this field.
    #[serde(skip)]
    pub secret: Variables,
    /// Where files with secrets lie, which containers are given.
    #[serde(skip)]
    pub secret_files: Option<PathBuf>,
    /// What is taken out of all that they print.
    #[serde(skip)]
    pub mask: Arc<Mask>,
}

impl BuildVariables {
    /// All that is added to the environment, in the order in which it is.
    pub fn added(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().chain(self.secret.iter())
    }

    /// The value of one that is added.
    #[must_use]
    pub fn get_added(&self, name: &str) -> Option<&str> {
        self.secret.get(name).or_else(|| self.set.get(name))
    }

    /// The same for a command that is given no secrets. They are masked in what it prints all the same.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        Self {
            secret: Variables::default(),
            secret_files: None,
            ..self.clone()
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether no program could be started with a variable.
#[must_use]
pub fn is_too_long(name: &str, value: &str) -> bool {
    name.len() + value.len() > LONGEST
}

/// Whether shells can see a variable of this name: letters, digits and underscores, no digit first.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether bash sets a variable of this name itself: a command that exports another value still finds bash's own.
#[must_use]
pub fn is_set_by_bash(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "_",
        "DIRSTACK",
        "EPOCHREALTIME",
        "EPOCHSECONDS",
        "EUID",
        "FUNCNAME",
        "GROUPS",
        "HISTCMD",
        "LINENO",
        "OPTIND",
        "PPID",
        "RANDOM",
        "SECONDS",
        "SHELLOPTS",
        "SRANDOM",
        "UID",
    ];
    const OF_BASH_ITSELF: [&str; 11] = [
        "BASHOPTS",
        "BASHPID",
        "BASH_ARGC",
        "BASH_ARGV",
        "BASH_CMDS",
        "BASH_COMMAND",
        "BASH_LINENO",
        "BASH_REMATCH",
        "BASH_SOURCE",
        "BASH_SUBSHELL",
        "BASH_VERSINFO",
    ];
    NAMES.contains(&name) || OF_BASH_ITSELF.contains(&name)
}

/// The same as [`check`] for a variable that somebody chose, which shells are to see.
///
/// # Errors
/// As `check`; or it is no name for a shell.
pub fn check_chosen(name: &str, value: &str) -> Result<(), &'static str> {
    match name.is_empty() || is_name(name) {
        true => check(name, value),
        false => Err("given a name of letters, digits and underscores, since shells see no other"),
    }
}

/// Whether shells, the linker or most programs do something else because of a variable of this name. One that somebody sets for
/// the value's own sake has another.
fn steers_programs(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "BASH_COMPAT",
        "BASH_ENV",
        "BASH_XTRACEFD",
        "CDPATH",
        "ENV",
        "GCONV_PATH",
        "GLOBIGNORE",
        "HOME",
        "HOSTNAME",
        "IFS",
        "LOGNAME",
        "OLDPWD",
        "PATH",
        "POSIXLY_CORRECT",
        "PROMPT_COMMAND",
        "PS4",
        "PWD",
        "SHELL",
        "SHLVL",
        "TERM",
        "TMPDIR",
        "USER",
    ];
    NAMES.contains(&name) || name.starts_with("LD_")
}

/// Why a secret can not have a name; the text says what would be right.
///
/// # Errors
/// No variable that a user chooses can have the name, or one that has it is no secret.
pub fn check_secret_name(name: &str) -> Result<(), &'static str> {
    if is_set_by_bash(name) {
        return Err("another one, since bash sets this variable itself");
    }
    if !is_name(name) {
        return Err("of letters, digits and underscores, since shells see no other variables");
    }
    if is_ours(name) {
        return Err("another one, since ClusterRunner sets this variable itself");
    }
    if steers_programs(name) {
        return Err("another one, since by this variable shells and programs are told what to do");
    }
    check(name, "")
}

/// Whether ClusterRunner sets a variable of this name.
fn is_ours(name: &str) -> bool {
    name.starts_with(OURS) || OF_COMMANDS.contains(&name)
}

/// Why a build can not have a variable; the text says what would be right. The value is not in it.
///
/// # Errors
/// The name or the value can not be in an environment, or is ClusterRunner's own.
pub fn check(name: &str, value: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("given a name without '=' and NUL characters");
    }
    if is_ours(name) {
        return Err("left out, since ClusterRunner sets this variable itself");
    }
    if value.contains('\0') {
        return Err("text without NUL characters");
    }
    if is_too_long(name, value) {
        return Err("of at most 127 KiB: write longer values into a file");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_shown() {
        let mut set = Variables::default();
        set.set("TOKEN", "a secret");
        let variables = BuildVariables {
            inherited: Some(set.clone()),
            secret: set.clone(),
            set,
            ..BuildVariables::default()
        };
        let shown = format!("{variables:?}");
        assert!(!shown.contains("a secret"), "{shown}");
    }

    #[test]
    fn what_bash_sets_itself_is_known() {
        let found = |name: &str| {
            let text = format!(
                "export {name}=an-atom 2>/dev/null; true; [[ x =~ x ]]; printf %s \"${name}\""
            );
            let mut bash = std::process::Command::new("bash");
            bash.env_clear().args(["-c", &text]);
            let output = bash.stderr(std::process::Stdio::null()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for name in [
            "_",
            "UID",
            "GROUPS",
            "SECONDS",
            "RANDOM",
            "PPID",
            "BASH_REMATCH",
            "BASHPID",
        ] {
            assert!(is_set_by_bash(name), "{name}");
            assert_ne!(found(name), "an-atom", "{name}");
        }
        for name in [
            "FILE", "PATH", "HOME", "GROUP", "USER", "BASH_ENV", "COLUMNS", "REPLY", "TMOUT",
        ] {
            assert!(!is_set_by_bash(name), "{name}");
            assert_eq!(found(name), "an-atom", "{name}");
        }
    }

    #[test]
    fn a_secret_is_no_variable_that_steers_programs() {
        for name in ["API_TOKEN", "PATHS", "HOME_TOKEN", "LDAP_PASSWORD", "_KEY"] {
            assert_eq!(check_secret_name(name), Ok(()), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "IFS",
            "ENV",
            "BASH_ENV",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "SHELLOPTS",
            "UID",
            "PROJECT_DIR",
            "a-b",
        ] {
            check_secret_name(name).unwrap_err();
        }
    }

    #[test]
    fn what_can_not_be_set_is_refused() {
        for (name, value) in [("A", ""), ("BASH_FUNC_a%%", "() { :; }"), ("PATH", "/bin")] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        let long = "x".repeat(LONGEST);
        for (name, value) in [
            ("", "x"),
            ("A=B", "x"),
            ("A\0", "x"),
            ("A", "\0"),
            ("A", &long),
            ("PROJECT_DIR", "x"),
            ("CLUSTERRUNNER_SECRET", "x"),
        ] {
            check(name, value).unwrap_err();
        }
    }
}
