//! Unpacking an archive that is not trusted: nothing is written outside the target directory.

use super::ResultsError;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// Permission bits that a member may bring along: never set-user-id and the like, and none with which
/// others could write.
const PERMISSIONS: u32 = 0o755;

/// What the owner may do with every file, so that results can be read and deleted.
const OWNER_READS_AND_WRITES: u32 = 0o600;

/// How much was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files written.
    pub files: u64,
    /// Symbolic links left out: they could lead anywhere.
    pub links_left_out: u64,
}

/// Unpacks the zip archive at `archive` into the new directory `target`.
///
/// # Errors
/// [`ResultsError::UnsafeMember`] before anything is written when one member's name leads outside of
/// `target`; otherwise when the archive or the disk fails.
pub fn unpack(archive: &Path, target: &Path) -> Result<Unpacked, ResultsError> {
    let file = File::open(archive).map_err(ResultsError::disk("open", archive))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(ResultsError::Archive)?;
    for name in zip.file_names() {
        relative(&name.map_err(ResultsError::Archive)?)?;
    }
    std::fs::create_dir(target).map_err(ResultsError::disk("make the directory", target))?;
    let mut made = HashSet::from([target.to_owned()]);
    let mut unpacked = Unpacked::default();
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).map_err(ResultsError::Archive)?;
        let name = member.name().map_err(ResultsError::Archive)?.into_owned();
        let path = target.join(relative(&name)?);
        if member.is_symlink() {
            unpacked.links_left_out += 1;
            continue;
        }
        if member.is_dir() {
            make_directory(&path, &mut made)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            make_directory(parent, &mut made)?;
        }
        let mode = member.unix_mode().unwrap_or(0o644) & PERMISSIONS | OWNER_READS_AND_WRITES;
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let why = "is there twice";
                return Err(ResultsError::UnsafeMember { name, why });
            }
            Err(error) => return Err(ResultsError::disk("write", &path)(error)),
        };
        std::io::copy(&mut member, &mut file).map_err(ResultsError::disk("write", &path))?;
        unpacked.files += 1;
    }
    Ok(unpacked)
}

/// Makes a directory and remembers it: an archive has many more files than directories.
fn make_directory(path: &Path, made: &mut HashSet<PathBuf>) -> Result<(), ResultsError> {
    if made.contains(path) {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(ResultsError::disk("make the directory", path))?;
    made.insert(path.to_owned());
    Ok(())
}

/// A member's name as a path of plain parts. Stricter than needed (`a/../b` stays inside, too),
/// since no archive of ours has such names.
fn relative(name: &str) -> Result<PathBuf, ResultsError> {
    let refuse = |why| {
        Err(ResultsError::UnsafeMember {
            name: name.to_owned(),
            why,
        })
    };
    if name.starts_with('/') {
        return refuse("is an absolute path");
    }
    if name.contains('\0') {
        return refuse("contains a NUL character");
    }
    let mut path = PathBuf::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return refuse("leads out of its directory"),
            plain => path.push(plain),
        }
    }
    if path.as_os_str().is_empty() {
        return refuse("has no name");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use zip::write::{SimpleFileOptions, ZipWriter};

    struct Case {
        directory: tempfile::TempDir,
        zip: ZipWriter<File>,
    }

    impl Case {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let zip = ZipWriter::new(File::create(directory.path().join("a.zip")).unwrap());
            Self { directory, zip }
        }

        fn file(mut self, name: &str, mode: u32) -> Self {
            let options = SimpleFileOptions::default().unix_permissions(mode);
            self.zip.start_file(name, options).unwrap();
            self.zip.write_all(name.as_bytes()).unwrap();
            self
        }

        fn unpack(self) -> (tempfile::TempDir, Result<Unpacked, ResultsError>) {
            self.zip.finish().unwrap();
            let directory = self.directory.path();
            let result = unpack(&directory.join("a.zip"), &directory.join("out"));
            (self.directory, result)
        }
    }

    fn check_refused(name: &str, reason: &str) {
        let (directory, result) = Case::new().file("fine", 0o644).file(name, 0o644).unpack();
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with(reason), "{name}: {error}");
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["a.zip"], "{name}");
    }

    #[test]
    fn members_that_lead_elsewhere_are_refused_before_anything_is_written() {
        check_refused("../evil", "leads out of its directory");
        check_refused("artifact_0_0/../../evil", "leads out of its directory");
        check_refused("/etc/evil", "is an absolute path");
    }

    #[test]
    fn files_come_with_their_directories_and_harmless_permissions() {
        let (directory, result) = Case::new()
            .file("artifact_0_0/run.sh", 0o4755)
            .file("artifact_0_0/deep/er/log", 0o000)
            .unpack();
        assert_eq!(result.unwrap().files, 2);
        let out = directory.path().join("out/artifact_0_0");
        let mode = |path: &str| {
            let permissions = out.join(path).metadata().unwrap().permissions();
            permissions.mode() & 0o7777
        };
        assert_eq!(mode("run.sh") & 0o7700, 0o700);
        assert_eq!(mode("deep/er/log"), 0o600);
        let text = std::fs::read_to_string(out.join("deep/er/log")).unwrap();
        assert_eq!(text, "artifact_0_0/deep/er/log");
    }

    #[test]
    fn nothing_is_written_through_a_symbolic_link() {
        let mut case = Case::new();
        let elsewhere = case.directory.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        let options = SimpleFileOptions::default();
        case.zip
            .add_symlink("artifact_0_0/way", elsewhere.to_str().unwrap(), options)
            .unwrap();
        let (directory, result) = case.file("artifact_0_0/way/evil", 0o644).unpack();
        let expected = Unpacked {
            files: 1,
            links_left_out: 1,
        };
        assert_eq!(result.unwrap(), expected);
        assert_eq!(elsewhere.read_dir().unwrap().count(), 0);
        assert!(directory.path().join("out/artifact_0_0/way/evil").is_file());
    }

    #[test]
    fn a_place_that_is_named_twice_is_refused() {
        let (_directory, result) = Case::new()
            .file("artifact_0_0/a", 0o644)
            .file("artifact_0_0/./a", 0o644)
            .unpack();
        assert!(result.unwrap_err().to_string().ends_with("is there twice"));
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("a.zip");
        std::fs::write(&archive, "no zip").unwrap();
        let result = unpack(&archive, &directory.path().join("out"));
        assert!(matches!(result, Err(ResultsError::Archive(_))));
    }
}
