//! Finds the reports that an atom left and reads them.

use super::bounds::{MAX_DIRECTORIES, MAX_ENTRIES, MAX_REPORT, MAX_REPORT_BYTES, MAX_REPORTS};
use super::{ReportError, Reported};
use crate::job::reports::Patterns;
use crate::results::block::tree::{Tree, TreeEntry, tree_entry};
use crate::text::masking::Mask;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why it is unknown which reports there are.
const TOO_MANY: &str = "it has too many files for a search";
const TOO_DEEP: &str = "it lies too deep for a search";

/// Reads the reports below the directory that an atom left, whose users know it as `known_as`. Of their texts `mask` is
/// taken out. Ends early where `is_to_stop` says so. Blocks.
#[must_use]
pub fn collect(
    directory: &Path,
    known_as: &str,
    patterns: &Patterns,
    mask: &Arc<Mask>,
    is_to_stop: &dyn Fn() -> bool,
) -> Reported {
    collect_among(
        MAX_ENTRIES,
        (directory, known_as),
        patterns,
        mask,
        is_to_stop,
    )
}

/// The same where at most so many entries are looked at.
fn collect_among(
    most: usize,
    (directory, known_as): (&Path, &str),
    patterns: &Patterns,
    mask: &Arc<Mask>,
    is_to_stop: &dyn Fn() -> bool,
) -> Reported {
    let mut reported = Reported::masked_by(mask);
    if patterns.are_none() {
        return reported;
    }
    let mut search = Search {
        known_as,
        patterns,
        most,
        found: BTreeMap::new(),
        links: Vec::new(),
        reported: &mut reported,
    };
    if let Err(error) = search.run(directory, is_to_stop) {
        search.reported.leave_out_directory(known_as, &error);
    }
    let found = search.finish();
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

/// The search for reports. What it can not look at is noted: there may be reports in it.
struct Search<'a> {
    known_as: &'a str,
    patterns: &'a Patterns,
    /// How many entries are looked at.
    most: usize,
    /// The paths and sizes of the reports.
    found: BTreeMap<String, u64>,
    /// What has the name of a report and is a link, and where it leads.
    links: Vec<(PathBuf, PathBuf)>,
    reported: &'a mut Reported,
}

impl Search<'_> {
    fn run(&mut self, directory: &Path, is_to_stop: &dyn Fn() -> bool) -> io::Result<()> {
        let tree = Tree::open(directory)?;
        let mut seen = 0;
        let mut waiting = vec![PathBuf::new()];
        while let Some(inside) = waiting.pop() {
            let (opened, names) = match tree.directory(&inside) {
                Ok(opened) => opened,
                Err(error) => {
                    self.leave_out_directory(&inside, &error);
                    continue;
                }
            };
            for name in names {
                seen += 1;
                if is_to_stop() {
                    return Ok(());
                }
                if seen > self.most {
                    self.leave_out(Path::new(""), &TOO_MANY);
                    return Ok(());
                }
                match name {
                    Ok(name) => {
                        let entry = tree_entry(&opened, &name);
                        self.see(inside.join(&name), entry, &mut waiting);
                    }
                    Err(error) => self.leave_out_directory(&inside, &error),
                }
            }
        }
        Ok(())
    }

    fn see(&mut self, path: PathBuf, entry: io::Result<TreeEntry>, waiting: &mut Vec<PathBuf>) {
        let is_report = self.patterns.has(&path.to_string_lossy());
        match entry {
            Ok(TreeEntry::Directory) if path.components().count() < MAX_DIRECTORIES => {
                waiting.push(path);
            }
            Ok(TreeEntry::Directory) => self.leave_out(&path, &TOO_DEEP),
            Ok(TreeEntry::File(_, metadata)) if is_report => match path.to_str() {
                Some(path) => {
                    self.found.insert(path.to_owned(), metadata.len());
                }
                None => self.leave_out(&path, &"its path is no UTF-8"),
            },
            Ok(TreeEntry::Link { target, .. }) if is_report => self.links.push((path, target)),
            Ok(TreeEntry::Other) if is_report => self.leave_out(&path, &"it is no file"),
            Err(error) if is_report => self.leave_out(&path, &error),
            Ok(TreeEntry::File(..) | TreeEntry::Link { .. } | TreeEntry::Other) | Err(_) => {}
        }
    }

    /// What was found. A link is left alone if it is another name of that, in its own directory.
    fn finish(mut self) -> BTreeMap<String, u64> {
        for (path, target) in std::mem::take(&mut self.links) {
            let leads_to = path.with_file_name(&target);
            let is_known = leads_to
                .to_str()
                .is_some_and(|path| self.found.contains_key(path));
            if !is_known {
                self.leave_out(&path, &"it is a link");
            }
        }
        self.found
    }

    fn leave_out(&mut self, path: &Path, why: &dyn std::fmt::Display) {
        let name = self.name_of(path);
        self.reported.leave_out(&name, why);
    }

    fn leave_out_directory(&mut self, path: &Path, why: &dyn std::fmt::Display) {
        let name = self.name_of(path);
        self.reported.leave_out_directory(&name, why);
    }

    /// How users know it.
    fn name_of(&self, path: &Path) -> String {
        match path.as_os_str().is_empty() {
            true => self.known_as.to_owned(),
            false => format!("{}/{}", self.known_as, path.display()),
        }
    }
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
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    const REPORT: &str = "<testsuite><testcase name='t'/></testsuite>";

    #[test]
    fn reports_are_found_in_order_and_what_is_no_file_is_told() {
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
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, left.path().join(name)).unwrap();
        };
        link(elsewhere.path(), "other.xml");
        link(Path::new("junit.xml"), "junit-newest.xml");
        let socket = left.path().join("socket.xml");
        let _socket = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let large = File::create(left.path().join("junit-large.xml")).unwrap();
        // A file with a hole: it claims a gigabyte and has nothing.
        large.set_len(1 << 30).unwrap();
        let found = collect(
            left.path(),
            "artifact_3_0",
            &Patterns::default(),
            &Arc::default(),
            &|| false,
        );
        let names: Vec<&str> = found.tests.iter().map(|test| &*test.name).collect();
        assert_eq!(names, ["first", "last"]);
        let expected = "2 JUnit reports were not read: artifact_3_0/junit-broken.xml (it ends before its last \
                        element does), artifact_3_0/junit-large.xml (it has more than 32 MiB)";
        assert_eq!(found.warning().unwrap(), expected);
        let stopped = collect(
            left.path(),
            "a",
            &Patterns::default(),
            &Arc::default(),
            &|| true,
        );
        assert!(stopped.tests.is_empty() && stopped.warning().is_none());
        let gone = collect(
            &left.path().join("none"),
            "a",
            &Patterns::default(),
            &Arc::default(),
            &|| false,
        );
        assert!(gone.tests.is_empty());
        // Whoever packs what the atom left says that it is gone.
        assert_eq!(gone.warning_beside_artifacts(), None);
        let begins = "a directory was not searched for JUnit reports: a (";
        assert!(gone.warning().unwrap().starts_with(begins));
    }

    #[test]
    fn what_may_be_a_report_and_can_not_be_read_is_told() {
        let warning = |make: &dyn Fn(&Path), patterns: Patterns| {
            let left = tempfile::tempdir().unwrap();
            std::fs::write(left.path().join("junit.xml"), REPORT).unwrap();
            make(left.path());
            let found = collect_among(100, (left.path(), "a"), &patterns, &Arc::default(), &|| {
                false
            });
            found.warning()
        };
        let link = |left: &Path| {
            std::fs::write(left.join("out.xml"), REPORT).unwrap();
            std::os::unix::fs::symlink("out.xml", left.join("junit-2.xml")).unwrap();
        };
        let socket = |left: &Path| {
            std::os::unix::net::UnixListener::bind(left.join("junit-2.xml")).unwrap();
        };
        let no_utf8 = |left: &Path| {
            let name = OsStr::from_bytes(b"junit-\xff.xml");
            std::fs::write(left.join(name), REPORT).unwrap();
        };
        let deep = |left: &Path| {
            std::fs::create_dir_all(left.join("d/".repeat(MAX_DIRECTORIES))).unwrap();
        };
        let many = |left: &Path| {
            for number in 0..100 {
                File::create(left.join(number.to_string())).unwrap();
            }
        };
        for (make, expected) in [
            (&link as &dyn Fn(&Path), "a/junit-2.xml (it is a link)"),
            (&socket, "a/junit-2.xml (it is no file)"),
            (&no_utf8, "(its path is no UTF-8)"),
            (&deep, "d (it lies too deep for a search)"),
            (&many, "a (it has too many files for a search)"),
        ] {
            let said = warning(make, Patterns::default()).unwrap();
            assert!(said.contains(expected), "{said}");
        }
        let none = Patterns::try_from(Vec::new()).unwrap();
        assert_eq!(warning(&deep, none), None);
    }
}
