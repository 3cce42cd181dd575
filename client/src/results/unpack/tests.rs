use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use tar::Header;

/// An archive that is written member by member, also with names that no honest program writes.
struct Case {
    directory: tempfile::TempDir,
    tar: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            tar: Vec::new(),
        }
    }

    fn member(mut self, kind: EntryType, name: &[u8], target: &[u8], content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_mtime(951_868_799);
        header.set_size(content.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..target.len()].copy_from_slice(target);
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str) -> Self {
        self.member(EntryType::Regular, name.as_bytes(), b"", name.as_bytes())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.member(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    fn unpack(mut self) -> (tempfile::TempDir, Result<Unpacked, ResultsError>) {
        self.tar.extend_from_slice(&[0; 1024]);
        let directory = self.directory.path();
        let archive = directory.join("a.tar.gz");
        let mut gzip = GzEncoder::new(File::create(&archive).unwrap(), Compression::fast());
        gzip.write_all(&self.tar).unwrap();
        gzip.finish().unwrap();
        let result = unpack(&archive, &directory.join("out"));
        (self.directory, result)
    }
}

/// Paths of what was left out.
fn left_out(unpacked: &Unpacked) -> Vec<&str> {
    let first = unpacked.left_out.first.iter();
    let paths: Vec<&str> = first.map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(unpacked.left_out.count, paths.len() as u64);
    paths
}

#[test]
fn what_an_atom_left_comes_back_as_it_was() {
    let strange = b"artifact_0_0/r\xe9sultat";
    let (directory, result) = Case::new()
        .member(EntryType::Directory, b"./artifact_0_0/", b"", b"")
        .member(EntryType::Directory, b"./artifact_0_0/empty/", b"", b"")
        .file("./artifact_0_0/deep/er/log")
        .member(EntryType::Regular, strange, b"", b"one")
        .link("./artifact_0_0/way", "deep/er")
        .link("./artifact_0_0/deep/nowhere", "../no-such-file")
        .member(
            EntryType::Link,
            b"./artifact_0_0/again",
            b"./artifact_0_0/deep/er/log",
            b"",
        )
        .unpack();
    let unpacked = result.unwrap();
    assert_eq!((unpacked.files, unpacked.links), (3, 2));
    assert_eq!(left_out(&unpacked), [""; 0]);
    let out = directory.path().join("out/artifact_0_0");
    assert_eq!(out.join("empty").read_dir().unwrap().count(), 0);
    let strange = OsString::from_vec(strange[13..].to_vec());
    assert_eq!(std::fs::read(out.join(strange)).unwrap(), b"one");
    assert_eq!(out.join("way").read_link().unwrap(), Path::new("deep/er"));
    let text = std::fs::read_to_string(out.join("way/log")).unwrap();
    assert_eq!(text, "./artifact_0_0/deep/er/log");
    assert_eq!(std::fs::read_to_string(out.join("again")).unwrap(), text);
    let dangling = out.join("deep/nowhere").read_link().unwrap();
    assert_eq!(dangling, Path::new("../no-such-file"));
    let changed = out.join("deep/er/log").metadata().unwrap().modified();
    let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(951_868_799);
    assert_eq!(changed.unwrap(), expected);
}

fn check_refused(name: &str, reason: &str) {
    let (directory, result) = Case::new().file("fine").file(name).unpack();
    let error = result.unwrap_err().to_string();
    assert!(error.ends_with(reason), "{name}: {error}");
    let mut left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["a.tar.gz", "out"], "{name}");
}

#[test]
fn members_that_lead_elsewhere_are_refused() {
    check_refused("../evil", "leads out of its directory");
    check_refused("artifact_0_0/../../evil", "leads out of its directory");
    check_refused("/etc/evil", "is an absolute path");
}

#[test]
fn nothing_is_written_through_a_link_and_none_leads_out() {
    let case = Case::new();
    let elsewhere = case.directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let (directory, result) = case
        .link("artifact_0_0/way", "../../elsewhere")
        .file("artifact_0_0/way/evil")
        .link("artifact_1_0/absolute", elsewhere.to_str().unwrap())
        .link("artifact_1_0/other", "../artifact_0_0/way")
        .link("artifact_1_0/step", "inner/..")
        .link("artifact_1_0/inner", "deep/er/still")
        .link("artifact_1_0/crooked", "step/../../../elsewhere")
        .link("artifact_2_0/here", "there")
        .file("artifact_2_0/there/file")
        .link("artifact_2_0/there", "/tmp")
        .link("artifact_2_0/here/file", "x")
        .link("top", "artifact_2_0")
        .unpack();
    let unpacked = result.unwrap();
    assert_eq!(elsewhere.read_dir().unwrap().count(), 0);
    let out = directory.path().join("out");
    assert!(out.join("artifact_0_0/way/evil").is_file());
    assert!(out.join("artifact_2_0/there/file").is_file());
    let left = left_out(&unpacked);
    for path in [
        "artifact_0_0/way",
        "artifact_1_0/absolute",
        "artifact_1_0/other",
        "artifact_1_0/crooked",
        "artifact_2_0/there",
        "artifact_2_0/here/file",
        "top",
    ] {
        assert!(left.contains(&path), "{path}: {left:?}");
    }
    assert_eq!(unpacked.files, 2);
}

#[test]
fn permissions_are_harmless_and_results_can_be_read() {
    let mut case = Case::new();
    for (name, mode) in [("run.sh", 0o4777), ("locked", 0o000)] {
        let begin = case.tar.len();
        case = case.file(name);
        let mut header = Header::new_old();
        header
            .as_mut_bytes()
            .copy_from_slice(&case.tar[begin..begin + 512]);
        header.set_mode(mode);
        header.set_cksum();
        case.tar[begin..begin + 512].copy_from_slice(header.as_bytes());
    }
    let (directory, result) = case.unpack();
    assert_eq!(result.unwrap().files, 2);
    let mode = |path: &str| {
        let metadata = directory.path().join("out").join(path).metadata().unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode("run.sh") & 0o7722, 0o700);
    assert_eq!(mode("locked"), 0o600);
}

#[test]
fn what_can_not_be_brought_back_is_named_and_the_rest_is_there() {
    let long = format!("artifact_0_0/{}", "x".repeat(80));
    let (directory, result) = Case::new()
        .file("artifact_0_0/a")
        .file("artifact_0_0/./a")
        .member(EntryType::Fifo, b"artifact_0_0/pipe", b"", b"")
        .member(EntryType::Char, b"artifact_0_0/null", b"", b"")
        .member(
            EntryType::Link,
            b"artifact_0_0/b",
            b"artifact_0_0/none",
            b"",
        )
        .file("artifact_0_0/a/below")
        .file(&long)
        .unpack();
    let unpacked = result.unwrap();
    assert_eq!(
        left_out(&unpacked),
        [
            "artifact_0_0/a",
            "artifact_0_0/pipe",
            "artifact_0_0/null",
            "artifact_0_0/b",
            "artifact_0_0/a/below"
        ]
    );
    assert_eq!(unpacked.files, 2);
    let out = directory.path().join("out/artifact_0_0");
    for entry in out.read_dir().unwrap() {
        assert!(!entry.unwrap().file_type().unwrap().is_fifo());
    }
}

#[test]
fn names_that_are_longer_than_any_path_are_left_out() {
    let name = [&b"artifact_0_0/"[..], &b"d/".repeat(3_000), b"f"].concat();
    let (_directory, result) = Case::new()
        .member(EntryType::GNULongName, b"././@LongLink", b"", &name)
        .file("cut")
        .file("after")
        .unpack();
    let unpacked = result.unwrap();
    assert_eq!((unpacked.files, unpacked.left_out.count), (1, 1));
}

#[test]
fn what_is_no_archive_or_breaks_off_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("a.tar.gz");
    std::fs::write(&archive, "no archive").unwrap();
    let result = unpack(&archive, &directory.path().join("out"));
    assert!(matches!(result, Err(ResultsError::Archive(_))));
    let noise: Vec<u8> = (0..100_000_u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    let (whole, _) = Case::new()
        .member(EntryType::Regular, b"a", b"", &noise)
        .unpack();
    let bytes = std::fs::read(whole.path().join("a.tar.gz")).unwrap();
    std::fs::write(&archive, &bytes[..bytes.len() - 6]).unwrap();
    let result = unpack(&archive, &directory.path().join("other"));
    assert!(
        matches!(result, Err(ResultsError::Archive(_))),
        "{result:?}"
    );
}
