//! Remote files from a real http server and from the disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use clusterrunner_common::remote_files::{
    AllowedSources, RemoteFileError, RemoteFileRules, check_remote_files, fetch_remote_files,
};
use indexmap::IndexMap;
use tempfile::TempDir;

use crate::server::{HttpServer, free_port};

/// Rules that open the servers of these tests.
fn rules(allow_local_sources: bool) -> RemoteFileRules {
    RemoteFileRules {
        allow_local_sources,
        ..allowing(&["127.0.0.1"])
    }
}

fn allowing(entries: &[&str]) -> RemoteFileRules {
    RemoteFileRules {
        allowed: AllowedSources::parse(entries).unwrap(),
        ..RemoteFileRules::default()
    }
}

async fn fetch(project: &Path, name: &str, url: &str, local: bool) -> Result<(), RemoteFileError> {
    fetch_by(&rules(local), project, name, url).await
}

async fn fetch_by(
    rules: &RemoteFileRules,
    project: &Path,
    name: &str,
    url: &str,
) -> Result<(), RemoteFileError> {
    let files = IndexMap::from([(name.to_owned(), url.to_owned())]);
    fetch_remote_files(&files, project, rules).await
}

/// Names in the project directory: nothing unfinished may be left.
fn names(project: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(project)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_are_fetched_and_overwritten() {
    let project = TempDir::new().unwrap();
    let other = project.path().join("..").canonicalize().unwrap();
    let source = TempDir::new().unwrap();
    fs::write(source.path().join("a b"), "local").unwrap();
    let server = HttpServer::start(&other);
    fs::write(project.path().join("old"), "old").unwrap();
    // A link is replaced, what it points at is not written to.
    fs::write(source.path().join("target"), "mine").unwrap();
    symlink(source.path().join("target"), project.path().join("link")).unwrap();
    let local = format!("file://{}/a%20b", source.path().display());
    let files = IndexMap::from([
        ("old".to_owned(), server.url("/file")),
        ("link".to_owned(), server.url("/file")),
        ("./sub/dir/new".to_owned(), server.url("/file")),
        ("local".to_owned(), local),
    ]);
    fetch_remote_files(&files, project.path(), &rules(true))
        .await
        .unwrap();
    assert_eq!(names(project.path()), ["link", "local", "old", "sub"]);
    for (name, content) in [
        ("old", "content of the file"),
        ("link", "content of the file"),
        ("sub/dir/new", "content of the file"),
        ("local", "local"),
    ] {
        assert_eq!(
            fs::read_to_string(project.path().join(name)).unwrap(),
            content,
            "{name}"
        );
    }
    assert_eq!(
        fs::read_to_string(source.path().join("target")).unwrap(),
        "mine"
    );
    let mode = fs::metadata(project.path().join("old"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o600, 0o600);
}

#[tokio::test]
async fn names_stay_inside_the_project_directory() {
    let project = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    symlink(outside.path(), project.path().join("out")).unwrap();
    symlink(project.path(), project.path().join("in")).unwrap();
    let server = HttpServer::start(outside.path());
    let url = server.url("/file");
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/x",
        "out/x",
        "out/new/x",
        "x/",
        "in/out/x",
        "in/x",
        "a\0b",
    ] {
        let error = fetch(project.path(), name, &url, true).await.unwrap_err();
        assert!(
            matches!(error, RemoteFileError::Name { .. }),
            "{name:?}: {error}"
        );
    }
    assert_eq!(names(outside.path()), [""; 0]);
    fetch(project.path(), "new/x", &url, false).await.unwrap();
    assert!(project.path().join("new/x").exists());
    fs::create_dir(project.path().join("directory")).unwrap();
    let error = fetch(project.path(), "directory", &url, false)
        .await
        .unwrap_err();
    assert!(matches!(error, RemoteFileError::Write { .. }), "{error}");
    assert_eq!(names(project.path()), ["directory", "in", "new", "out"]);
}

#[tokio::test]
async fn failures_name_the_file_and_the_url() {
    let project = TempDir::new().unwrap();
    let server = HttpServer::start(project.path());
    let nobody = format!("http://127.0.0.1:{}/x", free_port());
    let with_password = format!("http://me:hidden@{}/nothing", server.address);
    for (url, expected) in [
        (server.url("/nothing").as_str(), "404"),
        (&server.url("/broken"), "500"),
        (&with_password, "404"),
        (&nobody, "refused"),
        ("file:///etc/hostname", "allow_local_sources"),
        ("ftp://host/x", "only http, https and file"),
        ("-x", "not a URL"),
        ("x; id", "not a URL"),
    ] {
        let error = fetch(project.path(), "name", url, false).await.unwrap_err();
        let text = format!("{error}");
        assert!(
            text.contains("\"name\"") && text.contains(expected),
            "{url}: {text}"
        );
        assert!(!format!("{text} {error:?}").contains("hidden"), "{text}");
    }
    let text = fetch(project.path(), "name", "file:///no/such", true)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("/no/such"), "{text}");
    let text = fetch(project.path(), "name", "file:///dev/zero", true)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("not a file"), "{text}");
    let missing = project.path().join("gone");
    assert!(
        fetch(&missing, "name", &server.url("/file"), false)
            .await
            .is_err()
    );
    assert_eq!(names(project.path()), [""; 0]);
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_nothing_is_left() {
    let project = TempDir::new().unwrap();
    let server = HttpServer::start(project.path());
    let impatient = RemoteFileRules {
        idle_timeout: Duration::from_millis(200),
        ..rules(false)
    };
    for path in ["/hang", "/stall"] {
        let error = fetch_by(&impatient, project.path(), "name", &server.url(path))
            .await
            .unwrap_err();
        assert!(matches!(error, RemoteFileError::Fetch { .. }), "{error}");
        assert_eq!(names(project.path()), [""; 0]);
    }
    let slow = RemoteFileRules {
        timeout: Duration::from_millis(200),
        ..rules(false)
    };
    let error = fetch_by(&slow, project.path(), "name", &server.url("/stall"))
        .await
        .unwrap_err();
    assert!(matches!(error, RemoteFileError::TooSlow { .. }), "{error}");
    assert_eq!(names(project.path()), [""; 0]);
}

#[tokio::test]
async fn a_large_file_is_given_up_and_nothing_is_left() {
    let project = TempDir::new().unwrap();
    let server = HttpServer::start(project.path());
    fs::write(project.path().join("source"), "content of the file").unwrap();
    let local = format!("file://{}/source", project.path().display());
    for url in [server.url("/file"), local] {
        for (max_size, is_fetched) in [(18, false), (19, true)] {
            let rules = RemoteFileRules {
                max_size,
                ..rules(true)
            };
            let fetched = fetch_by(&rules, project.path(), "name", &url).await;
            assert_eq!(fetched.is_ok(), is_fetched, "{url} {max_size}");
            if let Err(error) = fetched {
                assert!(matches!(error, RemoteFileError::TooLarge { .. }), "{error}");
                assert_eq!(names(project.path()), ["source"]);
            }
            fs::remove_file(project.path().join("name")).ok();
        }
    }
}

#[tokio::test]
async fn addresses_that_are_not_public_are_not_reached_unless_they_are_allowed() {
    let project = TempDir::new().unwrap();
    let server = HttpServer::start(project.path());
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "localhost",
        "me:hidden@localhost",
    ] {
        let url = format!("http://{host}:{port}/file");
        let error = fetch_by(&allowing(&[]), project.path(), "name", &url)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not public"), "{host}: {error}");
        assert!(error.contains("remote_files_allow"), "{host}: {error}");
        assert!(!error.contains("hidden"), "{error}");
    }
    assert!(server.seen().is_empty());
    for (allowed, host) in [
        ("127.0.0.0/8", "127.1"),
        ("localhost", "localhost"),
        ("any", "localhost"),
        ("127.0.0.1", "[::ffff:127.0.0.1]"),
    ] {
        let url = format!("http://{host}:{port}/file");
        fetch_by(&allowing(&[allowed]), project.path(), "name", &url)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_redirect_is_a_new_question() {
    let project = TempDir::new().unwrap();
    let inner = HttpServer::start(project.path());
    let port = inner.address.port();
    for (to, expected) in [
        (
            format!("http://127.0.0.2:{port}/file?"),
            "127.0.0.2 of 127.0.0.2 is not public",
        ),
        (format!("//[::ffff:7f00:2]:{port}/file?"), "is not public"),
        ("file:///etc/passwd?".to_owned(), "no http or https URL"),
        ("gopher://h/?".to_owned(), "no http or https URL"),
    ] {
        let outer = HttpServer::start_with_elsewhere(project.path(), &to);
        let error = fetch(project.path(), "name", &outer.url("/elsewhere/"), true).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    assert!(inner.seen().is_empty());
    let error = fetch(project.path(), "name", &inner.url("/loop/"), true).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("more than 10 times"), "{error}");
    let outer = HttpServer::start_with_elsewhere(project.path(), &inner.url("/file?"));
    fetch(project.path(), "name", &outer.url("/elsewhere/"), false)
        .await
        .unwrap();
    assert_eq!(names(project.path()), ["name"]);
}

#[test]
fn names_and_urls_are_checked_without_fetching() {
    let check = |name: &str, url: &str, local| {
        let files = IndexMap::from([(name.to_owned(), url.to_owned())]);
        check_remote_files(&files, &rules(local))
    };
    check("a/b", "http://h.invalid/b", false).unwrap();
    check("a", "file:///nowhere/a", true).unwrap();
    for name in ["", "../a", "/a", "a/", "a/../../b", "a\0b"] {
        let error = check(name, "http://h.invalid/b", true).unwrap_err();
        assert!(
            matches!(error, RemoteFileError::Name { .. }),
            "{name:?}: {error}"
        );
    }
    for url in ["", "h/a", "ftp://h/a", "file:///nowhere/a"] {
        let error = check("a", url, false).unwrap_err();
        assert!(
            matches!(error, RemoteFileError::Url { .. }),
            "{url:?}: {error}"
        );
    }
    for url in [
        "http://10.0.0.1/a",
        "https://[fd00::1]:8080/a",
        "http://169.254.169.254/latest",
    ] {
        let error = check("a", url, false).unwrap_err();
        assert!(
            matches!(error, RemoteFileError::NotPublic { .. }),
            "{url:?}: {error}"
        );
    }
}
