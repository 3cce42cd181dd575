//! Which commit is meant, and what a mirror survives; with repositories on the disk, since the other side's kind does
//! not matter here.

use std::fs;

use clusterrunner_common::git::{CommitId, GitError, Revision};
use tokio_util::sync::CancellationToken;

use crate::repository::{Source, git};

#[test]
fn commits_are_on_branches_that_the_repository_still_has() {
    let source = Source::with_one_commit();
    let first = source.head();
    source.git(&["checkout", "--quiet", "-b", "gone"]);
    let second = source.commit(&[("file", "two")]);
    source.git(&["update-ref", "refs/pull/1/head", second.as_str()]);
    let mirror = source.local_mirror();
    mirror.fetch(Some("gone"), None).unwrap();
    let is_on_one = |commit: &CommitId| {
        let cancel = CancellationToken::new();
        mirror.mirror.is_on_a_branch(commit, &cancel).unwrap()
    };
    // Its tip, and what is below one.
    assert!(is_on_one(&second) && is_on_one(&first));
    source.git(&["checkout", "--quiet", "master"]);
    source.git(&["branch", "--quiet", "-D", "gone"]);
    assert!(!is_on_one(&second) && is_on_one(&first));
    source.git(&["tag", "kept", second.as_str()]);
    assert!(is_on_one(&second));
}

#[test]
fn branches_tags_and_ids_lead_to_their_commit() {
    let source = Source::with_one_commit();
    let first = source.head();
    source.git(&["tag", "light"]);
    source.git(&["tag", "--annotate", "--message", "x", "annotated"]);
    source.git(&["checkout", "--quiet", "-b", "feature/x"]);
    let second = source.commit(&[("file", "two")]);
    source.git(&["update-ref", "refs/pull/1/head", second.as_str()]);
    source.git(&["checkout", "--quiet", "master"]);
    let mirror = source.local_mirror();
    for (branch, expected) in [
        (None, &first),
        (Some(""), &first),
        (Some("master"), &first),
        (Some("HEAD"), &first),
        (Some("refs/heads/feature/x"), &second),
        (Some("feature/x"), &second),
        (Some("light"), &first),
        (Some("annotated"), &first),
        (Some("refs/tags/annotated"), &first),
        (Some("pull/1/head"), &second),
        (Some(second.as_str()), &second),
    ] {
        assert_eq!(&mirror.fetch(branch, None).unwrap(), expected, "{branch:?}");
    }
    for (branch, hash, expected) in [
        (None, second.as_str(), &second),
        (Some("master"), second.as_str(), &second),
        (Some("no-such-branch"), first.as_str(), &first),
        (None, &second.as_str()[..7], &second),
        (
            Some("master"),
            &second.as_str().to_uppercase()[..9],
            &second,
        ),
    ] {
        assert_eq!(
            &mirror.fetch(branch, Some(hash)).unwrap(),
            expected,
            "{branch:?} {hash}"
        );
    }
    let pin = format!("refs/clusterrunner/{second}");
    assert_eq!(
        git(mirror.mirror.directory(), &["rev-parse", &pin]),
        second.as_str()
    );
    assert_eq!(
        git(
            mirror.mirror.directory(),
            &["rev-parse", "refs/remotes/origin/feature/x"]
        ),
        second.as_str()
    );
}

#[test]
fn without_a_master_the_repository_s_own_main_branch_is_taken() {
    let source = Source::with_one_commit();
    source.git(&["branch", "--quiet", "-m", "master", "main"]);
    assert_eq!(
        source.local_mirror().fetch(None, None).unwrap(),
        source.head()
    );
}

#[test]
fn a_missing_branch_is_named_with_those_there_are() {
    let source = Source::with_one_commit();
    source.git(&["branch", "other"]);
    let error = source
        .local_mirror()
        .fetch(Some("nonsense"), None)
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, GitError::BranchMissing { .. }), "{text}");
    for part in [
        "\"nonsense\"",
        source.path().to_str().unwrap(),
        "master, other",
    ] {
        assert!(text.contains(part), "{text}");
    }
    for number in 0..20 {
        source.git(&["branch", &format!("many-{number}")]);
    }
    let text = source
        .local_mirror()
        .fetch(Some("nonsense"), None)
        .unwrap_err()
        .to_string();
    assert!(text.ends_with("and 12 more"), "{text}");
}

#[test]
fn other_mistakes_have_clear_errors() {
    let source = Source::with_one_commit();
    let mirror = source.local_mirror();
    let unknown = "0123456789012345678901234567890123456789";
    for (branch, hash, expected) in [
        (None, Some("xyz"), "is not a commit id"),
        (None, Some("123"), "is not a commit id"),
        (None, Some(unknown), "there is no commit 0123"),
        (None, Some("0123456"), "there is no commit 0123456"),
        (Some(unknown), None, "is not a commit"),
        (Some("--upload-pack=x"), None, "there is no branch or tag"),
        (Some("a\nb"), None, "there is no branch or tag"),
    ] {
        let text = mirror.fetch(branch, hash).unwrap_err().to_string();
        assert!(text.contains(expected), "{branch:?} {hash:?}: {text}");
    }
    let tree = source.git(&["rev-parse", "HEAD^{tree}"]);
    source.git(&["tag", "of-a-tree", &tree]);
    let text = mirror
        .fetch(Some("of-a-tree"), None)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("refs/tags/of-a-tree") && text.contains("is not a commit"),
        "{text}"
    );

    let text = Source::empty()
        .local_mirror()
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(text.contains("is empty"), "{text}");

    fs::remove_dir_all(source.path().join(".git")).unwrap();
    let text = mirror.fetch(None, None).unwrap_err().to_string();
    assert!(text.contains("not a git repository"), "{text}");
    fs::remove_dir_all(source.path()).unwrap();
    let text = mirror.fetch(None, None).unwrap_err().to_string();
    assert!(text.contains("there is no such directory"), "{text}");
}

#[test]
fn a_repository_around_the_mirror_is_never_taken_for_it() {
    let outer = Source::with_one_commit();
    let source = Source::empty();
    let inner = outer.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let mirror = crate::repository::TestMirror::new(
        inner.to_str().unwrap(),
        crate::repository::local_options(),
    );
    let text = mirror.fetch(None, None).unwrap_err().to_string();
    assert!(text.contains("not a git repository"), "{text}");
    drop(source);
}

#[test]
fn a_fork_is_fetched_by_its_url() {
    let source = Source::with_one_commit();
    let fork = Source::with_one_commit();
    let only_there = fork.commit(&[("file", "fork")]);
    let mirror = source.local_mirror();
    let fetch = |remote: &str| {
        let revision = Revision {
            remote: Some(remote.to_owned()),
            ..Revision::default()
        };
        mirror.mirror.fetch(&revision, &CancellationToken::new())
    };
    assert_eq!(fetch("origin").unwrap(), source.head());
    assert_eq!(fetch(fork.path().to_str().unwrap()).unwrap(), only_there);
    // The mirror's own branches are still those of its repository.
    assert_eq!(
        git(
            mirror.mirror.directory(),
            &["rev-parse", "refs/remotes/origin/master"]
        ),
        source.head().as_str()
    );
    assert!(matches!(
        fetch("upstream"),
        Err(GitError::UnknownRemote { .. })
    ));
    assert!(matches!(fetch("ext::sh -c id"), Err(GitError::Url(_))));
}

#[test]
fn a_force_push_does_not_lose_what_a_build_is_about() {
    let source = Source::with_one_commit();
    let old = source.commit(&[("file", "old")]);
    let mirror = source.local_mirror();
    assert_eq!(mirror.fetch(None, None).unwrap(), old);
    source.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    let new = source.commit(&[("file", "new")]);
    assert_eq!(mirror.fetch(None, None).unwrap(), new);
    git(mirror.mirror.directory(), &["gc", "--quiet", "--prune=now"]);
    mirror.check_out(&old).unwrap();
    assert_eq!(mirror.read("file"), "old");
    // Fetched before, so the repository is not needed.
    fs::remove_dir_all(source.path()).unwrap();
    assert_eq!(mirror.fetch(None, Some(old.as_str())).unwrap(), old);
    mirror
        .mirror
        .fetch_commit(&new, None, &CancellationToken::new())
        .unwrap();
}

#[test]
fn removed_branches_do_not_block_those_that_replace_them() {
    let source = Source::with_one_commit();
    source.git(&["branch", "topic"]);
    let mirror = source.local_mirror();
    mirror.fetch(Some("topic"), None).unwrap();
    source.git(&["branch", "-D", "topic"]);
    source.git(&["branch", "topic/part"]);
    mirror.fetch(Some("topic/part"), None).unwrap();
    assert!(mirror.fetch(Some("topic"), None).is_err());
}

#[test]
fn what_a_killed_process_leaves_is_mended() {
    let source = Source::with_one_commit();
    let mirror = source.local_mirror();
    let directory = mirror.mirror.directory().to_owned();
    // Killed while the directory was being filled.
    fs::create_dir_all(directory.join("objects")).unwrap();
    fs::write(directory.join("HEAD"), "").unwrap();
    let first = mirror.fetch(None, None).unwrap();
    // Killed while refs, settings and packs were being written.
    for left in [
        "refs/remotes/origin/master.lock",
        "config.lock",
        "packed-refs.lock",
        "HEAD.lock",
        "objects/pack/pack_git2_abcdef",
    ] {
        fs::write(directory.join(left), "left").unwrap();
    }
    // A power cut leaves empty files.
    fs::write(directory.join("refs/remotes/origin/gone"), "").unwrap();
    let second = source.commit(&[("file", "two")]);
    assert_eq!(mirror.fetch(None, None).unwrap(), second);
    assert!(!directory.join("objects/pack/pack_git2_abcdef").exists());
    mirror.check_out(&first).unwrap();
    // A damaged mirror is made again.
    fs::write(directory.join("HEAD"), "nonsense").unwrap();
    fs::remove_dir_all(directory.join("refs")).unwrap();
    assert_eq!(mirror.fetch(None, None).unwrap(), second);
    mirror.check_out(&first).unwrap();
    assert_eq!(mirror.read("file"), "one");
}

#[test]
fn a_directory_that_is_something_else_is_not_touched() {
    let source = Source::with_one_commit();
    let mirror = source.local_mirror();
    fs::create_dir_all(mirror.mirror.directory()).unwrap();
    let mine = mirror.mirror.directory().join("thesis.txt");
    fs::write(&mine, "precious").unwrap();
    let text = mirror.fetch(None, None).unwrap_err().to_string();
    assert!(text.contains("could not open the mirror"), "{text}");
    assert_eq!(fs::read_to_string(mine).unwrap(), "precious");
}

#[test]
fn a_fired_token_stops_before_anything_is_fetched() {
    let source = Source::with_one_commit();
    let mirror = source.local_mirror();
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(
        mirror.mirror.fetch(&Revision::default(), &cancel),
        Err(GitError::Canceled)
    ));
    mirror.fetch(None, None).unwrap();
}

#[test]
fn a_source_that_borrows_objects_from_another_is_whole_in_the_mirror() {
    let source = Source::with_one_commit();
    let borrowing = source.folder().join("borrowing");
    git(
        source.folder(),
        &[
            "clone",
            "--quiet",
            "--shared",
            "source",
            borrowing.to_str().unwrap(),
        ],
    );
    let mirror = crate::repository::TestMirror::new(
        borrowing.to_str().unwrap(),
        crate::repository::local_options(),
    );
    let commit = mirror.fetch(None, None).unwrap();
    drop(source);
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("file"), "one");
}
