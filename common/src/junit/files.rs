//! Finds the reports that an atom left and reads them.

use super::bounds::{MAX_DIRECTORIES, MAX_ENTRIES, MAX_REPORT, MAX_REPORT_BYTES, MAX_REPORTS};
use super::{ReportError, Reported};
use crate::job::reports::Patterns;
use crate::results::block::tree::{Tree, TreeEntry, tree_entry};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

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
