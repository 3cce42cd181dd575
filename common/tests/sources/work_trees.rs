//! A work tree holds exactly one commit, whatever builds have done to it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use clusterrunner_common::git::{CommitId, GitError};
use tokio_util::sync::CancellationToken;

use crate::repository::{Source, git};

/// All names below `directory` without `.git`, sorted.
fn names_in(directory: &Path) -> Vec<String> {
    fn walk(directory: &Path, root: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".git" {
                continue;
            }
            names.push(
                entry
                    .path()
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), root, names);
            }
        }
    }
    let mut names = Vec::new();
    walk(directory, directory, &mut names);
    names.sort();
    names
}

fn source_with_all_kinds() -> (Source, CommitId) {
    let source = Source::empty();
    source.commit(&[
        (".gitignore", "*.o\nbuild/\n"),
        ("a/b/deep", "deep"),
        ("run.sh", "#!/bin/sh\n"),
    ]);
    fs::set_permissions(
        source.path().join("run.sh"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    symlink("a/b/deep", source.path().join("link")).unwrap();
    let commit = source.commit(&[]);
    (source, commit)
}

#[test]
fn what_a_build_changes_is_undone() {
    let (source, commit) = source_with_all_kinds();
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    let tree = mirror.work_tree();
    let expected = names_in(&tree);
    assert_eq!(
        expected,
        [".gitignore", "a", "a/b", "a/b/deep", "link", "run.sh"]
    );

    fs::write(tree.join("a/b/deep"), "DEEP").unwrap();
    fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(tree.join("link")).unwrap();
    fs::create_dir(tree.join("link")).unwrap();
    fs::write(tree.join("link/x"), "x").unwrap();
    fs::write(tree.join("untracked"), "x").unwrap();
    fs::write(tree.join("ignored.o"), "x").unwrap();
    fs::create_dir_all(tree.join("build/nested")).unwrap();
    git(&tree.join("build/nested"), &["init", "--quiet"]);
    fs::create_dir_all(tree.join("a/readonly/x")).unwrap();
    fs::set_permissions(tree.join("a/readonly"), fs::Permissions::from_mode(0o500)).unwrap();
    git(&tree, &["update-index", "--assume-unchanged", ".gitignore"]);
    fs::write(tree.join(".gitignore"), "hidden").unwrap();
    git(&tree, &["config", "core.autocrlf", "true"]);

    mirror.check_out(&commit).unwrap();
    assert_eq!(names_in(&tree), expected);
    assert_eq!(mirror.read("a/b/deep"), "deep");
    assert_eq!(mirror.read(".gitignore"), "*.o\nbuild/\n");
    assert_eq!(
        fs::read_link(tree.join("link")).unwrap(),
        Path::new("a/b/deep")
    );
    assert_ne!(
        fs::metadata(tree.join("run.sh"))
            .unwrap()
            .permissions()
            .mode()
            & 0o100,
        0
    );
    assert_eq!(git(&tree, &["status", "--porcelain", "--ignored"]), "");
}

/// Same size, same time of change: only a careful look finds it.
#[test]
fn a_change_that_keeps_size_and_time_is_undone() {
    let (source, commit) = source_with_all_kinds();
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    let file = mirror.work_tree().join("a/b/deep");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "peed").unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("a/b/deep"), "deep");
}

#[test]
fn files_become_directories_and_back_between_commits() {
    let source = Source::empty();
    let first = source.commit(&[("x", "file"), ("y/z", "inside")]);
    fs::remove_file(source.path().join("x")).unwrap();
    fs::remove_dir_all(source.path().join("y")).unwrap();
    let second = source.commit(&[("x/z", "inside"), ("y", "file")]);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    for (commit, expected) in [
        (&first, vec!["x", "y", "y/z"]),
        (&second, vec!["x", "x/z", "y"]),
        (&first, vec!["x", "y", "y/z"]),
    ] {
        mirror.check_out(commit).unwrap();
        assert_eq!(names_in(&mirror.work_tree()), expected);
        assert_eq!(
            git(&mirror.work_tree(), &["status", "--porcelain", "--ignored"]),
            ""
        );
    }
}

#[test]
fn git_programs_work_in_it() {
    let source = Source::with_one_commit();
    source.git(&["tag", "--annotate", "--message", "x", "v1"]);
    let commit = source.commit(&[("file", "two")]);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    let tree = mirror.work_tree();
    assert_eq!(git(&tree, &["rev-parse", "HEAD"]), commit.as_str());
    assert_eq!(git(&tree, &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    assert_eq!(git(&tree, &["log", "--format=%s"]), "a commit\na commit");
    assert!(git(&tree, &["describe"]).starts_with("v1-1-g"));
    assert_eq!(git(&tree, &["rev-parse", "origin/master"]), commit.as_str());
    assert_eq!(
        git(&tree, &["remote", "get-url", "origin"]),
        source.path().to_str().unwrap()
    );
    assert_eq!(
        git(&tree, &["rev-parse", "--show-toplevel"]),
        tree.to_str().unwrap()
    );
}

#[test]
fn two_work_trees_of_one_mirror_are_independent() {
    let source = Source::with_one_commit();
    let first = source.head();
    let second = source.commit(&[("file", "two")]);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    let cancel = CancellationToken::new();
    let places = ["one/tree", "two/tree"].map(|name| mirror.folder.path().join(name));
    for (place, commit) in places.iter().zip([&first, &second]) {
        mirror.mirror.check_out(commit, place, &cancel).unwrap();
    }
    for (place, commit) in places.iter().zip([&first, &second]) {
        assert_eq!(git(place, &["rev-parse", "HEAD"]), commit.as_str());
        assert_eq!(git(place, &["status", "--porcelain"]), "");
    }
    mirror.mirror.remove_work_tree(&places[0]).unwrap();
    mirror.mirror.remove_work_tree(&places[0]).unwrap();
    assert!(!places[0].exists());
    assert_eq!(
        fs::read_dir(mirror.mirror.directory().join("worktrees"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(git(&places[1], &["status", "--porcelain"]), "");
}

#[test]
fn damage_in_a_work_tree_is_mended() {
    let source = Source::with_one_commit();
    let commit = source.head();
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    let tree = mirror.work_tree();
    let administration = fs::read_dir(mirror.mirror.directory().join("worktrees"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let damages: [&dyn Fn(); 6] = [
        &|| fs::remove_file(tree.join(".git")).unwrap(),
        &|| {
            fs::remove_file(tree.join(".git")).unwrap();
            git(&tree, &["init", "--quiet"]);
        },
        &|| fs::write(administration.join("index"), "nonsense").unwrap(),
        &|| fs::write(administration.join("index.lock"), "").unwrap(),
        &|| fs::remove_dir_all(&administration).unwrap(),
        &|| fs::remove_dir_all(&tree).unwrap(),
    ];
    for damage in damages {
        damage();
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("file"), "changed").unwrap();
        mirror
            .check_out(&commit)
            .or_else(|error| {
                // Only the one with nothing left that shows whose it was.
                assert!(matches!(error, GitError::ForeignWorkTree { .. }), "{error}");
                fs::remove_dir_all(&tree).unwrap();
                mirror.check_out(&commit)
            })
            .unwrap();
        assert_eq!(mirror.read("file"), "one");
        assert_eq!(git(&tree, &["status", "--porcelain"]), "");
    }
}

/// A process that was killed right after it had made the directory.
#[test]
fn a_directory_with_nothing_but_an_unfinished_file_is_taken() {
    let source = Source::with_one_commit();
    let mirror = source.local_mirror();
    let commit = mirror.fetch(None, None).unwrap();
    let tree = &mirror.work_tree();
    fs::create_dir_all(tree).unwrap();
    fs::write(tree.join(".new-a1B2c3"), "gitdir").unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("file"), "one");
    assert_eq!(git(tree, &["status", "--porcelain"]), "");
}

#[test]
fn a_stranger_s_directory_is_not_touched() {
    let source = Source::with_one_commit();
    let mirror = source.local_mirror();
    let commit = mirror.fetch(None, None).unwrap();
    let other = Source::with_one_commit();
    let error = mirror
        .mirror
        .check_out(&commit, &other.path(), &CancellationToken::new())
        .unwrap_err();
    assert!(matches!(error, GitError::ForeignWorkTree { .. }), "{error}");
    assert_eq!(other.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_commit_that_was_not_fetched_is_named() {
    let source = Source::with_one_commit();
    let mirror = source.local_mirror();
    let error = mirror.check_out(&source.head()).unwrap_err();
    assert!(matches!(error, GitError::CommitMissing { .. }), "{error}");
    assert!(
        error.to_string().contains(source.head().as_str()),
        "{error}"
    );
}
