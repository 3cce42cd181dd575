//! Submodules are checked out with the commit that wants them.

use std::fs;

use clusterrunner_common::git::{CommitId, GitOptions};

use crate::repository::{Source, TestMirror, git};
use crate::server::HttpServer;

/// Adds `url` at `path` with the commit `of`, without fetching it.
pub(crate) fn add(source: &Source, path: &str, url: &str, of: &CommitId) {
    source.git(&[
        "config",
        "-f",
        ".gitmodules",
        &format!("submodule.{path}.path"),
        path,
    ]);
    source.git(&[
        "config",
        "-f",
        ".gitmodules",
        &format!("submodule.{path}.url"),
        url,
    ]);
    source.git(&["add", ".gitmodules"]);
    source.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{of},{path}"),
    ]);
}

/// Adds another source as it stands, by its path.
pub(crate) fn add_source(source: &Source, path: &str, of: &Source) {
    add(source, path, of.path().to_str().unwrap(), &of.head());
}

pub(crate) fn commit_index(source: &Source) -> CommitId {
    source.git(&["commit", "--quiet", "--message", "submodules"]);
    source.head()
}

#[test]
fn submodules_in_submodules_are_checked_out_reset_and_removed() {
    let leaf = Source::with_one_commit();
    let middle = Source::empty();
    add_source(&middle, "deep/leaf", &leaf);
    let middle_commit = commit_index(&middle);
    let source = Source::with_one_commit();
    let plain = source.head();
    add(
        &source,
        "lib/middle",
        &format!("file://{}", middle.path().display()),
        &middle_commit,
    );
    // The same repository twice.
    add_source(&source, "leaf", &leaf);
    let commit = commit_index(&source);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("lib/middle/deep/leaf/file"), "one");
    assert_eq!(mirror.read("leaf/file"), "one");
    let inner = mirror.work_tree().join("lib/middle/deep/leaf");
    assert_eq!(git(&inner, &["rev-parse", "HEAD"]), leaf.head().as_str());
    assert_eq!(
        git(&mirror.work_tree(), &["status", "--porcelain", "--ignored"]),
        ""
    );

    fs::write(inner.join("file"), "changed").unwrap();
    fs::write(inner.join("untracked"), "x").unwrap();
    fs::remove_dir_all(mirror.work_tree().join("leaf")).unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("lib/middle/deep/leaf/file"), "one");
    assert!(!inner.join("untracked").exists());
    assert_eq!(mirror.read("leaf/file"), "one");
    // A commit without them leaves nothing of them.
    mirror.check_out(&plain).unwrap();
    assert!(!mirror.work_tree().join("lib").exists());
    // Known ones need their repositories no more.
    drop(leaf);
    drop(middle);
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("lib/middle/deep/leaf/file"), "one");

    mirror.mirror.remove_work_tree(&mirror.work_tree()).unwrap();
    let modules = mirror.mirror.directory().join("modules");
    for module in fs::read_dir(modules).unwrap() {
        let known = module.unwrap().path().join("worktrees");
        assert_eq!(fs::read_dir(known).unwrap().count(), 0);
    }
}

#[test]
fn the_url_of_a_submodule_may_change() {
    let one = Source::with_one_commit();
    let other = Source::empty();
    other.commit(&[("other", "two")]);
    let source = Source::empty();
    add_source(&source, "library", &one);
    let first = commit_index(&source);
    add_source(&source, "library", &other);
    let second = commit_index(&source);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    for _ in 0..2 {
        mirror.check_out(&first).unwrap();
        assert_eq!(mirror.read("library/file"), "one");
        mirror.check_out(&second).unwrap();
        assert_eq!(mirror.read("library/other"), "two");
        assert!(!mirror.work_tree().join("library/file").exists());
    }
    assert_eq!(
        git(&mirror.work_tree(), &["status", "--porcelain", "--ignored"]),
        ""
    );
}

#[test]
fn a_moved_submodule_commit_is_fetched() {
    let library = Source::with_one_commit();
    let source = Source::empty();
    add_source(&source, "library", &library);
    let first = commit_index(&source);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&first).unwrap();
    let moved = library.commit(&[("file", "two")]);
    source.git(&[
        "update-index",
        "--cacheinfo",
        &format!("160000,{moved},library"),
    ]);
    let second = commit_index(&source);
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&second).unwrap();
    assert_eq!(mirror.read("library/file"), "two");
    mirror.check_out(&first).unwrap();
    assert_eq!(mirror.read("library/file"), "one");
}

#[test]
fn relative_urls_are_seen_from_the_repository() {
    let source = Source::with_one_commit();
    let library = source.folder().join("library");
    git(
        source.folder(),
        &["clone", "--quiet", "source", library.to_str().unwrap()],
    );
    add(&source, "library", "../../library/.git", &source.head());
    let commit = commit_index(&source);
    let server = HttpServer::start(source.folder());
    let mirror = TestMirror::new(&server.url("/git/source/.git"), GitOptions::default());
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("library/file"), "one");
}

#[test]
fn urls_of_submodules_go_through_the_list_too() {
    let source = Source::with_one_commit();
    let head = source.head();
    for (url, expected) in [
        ("/etc", "allow_local_sources"),
        ("ext::sh -c id", "only https, ssh, git and http"),
        ("-x", "begins with"),
        ("../../../../../../x", "above the root"),
    ] {
        add(&source, "library", url, &head);
        let commit = commit_index(&source);
        let server = HttpServer::start(source.folder());
        let mirror = TestMirror::new(&server.url("/git/source/.git"), GitOptions::default());
        mirror.fetch(None, None).unwrap();
        let text = mirror.check_out(&commit).unwrap_err().to_string();
        assert!(
            text.contains("submodule library") && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn a_submodule_that_can_not_be_fetched_is_named() {
    let source = Source::with_one_commit();
    add(&source, "library", "/no/such/place", &source.head());
    let commit = commit_index(&source);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    let text = mirror.check_out(&commit).unwrap_err().to_string();
    assert!(
        text.contains("submodule library: could not fetch from /no/such/place"),
        "{text}"
    );
}

#[test]
fn one_that_is_not_wanted_or_not_known_stays_empty() {
    let source = Source::with_one_commit();
    add(&source, "unwanted", "/no/such/place", &source.head());
    source.git(&[
        "config",
        "-f",
        ".gitmodules",
        "submodule.unwanted.update",
        "none",
    ]);
    source.git(&["add", ".gitmodules"]);
    let head = source.head();
    source.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{head},unknown"),
    ]);
    let commit = commit_index(&source);
    let mirror = source.local_mirror();
    mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    fs::write(mirror.work_tree().join("unknown/left"), "x").unwrap();
    mirror.check_out(&commit).unwrap();
    for name in ["unwanted", "unknown"] {
        assert_eq!(
            fs::read_dir(mirror.work_tree().join(name)).unwrap().count(),
            0,
            "{name}"
        );
    }
}
