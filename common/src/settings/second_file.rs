//! The second settings file: for what the original's programs refuse in the first one, which they share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file with settings of ours alone that is read besides a settings file, if it is there, and wins over it:
/// `clusterrunner-rust.conf` beside `clusterrunner.conf`.
#[must_use]
pub fn second_file(config_file: &Path) -> PathBuf {
    let mut name = OsString::from(config_file.file_stem().unwrap_or_default());
    name.push("-rust");
    if let Some(extension) = config_file.extension() {
        name.push(".");
        name.push(extension);
    }
    config_file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_settings_file_has_a_second_one_of_its_own() {
        for (file, second) in [
            ("/a/clusterrunner.conf", "/a/clusterrunner-rust.conf"),
            ("farm.conf", "farm-rust.conf"),
            ("/a.b/settings", "/a.b/settings-rust"),
        ] {
            assert_eq!(second_file(Path::new(file)), Path::new(second));
        }
    }
}
