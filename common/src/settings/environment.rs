//! Variables of the environment that look like settings and are none.

use super::keys::{self, nearest_key};
use crate::process::command::MARK_VARIABLE;
use crate::process::variables::OF_BUILDS;
use std::fmt;

const PREFIX: &str = "CLUSTERRUNNER_";

/// The token with which commands ask; no setting, since a token is one user's and settings are a machine's.
pub const TOKEN_VARIABLE: &str = "CLUSTERRUNNER_TOKEN";

/// A variable that no program reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The variable that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment variable {} is no setting", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => write!(f, "; conf/clusterrunner.conf lists all settings"),
        }
    }
}

fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<UnknownVariable> {
    let mut unknown: Vec<UnknownVariable> = names
        .into_iter()
        .filter_map(|name| {
            let key = name.strip_prefix(PREFIX)?.to_lowercase();
            let is_known = name == MARK_VARIABLE
                || name == TOKEN_VARIABLE
                || OF_BUILDS.contains(&name.as_str())
                || keys::variable(&key) == name && keys::key(&key).is_some();
            let nearest = nearest_key(&key).map(|key| keys::variable(&key));
            (!is_known).then_some(UnknownVariable { name, nearest })
        })
        .collect();
    unknown.sort_by(|a, b| a.name.cmp(&b.name));
    unknown
}

/// The variables of this process that begin like settings and are none, in order. They are no error:
/// other programs, too, may choose such names.
#[must_use]
pub fn unknown_variables_here() -> Vec<UnknownVariable> {
    let names = std::env::vars_os().map(|(name, _)| name);
    unknown_variables(names.filter_map(|name| name.into_string().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told() {
        let names = [
            "CLUSTERRUNNER_PORT",
            "CLUSTERRUNNER_BUILD_ID",
            "CLUSTERRUNNER_NUM_EXECUTOR",
            "PATH",
            "CLUSTERRUNNER_zzz",
            "CLUSTERRUNNER_port",
            MARK_VARIABLE,
            TOKEN_VARIABLE,
        ];
        let told: Vec<String> = unknown_variables(names.map(str::to_owned))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "the environment variable CLUSTERRUNNER_NUM_EXECUTOR is no setting; did you mean CLUSTERRUNNER_NUM_EXECUTORS?",
                "the environment variable CLUSTERRUNNER_port is no setting; did you mean CLUSTERRUNNER_PORT?",
                "the environment variable CLUSTERRUNNER_zzz is no setting; conf/clusterrunner.conf lists all settings",
            ]
        );
    }
}
