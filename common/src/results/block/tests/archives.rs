//! Blocks that are made of archives.

use super::*;

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
