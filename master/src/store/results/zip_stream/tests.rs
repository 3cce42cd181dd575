//! What the archive is for those who read it. That its bytes are those of another writer says most.

use super::records::{Content, Member, end};
use super::writer::ZipWriter;
use clusterrunner_common::results::block::FileFacts;
use std::io::{Cursor, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use zip::ZipArchive;
use zip::write::SimpleFileOptions;

struct File {
    name: String,
    mode: u32,
    /// 0 for a moment that nobody knows.
    modified_at: u64,
    content: Vec<u8>,
}

fn file(name: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> File {
    File {
        name: name.into(),
        mode,
        modified_at: 0,
        content: content.into(),
    }
}

fn facts(mode: u32, size: u64) -> FileFacts {
    FileFacts {
        mode,
        modified_at: 0,
        size,
    }
}

fn written(files: &[File]) -> Vec<u8> {
    let mut zip = ZipWriter::new();
    for file in files {
        let facts = FileFacts {
            modified_at: file.modified_at,
            ..facts(file.mode, file.content.len() as u64)
        };
        zip.begin(&file.name, facts).unwrap();
        let mut content = &*file.content;
        while zip.feed(&mut content).unwrap() {}
    }
    let mut records = zip.records().unwrap();
    while zip.write(&mut records).unwrap() {}
    zip.take()
}

fn written_by_library(files: &[File]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new_stream(Vec::new());
    for file in files {
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .compression_level(Some(1))
            .unix_permissions(file.mode);
        zip.start_file(&*file.name, options).unwrap();
        zip.write_all(&file.content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Files of all kinds that atoms leave.
fn odd_files() -> Vec<File> {
    vec![
        file("artifact_0_0/clusterrunner_exit_code", 0o644, "0\n"),
        file("artifact_0_0/clusterrunner_console_output", 0o644, ""),
        file("artifact_0_0/run", 0o755, "#!/bin/sh\n".repeat(5000)),
        file("artifact_0_0/secret", 0o600, noise(200_000)),
        file("artifact_0_0/größe", 0o644, "ß"),
        // Begins as the name before, but in the middle of a character.
        file("artifact_0_0/gr\u{f7}", 0o640, "ö"),
        file("artifact_0_0/gr\u{fffd}\u{fffd}", 0o640, "not UTF-8"),
        file("artifact_0_0/back\\slash and: \n", 0o444, "x"),
        file(format!("artifact_1_0/{}", "long/".repeat(5000)), 0o777, "x"),
        file("failures.txt", 0o644, "artifact_0_0\nartifact_1_0"),
    ]
}

#[test]
fn the_bytes_are_those_of_a_library() {
    let files = odd_files();
    for files in [&files[..], &files[..1], &[]] {
        assert!(written(files) == written_by_library(files));
    }
}

#[test]
fn members_are_read_back() {
    let files = odd_files();
    let mut zip = ZipArchive::new(Cursor::new(written(&files))).unwrap();
    assert_eq!(zip.len(), files.len());
    for (index, file) in files.iter().enumerate() {
        let mut member = zip.by_index(index).unwrap();
        assert_eq!(member.name().unwrap(), file.name);
        assert_eq!(member.unix_mode(), Some(0o100_000 | file.mode));
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        assert!(content == file.content, "{}", file.name);
    }
}

/// More members than 16 bits can count, as two readers that have nothing in common find them.
#[test]
fn more_members_than_an_old_archive_can_have() {
    const MEMBERS: u32 = 70_000;
    let files: Vec<File> = (0..MEMBERS)
        .map(|n| file(format!("artifact_{n}_0/n"), 0o644, n.to_string()))
        .collect();
    let bytes = written(&files);
    let mut zip = ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(zip.len(), MEMBERS as usize);
    for n in [0, 1, 65_535, MEMBERS - 1] {
        let name = format!("artifact_{n}_0/n");
        let mut member = zip.by_name(&name).unwrap();
        let mut content = String::new();
        member.read_to_string(&mut content).unwrap();
        assert_eq!(content, n.to_string());
    }
    let (_directory, path) = stored(&bytes);
    assert_eq!(
        python("len(zip.namelist()), zip.testzip()", &path),
        "70000 None"
    );
}

#[test]
fn another_reader_reads_them_too() {
    let files = odd_files();
    let (_directory, path) = stored(&written(&files));
    assert_eq!(python("zip.testzip()", &path), "None");
    let infos =
        "[(m.external_attr >> 16, m.file_size, m.filename.encode().hex()) for m in zip.infolist()]";
    let described = files.iter().map(|file| {
        let (mode, size) = (0o100_000 | file.mode, file.content.len());
        let name = file.name.bytes().map(|byte| format!("{byte:02x}"));
        format!("({mode}, {size}, '{}')", name.collect::<String>())
    });
    let described: Vec<String> = described.collect();
    assert_eq!(python(infos, &path), format!("[{}]", described.join(", ")));
}

/// Both forms of a time, as readers that know the one or the other find them.
#[test]
fn members_have_the_times_of_their_files() {
    let times = [1_764_337_135, 951_868_799, 86_399, 1_764_337_134];
    let files = times.map(|modified_at| File {
        modified_at,
        ..file(format!("n{modified_at}"), 0o644, "x")
    });
    let bytes = written(&files);
    // Before each member, and in the list at the end.
    let field = b"UT\x05\x00\x01";
    let fields = bytes.windows(field.len()).filter(|part| part == field);
    assert_eq!(fields.count(), 2 * times.len());
    let (_directory, path) = stored(&bytes);
    assert_eq!(python("zip.testzip()", &path), "None");
    assert_eq!(
        python("[member.date_time for member in zip.infolist()]", &path),
        "[(2025, 11, 28, 13, 38, 54), (2000, 2, 29, 23, 59, 58), (1980, 1, 1, 0, 0, 0), \
         (2025, 11, 28, 13, 38, 54)]"
    );
    let seconds = "[int.from_bytes(member.extra[-4:], 'little') for member in zip.infolist()]";
    assert_eq!(python(seconds, &path), format!("{times:?}"));
}

#[test]
fn two_members_of_one_name_are_both_there() {
    let files = [file("n\u{fffd}", 0o644, "a"), file("n\u{fffd}", 0o644, "b")];
    let (_directory, path) = stored(&written(&files));
    let contents = "[zip.read(member).decode() for member in zip.infolist()]";
    assert_eq!(python(contents, &path), "['a', 'b']");
}

fn stored(archive: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("artifacts.zip");
    std::fs::write(&path, archive).unwrap();
    (directory, path)
}

/// What python's own module finds in an archive.
fn python(expression: &str, path: &Path) -> String {
    let program =
        format!("import sys, zipfile; zip = zipfile.ZipFile(sys.argv[1]); print({expression})");
    let mut command = Command::new("python3");
    let output = command.arg("-c").arg(program).arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The least that is too long for 16 bits is said in the record of 64 bits, the most that is not in
/// the old one.
#[test]
fn the_end_has_64_bits_where_it_must() {
    let length_of = |members, offset, length| {
        let mut out = Vec::new();
        end(members, offset, length, &mut out);
        out.len()
    };
    let (short, large) = (22, 22 + 56 + 20);
    let most = u64::from(u32::MAX);
    assert_eq!(length_of(65_534, most - 1, most - 1), short);
    assert_eq!(length_of(65_535, 0, 0), large);
    assert_eq!(length_of(0, most, 0), large);
    assert_eq!(length_of(0, 0, most), large);
    let mut out = Vec::new();
    end(70_000, 5 << 30, 6 << 30, &mut out);
    let expected = [
        &b"PK\x06\x06"[..],
        &44_u64.to_le_bytes(),
        &[45, 3, 45, 0],
        &[0; 8],
        &70_000_u64.to_le_bytes(),
        &70_000_u64.to_le_bytes(),
        &(6_u64 << 30).to_le_bytes(),
        &(5_u64 << 30).to_le_bytes(),
        b"PK\x06\x07",
        &[0; 4],
        &(11_u64 << 30).to_le_bytes(),
        &[1, 0, 0, 0],
        b"PK\x05\x06",
        &[0; 4],
        &[0xff; 12],
        &[0; 2],
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn a_large_member_has_sizes_of_64_bits_everywhere() {
    let size = 5_u64 << 30;
    let member = Member::new("large", facts(0o755, size)).unwrap();
    let content = Content {
        crc: 0x0102_0304,
        compressed: size + 7,
        size,
    };
    let fields = [45, 0, 8, 0, 8, 0, 0, 0, 33, 0];
    let mut header = Vec::new();
    member.local_header(&mut header);
    let expected = [
        &b"PK\x03\x04"[..],
        &fields,
        &[0; 12],
        &[5, 0, 20, 0],
        b"large",
        &[1, 0, 16, 0],
        &[0; 16],
    ];
    assert_eq!(header, expected.concat());
    let mut descriptor = Vec::new();
    member.descriptor(&content, &mut descriptor);
    let expected = [
        &b"PK\x07\x08\x04\x03\x02\x01"[..],
        &(size + 7).to_le_bytes(),
        &size.to_le_bytes(),
    ];
    assert_eq!(descriptor, expected.concat());
    let whole = (header.len() + descriptor.len()) as u64 + content.compressed;
    assert_eq!(member.length(&content), whole);
    for (offset, here, field) in [
        (1, [1, 0, 0, 0], 16),
        (6 << 30, [0xff; 4], 24),
        (u64::from(u32::MAX), [0xff; 4], 24),
    ] {
        let mut record = Vec::new();
        member.central_record(&content, offset, &mut record);
        let offset = offset.to_le_bytes();
        let expected = [
            &b"PK\x01\x02\x2d\x03"[..],
            &fields,
            &[4, 3, 2, 1],
            &[0xff; 8],
            &[5, 0, 4 + field, 0],
            &[0; 6],
            &[0, 0, 0o355, 0o201],
            &here,
            b"large",
            &[1, 0, field, 0],
            &size.to_le_bytes(),
            &(size + 7).to_le_bytes(),
            if field == 24 { &offset } else { &[] },
        ];
        assert_eq!(record, expected.concat());
    }
}

#[test]
fn a_small_member_far_behind_has_only_its_offset_in_64_bits() {
    let member = Member::new("n", facts(0o644, 1)).unwrap();
    let content = Content {
        crc: 1,
        compressed: 3,
        size: 1,
    };
    let mut record = Vec::new();
    member.central_record(&content, 7 << 32, &mut record);
    let (sizes, rest) = (&record[20..28], &record[46..]);
    assert_eq!(sizes, [3, 0, 0, 0, 1, 0, 0, 0]);
    let expected = [&b"n\x01\0\x08\0"[..], &(7_u64 << 32).to_le_bytes()];
    assert_eq!(rest, expected.concat());
}

/// What does not compress becomes longer, so it is not the size alone that must have room.
#[test]
fn a_member_is_large_before_its_compressed_size_is() {
    let most = (3 << 30) - 1;
    assert!(!Member::new("n", facts(0o644, most)).unwrap().is_large());
    assert!(Member::new("n", facts(0o644, most + 1)).unwrap().is_large());
    let grown = written(&[file("n", 0o644, noise(1 << 20))]).len() as u64;
    assert!(grown * 3 < 4 << 20, "{grown}");
}

#[test]
fn what_can_not_be_said_is_refused() {
    let mut zip = ZipWriter::new();
    for mut content in [&b"shor"[..], b"longer"] {
        zip.begin("n", facts(0o644, 5)).unwrap();
        assert!(zip.feed(&mut content).unwrap());
        let refused = zip.feed(&mut content).unwrap_err();
        assert!(refused.to_string().contains("instead of 5"), "{refused}");
    }
    let name = "n".repeat(1 << 16);
    assert!(zip.begin(&name, facts(0o644, 0)).is_err());
}

#[test]
fn names_that_differ_only_in_bytes_that_are_no_text_stay_two() {
    use std::ffi::OsStr;
    let name = |bytes: &[u8]| super::unicode(Path::new(OsStr::from_bytes(bytes)));
    assert_eq!(name(b"r\xe9sultat"), "r\u{fffd}E9sultat");
    assert_eq!(name(b"r\xe8sultat"), "r\u{fffd}E8sultat");
    assert_eq!(name("größe".as_bytes()), "größe");
}
