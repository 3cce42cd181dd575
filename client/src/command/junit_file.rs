//! The JUnit report of a build as a file, where CI systems look for it: whole or not at all.

use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_common::ids::BuildId;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::{NamedTempFile, TempPath};

/// Says now that a report could not be written later.
pub(super) fn check(path: &Path) -> Result<(), Trouble> {
    if path.is_dir() {
        return Err(Trouble::usage(format!("{} is a directory", path.display()))
            .hint("--junit names a file, such as junit.xml"));
    }
    beside(path).map(drop)
}

/// Writes the report of a build.
pub(super) async fn write(client: &Client, build: BuildId, path: &Path) -> Result<(), Trouble> {
    let written = beside(path)?;
    client.junit(build, &written).await?;
    written
        .persist(path)
        .map_err(|error| failed(path, &error.error))?;
    output::note(format!("the JUnit report is in {}", path.display()));
    Ok(())
}

/// An empty file in the same directory, which is made if it is not there.
fn beside(path: &Path) -> Result<TempPath, Trouble> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let made = std::fs::create_dir_all(above).and_then(|()| {
        // Others may read it, as far as the umask lets them.
        let mut file = tempfile::Builder::new();
        file.prefix(".junit-")
            .permissions(Permissions::from_mode(0o666));
        file.tempfile_in(above)
    });
    let made = made.map_err(|error| failed(path, &error));
    made.map(NamedTempFile::into_temp_path)
}

fn failed(path: &Path, error: &io::Error) -> Trouble {
    Trouble::new(format!("could not write {}: {error}", path.display()))
        .hint("--junit names another file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_report_can_not_be_is_said_at_once() {
        let directory = tempfile::tempdir().unwrap();
        check(&directory.path().join("junit.xml")).unwrap();
        check(&directory.path().join("made/when/needed/junit.xml")).unwrap();
        assert!(directory.path().join("made/when/needed").is_dir());
        assert!(check(directory.path()).is_err());
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(check(&file.join("junit.xml")).is_err());
        // Nothing is left of the trial.
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 2);
    }
}
