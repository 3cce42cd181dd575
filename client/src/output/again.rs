//! The commands that messages tell the user to enter. They reach the same master with the same settings as the
//! command that prints them.

use clusterrunner_common::lock::lock;
use std::fmt::Display;
use std::path::Path;
use std::sync::Mutex;

/// What each of them has at its end.
static SAME_FARM: Mutex<String> = Mutex::new(String::new());

/// From now on commands name this settings file and this master, if they were named on the command line.
pub(crate) fn remember(config_file: Option<&Path>, master: Option<&str>) {
    let file = config_file.map(|file| file.display().to_string());
    let options = [("-c", file.as_deref()), ("-m", master)];
    let options = options
        .into_iter()
        .filter_map(|(option, value)| Some(format!(" {option} {}", quoted(value?))));
    *lock(&SAME_FARM) = options.collect();
}

/// A command to enter, such as `clusterrunner logs 3 0_1 -m farm:43000` for `logs 3 0_1`.
pub(crate) fn command(rest: impl Display) -> String {
    format!("clusterrunner {rest}{}", lock(&SAME_FARM))
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+,[]".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_back_from_a_shell_as_it_was() {
        assert_eq!(quoted("farm:43000"), "farm:43000");
        assert_eq!(quoted("my conf's"), r"'my conf'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
