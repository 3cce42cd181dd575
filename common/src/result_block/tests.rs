use super::*;
use crate::ids::{AtomId, Attempt, SubjobId};
use flate2::bufread::MultiGzDecoder;
use std::collections::BTreeMap;
use std::path::PathBuf;
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
fn blocks_between_a_beginning_and_an_ending_are_an_archive() {
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
    let whole = [
        beginning().unwrap(),
        first,
        second,
        ending(&failures).unwrap(),
    ]
    .concat();
    let members = members(&whole);
    let text = |name: &str| members[Path::new(name)].as_str();
    assert_eq!(members.len(), 1 + 4 * 5 + 1);
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
    let members = members(&[bytes, ending(&[]).unwrap()].concat());
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
        members(&[bytes, ending(&[]).unwrap()].concat())[&name],
        "from a file"
    );
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

#[test]
fn a_block_with_anything_wrong_is_refused() {
    let check = |block: &[u8], expected: &str| {
        let found = check_block(block).unwrap_err().to_string();
        assert!(found.contains(expected), "{found} lacks {expected}");
    };
    let file = |name, content| (name, EntryType::Regular, "", content);
    let good = file("./artifact_3_0/clusterrunner_exit_code", "0\n");
    assert!(check_block(&*forged(&[good])).is_ok());
    check(b"plain text", "not a gzip");
    let mut torn = forged(&[good]);
    torn.truncate(torn.len() - 9);
    check(&torn, "not a gzip");
    check(
        &[forged(&[good]), forged(&[good])].concat(),
        "more than its results",
    );
    check(
        &[forged(&[good]), b"x".to_vec()].concat(),
        "more than its results",
    );
    let mut out = Gzip::new(Vec::new());
    let header = file_header(2, 0);
    write_member(&mut out, header, good.0.as_bytes(), None, &b"0\n"[..]).unwrap();
    out.write_all(&[0; 1024]).unwrap();
    check(&out.finish().unwrap(), "more than its results");
    check(
        &forged(&[file("./artifact_3_0/x", "")]),
        "artifact_3_0/clusterrunner_exit_code is missing",
    );
    check(
        &forged(&[file("./artifact_3_0/clusterrunner_exit_code", "zero")]),
        "holds no number",
    );
    let later = file("./artifact_3_2/x", "");
    check(&forged(&[good, later]), "does not belong");
    let other = file("./artifact_4_0/clusterrunner_exit_code", "0");
    check(&forged(&[good, other, good]), "does not belong");
    for stray in [
        "/etc/passwd",
        "./../x",
        "./artifact_3_0/../../x",
        "artifact_3_0/x",
        "./x",
    ] {
        check(&forged(&[good, file(stray, "")]), "does not belong");
    }
    for (kind, target) in [
        (EntryType::Symlink, "../.."),
        (EntryType::Symlink, "/etc"),
        (EntryType::Link, "x"),
        (EntryType::Char, ""),
        (EntryType::XGlobalHeader, ""),
    ] {
        let odd = ("./artifact_3_0/odd", kind, target, "");
        check(&forged(&[good, odd]), "does not belong");
    }
}

/// An archive of files given by name and content, as slaves of the original make theirs.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Gzip::new(Vec::new());
    for (name, content) in files {
        let mut header = file_header(content.len() as u64, 5);
        header.set_mode(0o4751);
        write_member(&mut out, header, name.as_bytes(), None, content.as_bytes()).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap()
}

#[test]
fn an_archive_becomes_a_block() {
    let files = [
        ("artifact_3_1/clusterrunner_exit_code", "-9\n"),
        ("artifact_3_0/clusterrunner_console_output", "hello\n"),
        ("artifact_3_0/clusterrunner_exit_code", "0\n"),
        ("artifact_3_0/clusterrunner_time", "1.25\n"),
        ("artifact_3_0/sub/clusterrunner_exit_code", "not ours"),
    ];
    let mut bytes = Vec::new();
    let found = convert_archive(&*archive(&files), SubjobId(3), 2, &mut bytes).unwrap();
    let expected = [(0, 1250), (-9, 0)].map(|(exit_code, duration_ms)| CheckedAtom {
        exit_code,
        duration_ms,
    });
    assert_eq!(found.atoms, expected);
    let console = content_of(&*bytes, 0, found.length, CONSOLE, |file| {
        let mut text = String::new();
        file.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(console.unwrap(), "hello\n");
    let members = members(&[bytes, ending(&[]).unwrap()].concat());
    assert_eq!(members.len(), files.len());
    for (name, content) in files {
        assert_eq!(members[&Path::new("./").join(name)], content);
    }
}

#[test]
fn an_archive_with_anything_wrong_becomes_no_block() {
    let check = |archive: &[u8], expected: &str| {
        let found = convert_archive(archive, SubjobId(3), 1, io::sink());
        let found = found.unwrap_err().to_string();
        assert!(found.contains(expected), "{found} lacks {expected}");
    };
    let exit_code = |text| archive(&[("artifact_3_0/clusterrunner_exit_code", text)]);
    check(b"plain text", "not a gzip");
    check(
        &archive(&[]),
        "artifact_3_0/clusterrunner_exit_code is missing",
    );
    check(&exit_code("zero"), "holds no number");
    for stray in [
        "/etc/passwd",
        "../x",
        "artifact_3_0/../../x",
        "artifact_4_0/x",
        "artifact_3_1/x",
        "x",
    ] {
        check(&archive(&[(stray, "")]), "does not belong");
    }
    let whole = exit_code("0");
    for length in 0..whole.len() {
        check(&whole[..length], "");
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
