//! Fetching over http from a real `git http-backend`, and from servers that misbehave.

use std::time::{Duration, Instant};

use clusterrunner_common::git::{GitError, GitOptions, GitUrl, Mirror, Revision};
use tokio_util::sync::CancellationToken;

use crate::repository::{Source, TestMirror, git};
use crate::server::{DEADLINE, HttpServer, free_port, wait_for};

fn mirror_of(url: &str) -> TestMirror {
    TestMirror::new(url, GitOptions::default())
}

fn impatient() -> GitOptions {
    GitOptions {
        connect_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(200),
        ..GitOptions::default()
    }
}

#[test]
fn a_repository_is_fetched_and_brought_up_to_date() {
    let source = Source::with_one_commit();
    source.git(&["tag", "--annotate", "--message", "x", "v1"]);
    let server = HttpServer::start(source.folder());
    let mirror = mirror_of(&server.url("/git/source/.git"));
    let first = mirror.fetch(None, None).unwrap();
    assert_eq!(first, source.head());
    mirror.check_out(&first).unwrap();
    assert_eq!(mirror.read("file"), "one");

    // More commits than are asked about in one question.
    for number in 0..30 {
        source.commit(&[("file", &number.to_string())]);
    }
    source.git(&["tag", "--annotate", "--message", "x", "v2"]);
    let last = source.head();
    assert_eq!(mirror.fetch(Some("v2"), None).unwrap(), last);
    mirror.check_out(&last).unwrap();
    assert_eq!(mirror.read("file"), "29");
    assert_eq!(git(&mirror.work_tree(), &["describe"]), "v2");
    // Nothing new: one question, nothing is sent.
    let before = server.seen().len();
    assert_eq!(mirror.fetch(None, None).unwrap(), last);
    assert_eq!(server.seen().len(), before + 1);
    // A known commit needs no question at all.
    assert_eq!(mirror.fetch(None, Some(first.as_str())).unwrap(), first);
    mirror
        .mirror
        .fetch_commit(&last, Some("x"), &CancellationToken::new())
        .unwrap();
    assert_eq!(server.seen().len(), before + 1);
}

/// Builds of a branch compare it with `origin/master`, as they can in a clone.
#[test]
fn a_fresh_mirror_has_all_branches() {
    let source = Source::with_one_commit();
    let master = source.head();
    source.git(&["checkout", "--quiet", "-b", "topic"]);
    source.commit(&[("file", "topic")]);
    let server = HttpServer::start(source.folder());
    let mirror = mirror_of(&server.url("/git/source/.git"));
    let commit = mirror.fetch(Some("topic"), None).unwrap();
    mirror.check_out(&commit).unwrap();
    let base = git(
        &mirror.work_tree(),
        &["merge-base", "HEAD", "origin/master"],
    );
    assert_eq!(base, master.as_str());
}

/// Each side has commits that the other does not know: several rounds of questions, each a request of its own.
#[test]
fn histories_that_have_parted_are_joined() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    let mirror = mirror_of(&server.url("/git/source/.git"));
    for number in 0..60 {
        source.commit(&[("file", &format!("a{number}"))]);
    }
    mirror.fetch(None, None).unwrap();
    source.git(&["reset", "--quiet", "--hard", "HEAD~55"]);
    source.git(&["reflog", "expire", "--expire=now", "--all"]);
    source.git(&["gc", "--quiet", "--prune=now"]);
    for number in 0..60 {
        source.commit(&[("file", &format!("b{number}"))]);
    }
    let commit = mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("file"), "b59");
    assert_eq!(git(&mirror.work_tree(), &["fsck", "--no-dangling"]), "");
}

#[test]
fn tags_follow_when_only_a_branch_is_fetched() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    let mirror = mirror_of(&server.url("/git/source/.git"));
    let first = mirror.fetch(Some("master"), None).unwrap();
    source.git(&["tag", "--annotate", "--message", "x", "later"]);
    source.commit(&[("file", "two")]);
    let second = mirror.fetch(Some("master"), None).unwrap();
    mirror.check_out(&first).unwrap();
    assert_eq!(git(&mirror.work_tree(), &["describe"]), "later");
    mirror.check_out(&second).unwrap();
    assert!(git(&mirror.work_tree(), &["describe"]).starts_with("later-1-g"));
}

#[test]
fn a_commit_on_no_branch_is_fetched_by_its_id_where_the_server_allows_it() {
    let source = Source::with_one_commit();
    let lost = source.commit(&[("file", "lost")]);
    source.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    let server = HttpServer::start(source.folder());
    let mirror = mirror_of(&server.url("/git/source/.git"));
    let error = mirror.fetch(None, Some(lost.as_str())).unwrap_err();
    assert!(matches!(error, GitError::CommitMissing { .. }), "{error}");
    source.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    assert_eq!(mirror.fetch(None, Some(lost.as_str())).unwrap(), lost);
    let mirror = mirror_of(&server.url("/git/source/.git"));
    mirror
        .mirror
        .fetch_commit(&lost, Some("master"), &CancellationToken::new())
        .unwrap();
    mirror.check_out(&lost).unwrap();
    assert_eq!(mirror.read("file"), "lost");
    assert_eq!(
        mirror_of(&server.url("/git/source/.git"))
            .fetch(Some(lost.as_str()), None)
            .unwrap(),
        lost
    );
}

#[test]
fn credentials_of_the_url_are_used_and_never_shown() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    let with = |credentials: &str| {
        mirror_of(&format!(
            "http://{credentials}{}/auth/source/.git",
            server.address
        ))
    };
    let mirror = with("me:p%40ss@");
    let commit = mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    let shown = git(&mirror.work_tree(), &["config", "--list"]);
    assert!(
        !shown.contains("p%40ss") && !shown.contains("p@ss"),
        "{shown}"
    );

    let text = with("").fetch(None, None).unwrap_err().to_string();
    assert!(
        text.contains("credentials are missing") && text.contains("401"),
        "{text}"
    );
    let error = with("me:guessed@").fetch(None, None).unwrap_err();
    let text = format!("{error} {error:?} {:?}", with("me:guessed@").mirror);
    assert!(
        text.contains("refused the user name and password"),
        "{text}"
    );
    assert!(!text.contains("guessed"), "{text}");
}

#[test]
fn redirects_are_followed_and_all_later_requests_go_there() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    assert_eq!(
        mirror_of(&server.url("/moved/source/.git"))
            .fetch(None, None)
            .unwrap(),
        source.head()
    );
    let seen = server.seen();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    assert!(
        !posts.is_empty() && posts.iter().all(|seen| seen.path.starts_with("/git/")),
        "{seen:?}"
    );
    // On the same server credentials go along.
    let url = format!("http://me:p%40ss@{}/moved-auth/source/.git", server.address);
    assert_eq!(mirror_of(&url).fetch(None, None).unwrap(), source.head());

    // To another server they do not.
    let front = HttpServer::start_with_elsewhere(source.folder(), &server.url("/git/"));
    let url = format!("http://me:p%40ss@{}/elsewhere/source/.git", front.address);
    let before = server.seen().len();
    assert_eq!(mirror_of(&url).fetch(None, None).unwrap(), source.head());
    for seen in &server.seen()[before..] {
        assert!(!seen.headers.contains_key("authorization"), "{seen:?}");
    }
    assert!(front.seen()[0].headers.contains_key("authorization"));
}

#[test]
fn answers_without_a_repository_have_clear_errors() {
    let source = Source::empty();
    let server = HttpServer::start(source.folder());
    for (path, expected) in [
        ("/git/source/.git", "is empty"),
        ("/git/nothing.git", "there is no such repository (404)"),
        ("/nothing", "there is no such repository (404)"),
        ("/broken/x", "500"),
        ("/page/x", "not a git repository"),
        ("/login/x", "is a login needed"),
        ("/loop/x", "redirects too often"),
    ] {
        let url = server.url(path);
        let text = mirror_of(&url).fetch(None, None).unwrap_err().to_string();
        assert!(
            text.contains(expected) && text.contains(&url),
            "{path}: {text}"
        );
    }
    let nobody = format!("http://127.0.0.1:{}/x", free_port());
    let text = mirror_of(&nobody)
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(text.contains(&nobody) && text.contains("refused"), "{text}");
    let text = mirror_of("http://no-such-host.invalid/x")
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("could not fetch from http://no-such-host.invalid/x"),
        "{text}"
    );
}

#[test]
fn a_silent_server_is_given_up() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    for (path, expected) in [
        ("/hang/x", "the server did not answer within"),
        ("/stall/x", "the server sent nothing within"),
    ] {
        let mirror = TestMirror::new(&server.url(path), impatient());
        let start = Instant::now();
        let text = mirror.fetch(None, None).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        assert!(start.elapsed() < DEADLINE, "{path}");
    }
}

#[test]
fn canceling_ends_a_wait_at_once() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    for path in ["/hang/x", "/stall/x"] {
        let patient = GitOptions {
            idle_timeout: DEADLINE * 10,
            ..GitOptions::default()
        };
        let folder = tempfile::TempDir::new().unwrap();
        let url = GitUrl::parse(&server.url(path), false).unwrap();
        let mirror = Mirror::new(folder.path().join("mirror"), url, patient);
        let cancel = CancellationToken::new();
        let canceled = cancel.clone();
        let before = server.seen().len();
        let fetch = std::thread::spawn(move || mirror.fetch(&Revision::default(), &canceled));
        wait_for("the request", || {
            (server.seen().len() > before).then_some(())
        });
        let start = Instant::now();
        cancel.cancel();
        let outcome = fetch.join().unwrap();
        assert!(matches!(outcome, Err(GitError::Canceled)), "{outcome:?}");
        assert!(start.elapsed() < DEADLINE);
    }
}

/// Every fetch adds a file of objects; they must not grow for ever.
#[test]
fn many_fetches_leave_few_packs() {
    let source = Source::with_one_commit();
    source.git(&["tag", "--annotate", "--message", "x", "v1"]);
    let server = HttpServer::start(source.folder());
    let mirror = mirror_of(&server.url("/git/source/.git"));
    let first = mirror.fetch(None, None).unwrap();
    for number in 0..70 {
        source.commit(&[("file", &number.to_string())]);
        mirror.fetch(None, None).unwrap();
    }
    let packs = mirror.mirror.directory().join("objects/pack");
    let count = std::fs::read_dir(packs).unwrap().count();
    assert!(count < 110, "{count} files");
    git(mirror.mirror.directory(), &["fsck", "--no-dangling"]);
    mirror.check_out(&source.head()).unwrap();
    assert_eq!(
        git(&mirror.work_tree(), &["rev-list", "--count", "HEAD"]),
        "71"
    );
    assert_eq!(
        git(&mirror.work_tree(), &["rev-parse", "v1^{commit}"]),
        first.as_str()
    );
}

/// Callers are inside a runtime's blocking threads.
#[tokio::test]
async fn fetching_works_on_a_runtime_s_blocking_thread() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    let mirror = mirror_of(&server.url("/git/source/.git"));
    let fetched = tokio::task::spawn_blocking(move || mirror.fetch(None, None))
        .await
        .unwrap();
    assert_eq!(fetched.unwrap(), source.head());
}
