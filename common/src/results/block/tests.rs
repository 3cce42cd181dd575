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

#[test]
fn links_that_lead_out_through_each_other_are_refused() {
    let good = (
        "./artifact_3_0/clusterrunner_exit_code",
        EntryType::Regular,
        "",
        "0\n",
    );
    let link = |name, target| (name, EntryType::Symlink, target, "");
    let (l, x) = ("./artifact_3_0/l", "./artifact_3_0/x");
    let check = |members: &[(&str, EntryType, &str, &str)]| {
        let found = check_block(&*forged(members)).unwrap_err().to_string();
        assert!(found.contains("/x' does not belong"), "{found}");
    };
    let way = "l/l/../../etc/passwd";
    check(&[good, link(l, "."), link(x, way)]);
    check(&[good, link(x, way), link(l, ".")]);
    // Also when another atom follows, which has links of its own.
    let other = (
        "./artifact_3_1/clusterrunner_exit_code",
        EntryType::Regular,
        "",
        "0\n",
    );
    check(&[good, link(x, way), link(l, "."), other]);
    let elsewhere = link("./artifact_3_1/l", ".");
    check_block(&*forged(&[good, link(x, "l/l/../y"), other, elsewhere])).unwrap();
}

#[test]
fn nothing_may_be_below_a_link_or_be_read_in_two_ways() {
    let file = |name, content| (name, EntryType::Regular, "", content);
    let link = |name, target| (name, EntryType::Symlink, target, "");
    let good = file("./artifact_3_0/clusterrunner_exit_code", "0\n");
    let (l, below) = ("./artifact_3_0/l", "./artifact_3_0/l/x");
    let ours = "./artifact_3_0/clusterrunner_console_output";
    for odd in [
        &[link(l, "y"), file(below, "")][..],
        &[file(below, ""), link(l, "y")],
        &[link(l, "y"), link(below, "y")],
        &[link(l, "y"), file(l, "")],
        &[link(l, "y"), link(l, "z")],
        &[link("./artifact_3_0", "artifact_3_1")],
        &[link(ours, "clusterrunner_exit_code")],
        &[link("./artifact_3_0/m", "")],
        &[("./artifact_3_0/m", EntryType::Symlink, "y", "content")],
        &[("./artifact_3_0/m", EntryType::Directory, "", "content")],
        &[file("./artifact_3_0/m/", "content")],
    ] {
        let found = check_block(&*forged(&[&[good], odd].concat()));
        let found = found.unwrap_err().to_string();
        assert!(found.contains("does not belong"), "{odd:?}: {found}");
    }
}

#[test]
fn long_heads_cost_no_memory_in_blocks_and_archives() {
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let mut out = Gzip::new(Vec::new());
        let mut header = file_header(2 << 30, 0);
        header.set_entry_type(kind);
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
        let bytes = out.finish().unwrap();
        for error in [
            check_block(&*bytes).unwrap_err(),
            convert_archive(&*bytes, SubjobId(3), 1, io::sink()).unwrap_err(),
        ] {
            assert!(error.to_string().contains("2147483648 bytes"), "{error}");
        }
    }
}

#[test]
fn links_that_lead_out_are_left_out_of_what_atoms_left() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir_all(root.join("d")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let links = [
        ("l", "."),
        ("x", "l/l/l/../../../etc/passwd"),
        ("kept", "d/../file"),
        ("loop", "loop"),
    ];
    for (link, target) in links {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    let packed = |artifacts: &Path| {
        let (bytes, _) = block(|block| {
            block.begin(SubjobId(3), Attempt(1));
            block
                .add(AtomId(0), &atom(b"", 0, Some(artifacts)))
                .unwrap();
        });
        check_block(&*bytes).unwrap();
        members(&[bytes, ending(&[], 7).unwrap()].concat())
    };
    let found = packed(&root);
    let inside = |name: &str| found.contains_key(&Path::new("./artifact_3_0").join(name));
    assert!(inside("l") && inside("kept") && inside("loop") && inside("d"));
    assert!(!inside("x"));
    // The whole directory is a link: nothing of what it leads to is taken.
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("root", &link).unwrap();
    assert_eq!(packed(&link).len(), 5);
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
fn links_of_an_archive_come_along_unless_they_lead_out() {
    let exit_code = (
        "artifact_3_0/clusterrunner_exit_code",
        EntryType::Regular,
        "",
        "0\n",
    );
    let link = |name, target| (name, EntryType::Symlink, target, "");
    let x = link("artifact_3_0/x", "l/l/../../etc");
    let l = link("artifact_3_0/l", ".");
    let kept = link("artifact_3_0/kept", "d/../file");
    let out = link("artifact_3_0/out", "/etc");
    for links in [[x, l, kept, out], [out, kept, l, x]] {
        let archive = forged(&[&[exit_code], &links[..]].concat());
        let mut bytes = Vec::new();
        convert_archive(&*archive, SubjobId(3), 1, &mut bytes).unwrap();
        check_block(&*bytes).unwrap();
        let members = members(&[bytes, ending(&[], 7).unwrap()].concat());
        let names: Vec<_> = members.keys().map(|name| name.to_str().unwrap()).collect();
        let expected = ["clusterrunner_exit_code", "kept", "l"];
        assert_eq!(names, expected.map(|name| format!("./artifact_3_0/{name}")));
    }
    let below = link("artifact_3_0/l/x", "y");
    let archive = forged(&[exit_code, l, below]);
    convert_archive(&*archive, SubjobId(3), 1, io::sink()).unwrap_err();
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
    let members = members(&[bytes, ending(&[], 7).unwrap()].concat());
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

/// Otherwise a copy with a checksum of its own would make it look sound.
#[test]
fn damage_anywhere_in_a_block_is_found_when_a_part_is_copied() {
    let (whole, places) = block(|block| {
        for subjob in 0..3 {
            block.begin(SubjobId(subjob), Attempt(1));
            block.add(AtomId(0), &atom(b"said\n", 0, None)).unwrap();
        }
    });
    let part = (places[0].offset, places[0].length);
    let copies = |whole: &[u8]| {
        let (mut copied, mut renamed) = (Vec::new(), Vec::new());
        copy_results(whole, [part].into_iter(), &mut copied)?;
        copy_renamed(whole, part, ".attempt_1", &mut renamed)?;
        Ok::<_, io::Error>((copied, renamed))
    };
    let sound = copies(&whole).unwrap();
    let mut found = 0;
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        match copies(&damaged) {
            // Some bits, such as those of times, say nothing of the content.
            Ok(copies) => assert!(copies == sound, "byte {at} of {}", whole.len()),
            Err(_) => found += 1,
        }
    }
    assert!(found > whole.len() / 2, "{found} of {}", whole.len());
}
