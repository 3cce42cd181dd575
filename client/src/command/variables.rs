//! The variables of the environment that `clusterrunner build` sends along.

use crate::output;
use crate::trouble::Trouble;
use clusterrunner_common::process::variables::{self, Variables};
use clusterrunner_common::text::printable::plain;
use std::ffi::OsString;

/// Those that a shell keeps for itself.
const OF_SHELLS: [&str; 6] = ["_", "SHLVL", "PWD", "OLDPWD", "SHELLOPTS", "BASHOPTS"];

/// What `--env` says: `NAME=VALUE`, or `NAME` for the value that it has here.
pub(super) fn chosen(options: &[String]) -> Result<Variables, Trouble> {
    let mut chosen = Variables::default();
    for option in options {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (option.as_str(), value_here(option)?),
        };
        variables::check_chosen(name, &value).map_err(|right| {
            Trouble::usage(format!("--env {}: it must be {right}", plain(name)))
        })?;
        chosen.set(name, value);
    }
    Ok(chosen)
}

fn value_here(name: &str) -> Result<String, Trouble> {
    std::env::var(name).map_err(|_| {
        let trouble = Trouble::usage(format!(
            "--env {}: there is no such variable here, or it is not UTF-8 text",
            plain(name)
        ));
        trouble.hint("write --env NAME=VALUE to give it a value")
    })
}

/// The environment of this command, as a build of a farm of this machine takes it over: all but ClusterRunner's own
/// variables and those that a shell keeps for itself.
pub(super) fn brought(environment: impl Iterator<Item = (OsString, OsString)>) -> Variables {
    let mut brought = Variables::default();
    let mut left_out = Vec::new();
    for (name, value) in environment {
        let (name, value) = match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => (name, value),
            (Ok(name), Err(_)) => {
                left_out.push(name);
                continue;
            }
            (Err(_), _) => continue,
        };
        if variables::is_too_long(&name, &value) {
            left_out.push(name);
        } else if !OF_SHELLS.contains(&name.as_str()) && variables::check(&name, &value).is_ok() {
            brought.set(name, value);
        }
    }
    if !left_out.is_empty() {
        output::note(format!(
            "variables that are not UTF-8 text or longer than 127 KiB are left out: {}",
            plain(&left_out.join(", "))
        ));
    }
    brought
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn what_is_ours_or_the_shells_stays_here() {
        let environment = [
            ("PATH", "/bin"),
            ("BASH_FUNC_a%%", "() { :; }"),
            ("EMPTY", ""),
            ("CLUSTERRUNNER_SECRET", "x"),
            ("PROJECT_DIR", "/p"),
            ("SHLVL", "2"),
            ("_", "/bin/env"),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let odd = ("ODD".into(), OsString::from_vec(vec![0xff]));
        let brought = brought(environment.into_iter().chain([odd]));
        let names: Vec<&str> = brought.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["BASH_FUNC_a%%", "EMPTY", "PATH"]);
    }

    #[test]
    fn a_choice_has_a_value_of_its_own_or_the_one_here() {
        let path = std::env::var("PATH").unwrap();
        let options = ["A=b=c", "B=", "PATH"].map(str::to_owned);
        let chosen = chosen(&options).unwrap();
        let entries: Vec<(&str, &str)> = chosen.iter().collect();
        assert_eq!(entries, [("A", "b=c"), ("B", ""), ("PATH", path.as_str())]);
        for wrong in ["=x", "PROJECT_DIR=x", "NOT_SET_ANYWHERE"] {
            super::chosen(&[wrong.to_owned()]).unwrap_err();
        }
    }
}
