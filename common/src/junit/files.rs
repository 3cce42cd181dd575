//! Finds the reports that an atom left and reads them.

use super::bounds::{MAX_DIRECTORIES, MAX_ENTRIES, MAX_REPORT, MAX_REPORT_BYTES, MAX_REPORTS};
use super::{ReportError, Reported};
use crate::results::block::tree::{Tree, TreeEntry, tree_entry};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// How many patterns there may be, and how long each may be.
const MAX_PATTERNS: usize = 20;
const MAX_PATTERN: usize = 200;

/// The names of reports where nothing else is said: those that runners give them by themselves or in their manuals.
const USUAL: [&str; 2] = ["**/junit*.xml", "**/TEST-*.xml"];

/// Which files below `$ARTIFACT_DIR` are reports: paths in which `*` stands for any characters but `/`, `?` for one of
/// these, and `**` for any directories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Patterns(Vec<String>);

/// What is wrong with a pattern. The text goes to the author of the job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternsError {
    /// It could never fit.
    #[error("'{0}' is not a path below $ARTIFACT_DIR such as reports/*.xml or **/junit.xml")]
    NoPath(String),
    /// There are too many, or one is too long.
    #[error("there may be {MAX_PATTERNS} patterns of {MAX_PATTERN} characters at most")]
    TooMuch,
}

impl Default for Patterns {
    fn default() -> Self {
        Self(USUAL.map(str::to_owned).to_vec())
    }
}

impl TryFrom<Vec<String>> for Patterns {
    type Error = PatternsError;

    /// No pattern at all: nothing is a report.
    fn try_from(patterns: Vec<String>) -> Result<Self, PatternsError> {
        let is_long = |pattern: &String| pattern.chars().count() > MAX_PATTERN;
        if patterns.len() > MAX_PATTERNS || patterns.iter().any(is_long) {
            return Err(PatternsError::TooMuch);
        }
        let could_fit = |pattern: &String| {
            let mut parts = pattern.split('/');
            parts.all(|part| !matches!(part, "" | "." | ".."))
        };
        match patterns.iter().find(|pattern| !could_fit(pattern)) {
            Some(wrong) => Err(PatternsError::NoPath(wrong.clone())),
            None => Ok(Self(patterns)),
        }
    }
}

impl From<Patterns> for Vec<String> {
    fn from(patterns: Patterns) -> Self {
        patterns.0
    }
}

impl Patterns {
    /// Whether a file is a report.
    fn has(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').collect();
        self.0.iter().any(|pattern| {
            let pattern: Vec<&str> = pattern.split('/').collect();
            fits(
                &pattern,
                &path,
                |part| *part == "**",
                |pattern, name| {
                    let pattern: Vec<char> = pattern.chars().collect();
                    let name: Vec<char> = name.chars().collect();
                    let fits_one = |wanted: &char, found: &char| *wanted == '?' || wanted == found;
                    fits(&pattern, &name, |wanted| *wanted == '*', fits_one)
                },
            )
        })
    }
}

/// Whether a list fits a pattern in which some parts stand for any number of entries. It never looks back further than
/// to the last of these parts.
fn fits<P, T>(
    pattern: &[P],
    list: &[T],
    is_any: impl Fn(&P) -> bool,
    fits_one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut l) = (0, 0);
    let mut last_any = None;
    while let Some(entry) = list.get(l) {
        match pattern.get(p) {
            Some(part) if is_any(part) => {
                last_any = Some((p, l));
                p += 1;
            }
            Some(part) if fits_one(part, entry) => {
                p += 1;
                l += 1;
            }
            _ => {
                let Some((any, from)) = last_any else {
                    return false;
                };
                last_any = Some((any, from + 1));
                (p, l) = (any + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(is_any)
}

/// Reads the reports below the directory that an atom left, whose users know it as `known_as`. Ends early where
/// `is_to_stop` says so. Blocks.
#[must_use]
pub fn collect(
    directory: &Path,
    known_as: &str,
    patterns: &Patterns,
    is_to_stop: &dyn Fn() -> bool,
) -> Reported {
    let mut reported = Reported::default();
    // What can not be looked through is told when it is packed.
    let Ok(mut found) = find(directory, patterns, is_to_stop) else {
        return reported;
    };
    found.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut left = MAX_REPORT_BYTES;
    for (number, (path, size)) in found.iter().enumerate() {
        if is_to_stop() {
            break;
        }
        let name = format!("{known_as}/{path}");
        if *size > MAX_REPORT as u64 {
            reported.leave_out(&name, &ReportError::TooLarge);
        } else if number >= MAX_REPORTS || *size > left {
            reported.leave_out(&name, &"there are too many of them");
        } else {
            left -= size;
            match content(directory, Path::new(path)) {
                Ok(content) => reported.read(&name, content),
                Err(error) => reported.leave_out(&name, &error),
            }
        }
    }
    reported
}

/// The paths and sizes of the reports, in no order.
fn find(
    directory: &Path,
    patterns: &Patterns,
    is_to_stop: &dyn Fn() -> bool,
) -> io::Result<Vec<(String, u64)>> {
    let tree = Tree::open(directory)?;
    let (mut found, mut seen) = (Vec::new(), 0);
    let mut waiting = vec![PathBuf::new()];
    while let Some(inside) = waiting.pop() {
        let Ok((opened, names)) = tree.directory(&inside) else {
            continue;
        };
        for name in names.filter_map(Result::ok) {
            seen += 1;
            if seen > MAX_ENTRIES || is_to_stop() {
                return Ok(found);
            }
            let path = inside.join(&name);
            match tree_entry(&opened, &name) {
                Ok(TreeEntry::Directory) if path.components().count() < MAX_DIRECTORIES => {
                    waiting.push(path);
                }
                Ok(TreeEntry::File(_, metadata)) => {
                    let path = path.to_str().filter(|path| patterns.has(path));
                    found.extend(path.map(|path| (path.to_owned(), metadata.len())));
                }
                Ok(TreeEntry::Directory | TreeEntry::Link { .. } | TreeEntry::Other) | Err(_) => {}
            }
        }
    }
    Ok(found)
}

fn content(directory: &Path, inside: &Path) -> io::Result<Vec<u8>> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let tree = Tree::open(directory)?;
    let above = inside.parent().unwrap_or(Path::new(""));
    let (opened, _) = tree.directory(above)?;
    let name = inside.file_name().ok_or_else(gone)?;
    let file: File = match tree_entry(&opened, name)? {
        TreeEntry::File(file, _) => file,
        TreeEntry::Directory | TreeEntry::Link { .. } | TreeEntry::Other => return Err(gone()),
    };
    let mut content = Vec::new();
    // It may have grown since: what is too long is found out.
    file.take(MAX_REPORT as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(given: &[&str]) -> Result<Patterns, PatternsError> {
        let given: Vec<String> = given.iter().map(|pattern| (*pattern).to_owned()).collect();
        given.try_into()
    }

    #[test]
    fn the_usual_names_are_reports_wherever_they_are() {
        let usual = Patterns::default();
        for path in [
            "junit.xml",
            "junit-1.xml",
            "a/b/junit_x.xml",
            "surefire-reports/TEST-a.B.xml",
        ] {
            assert!(usual.has(path), "{path}");
        }
        for path in [
            "coverage.xml",
            "my-junit.xml",
            "junit.xml.gz",
            "junit/a.xml",
            "test-a.xml",
        ] {
            assert!(!usual.has(path), "{path}");
        }
    }

    #[test]
    fn a_job_may_name_others() {
        for (pattern, fitting, others) in [
            ("*.xml", &["a.xml", ".xml"][..], &["a/a.xml", "a.xmlx"][..]),
            ("**/*.xml", &["a.xml", "a/b/c.xml"], &["a/b"]),
            (
                "a/**/b?.xml",
                &["a/b1.xml", "a/x/y/bü.xml"],
                &["b1.xml", "a/b.xml", "a/b12.xml"],
            ),
            ("a/**", &["a/b", "a/b/c"], &["b/a"]),
            ("**", &["a", "a/b"], &[]),
            ("*a*a*b", &["aab", "xaxaxb", "aaaab"], &["ab", "aaba"]),
        ] {
            let patterns = patterns(&[pattern]).unwrap();
            for path in fitting {
                assert!(patterns.has(path), "{pattern} {path}");
            }
            for path in others {
                assert!(!patterns.has(path), "{pattern} {path}");
            }
        }
        assert!(!patterns(&[]).unwrap().has("junit.xml"));
        // What would take ages where each part is tried with each.
        let hard = patterns(&[&"*a".repeat(99)]).unwrap();
        assert!(!hard.has(&"a".repeat(98)) && !hard.has(&format!("{}b", "a".repeat(5_000))));
    }

    #[test]
    fn a_pattern_that_could_fit_nothing_is_refused() {
        for wrong in ["", "/a", "../a", "a//b", "a/", "./a"] {
            let error = patterns(&[wrong]).unwrap_err();
            assert_eq!(error, PatternsError::NoPath(wrong.to_owned()));
        }
        assert_eq!(patterns(&[&"a".repeat(201)]), Err(PatternsError::TooMuch));
        assert_eq!(patterns(&["a"; 21]), Err(PatternsError::TooMuch));
    }

    const REPORT: &str = "<testsuite><testcase name='t'/></testsuite>";

    #[test]
    fn reports_are_found_in_order_and_what_is_no_file_is_left_alone() {
        let left = tempfile::tempdir().unwrap();
        let deep = left.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let report = |name: &str| REPORT.replace("'t'", &format!("'{name}'"));
        std::fs::write(left.path().join("junit.xml"), report("last")).unwrap();
        std::fs::write(deep.join("TEST-x.xml"), report("first")).unwrap();
        std::fs::write(left.path().join("junit-broken.xml"), "<testsuite>").unwrap();
        std::fs::create_dir(left.path().join("junit-directory.xml")).unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(elsewhere.path(), report("elsewhere")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), left.path().join("junit-link.xml")).unwrap();
        let socket = left.path().join("junit-socket.xml");
        let _socket = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let large = File::create(left.path().join("junit-large.xml")).unwrap();
        // A file with a hole: it claims a gigabyte and has nothing.
        large.set_len(1 << 30).unwrap();
        let found = collect(left.path(), "artifact_3_0", &Patterns::default(), &|| false);
        let names: Vec<&str> = found.tests.iter().map(|test| &*test.name).collect();
        assert_eq!(names, ["first", "last"]);
        let expected = "2 JUnit reports were not read: artifact_3_0/junit-broken.xml (it ends before its last \
                        element does), artifact_3_0/junit-large.xml (it has more than 32 MiB)";
        assert_eq!(found.warning().unwrap(), expected);
        let stopped = collect(left.path(), "a", &Patterns::default(), &|| true);
        assert!(stopped.tests.is_empty() && stopped.warning().is_none());
        let gone = collect(
            &left.path().join("none"),
            "a",
            &Patterns::default(),
            &|| false,
        );
        assert!(gone.tests.is_empty() && gone.warning().is_none());
    }
}
