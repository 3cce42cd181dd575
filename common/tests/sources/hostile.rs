//! Repositories that are made to do harm: trees that git programs would never write, and many or large objects.

use crate::repository::{Source, TestMirror, local_options};
use clusterrunner_common::git::{
    CommitId, GitError, GitLimits, GitOptions, PackRequest, TreeError,
};
use git2::{ObjectType, Oid, Repository};
use std::fs;
use tokio_util::sync::CancellationToken;

/// Writes an object as it is.
fn write(source: &Source, kind: ObjectType, data: &[u8]) -> Oid {
    let repository = Repository::open(source.path()).unwrap();
    let objects = repository.odb().unwrap();
    objects.write(kind, data).unwrap()
}

fn tree(source: &Source, entries: &[(&str, &[u8], Oid)]) -> Oid {
    let mut data = Vec::new();
    for (mode, name, oid) in entries {
        data.extend([mode.as_bytes(), b" ", name, b"\0", oid.as_bytes()].concat());
    }
    write(source, ObjectType::Tree, &data)
}

/// A commit of the tree, on `master`.
fn commit(source: &Source, tree: Oid) -> CommitId {
    let text = format!("tree {tree}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n");
    let commit = write(source, ObjectType::Commit, text.as_bytes()).to_string();
    source.git(&["update-ref", "refs/heads/master", &commit]);
    commit.parse().unwrap()
}

/// `d/d/d/…/f`, so many directories deep.
fn deep(source: &Source, depth: usize) -> Oid {
    let file = write(source, ObjectType::Blob, b"x");
    let mut at = tree(source, &[("100644", b"f", file)]);
    for _ in 1..depth {
        at = tree(source, &[("40000", b"d", at)]);
    }
    at
}

fn limited(limits: GitLimits) -> GitOptions {
    GitOptions {
        limits,
        ..local_options()
    }
}

/// Fetches and checks out `master`; why that is refused.
fn refusal(source: &Source, limits: GitLimits) -> TreeError {
    let test = TestMirror::new(source.path().to_str().unwrap(), limited(limits));
    let commit = test.fetch(None, None).unwrap();
    let work_tree = test.folder.path().join("work");
    let stop = CancellationToken::new();
    let error = test.mirror.check_out(&commit, &work_tree, &stop);
    assert!(!work_tree.exists(), "nothing was written");
    match error.unwrap_err() {
        GitError::Tree { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn a_name_that_is_there_twice_is_refused_and_nothing_outside_is_touched() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("precious")).unwrap();
    fs::write(outside.path().join("precious/data"), "important").unwrap();
    let source = Source::with_one_commit();
    let head = Oid::from_str(source.head().as_str()).unwrap();
    let target = outside.path().to_str().unwrap();
    let link = write(&source, ObjectType::Blob, target.as_bytes());
    for (name, url) in [("precious", None), ("new", Some(source.path()))] {
        let modules = url.map_or(String::new(), |url| {
            format!(
                "[submodule \"s\"]\n\tpath = d/new\n\turl = {}\n",
                url.display()
            )
        });
        let modules = write(&source, ObjectType::Blob, modules.as_bytes());
        let inner = tree(&source, &[("160000", name.as_bytes(), head)]);
        let entries: [(&str, &[u8], Oid); 3] = [
            ("100644", b".gitmodules", modules),
            ("120000", b"d", link),
            ("40000", b"d", inner),
        ];
        commit(&source, tree(&source, &entries));
        let error = refusal(&source, GitLimits::default());
        assert!(
            error.to_string().contains("\"d\", which is there twice"),
            "{error}"
        );
        assert!(!outside.path().join("new").exists());
        assert!(outside.path().join("precious/data").exists());
    }
}

#[test]
fn names_that_mean_something_else_are_refused() {
    let source = Source::with_one_commit();
    let file = write(&source, ObjectType::Blob, b"x");
    for name in [
        &b".git"[..],
        b".GiT",
        b"git~1",
        b"..",
        b"a\x1b[2J",
        "\u{200c}.git".as_bytes(),
    ] {
        let inner = tree(&source, &[("100644", name, file)]);
        commit(&source, tree(&source, &[("40000", b"sub", inner)]));
        let error = refusal(&source, GitLimits::default());
        assert!(matches!(error, TreeError::Name { .. }), "{name:?}: {error}");
    }
}

#[test]
fn the_limits_of_depth_number_and_size_are_named() {
    let source = Source::with_one_commit();
    let limits = GitLimits {
        entries: 1000,
        depth: 10,
        file_bytes: 100,
        work_tree_bytes: 500,
        ..GitLimits::default()
    };
    let check = |tree: Oid, setting: &str| {
        commit(&source, tree);
        let error = refusal(&source, limits).to_string();
        assert!(error.contains(setting), "{error}");
    };
    check(deep(&source, 11), "git_max_depth");
    let large = write(&source, ObjectType::Blob, &[b'x'; 101]);
    check(
        tree(&source, &[("100644", b"f", large)]),
        "git_max_file_bytes",
    );
    let file = write(&source, ObjectType::Blob, &[b'x'; 99]);
    let names: Vec<Vec<u8>> = (0..6).map(|n| format!("f{n}").into_bytes()).collect();
    let many: Vec<_> = names.iter().map(|name| ("100644", &**name, file)).collect();
    check(tree(&source, &many), "git_max_work_tree_bytes");
    // Ten trees that stand for 10,000,000,000 files.
    let mut bomb = write(&source, ObjectType::Tree, b"");
    let names: Vec<Vec<u8>> = (0..10).map(|n| format!("d{n}").into_bytes()).collect();
    for _ in 0..9 {
        let entries: Vec<_> = names.iter().map(|name| ("40000", &**name, bomb)).collect();
        bomb = tree(&source, &entries);
    }
    check(bomb, "git_max_entries");
}

#[test]
fn what_is_within_the_limits_is_checked_out() {
    let source = Source::with_one_commit();
    let limits = GitLimits {
        entries: 10,
        depth: 10,
        file_bytes: 1,
        work_tree_bytes: 1,
        refs: 2,
        ..GitLimits::default()
    };
    let commit = commit(&source, deep(&source, 10));
    let test = TestMirror::new(source.path().to_str().unwrap(), limited(limits));
    let stop = CancellationToken::new();
    assert_eq!(test.fetch(None, None).unwrap(), commit);
    let work_tree = test.folder.path().join("work");
    test.mirror.check_out(&commit, &work_tree, &stop).unwrap();
    assert!(work_tree.join("d/d/d/d/d/d/d/d/d/f").exists());
    // Canceled before anything was looked at.
    stop.cancel();
    let canceled = test.mirror.check_out(&commit, &work_tree, &stop);
    assert!(matches!(canceled, Err(GitError::Canceled)));
}

#[test]
fn no_depth_overflows_a_stack() {
    let source = Source::with_one_commit();
    let (first, deep) = (source.head(), commit(&source, deep(&source, 5_000)));
    let test = source.local_mirror();
    let (mirror, scratch) = (test.mirror.clone(), test.folder.path().to_owned());
    test.fetch(None, Some(first.as_str())).unwrap();
    test.fetch(None, Some(deep.as_str())).unwrap();
    // A fraction of what 5,000 calls would need.
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let checked = small.spawn(move || {
        let stop = CancellationToken::new();
        let error = mirror
            .check_out(&deep, &scratch.join("work"), &stop)
            .unwrap_err();
        assert!(error.to_string().contains("git_max_depth"), "{error}");
        // Nor where it is given to another machine, with all that lies between two commits.
        let request = PackRequest {
            have: vec![first],
            ..PackRequest::default()
        };
        let error = mirror
            .packs_for(&deep, &request, &scratch, &stop)
            .unwrap_err();
        assert!(
            error.to_string().contains("nested more than 2048 deep"),
            "{error}"
        );
    });
    checked.unwrap().join().unwrap();
}

#[test]
fn more_refs_than_allowed_are_refused() {
    let source = Source::with_one_commit();
    for branch in ["a", "b", "c"] {
        source.git(&["branch", branch]);
    }
    let limits = GitLimits {
        refs: 3,
        ..GitLimits::default()
    };
    let test = TestMirror::new(source.path().to_str().unwrap(), limited(limits));
    let error = test.fetch(None, None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more than 3 refs (setting git_max_refs)"),
        "{error}"
    );
}
