//! The commands that messages tell the user to enter. They reach the same master with the same settings as the
//! command that prints them.

use clusterrunner_common::lock::lock;
use clusterrunner_common::text::shell::shell_word;
use std::fmt::Display;
use std::path::Path;
use std::sync::Mutex;

/// What each of them has at its end.
static SAME_FARM: Mutex<String> = Mutex::new(String::new());

/// What daemons that are started by hand have at their end.
static SAME_SETTINGS: Mutex<String> = Mutex::new(String::new());

/// From now on commands name this settings file and this master, if they were named on the command line.
pub(crate) fn remember(config_file: Option<&Path>, master: Option<&str>) {
    let file = config_file.map(|file| file.display().to_string());
    let option = |option, value: Option<&str>| match value {
        None => String::new(),
        Some(value) => format!(" {option} {}", shell_word(value)),
    };
    let file = option("-c", file.as_deref());
    *lock(&SAME_FARM) = format!("{file}{}", option("-m", master));
    *lock(&SAME_SETTINGS) = file;
}

/// A command that starts a daemon with the same settings.
pub(crate) fn daemon(rest: impl Display) -> String {
    format!("clusterrunner {rest}{}", lock(&SAME_SETTINGS))
}

/// A command to enter, such as `clusterrunner logs 3 0_1 -m farm:43000` for `logs 3 0_1`.
pub(crate) fn command(rest: impl Display) -> String {
    format!("clusterrunner {rest}{}", lock(&SAME_FARM))
}
