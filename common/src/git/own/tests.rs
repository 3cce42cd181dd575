use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tar::EntryType;

/// A member of an archive: its kind, name, mode, content or target.
type Given<'a> = (EntryType, &'a str, u32, &'a [u8]);

fn file<'a>(name: &'a str, content: &'a str) -> Given<'a> {
    (EntryType::Regular, name, 0o644, content.as_bytes())
}

fn link<'a>(name: &'a str, target: &'a str) -> Given<'a> {
    (EntryType::Symlink, name, 0o777, target.as_bytes())
}

/// Also what the writer of archives would not write.
fn tar_of(members: &[Given<'_>]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (kind, name, mode, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            old.linkname[..content.len()].copy_from_slice(content);
        }
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        if !is_link {
            tar.extend_from_slice(content);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn archive(members: &[Given<'_>]) -> Vec<u8> {
    gzip(&tar_of(members))
}

struct Place {
    _folder: tempfile::TempDir,
    repository: OwnRepository,
    newest: Option<CommitId>,
    limits: GitLimits,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = OwnRepository::at(folder.path().join("own/7"));
        Self {
            _folder: folder,
            repository,
            newest: None,
            limits: GitLimits::default(),
        }
    }

    fn try_upload(&self, archive: &[u8]) -> Result<CommitId, CodeError> {
        let new = NewCommit {
            parent: self.newest.as_ref(),
            author: "ada",
            at: Timestamp(1_500_000_000_000),
            limits: self.limits,
        };
        let cancel = CancellationToken::new();
        self.repository.commit(archive, &new, &cancel)
    }

    fn upload(&mut self, members: &[Given<'_>]) -> CommitId {
        let commit = self.try_upload(&archive(members)).unwrap();
        self.newest = Some(commit.clone());
        commit
    }

    /// What a commit has, by name: mode and content.
    fn files(&self, commit: &CommitId) -> BTreeMap<String, (u32, String)> {
        let mut packed = Vec::new();
        let cancel = CancellationToken::new();
        self.repository.pack(commit, &mut packed, &cancel).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&*packed));
        let mut files = BTreeMap::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let (mode, mut content) = (entry.header().mode().unwrap(), String::new());
            match entry.link_name().unwrap() {
                Some(target) => content = format!("-> {}", target.display()),
                None => drop(entry.read_to_string(&mut content).unwrap()),
            }
            files.insert(name, (mode, content));
        }
        files
    }

    fn refusal(&self, archive: &[u8]) -> String {
        match self.try_upload(archive) {
            Err(CodeError::Archive(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn files_programs_and_links_come_back_as_they_were() {
    let mut place = Place::new();
    let long = format!("{}/{}", "d".repeat(45), "f".repeat(50));
    let commit = place.upload(&[
        (EntryType::XGlobalHeader, "pax_global_header", 0o666, b""),
        (EntryType::Directory, "./", 0o755, b""),
        (EntryType::Directory, "./empty/", 0o755, b""),
        file("./a.txt", "one"),
        (EntryType::Regular, "bin//run.sh", 0o755, b"#!/bin/sh\n"),
        (EntryType::Link, "bin/again", 0o755, b"./bin/run.sh"),
        link("bin/up", "../a.txt"),
        file(&long, ""),
        file("a.txt", "two"),
    ]);
    let file = |mode, content: &str| (mode, content.to_owned());
    let expected = BTreeMap::from([
        ("a.txt".to_owned(), file(0o644, "two")),
        ("bin/again".to_owned(), file(0o755, "#!/bin/sh\n")),
        ("bin/run.sh".to_owned(), file(0o755, "#!/bin/sh\n")),
        ("bin/up".to_owned(), file(0o644, "-> ../a.txt")),
        (long, file(0o644, "")),
    ]);
    assert_eq!(place.files(&commit), expected);
}

#[test]
fn the_same_files_are_no_new_commit() {
    let mut place = Place::new();
    let first = place.upload(&[file("a", "1"), file("b", "2")]);
    let again = place.upload(&[
        file("b", "2"),
        (EntryType::Directory, "c", 0o755, b""),
        file("a", "1"),
    ]);
    assert_eq!(first, again);
    let other = place.upload(&[file("a", "1")]);
    assert_ne!(first, other);
    // The files of before are a new commit all the same: it comes after the other one.
    let back = place.upload(&[file("a", "1"), file("b", "2")]);
    assert!(back != first && back != other);
    let repository = open_here(&place.repository.directory).unwrap();
    let newest = repository.find_reference(BRANCH).unwrap();
    assert_eq!(newest.target().unwrap().to_string(), back.as_str());
    let mut walk = repository.revwalk().unwrap();
    walk.push_head().unwrap();
    assert_eq!(walk.count(), 3);
    assert_eq!(place.files(&first).len(), 2);
    assert_eq!(place.files(&other).len(), 1);
    // Nothing is left of how they were made.
    let left = fs::read_dir(&place.repository.directory).unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(INCOMING));
    assert_eq!(left.count(), 0);
    let objects = place.repository.directory.join("objects");
    assert_eq!(loose_objects(&objects).unwrap(), []);
}

#[test]
fn a_repository_that_was_lost_begins_anew() {
    let mut place = Place::new();
    let lost = place.upload(&[file("a", "1")]);
    remove_all(&place.repository.directory).unwrap();
    let cancel = CancellationToken::new();
    let packed = place.repository.pack(&lost, Vec::new(), &cancel);
    assert!(
        matches!(packed, Err(CodeError::Repository { .. })),
        "{packed:?}"
    );
    let new = place.upload(&[file("a", "2")]);
    assert_eq!(place.files(&new)["a"].1, "2");
}

#[test]
fn commits_are_found_by_their_ids_only() {
    let mut place = Place::new();
    let none: CommitId = "a".repeat(40).parse().unwrap();
    assert_eq!(place.repository.find("abcd", &none).unwrap(), None);
    let commit = place.upload(&[file("a", "1")]);
    let newer = place.upload(&[file("a", "2")]);
    // What is not in the history of the newest is not the project's.
    let later = place.repository.find(newer.as_str(), &commit).unwrap();
    assert_eq!(later, None);
    let found = |hash: &str| place.repository.find(hash, &newer).unwrap();
    assert_eq!(found(newer.as_str()).as_ref(), Some(&newer));
    assert_eq!(found(commit.as_str()).as_ref(), Some(&commit));
    assert_eq!(
        found(&commit.as_str()[..8].to_uppercase()).as_ref(),
        Some(&commit)
    );
    for other in [
        "",
        "abc",
        "master",
        "HEAD^",
        ":/x",
        &"0".repeat(40),
        &"a".repeat(41),
    ] {
        assert_eq!(found(other), None, "{other}");
    }
}

#[test]
fn an_archive_with_what_code_may_not_have_changes_nothing() {
    let mut place = Place::new();
    let commit = place.upload(&[file("a", "1")]);
    let cases: &[(&[Given<'_>], &str)] = &[
        (&[file("/etc/passwd", "x")], "begins with a slash"),
        (&[file("../x", "x")], "leads elsewhere"),
        (&[file("a/../../x", "x")], "leads elsewhere"),
        (&[file(".git/config", "x")], "git's own directory"),
        (&[file("sub/.GIT/hooks/x", "x")], "git's own directory"),
        (&[file("git~1/x", "x")], "git's own directory"),
        (&[file("a\tb", "x")], "control characters"),
        (&[file("", "x")], "has no name"),
        (&[link("l", "/etc/passwd")], "leads out"),
        (&[link("l", "../../x")], "leads out"),
        (&[link("d/l", "../..")], "leads out"),
        (&[link("l", "d/../../x"), file("d/x", "")], "leads out"),
        (&[link("l", "d"), file("l/x", "x")], "at the same time"),
        (&[file("l", "d"), file("l/x", "x")], "at the same time"),
        (&[file("l/x", "d"), file("l", "x")], "at the same time"),
        (&[file("l/x", "d"), link("l", "x")], "at the same time"),
        (&[link("l", "a"), file("l", "x")], "at the same time"),
        (
            &[(EntryType::Link, "h", 0o644, b"nothing")],
            "does not come before",
        ),
        (
            &[(EntryType::Link, "h", 0o644, b"/etc/passwd")],
            "begins with a slash",
        ),
        (
            &[link("l", "a"), (EntryType::Link, "h", 0o644, b"l")],
            "of a symbolic link",
        ),
        (&[(EntryType::Char, "null", 0o666, b"")], "is a device"),
        (&[(EntryType::Block, "disk", 0o666, b"")], "is a device"),
        (&[(EntryType::Fifo, "pipe", 0o666, b"")], "is a device"),
    ];
    for (members, reason) in cases {
        let said = place.refusal(&archive(members));
        assert!(said.contains(reason), "{members:?}: {said}");
    }
    assert_eq!(place.files(&commit).len(), 1);
    assert_eq!(place.upload(&[file("a", "1")]), commit);
}

#[test]
fn an_archive_that_is_cut_off_or_none_is_refused() {
    let place = Place::new();
    let whole = archive(&[file("a", &"text ".repeat(1000)), file("b", "2")]);
    for length in 0..whole.len() {
        let said = place.refusal(&whole[..length]);
        assert!(said.contains("can not be read"), "{length}: {said}");
    }
    for wrong in [&b"no gzip"[..], &gzip(b"no tar at all"), &gzip(&[1; 2048])] {
        assert!(place.refusal(wrong).contains("can not be read"));
    }
    let mut damaged = whole.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    assert!(place.refusal(&damaged).contains("can not be read"));
    let behind = [tar_of(&[file("a", "1")]), vec![7; 2 << 20]].concat();
    assert!(place.refusal(&gzip(&behind)).contains("behind the end"));
    assert!(place.try_upload(&whole).is_ok());
    // What some programs make of an empty directory.
    assert!(place.try_upload(&gzip(&[0; 10240])).is_ok());
}

#[test]
fn what_is_larger_than_the_settings_allow_is_refused_before_it_is_unpacked() {
    let check = |limits: GitLimits, members: &[Given<'_>], setting: &str| {
        let place = Place {
            limits,
            ..Place::new()
        };
        match place.try_upload(&archive(members)) {
            Err(CodeError::Archive(ArchiveError::TooLarge(said))) => {
                assert!(said.contains(setting), "{said}");
            }
            other => panic!("{setting}: {other:?}"),
        }
    };
    let limits = GitLimits::default();
    let bomb = "0".repeat(1 << 20);
    let depth = GitLimits { depth: 3, ..limits };
    check(depth, &[file("a/b/c/d", "")], "git_max_depth");
    let entries = GitLimits {
        entries: 2,
        ..limits
    };
    check(
        entries,
        &[file("a", ""), file("b", ""), file("c", "")],
        "git_max_entries",
    );
    let file_bytes = GitLimits {
        file_bytes: 1000,
        ..limits
    };
    check(file_bytes, &[file("a", &bomb)], "git_max_file_bytes");
    let work_tree_bytes = GitLimits {
        work_tree_bytes: 3 << 19,
        ..limits
    };
    check(
        work_tree_bytes,
        &[file("a", &bomb), file("b", &bomb)],
        "git_max_work_tree_bytes",
    );
    // What is skipped counts, too.
    let skipped = (EntryType::Directory, "d", 0o755, bomb.as_bytes());
    check(
        work_tree_bytes,
        &[skipped, skipped],
        "git_max_work_tree_bytes",
    );
}

#[test]
fn a_canceled_upload_and_what_a_killed_one_left_change_nothing() {
    let mut place = Place::new();
    let commit = place.upload(&[file("a", "1")]);
    let left = place.repository.directory.join("incoming-left");
    fs::create_dir_all(left.join("objects/aa")).unwrap();
    fs::write(left.join("objects/aa/half"), "x").unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let new = NewCommit {
        parent: Some(&commit),
        author: "ada",
        at: Timestamp(0),
        limits: place.limits,
    };
    let whole = archive(&[file("a", "2")]);
    let canceled = place.repository.commit(&*whole, &new, &cancel);
    assert!(matches!(canceled, Err(CodeError::Canceled)), "{canceled:?}");
    assert!(!left.exists());
    assert_eq!(place.files(&commit)["a"].1, "1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the names, what is accepted comes back and has no name that leads elsewhere.
    #[test]
    fn accepted_files_come_back(
        members in prop::collection::vec(
            ("[a-c./]{1,6}", prop_oneof![Just(EntryType::Regular), Just(EntryType::Directory), Just(EntryType::Symlink)], "[a./]{1,4}"),
            1..8,
        )
    ) {
        let place = Place::new();
        let given: Vec<Given<'_>> = members
            .iter()
            .map(|(name, kind, content)| (*kind, name.as_str(), 0o644, content.as_bytes()))
            .collect();
        if let Ok(commit) = place.try_upload(&archive(&given)) {
            for (name, (_, content)) in place.files(&commit) {
                prop_assert!(name.split('/').all(|part| !["", ".", ".."].contains(&part)), "{}", name);
                prop_assert!(!content.starts_with("-> /"), "{}", content);
            }
        }
    }

    /// Damage is told, or does no harm.
    #[test]
    fn damaged_archives_do_no_harm(at in 0usize..1000, byte in any::<u8>()) {
        let place = Place::new();
        let mut tar = tar_of(&[file("a", "1"), link("l", "a"), file("d/b", "2")]);
        let at = at % tar.len();
        tar[at] = byte;
        match place.try_upload(&gzip(&tar)) {
            Ok(_) | Err(CodeError::Archive(_)) => {}
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
}

#[test]
fn one_file_of_a_commit_is_read() {
    let mut place = Place::new();
    let commit = place.upload(&[
        file("Dockerfile", "FROM a\n"),
        file("sub/Dockerfile", "FROM b\n"),
        link("linked", "Dockerfile"),
    ]);
    let read = |path: &str, most| {
        let read = place.repository.file(&commit, Path::new(path), most);
        read.unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    };
    assert_eq!(read("Dockerfile", 7).as_deref(), Some("FROM a\n"));
    assert_eq!(read("./sub/./Dockerfile", 7).as_deref(), Some("FROM b\n"));
    assert_eq!(read("Dockerfile", 6), None);
    for path in [
        "linked",
        "sub",
        "nothing",
        "sub/nothing",
        "",
        "a/".repeat(5_000).as_str(),
    ] {
        assert_eq!(read(path, 100), None, "{path}");
    }
}
