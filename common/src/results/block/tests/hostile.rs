//! Blocks that somebody has forged or that are damaged.

use super::*;

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
