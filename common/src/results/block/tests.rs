mod archives;
mod hostile;

use super::*;
use crate::ids::{AtomId, Attempt, SubjobId};
use flate2::bufread::MultiGzDecoder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

const CONSOLE: &str = "artifact_3_0/clusterrunner_console_output";

fn atom<'a>(console: &'a [u8], exit_code: i32, artifacts: Option<&'a Path>) -> AtomResult<'a> {
    AtomResult {
        command: "export X=1; true",
        exit_code,
        seconds: 1.256,
        ended_at: 1_700_000_000,
        console: Console::Memory(console),
        artifacts,
    }
}

fn codes(result: &CheckedResult) -> Vec<i32> {
    result.atoms.iter().map(|atom| atom.exit_code).collect()
}

fn block(fill: impl FnOnce(&mut BlockWriter<Vec<u8>>)) -> (Vec<u8>, Vec<ResultPlace>) {
    let mut writer = BlockWriter::new(Vec::new(), CancellationToken::new());
    fill(&mut writer);
    writer.finish().unwrap()
}

/// Path and content of each member of whole archives.
fn members(archive: &[u8]) -> BTreeMap<PathBuf, String> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(archive));
    let entries = archive.entries().unwrap();
    let read = |entry: io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        io::Read::read_to_string(&mut entry, &mut text).unwrap();
        (entry.path().unwrap().into_owned(), text)
    };
    entries.map(read).collect()
}

#[test]
fn blocks_and_an_ending_are_an_archive() {
    let (first, _) = block(|block| {
        block.begin(SubjobId(3), Attempt(1));
        block.add(AtomId(0), &atom(b"one\n", 0, None)).unwrap();
        block.begin(SubjobId(0), Attempt(2));
        block.add(AtomId(0), &atom(b"", -9, None)).unwrap();
        block.add(AtomId(1), &atom(b"two\n", 5, None)).unwrap();
    });
    let (second, _) = block(|block| {
        block.begin(SubjobId(1), Attempt(1));
        block.add(AtomId(0), &atom(b"x", 1, None)).unwrap();
    });
    let failures = ["artifact_0_0".to_owned(), "artifact_0_1".to_owned()];
    let whole = [first, second, ending(&failures, 7).unwrap()].concat();
    let members = members(&whole);
    let text = |name: &str| members[Path::new(name)].as_str();
    assert_eq!(members.len(), 4 * 5 + 1);
    assert_eq!(text("./failures.txt"), "artifact_0_0\nartifact_0_1");
    assert_eq!(text("./artifact_3_0/clusterrunner_console_output"), "one\n");
    assert_eq!(text("./artifact_0_1/clusterrunner_console_output"), "two\n");
    assert_eq!(text("./artifact_0_0/clusterrunner_exit_code"), "-9\n");
    assert_eq!(text("./artifact_0_0/clusterrunner_time"), "1.26\n");
    let command = "./artifact_0_0/clusterrunner_command";
    assert_eq!(text(command), "export X=1; true\n");
}

#[test]
fn a_block_says_what_is_in_it_and_one_file_can_be_read() {
    let (bytes, places) = block(|block| {
        block.begin(SubjobId(9), Attempt(1));
        block.add(AtomId(0), &atom(b"nine", 0, None)).unwrap();
        block.begin(SubjobId(3), Attempt(4));
        block.add(AtomId(0), &atom(b"three", 7, None)).unwrap();
        block.add(AtomId(1), &atom(b"other", -1, None)).unwrap();
    });
    let found = check_block(&*bytes).unwrap();
    assert_eq!(codes(&found[0]), [0]);
    assert_eq!(codes(&found[1]), [7, -1]);
    assert_eq!(found[1].atoms[1].duration_ms, 1260);
    for (found, place) in found.iter().zip(&places) {
        let checked = (found.subjob, found.offset, found.length);
        assert_eq!(checked, (place.subjob, place.offset, place.length));
    }
    let ResultPlace { offset, length, .. } = places[1];
    let read = |name| {
        content_of(&*bytes, offset, length, name, |file| {
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        })
    };
    assert_eq!(read(CONSOLE).unwrap(), "three");
    let other = "artifact_9_0/clusterrunner_console_output";
    assert_eq!(read(other).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_an_atom_left_comes_along_but_nothing_from_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let long = "n".repeat(120);
    std::fs::create_dir_all(root.join("sub/deep")).unwrap();
    std::fs::write(root.join("sub/deep").join(&long), "long").unwrap();
    std::fs::write(root.join("clusterrunner_exit_code"), "0").unwrap();
    std::fs::write(root.join("sub/clusterrunner_exit_code"), "own").unwrap();
    std::os::unix::fs::symlink("deep", root.join("sub/inward")).unwrap();
    std::os::unix::fs::symlink("../../etc", root.join("sub/outward")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), 0o600.into()).unwrap();
    let (bytes, _) = block(|block| {
        block.begin(SubjobId(3), Attempt(1));
        block.add(AtomId(0), &atom(b"", 1, Some(root))).unwrap();
    });
    assert_eq!(codes(&check_block(&*bytes).unwrap()[0]), [1]);
    let members = members(&[bytes, ending(&[], 7).unwrap()].concat());
    let inside = |name: &str| members.get(&Path::new("./artifact_3_0").join(name));
    assert_eq!(inside(&format!("sub/deep/{long}")).unwrap(), "long");
    assert_eq!(inside("sub/clusterrunner_exit_code").unwrap(), "own");
    assert_eq!(inside("clusterrunner_exit_code").unwrap(), "1\n");
    assert!(inside("sub/inward").is_some());
    assert!(inside("sub/outward").is_none() && inside("pipe").is_none());
}

#[test]
fn a_console_may_be_a_file_that_still_changes() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"from a file").unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let (bytes, _) = block(|block| {
        block.begin(SubjobId(3), Attempt(1));
        let result = AtomResult {
            console: Console::File(&file),
            ..atom(b"", 0, None)
        };
        block.add(AtomId(0), &result).unwrap();
    });
    let name = Path::new("./").join(CONSOLE);
    assert_eq!(
        members(&[bytes, ending(&[], 7).unwrap()].concat())[&name],
        "from a file"
    );
}

proptest::proptest! {
    /// Unpacked by a reader that asks nothing, no link leads the kernel out of the directory.
    #[test]
    fn the_kernel_stays_inside_of_what_is_unpacked(
        links in proptest::collection::vec(
            ("(a|b|a/c|a/c/b|d)", "((\\.\\./|\\./){0,2}(a|b|c|d|\\.\\.)/){0,3}(a|b|c|\\.\\.|\\.)"), 1..7),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (root, unpacked) = (directory.path().join("root"), directory.path().join("x/y/unpacked"));
        std::fs::create_dir(&root).unwrap();
        for (name, target) in &links {
            let path = root.join(name);
            let is_free = std::fs::create_dir_all(path.parent().unwrap()).is_ok()
                && path.parent().unwrap().canonicalize().unwrap() == path.parent().unwrap();
            if is_free {
                // The name may be taken.
                std::os::unix::fs::symlink(target, &path).ok();
            }
        }
        let (bytes, _) = block(|block| {
            block.begin(SubjobId(3), Attempt(1));
            block.add(AtomId(0), &atom(b"", 0, Some(&root))).unwrap();
        });
        check_block(&*bytes).unwrap();
        let whole = [bytes, ending(&[], 7).unwrap()].concat();
        let mut archive = tar::Archive::new(MultiGzDecoder::new(&*whole));
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let path = unpacked.join(entry.path().unwrap());
            match entry.link_name().unwrap() {
                Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                None if path.to_str().unwrap().contains("clusterrunner") => {}
                None => std::fs::create_dir_all(path).unwrap(),
            }
        }
        let inside = unpacked.join("artifact_3_0").canonicalize().unwrap();
        let leads_out = |root: &Path, name: &str| match root.join(name).canonicalize() {
            Ok(end) => !end.starts_with(root),
            Err(_) => false,
        };
        for (name, _) in &links {
            proptest::prop_assert!(!leads_out(&inside, name), "{name}");
        }
    }
}

#[test]
fn a_block_may_say_more_in_its_header() {
    let fill = |mut writer: BlockWriter<Vec<u8>>| {
        writer.begin(SubjobId(3), Attempt(1));
        writer.add(AtomId(0), &atom(b"x", 0, None)).unwrap();
        writer
    };
    let (comment, go_on) = ("a comment", CancellationToken::new());
    let writer = BlockWriter::with_comment(comment, Vec::new(), go_on.clone());
    let (block, _) = fill(writer).finish().unwrap();
    assert_eq!(check_block(&*block).unwrap().len(), 1);
    let writer = BlockWriter::for_the_original(comment, Vec::new(), go_on);
    let archive = fill(writer).finish_archive().unwrap();
    assert!(members(&archive).contains_key(Path::new(CONSOLE)));
    convert_archive(&*archive, SubjobId(3), 1, io::sink()).unwrap();
}

/// A failed attempt is in the archive beside the one that counts.
#[test]
fn a_result_is_copied_under_another_name() {
    let left = tempfile::tempdir().unwrap();
    std::fs::create_dir(left.path().join("reports")).unwrap();
    std::fs::write(left.path().join("reports/one.xml"), "<x/>").unwrap();
    std::os::unix::fs::symlink("reports/one.xml", left.path().join("latest")).unwrap();
    let (whole, places) = block(|block| {
        block.begin(SubjobId(2), Attempt(1));
        block.add(AtomId(0), &atom(b"other\n", 0, None)).unwrap();
        block.begin(SubjobId(3), Attempt(1));
        let failed = atom(b"first\n", 1, Some(left.path()));
        block.add(AtomId(0), &failed).unwrap();
    });
    let place = (places[1].offset, places[1].length);
    let mut copy = Vec::new();
    let length = copy_renamed(&*whole, place, ".attempt_1", &mut copy).unwrap();
    assert!(length > 0);
    let members = members(&[copy, ending(&[], 7).unwrap()].concat());
    let text = |name: &str| members[Path::new(name)].as_str();
    assert_eq!(
        text("./artifact_3_0.attempt_1/clusterrunner_console_output"),
        "first\n"
    );
    assert_eq!(
        text("./artifact_3_0.attempt_1/clusterrunner_exit_code"),
        "1\n"
    );
    assert_eq!(text("./artifact_3_0.attempt_1/reports/one.xml"), "<x/>");
    assert!(members.contains_key(Path::new("./artifact_3_0.attempt_1/latest")));
    let is_renamed = |path: &PathBuf| path.starts_with("./artifact_3_0.attempt_1");
    assert!(members.keys().all(is_renamed), "{members:?}");
}

/// A block of members given by name, kind, link target and content.
fn forged(wanted: &[(&str, EntryType, &str, &str)]) -> Vec<u8> {
    let mut out = Gzip::new(Vec::new());
    for (name, kind, target, content) in wanted {
        let mut header = file_header(content.len() as u64, 0);
        header.set_entry_type(*kind);
        let target = Some(std::ffi::OsStr::new(target));
        write_member(
            &mut out,
            header,
            name.as_bytes(),
            target,
            content.as_bytes(),
        )
        .unwrap();
    }
    out.finish().unwrap()
}
