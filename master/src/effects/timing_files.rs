//! The files in which the original keeps how long atoms take: the first knowledge of a farm that moved
//! here. Only read, never written.

use clusterrunner_common::disk::regular_file;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// The longest file that is read: some hundreds of thousands of atoms.
const MOST_BYTES: u64 = 64 << 20;

/// The longest duration that is believed, in seconds: a hundred years.
const MOST_SECONDS: f64 = 3.2e9;

/// Where they lie below a base directory.
#[must_use]
pub(crate) fn directory(base_directory: &Path) -> PathBuf {
    base_directory.join("timings").join("master")
}

/// Milliseconds of the atoms that the original's file of this job knows; empty without one, or where it
/// can not be read. Blocks.
#[must_use]
pub(crate) fn read(
    directory: &Path,
    request: &BuildRequest,
    job_name: &str,
) -> HashMap<String, u64> {
    let Some(path) = place(request, job_name) else {
        return HashMap::new();
    };
    // The original leaves dashes out of the whole path to a repository's file, its own directory's too.
    let undashed = PathBuf::from(directory.to_string_lossy().replace('-', ""));
    let files = [directory.join(&path), undashed.join(&path)];
    files
        .iter()
        .find_map(|file| times(file))
        .unwrap_or_default()
}

fn times(file: &Path) -> Option<HashMap<String, u64>> {
    let text = regular_file::read_to_string(file, MOST_BYTES).ok()?;
    let seconds: HashMap<String, serde_json::Value> = serde_json::from_str(&text).ok()?;
    let known = |(atom, value): (String, serde_json::Value)| {
        let seconds = value
            .as_f64()
            .filter(|s| (0.0..=MOST_SECONDS).contains(s))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive and not too large"
        )]
        let milliseconds = (seconds * 1000.0).round() as u64;
        Some((atom, milliseconds))
    };
    Some(seconds.into_iter().filter_map(known).collect())
}

/// Where the file of a job is, below the directory of all of them; `None` where it would be elsewhere.
fn place(request: &BuildRequest, job_name: &str) -> Option<PathBuf> {
    let project = match &request.project {
        ProjectSource::Directory { project_directory } => project_directory.clone(),
        ProjectSource::Git { url, .. } => repository(url),
        // The original has none of these.
        ProjectSource::Own { .. } => return None,
    };
    let mut path = PathBuf::new();
    for component in Path::new(&project).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir if matches!(request.project, ProjectSource::Directory { .. }) => {
                path.pop();
            }
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let name = format!("{job_name}.timing.json");
    let mut parts = Path::new(&name).components();
    let is_name = matches!(parts.next(), Some(Component::Normal(part)) if part == name.as_str());
    if !is_name || parts.next().is_some() || name.contains('\0') {
        return None;
    }
    Some(path.join(name))
}

/// The original's name for the directory of a repository: host, or scheme where there is none, and the
/// path up to the first dot of its last part, without dashes.
fn repository(url: &str) -> String {
    let is_scheme = |text: &str| {
        let mut letters = text.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = match url.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("", url),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let first = match host {
        "" => scheme.to_owned(),
        host => host.replace(':', ""),
    };
    let (parents, last) = path.rsplit_once('/').unwrap_or(("", path));
    let last = last.split('.').next().unwrap_or_default();
    format!("{first}/{parents}/{last}").replace('-', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(request: &serde_json::Value, job: &str) -> Option<String> {
        let request = BuildRequest::from_json(request).unwrap();
        place(&request, job).map(|path| path.display().to_string())
    }

    #[track_caller]
    fn check_repository(url: &str, expected: &str) {
        let path = of(&json!({"type": "git", "url": url}), "Job");
        assert_eq!(path.unwrap(), format!("{expected}/Job.timing.json"));
    }

    #[test]
    fn a_repository_has_the_originals_place() {
        check_repository(
            "https://github.com/box/StatusWolf.git",
            "github.com/box/StatusWolf",
        );
        check_repository(
            "ssh://source_control.cr.com:1234/master-repo",
            "source_control.cr.com1234/masterrepo",
        );
        check_repository(
            "git@github.com:box/ClusterRunner.git",
            "git@github.com:box/ClusterRunner",
        );
        check_repository("file:///home/me/my-repo", "file/home/me/myrepo");
        check_repository("/home/me/my-repo", "home/me/myrepo");
        check_repository("http://u:p@host:8080/a/b-c/d.e.git", "up@host8080/a/bc/d");
        check_repository("https://host/x/", "host/x");
        check_repository("host:repo", "host/repo");
        check_repository("ssh://git@host/~user/repo.git", "git@host/~user/repo");
    }

    #[test]
    fn a_directory_has_the_originals_place() {
        let directory = |path: &str| json!({"type": "directory", "project_directory": path});
        assert_eq!(
            of(&directory("/home/me/project/"), "Job with space").unwrap(),
            "home/me/project/Job with space.timing.json"
        );
        assert_eq!(
            of(&directory("/home/me/../x"), "None").unwrap(),
            "home/x/None.timing.json"
        );
    }

    #[test]
    fn no_file_is_elsewhere() {
        let directory = json!({"type": "directory", "project_directory": "/p"});
        for job in ["../x", "a/b", "/etc/passwd", "x\0"] {
            assert_eq!(of(&directory, job), None, "{job:?}");
        }
        let out = json!({"type": "git", "url": "https://host/../../etc/x"});
        assert_eq!(of(&out, "Job"), None);
    }

    #[test]
    fn what_is_no_time_is_left_out() {
        let base = tempfile::tempdir().unwrap();
        let project = directory(base.path()).join("p");
        std::fs::create_dir_all(&project).unwrap();
        let text = r#"{"export A=\"1\";": 2.01, "b": "x", "c": -1, "d": 0.0, "e": 1e300}"#;
        std::fs::write(project.join("Job.timing.json"), text).unwrap();
        let request = json!({"type": "directory", "project_directory": "/p"});
        let request = BuildRequest::from_json(&request).unwrap();
        let read = |job| read(&directory(base.path()), &request, job);
        let expected = [("export A=\"1\";".to_owned(), 2010), ("d".to_owned(), 0)];
        assert_eq!(read("Job"), expected.into_iter().collect());
        std::fs::write(project.join("Job.timing.json"), "{").unwrap();
        assert!(read("Job").is_empty() && read("Other").is_empty());
    }
}
