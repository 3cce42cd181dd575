//! The commands that messages tell the user to enter. They reach the same master with the same settings as the
//! command that prints them.

use clusterrunner_common::lock::lock;
use clusterrunner_common::text::shell::shell_word;
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
        .filter_map(|(option, value)| Some(format!(" {option} {}", shell_word(value?))));
    *lock(&SAME_FARM) = options.collect();
}

/// A command to enter, such as `clusterrunner logs 3 0_1 -m farm:43000` for `logs 3 0_1`.
pub(crate) fn command(rest: impl Display) -> String {
    format!("clusterrunner {rest}{}", lock(&SAME_FARM))
}
