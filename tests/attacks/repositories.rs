//! Repositories, and names of them, that would do something else than be read.

use super::victim::Victim;
use crate::job::job;
use crate::repository::Repository;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

#[tokio::test]
async fn no_repository_does_more_than_be_read() {
    let victim = Victim::new().await;
    suffer!(
        victim,
        urls_that_run_programs,
        urls_with_lines_of_their_own,
        branches_that_are_options,
        hashes_that_are_none,
        submodules_from_elsewhere,
        submodules_in_odd_places,
        a_repository_with_hooks_and_filters,
        a_job_file_that_is_no_text,
        remote_files_with_odd_names,
        a_server_that_never_stops_talking,
    );
    victim.lives().await;
}

/// A file that an attack would make.
struct Canary(PathBuf);

impl Canary {
    fn new(victim: &Victim, name: &str) -> Self {
        Self(victim.farm.path(name))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn is_alive(&self) {
        assert!(!self.0.exists(), "{} was made", self.path());
    }
}

fn of(url: &str) -> Value {
    json!({"type": "git", "url": url, "branch": "main"})
}

async fn urls_that_run_programs(victim: &Victim) {
    let canary = Canary::new(victim, "ran");
    let touch = format!("touch {}", canary.path());
    for url in [
        format!("ext::sh -c {touch}"),
        format!("ext::{touch}"),
        "fd::17/x".to_owned(),
        format!("--upload-pack={touch}"),
        format!("-u{touch}"),
        format!("ssh://-oProxyCommand={touch}/x"),
        format!("ssh://git@-oProxyCommand={touch}/x"),
        format!("-oProxyCommand={touch}:x"),
        format!("ssh://host:-oProxyCommand={touch}/x"),
        format!("git://host/x --upload-pack={touch}"),
        format!("file:///x;{touch}"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("https://host/x|{touch}"),
        "http::file:///etc/passwd".to_owned(),
        "rad:x".to_owned(),
        "ftp://host/x".to_owned(),
        "javascript:x".to_owned(),
        "\\\\host\\share\\x".to_owned(),
        "C:\\x".to_owned(),
        "sent://../../x".to_owned(),
        "project 1".to_owned(),
    ] {
        victim.comes_to_nothing(&of(&url)).await;
    }
    canary.is_alive();
}

async fn urls_with_lines_of_their_own(victim: &Victim) {
    for url in [
        "http://host/x\r\nX-Injected: 1",
        "http://host/x\nhost=elsewhere",
        "ssh://git@host/x\0",
        "git://host/x\0host=elsewhere",
        "https://a\u{202e}b/x",
        "http://[::1/x",
        "http://@/x",
        "http://:@:/x",
    ] {
        victim.refuses(&of(url)).await;
    }
    victim
        .refuses(&of(&format!("https://host/{}", "x".repeat(100_000))))
        .await;
}

async fn branches_that_are_options(victim: &Victim) {
    let canary = Canary::new(victim, "branched");
    for branch in [
        format!("--upload-pack=touch {}", canary.path()),
        format!("-c core.fsmonitor='touch {}'", canary.path()),
        "../../../../etc/passwd".to_owned(),
        "refs/heads/../../config".to_owned(),
        "main@{1}".to_owned(),
        "main:clusterrunner.yaml".to_owned(),
        "main^{/x}".to_owned(),
        "a..b".to_owned(),
        "*".to_owned(),
        "refs/*".to_owned(),
        "+main".to_owned(),
        "main\nHEAD".to_owned(),
        "\u{1b}[2J".to_owned(),
        "x".repeat(10_000),
    ] {
        let mut request = victim.project.request();
        request["branch"] = branch.into();
        victim.comes_to_nothing(&request).await;
    }
    canary.is_alive();
}

async fn hashes_that_are_none(victim: &Victim) {
    let tree = victim.project.git(&["rev-parse", "HEAD^{tree}"]);
    let blob = victim
        .project
        .git(&["rev-parse", "HEAD:clusterrunner.yaml"]);
    let zeros = "0".repeat(40);
    for hash in [
        "HEAD", "main", "--all", "-1", "^", ":/", "../x", "g", &zeros, &tree, &blob,
    ] {
        let request = victim.project.request_with(json!({"hash": hash}));
        victim.comes_to_nothing(&request).await;
    }
}

/// A project with a submodule of which `.gitmodules` says this.
fn with_submodule(path: &str, url: &str) -> Repository {
    let repository = Repository::of(&job("true").atoms(1));
    let head = repository.git(&["rev-parse", "HEAD"]);
    let entry = format!("160000,{head},sub");
    let text =
        format!("[submodule \"../../x\"]\n\tpath = {path}\n\turl = {url}\n\tupdate = !touch ran\n");
    repository.git(&["update-index", "--add", "--cacheinfo", &entry]);
    fs::write(repository.path().join(".gitmodules"), text).unwrap();
    repository.git(&["add", ".gitmodules"]);
    repository.git(&["commit", "--quiet", "--message=a submodule"]);
    repository
}

async fn submodules_from_elsewhere(victim: &Victim) {
    let canary = Canary::new(victim, "submodule");
    let touch = format!("touch {}", canary.path());
    for url in [
        format!("ext::sh -c {touch}"),
        format!("-u{touch}"),
        format!("--upload-pack={touch}"),
        format!("ssh://-oProxyCommand={touch}/x"),
        "../../../../../../../../etc".to_owned(),
        "/proc/self/root".to_owned(),
        "\"http://host/x\\r\\nX: y\"".to_owned(),
    ] {
        victim
            .comes_to_nothing(&with_submodule("sub", &url).request())
            .await;
    }
    canary.is_alive();
}

/// Whatever `.gitmodules` says of places, nothing is made outside of the work tree or in `.git`.
async fn submodules_in_odd_places(victim: &Victim) {
    let above = victim.farm.path("base/master");
    let before = entries(&above);
    for path in [
        "../sub",
        "/tmp/sub",
        ".git/hooks",
        "a/../../sub",
        ".",
        "sub/",
        "-x",
    ] {
        let repository = with_submodule(path, victim.project.path().to_str().unwrap());
        // It may be built without what is none of its paths.
        victim.runs(&repository.request()).await;
    }
    assert_eq!(entries(&above), before);
}

fn entries(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What git runs of a repository's own settings and attributes, where it is asked to.
async fn a_repository_with_hooks_and_filters(victim: &Victim) {
    let canary = Canary::new(victim, "hooked");
    let repository = Repository::of(&job("true").atoms(1));
    let touch = format!("touch {}", canary.path());
    repository.commit(&[(
        ".gitattributes",
        "* filter=evil diff=evil merge=evil ident text eol=crlf\n",
    )]);
    for (key, value) in [
        ("filter.evil.smudge", &*touch),
        ("filter.evil.process", &touch),
        ("core.fsmonitor", &touch),
        ("core.sshCommand", &touch),
        ("uploadpack.packObjectsHook", &touch),
    ] {
        repository.git(&["config", key, value]);
    }
    let hooks = repository.path().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in [
        "post-checkout",
        "post-update",
        "pre-commit",
        "reference-transaction",
    ] {
        let path = hooks.join(hook);
        fs::write(&path, format!("#!/bin/sh\n{touch}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
    }
    victim.passes(&repository.request()).await;
    canary.is_alive();
}

async fn a_job_file_that_is_no_text(victim: &Victim) {
    let repository = Repository::empty();
    let file = repository.path().join("clusterrunner.yaml");
    for content in [
        vec![0; 64 << 20],
        vec![0xff; 1000],
        b"Job:\0".to_vec(),
        Vec::new(),
    ] {
        fs::write(&file, content).unwrap();
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "--message=change"]);
        let message = victim.fails(&repository.request()).await;
        assert!(message.contains("yaml"), "{message}");
    }
}

async fn remote_files_with_odd_names(victim: &Victim) {
    for name in [
        "../x",
        "/tmp/x",
        "a/../../x",
        ".git/hooks/post-checkout",
        ".",
        "",
        "a\0b",
        "a/./../..",
        ".GIT/config",
    ] {
        let files = json!({"remote_files": {name: "https://example.org/x"}});
        let request = victim.project.request_with(files);
        victim.comes_to_nothing(&request).await;
    }
}

/// A git server (`git://`) that sends refs for ever.
async fn a_server_that_never_stops_talking(victim: &Victim) {
    let listener = TcpListener::bind((victim.farm.address(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let talking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut number = 0_u64;
        let mut lines = Vec::new();
        loop {
            lines.clear();
            for _ in 0..1_000 {
                number += 1;
                let line = format!("{number:040x} refs/heads/{number:040}\n");
                lines.extend(format!("{:04x}{line}", line.len() + 4).into_bytes());
            }
            if stream.write_all(&lines).await.is_err() {
                return;
            }
        }
    });
    let message = victim.fails(&of(&format!("git://{address}/x"))).await;
    assert!(message.contains("git_max_refs"), "{message}");
    talking.await.unwrap();
}
