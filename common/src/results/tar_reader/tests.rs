use super::*;
use proptest::prelude::*;
use std::io::Write as _;

fn head(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_path("head").unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header
}

/// A head and its content, filled up.
fn member(kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut bytes = head(kind, content.len() as u64).as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn record(key: &str, value: &str) -> Vec<u8> {
    // Of the lengths that count themselves, one of these fits.
    let rest = format!(" {key}={value}\n");
    let fits = |length: &usize| length.to_string().len() + rest.len() == *length;
    let length = (rest.len()..rest.len() + 6).find(fits).unwrap();
    format!("{length}{rest}").into_bytes()
}

/// The first member, or why there is none.
fn first(archive: &[u8]) -> Result<Option<Member>, String> {
    let mut reader = TarReader::new(archive);
    reader.next_member().map_err(|error| error.to_string())
}

fn refusal(archive: &[u8]) -> String {
    first(archive).unwrap_err()
}

#[test]
fn declared_sizes_beyond_the_bound_are_refused_before_anything_is_read() {
    let bound = "; at most 65536 are read";
    for (kind, name) in [
        (EntryType::GNULongName, "a GNU long name of "),
        (EntryType::GNULongLink, "a GNU long link of "),
        (EntryType::XHeader, "a PAX head of "),
    ] {
        for size in [MAX_EXTENSION + 1, 2 << 30, u64::MAX] {
            let error = refusal(head(kind, size).as_bytes());
            assert!(error.starts_with(name) && error.ends_with(bound), "{error}");
        }
    }
    let long = "n".repeat(60_000);
    let archive = [
        member(EntryType::GNULongName, format!("{long}\0").as_bytes()),
        member(EntryType::Regular, b"x"),
    ];
    let found = first(&archive.concat()).unwrap().unwrap();
    assert_eq!(found.path, PathBuf::from(long));
}

#[test]
fn a_member_of_any_size_costs_nothing_until_it_is_read() {
    let huge = head(EntryType::Regular, u64::MAX - 1023);
    let mut reader = TarReader::new(&huge.as_bytes()[..]);
    assert_eq!(reader.next_member().unwrap().unwrap().size, u64::MAX - 1023);
    let error = reader.next_member().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let endless = head(EntryType::Regular, u64::MAX);
    assert_eq!(refusal(endless.as_bytes()), TarFault::Size.to_string());
}

#[test]
fn heads_that_contradict_each_other_and_sparse_members_are_refused() {
    let regular = member(EntryType::Regular, b"");
    let long = member(EntryType::GNULongName, b"long\0");
    let twice = [long.clone(), long.clone(), regular.clone()].concat();
    assert!(refusal(&twice).contains("comes twice"));
    let pax = member(EntryType::XHeader, &record("path", "other"));
    let both = [long.clone(), pax, regular.clone()].concat();
    assert!(refusal(&both).contains("comes twice"));
    let sparse = TarFault::Sparse.to_string();
    assert_eq!(refusal(&member(EntryType::GNUSparse, b"")), sparse);
    let pax = member(EntryType::XHeader, &record("GNU.sparse.major", "1"));
    assert_eq!(refusal(&[pax, regular.clone()].concat()), sparse);
    assert!(refusal(&long).contains("unexpected end"));
    let mut damaged = regular;
    damaged[0] ^= 1;
    assert_eq!(refusal(&damaged), TarFault::Checksum.to_string());
}

#[test]
fn pax_heads_are_read_by_the_length_of_their_records() {
    let records = [
        record("path", "two\nlines"),
        record("linkpath", "there"),
        record("size", "3"),
        record("mtime", "1.5"),
    ];
    let archive = [
        member(EntryType::XHeader, &records.concat()),
        member(EntryType::Regular, b"abc"),
        member(EntryType::Regular, b"next"),
    ];
    let archive = archive.concat();
    let mut reader = TarReader::new(&*archive);
    let found = reader.next_member().unwrap().unwrap();
    assert_eq!(found.path, PathBuf::from("two\nlines"));
    assert_eq!(found.target, Some("there".into()));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
    assert_eq!(reader.next_member().unwrap().unwrap().size, 4);
    assert!(reader.next_member().unwrap().is_none());
    for malformed in [
        "x",
        "5 a=b",
        "99 a=b\n",
        "4 ab\n",
        "6 a=b\n\n",
        "7 size=x\n",
        " a=b\n",
    ] {
        let archive = member(EntryType::XHeader, malformed.as_bytes());
        assert_eq!(
            refusal(&archive),
            TarFault::Pax.to_string(),
            "{malformed:?}"
        );
    }
}

proptest! {
    #[test]
    fn what_the_library_writes_is_read_as_it_was(
        files in prop::collection::vec(("[a-z/]{1,300}", prop::collection::vec(any::<u8>(), 0..1500)), 0..6),
        read_content in any::<bool>(),
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        let mut written = Vec::new();
        for (name, content) in &files {
            let name = name.trim_matches('/');
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            if !name.is_empty() && builder.append_data(&mut header, name, &**content).is_ok() {
                written.push((PathBuf::from(name), content));
            }
        }
        let bytes = builder.into_inner().unwrap();
        let mut reader = TarReader::new(&*bytes);
        for (path, content) in written {
            let found = reader.next_member().unwrap().unwrap();
            prop_assert_eq!(found.path, path);
            if read_content {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).unwrap();
                prop_assert_eq!(&read, content);
            }
        }
        prop_assert!(reader.next_member().unwrap().is_none());
    }

    /// Whatever comes, it ends, and no more is read than there is.
    #[test]
    fn garbage_is_survived(
        kinds in prop::collection::vec((0_u8..128, any::<u64>(), prop::collection::vec(any::<u8>(), 0..600)), 1..6),
    ) {
        let mut bytes = Vec::new();
        for (kind, size, content) in kinds {
            let size = if size % 3 == 0 { size } else { content.len() as u64 };
            bytes.write_all(head(EntryType::new(kind), size).as_bytes()).unwrap();
            bytes.write_all(&content).unwrap();
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        let mut reader = TarReader::new(&*bytes);
        while let Ok(Some(_)) = reader.next_member() {}
        prop_assert!(reader.position() <= bytes.len() as u64);
    }
}
