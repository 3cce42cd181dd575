//! The JUnit report of a build as a file, where CI systems look for it: whole or not at all.

use crate::output;
use crate::output::text::count;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_common::api::{BuildStatus, BuildView};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::junit::{self, OfBuild};
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
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

/// The same, and removes the report of an earlier build: whatever happens from now on, nobody takes it for that of this one.
pub(super) fn make_way(path: &Path) -> Result<(), Trouble> {
    check(path)?;
    // What is no file, such as a pipe, holds no report.
    let is_there = path
        .symlink_metadata()
        .is_ok_and(|there| there.is_file() || there.is_symlink());
    match is_there {
        true => std::fs::remove_file(path).map_err(|error| failed(path, &error)),
        false => Ok(()),
    }
}

/// Writes the report of a build.
pub(super) async fn write(client: &Client, build: BuildId, path: &Path) -> Result<(), Trouble> {
    let written = beside(path)?;
    client.junit(build, &written).await?;
    let said = of_build(&client.build(build).await?);
    if !said.is_empty() {
        add(&written, &junit::suite_of_build(&said)).map_err(|error| failed(path, &error))?;
    }
    written
        .persist(path)
        .map_err(|error| failed(path, &error.error))?;
    output::note(format!("the JUnit report is in {}", path.display()));
    Ok(())
}

/// What the tests of a build do not say of the build: why it is not a good one, whatever they are.
fn of_build(build: &BuildView) -> Vec<OfBuild> {
    let mut said = Vec::new();
    let error = match build.status {
        BuildStatus::Finished if build.lacks_atoms => {
            Some("the build has no atoms, so nothing was tested")
        }
        BuildStatus::Finished => None,
        BuildStatus::Error => Some("the build could not be prepared or run"),
        BuildStatus::Canceled => Some("the build was canceled"),
        BuildStatus::Queued | BuildStatus::Building => {
            Some("the build was not over when this was written")
        }
    };
    if let Some(error) = error {
        said.push(OfBuild::Error(match &build.error_message {
            Some(message) => format!("{error}: {message}"),
            None => error.to_owned(),
        }));
    }
    if let Some(not_run) = build.num_atoms_not_run.filter(|number| *number > 0) {
        let were = if not_run == 1 { "was" } else { "were" };
        said.push(OfBuild::NotRun(format!(
            "{} {were} not run",
            count(not_run, "atom")
        )));
    }
    said
}

/// Adds a suite at the end of a report.
fn add(report: &Path, suite: &str) -> io::Result<()> {
    let half = || io::Error::other("the master sent half a report");
    let end = junit::end();
    let mut file = File::options().read(true).write(true).open(report)?;
    let length = file.metadata()?.len();
    let at = length.checked_sub(end.len() as u64).ok_or_else(half)?;
    file.seek(SeekFrom::Start(at))?;
    let mut found = String::new();
    file.read_to_string(&mut found)?;
    if found != end {
        return Err(half());
    }
    file.seek(SeekFrom::Start(at))?;
    file.write_all(format!("{suite}{end}").as_bytes())
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
    fn no_build_but_a_good_one_has_nothing_said_of_it() {
        let build = |status: &str, more: serde_json::Value| -> BuildView {
            let mut view = serde_json::json!({
                "id": 1, "status": status, "details": null, "error_message": null, "num_atoms": 4,
                "num_subjobs": 4, "failed_atoms": [], "result": "NO_FAILURES", "request_params": {},
                "state_timestamps": {}, "artifacts": null,
            });
            for (name, value) in more.as_object().unwrap() {
                view[name] = value.clone();
            }
            serde_json::from_value(view).unwrap()
        };
        let check = |status: &str, more: serde_json::Value, expected: &[&str]| {
            let said = of_build(&build(status, more));
            let said: Vec<String> = said.iter().map(|one| format!("{one:?}")).collect();
            assert_eq!(said.len(), expected.len(), "{said:?}");
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{said}");
            }
        };
        let none = serde_json::json!({});
        check("FINISHED", none.clone(), &[]);
        check("FINISHED", serde_json::json!({"num_atoms_not_run": 0}), &[]);
        check(
            "FINISHED",
            serde_json::json!({"lacks_atoms": true}),
            &["Error(\"the build has no atoms"],
        );
        check(
            "FINISHED",
            serde_json::json!({"num_atoms_not_run": 3}),
            &["NotRun(\"3 atoms were not run"],
        );
        let why = serde_json::json!({"error_message": "no such branch"});
        check("ERROR", why, &["run: no such branch"]);
        let rest = serde_json::json!({"num_atoms_not_run": 1});
        check(
            "CANCELED",
            rest,
            &["Error(\"the build was canceled", "1 atom was not run"],
        );
        check("BUILDING", none, &["not over"]);
    }

    #[test]
    fn a_suite_is_added_to_a_whole_report_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("junit.xml");
        let beginning = junit::beginning("build 7");
        std::fs::write(&path, format!("{beginning}{}", junit::end())).unwrap();
        add(&path, "  <testsuite/>\n").unwrap();
        let expected = format!("{beginning}  <testsuite/>\n{}", junit::end());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        for half in ["", &beginning] {
            std::fs::write(&path, half).unwrap();
            add(&path, "  <testsuite/>\n").unwrap_err();
        }
    }

    #[test]
    fn an_earlier_report_is_gone_from_the_start_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("junit.xml");
        make_way(&path).unwrap();
        std::fs::write(&path, "of an earlier build").unwrap();
        make_way(&path).unwrap();
        assert!(!path.exists());
        make_way(directory.path()).unwrap_err();
    }

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
