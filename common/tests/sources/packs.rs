//! A mirror that gets its commits from another mirror, and never sees the repository.

use std::cell::RefCell;
use std::fs;
use std::io::{Cursor, Read, Seek};

use clusterrunner_common::git::{
    CommitId, GitError, GitOptions, GitUrl, Mirror, PackError, PackRequest, PackSource,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::repository::{Source, TestMirror, git};
use crate::submodules::{add_source, commit_index};

/// Gives what a mirror has for one commit; notes what was asked for and how much was given.
struct Giver<'a> {
    mirror: &'a Mirror,
    commit: CommitId,
    /// After how many bytes the connection ends.
    cut: Option<usize>,
    given: RefCell<Vec<(PackRequest, usize)>>,
}

impl<'a> Giver<'a> {
    fn new(mirror: &'a TestMirror, commit: &CommitId) -> Self {
        Self {
            mirror: &mirror.mirror,
            commit: commit.clone(),
            cut: None,
            given: RefCell::default(),
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.given.borrow().iter().map(|(_, size)| *size).collect()
    }
}

impl PackSource for Giver<'_> {
    fn open(&self, request: &PackRequest) -> Result<Box<dyn Read + '_>, PackError> {
        let scratch = TempDir::new().unwrap();
        let cancel = CancellationToken::new();
        let given = self
            .mirror
            .packs_for(&self.commit, request, scratch.path(), &cancel);
        let packs = given.map_err(|error| PackError::Refused(error.to_string()))?;
        let mut stream = b"\n\n".to_vec();
        serde_json::to_writer(&mut stream, &packs.header).unwrap();
        stream.push(b'\n');
        for mut file in packs.files {
            file.rewind().unwrap();
            file.read_to_end(&mut stream).unwrap();
        }
        let size = stream.len();
        self.given.borrow_mut().push((request.clone(), size));
        if let Some(cut) = self.cut {
            stream.truncate(cut.min(size - 1));
        }
        Ok(Box::new(Cursor::new(stream)))
    }
}

/// The repository's mirror, and one that only knows the repository's name.
fn mirrors(source: &Source) -> (TestMirror, TestMirror) {
    let giving = source.local_mirror();
    let options = GitOptions {
        // Names only.
        allow_local_sources: true,
        ..GitOptions::default()
    };
    let taking = TestMirror::new("https://host.invalid/group/source", options);
    (giving, taking)
}

fn take(to: &TestMirror, from: &Giver<'_>) -> Result<(), GitError> {
    let cancel = CancellationToken::new();
    to.mirror.take_commit(&from.commit, from, &cancel)?;
    to.mirror
        .check_out_with(&from.commit, &to.work_tree(), from, &cancel)
}

/// What git itself finds wrong with the mirror.
fn is_sound(mirror: &TestMirror) {
    git(mirror.mirror.directory(), &["fsck", "--full", "--strict"]);
}

#[test]
fn a_commit_is_taken_with_its_history_and_the_next_one_alone() {
    let source = Source::with_one_commit();
    let noise: String = (0..20_000_u32)
        .map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)))
        .collect();
    source.commit(&[("large", &noise)]);
    source.git(&["tag", "--annotate", "--message", "x", "v1"]);
    source.git(&["branch", "other"]);
    // Some of it in a pack, the rest loose.
    source.git(&["repack", "-a", "-d", "--quiet"]);
    let first = source.commit(&[("file", "two"), ("sub/new", "x")]);
    let (giving, taking) = mirrors(&source);
    giving.fetch(None, None).unwrap();
    let giver = Giver::new(&giving, &first);
    take(&taking, &giver).unwrap();
    assert_eq!(taking.read("file"), "two");
    let work_tree = taking.work_tree();
    assert_eq!(git(&work_tree, &["rev-list", "--count", "HEAD"]), "3");
    assert_eq!(
        git(&work_tree, &["describe"]),
        format!("v1-1-g{}", &first.as_str()[..7])
    );
    assert_eq!(
        git(&work_tree, &["rev-parse", "origin/other"]),
        git(&work_tree, &["rev-parse", "HEAD~"])
    );
    is_sound(&taking);

    source.git(&["rm", "--quiet", "sub/new"]);
    let second = source.commit(&[("file", "three")]);
    source.git(&["tag", "--annotate", "--message", "x", "v2"]);
    giving.fetch(None, None).unwrap();
    let next = Giver::new(&giving, &second);
    take(&taking, &next).unwrap();
    assert_eq!(taking.read("file"), "three");
    assert!(!work_tree.join("sub").exists());
    assert_eq!(git(&work_tree, &["describe"]), "v2");
    assert_eq!(
        git(&work_tree, &["rev-parse", "origin/master"]),
        second.as_str()
    );
    is_sound(&taking);
    let (all, little) = (giver.sizes(), next.sizes());
    assert!(all[0] > 50_000 && little[0] < 3_000, "{all:?} {little:?}");
    assert_eq!(next.given.borrow()[0].0.have, std::slice::from_ref(&first));

    // What is there is not asked for again, and what is older is there too.
    take(&taking, &giver).unwrap();
    take(&taking, &next).unwrap();
    assert_eq!((giver.sizes().len(), next.sizes().len()), (1, 1));
}

/// The receiver has a commit that the giver has lost or never had.
#[test]
fn unknown_commits_of_the_receiver_do_not_matter() {
    let (one, other) = (Source::with_one_commit(), Source::with_one_commit());
    let strange = one.commit(&[("file", "strange")]);
    let (giving, taking) = mirrors(&one);
    giving.fetch(None, None).unwrap();
    take(&taking, &Giver::new(&giving, &strange)).unwrap();
    let wanted = other.commit(&[("file", "wanted")]);
    let giving = other.local_mirror();
    giving.fetch(None, None).unwrap();
    take(&taking, &Giver::new(&giving, &wanted)).unwrap();
    assert_eq!(taking.read("file"), "wanted");
    is_sound(&taking);
}

#[test]
fn submodules_come_the_same_way() {
    let leaf = Source::with_one_commit();
    let middle = Source::empty();
    add_source(&middle, "deep/leaf", &leaf);
    commit_index(&middle);
    let source = Source::with_one_commit();
    add_source(&source, "lib/middle", &middle);
    let commit = commit_index(&source);
    let (giving, taking) = mirrors(&source);
    giving.fetch(None, None).unwrap();
    giving.check_out(&commit).unwrap();
    // Nobody can reach them any more.
    drop((leaf, middle));
    let giver = Giver::new(&giving, &commit);
    take(&taking, &giver).unwrap();
    assert_eq!(taking.read("lib/middle/deep/leaf/file"), "one");
    let asked: Vec<_> = giver
        .given
        .borrow()
        .iter()
        .map(|(request, _)| request.submodule.clone())
        .collect();
    assert_eq!(
        asked,
        [vec![], vec!["lib/middle"], vec!["lib/middle", "deep/leaf"]]
    );

    // Nothing but the commit's own submodules can be asked for.
    for wrong in ["file", "nothing", "lib", "../..", "/etc", ""] {
        let request = PackRequest {
            submodule: vec![wrong.to_owned()],
            have: vec![],
        };
        assert!(giver.open(&request).is_err(), "{wrong}");
    }
}

/// A repository whose history is cut off is taken with that cut.
#[test]
fn a_shallow_repository_stays_shallow() {
    let source = Source::with_one_commit();
    source.commit(&[("file", "two")]);
    let shallow = TempDir::new().unwrap();
    let url = format!("file://{}", source.path().display());
    let at = shallow.path().join("clone");
    git(
        shallow.path(),
        &["clone", "--quiet", "--depth=1", &url, at.to_str().unwrap()],
    );
    let giving = TestMirror::new(at.to_str().unwrap(), crate::repository::local_options());
    let (_, taking) = mirrors(&source);
    let first = giving.fetch(None, None).unwrap();
    take(&taking, &Giver::new(&giving, &first)).unwrap();
    assert_eq!(
        git(&taking.work_tree(), &["rev-list", "--count", "HEAD"]),
        "1"
    );

    let second = source.commit(&[("file", "three")]);
    git(&at, &["pull", "--quiet", "--depth=2"]);
    giving.fetch(None, None).unwrap();
    take(&taking, &Giver::new(&giving, &second)).unwrap();
    assert_eq!(taking.read("file"), "three");
    // The rest comes when there is no cut any more.
    git(&at, &["fetch", "--quiet", "--unshallow"]);
    let third = source.commit(&[("file", "four")]);
    git(&at, &["pull", "--quiet"]);
    giving.fetch(None, None).unwrap();
    take(&taking, &Giver::new(&giving, &third)).unwrap();
    assert_eq!(
        git(&taking.work_tree(), &["rev-list", "--count", "HEAD"]),
        "4"
    );
    is_sound(&taking);
}

#[test]
fn a_broken_connection_leaves_nothing_and_the_next_one_succeeds() {
    let source = Source::with_one_commit();
    source.git(&["repack", "-a", "-d", "--quiet"]);
    let commit = source.commit(&[("file", "two")]);
    let (giving, taking) = mirrors(&source);
    giving.fetch(None, None).unwrap();
    let mut giver = Giver::new(&giving, &commit);
    let size = {
        let (_, probe) = mirrors(&source);
        take(&probe, &giver).unwrap();
        giver.sizes()[0]
    };
    for cut in [0, 1, 2, 30, size / 2, size - 100, size - 1] {
        giver.cut = Some(cut);
        let error = take(&taking, &giver).unwrap_err();
        assert!(
            matches!(error.pack_error(), Some(PackError::Interrupted(_))),
            "{cut}: {error}"
        );
        let objects = taking.mirror.directory().join("objects");
        let left: Vec<_> = fs::read_dir(objects)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "{cut}: {left:?}");
    }
    giver.cut = None;
    take(&taking, &giver).unwrap();
    assert_eq!(taking.read("file"), "two");
}

/// A process that was killed between receiving packs and showing them.
#[test]
fn packs_that_were_received_are_shown_at_the_next_opening() {
    let source = Source::with_one_commit();
    let commit = source.head();
    let (giving, taking) = mirrors(&source);
    giving.fetch(None, None).unwrap();
    let giver = Giver::new(&giving, &commit);
    take(&taking, &giver).unwrap();
    let objects = taking.mirror.directory().join("objects");
    fs::create_dir(objects.join("taken")).unwrap();
    for file in fs::read_dir(objects.join("pack")).unwrap() {
        let file = file.unwrap();
        // As if it had got half-way.
        if file.path().extension().unwrap() == "idx" {
            fs::rename(file.path(), objects.join("taken").join(file.file_name())).unwrap();
        }
    }
    fs::create_dir(objects.join("incoming-x")).unwrap();
    take(&taking, &giver).unwrap();
    assert!(!objects.join("taken").exists() && !objects.join("incoming-x").exists());
    assert_eq!(giver.sizes().len(), 1);
}

#[test]
fn what_is_not_there_is_refused() {
    let source = Source::with_one_commit();
    let (giving, taking) = mirrors(&source);
    giving.fetch(None, None).unwrap();
    let missing: CommitId = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    let error = take(&taking, &Giver::new(&giving, &missing)).unwrap_err();
    assert!(
        matches!(error.pack_error(), Some(PackError::Refused(_))),
        "{error}"
    );

    struct Says(&'static str);
    impl PackSource for Says {
        fn open(&self, _: &PackRequest) -> Result<Box<dyn Read + '_>, PackError> {
            Ok(Box::new(self.0.as_bytes()))
        }
    }
    for (answer, refused) in [
        ("{\"error\": \"gone\"}\n", true),
        ("hello\n", true),
        ("{\"packs\": [], \"is_whole\": true, \"refs\": []}\n", true),
        (
            "{\"packs\": [4], \"is_whole\": true, \"refs\": []}\nPACK",
            false,
        ),
        (
            "{\"packs\": [30], \"is_whole\": true, \"refs\": []}\nThis is no pack, but thirty bytes.",
            false,
        ),
    ] {
        let cancel = CancellationToken::new();
        let error = taking
            .mirror
            .take_commit(&source.head(), &Says(answer), &cancel)
            .unwrap_err();
        let said = error.pack_error().unwrap();
        assert_eq!(
            matches!(said, PackError::Refused(_)),
            refused,
            "{answer}: {error}"
        );
    }
}

#[test]
fn urls_for_others_let_nobody_in() {
    for (url, shown) in [
        ("https://me:secret@host/a.git", "https://host/a.git"),
        ("https://token@host:8443/a", "https://host:8443/a"),
        ("ssh://git@host/a", "ssh://git@host/a"),
        ("git@host:a.git", "git@host:a.git"),
        ("/a/b", "/a/b"),
    ] {
        assert_eq!(
            GitUrl::parse(url, true).unwrap().without_credentials(),
            shown
        );
    }
}
