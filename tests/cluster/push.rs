//! git push to apps, with the system's `git` and `ssh`.

mod endings;

use crate::farm::{Extra, Farm};
use crate::pusher;
use crate::pusher::{Pusher, SERVER, pushes, succeeds};
use crate::wait::wait_for;
use clusterrunner_common::git::OwnRepository;
use serde_json::json;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_by_ssh_builds_and_deploys() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.sets("hill", &json!({"COLOUR": "green", "ATOM_ID": "7"}))
        .await;
    let commit = ann.commits(&[("Procfile", SERVER), ("page.txt", "a page\n")]);
    let pushed = ann.git(&["push", &ann.by_ssh("hill"), "main"]);
    let said = succeeds(&pushed);
    for line in [
        "remote: -----> Building hill (build 1)",
        "ATOM_ID is not set for the build",
        "remote: -----> Launching...",
        "done, hill:v3 deployed",
        "remote:        http://hill.apps.example.com:",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let builds = ann.get("apps/hill/builds/").await;
    assert_eq!(builds["results"][0]["sha"], commit);
    assert_eq!(
        builds["results"][0]["procfile"]["web"],
        SERVER.trim_start_matches("web: ").trim()
    );
    ann.waits_for_up("hill", "web").await;
    // What was pushed comes back.
    let clone = ann.directory().join("clone");
    let cloned = ann.git(&["clone", &ann.by_ssh("hill"), clone.to_str().unwrap()]);
    succeeds(&cloned);
    assert_eq!(
        fs::read_to_string(clone.join("page.txt")).unwrap(),
        "a page\n"
    );
    let refs = succeeds(&ann.git(&["ls-remote", &ann.by_ssh("hill")]));
    assert!(
        refs.contains("refs/heads/main") && !refs.contains("refs/pushes"),
        "{refs}"
    );
    // Nothing new is nothing to do.
    let again = succeeds(&ann.git(&["push", &ann.by_ssh("hill"), "main"]));
    assert!(again.contains("Everything up-to-date"), "{again}");
    let asked = farm.client().audit(Some("ann"), 100).await.unwrap().entries;
    let of_push = |words: &str| asked.iter().any(|entry| entry.what.contains(words));
    assert!(of_push("build 1 queued"), "{asked:#?}");
    for entry in &asked {
        assert_eq!(entry.from.as_deref(), Some("127.0.0.1"), "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_app_opens_the_usual_port_for_ssh() {
    // The setting is left out. The farm has an address of its own, so that the port is nobody else's.
    let mut farm = Farm::with(&Extra {
        master: "# no ssh_port\n",
        ..Extra::default()
    });
    farm.start_all(&[]).await;
    let ann = farm.pusher("ann").await;
    let address = format!("{}:2222", farm.address());
    assert!(std::net::TcpStream::connect(&address).is_err());
    ann.creates("hill").await;
    // As the command line of Deis: at once.
    let url = format!("ssh://git@{address}/hill.git");
    let refs = succeeds(&ann.git(&["ls-remote", &url]));
    assert!(!refs.contains("refs/"), "{refs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_by_http_builds_and_deploys() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    // More than git sends in one piece.
    let large = pusher::noise(5 << 20);
    fs::write(ann.work().join("noise"), large).unwrap();
    ann.commits(&[("Procfile", SERVER)]);
    let said = succeeds(&ann.git(&["push", &ann.by_http("hill"), "main"]));
    assert!(said.contains("done, hill:v2 deployed"), "{said}");
    ann.commits(&[("page.txt", "second\n")]);
    let said = succeeds(&ann.git(&["push", &ann.by_http("hill"), "main:other"]));
    assert!(said.contains("done, hill:v3 deployed"), "{said}");
    ann.waits_for_up("hill", "web").await;
    let clone = ann.directory().join("clone");
    succeeds(&ann.git(&["clone", &ann.by_http("hill"), clone.to_str().unwrap()]));
    assert!(
        clone.join("page.txt").exists(),
        "the branch that is deployed is checked out"
    );
    // A fetch that asks for much is packed.
    for number in 0..60 {
        ann.commits(&[("page.txt", &number.to_string())]);
    }
    succeeds(&ann.git(&["fetch", &ann.by_http("hill"), "other"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_build_fails_is_refused() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.commits(&[
        ("Dockerfile", "FROM scratch\nNONSENSE x\n"),
        ("Procfile", SERVER),
    ]);
    for url in [ann.by_ssh("hill"), ann.by_http("hill")] {
        let pushed = ann.git(&["push", &url, "main"]);
        let said = String::from_utf8_lossy(&pushed.stderr);
        assert!(!pushed.status.success(), "{said}");
        assert!(said.contains("unknown instruction `NONSENSE`"), "{said}");
        assert!(said.contains(" !     Build "), "{said}");
        assert!(said.contains("pre-receive hook declined"), "{said}");
        let refs = ann.git(&["ls-remote", &url]);
        assert_eq!(succeeds(&refs), "");
    }
    assert_eq!(ann.get("apps/hill/releases/").await["count"], 1);
    // The next one is taken.
    ann.in_work(&["rm", "--quiet", "Dockerfile"]);
    ann.commits(&[("page.txt", "x")]);
    let said = succeeds(&ann.git(&["push", &ann.by_ssh("hill"), "main"]));
    assert!(said.contains("hill:v2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_push_who_may() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    let bob = farm.pusher("bob").await;
    ann.creates("hill").await;
    for who in [&ann, &bob] {
        who.commits(&[("Procfile", SERVER)]);
    }
    let refused = |who: &Pusher, url: String, reason: &str| {
        let pushed = who.git(&["push", &url, "main"]);
        let said = String::from_utf8_lossy(&pushed.stderr);
        assert!(
            !pushed.status.success() && said.contains(reason),
            "{reason}: {said}"
        );
    };
    refused(&bob, bob.by_ssh("hill"), "There is no app hill");
    refused(&bob, bob.by_http("hill"), "not found");
    refused(
        &bob,
        bob.by_ssh("no-such-app"),
        "There is no app no-such-app",
    );
    let http = ann.by_http("hill");
    refused(
        &ann,
        http.replace(ann.token(), &"0".repeat(40)),
        "Authentication failed",
    );
    let read_only = farm.token_of("ann", "read");
    refused(&ann, http.replace(ann.token(), &read_only), "403");
    succeeds(&ann.git(&["ls-remote", &http.replace(ann.token(), &read_only)]));
    let shared = json!({"username": "bob"});
    ann.posts("apps/hill/perms/", &shared).await;
    succeeds(&bob.git(&["push", &bob.by_ssh("hill"), "main"]));
    // A key of nobody, and the key of a user that was deactivated.
    let eve = farm.stranger("eve");
    refused(&eve, eve.by_ssh("hill"), "Permission denied (publickey)");
    farm.deactivates("bob");
    bob.commits(&[("page.txt", "x")]);
    refused(&bob, bob.by_ssh("hill"), "Permission denied (publickey)");
    assert_eq!(ann.get("apps/hill/releases/").await["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_usual_kinds_are_taken() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    for (name, form) in [
        ("ecdsa", &["-t", "ecdsa", "-b", "384"][..]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ] {
        ann.adds_key(name, form).await;
        succeeds(&ann.lists_with("hill", name, &[]));
    }
    let old = ann.lists_with("hill", "rsa", &["-oPubkeyAcceptedAlgorithms=ssh-rsa"]);
    assert!(!old.status.success(), "a signature with SHA-1 was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_does_not_run_is_told() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.commits(&[("Procfile", "web: echo broken; exit 3\n")]);
    let said = succeeds(&ann.git(&["push", &ann.by_ssh("hill"), "main"]));
    assert!(said.contains("web.1 is "), "{said}");
    assert!(said.contains("done, hill:v2 deployed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_without_git_says_so() {
    let mut farm = pusher::unstarted();
    let wrapper = ["/usr/bin/env", "PATH=/nonexistent"].map(str::to_owned);
    farm.wrap("master", wrapper.to_vec());
    farm.start_all(&[1]).await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.commits(&[("Procfile", SERVER)]);
    for url in [ann.by_ssh("hill"), ann.by_http("hill")] {
        let pushed = ann.git(&["push", &url, "main"]);
        let said = String::from_utf8_lossy(&pushed.stderr);
        assert!(!pushed.status.success(), "{said}");
        assert!(said.contains("This master has no program `git`"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_gives_nothing_but_git() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    for command in [
        "id",
        "sh -c id",
        "git-receive-pack '/hill.git'; id",
        "git-receive-pack '../../own/1'",
        "git-upload-pack '/../../etc/hill.git'",
        "git-upload-pack '$(id).git'",
        "git-upload-pack \"hill.git\"",
        "git-upload-archive '/hill.git'",
        "git-upload-pack '/hill.git' --help",
        "scp -t /tmp",
        "\u{1b}]0;x\u{7}",
    ] {
        let output = ann.ssh(&[], &[command]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(
            said.contains("Only git can be used here"),
            "{command}: {said}"
        );
        assert_eq!(output.stdout, b"", "{command}");
    }
    let shell = ann.ssh(&["-T"], &[]);
    let said = String::from_utf8_lossy(&shell.stderr);
    assert_eq!(shell.status.code(), Some(1), "{said}");
    assert!(
        said.contains("Hello ann!") && said.contains("no shell"),
        "{said}"
    );
    let terminal = ann.ssh(&["-tt"], &[]);
    let said = String::from_utf8_lossy(&terminal.stderr);
    assert!(!terminal.status.success() && said.contains("PTY"), "{said}");
    let sftp = ann.ssh(&["-s"], &["sftp"]);
    assert!(!sftp.status.success());
    let said = String::from_utf8_lossy(&sftp.stderr);
    assert!(said.contains("subsystem request failed"), "{said}");
    // Forwarding, both ways, and through the connection.
    let forward = format!("{}:1", farm.address());
    for flags in [
        &[
            "-o",
            "ExitOnForwardFailure=yes",
            "-R",
            "0:127.0.0.1:1",
            "-N",
        ][..],
        &["-W", &forward],
    ] {
        let output = ann.ssh(flags, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{flags:?}: {said}");
        assert!(
            said.contains("forward") || said.contains("prohibited"),
            "{flags:?}: {said}"
        );
    }
    // An agent is not taken along; git goes on all the same.
    let offered = ann.ssh_with_agent(&["-A"], &["git-upload-pack '/hill.git' "]);
    assert!(!offered.status.success());
    ann.commits(&[("Procfile", SERVER)]);
    succeeds(&ann.git(&["push", &ann.by_ssh("hill"), "main"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_deployed_is_not_pushed() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.commits(&[("Procfile", SERVER)]);
    let url = ann.by_ssh("hill");
    for (refs, reason) in [
        (&["main:a", "main:b"][..], "one branch at a time"),
        (&["main:refs/notes/x"], "Only branches and tags"),
        (&["main:refs/pushes/x"], "hidden ref"),
    ] {
        let pushed = ann.git(&[&["push", url.as_str()][..], refs].concat());
        let said = String::from_utf8_lossy(&pushed.stderr);
        assert!(
            !pushed.status.success() && said.contains(reason),
            "{refs:?}: {said}"
        );
    }
    // Tags are stored; they deploy nothing.
    ann.git(&["tag", "v0"]);
    let early = ann.git(&["push", &url, "v0"]);
    let said = String::from_utf8_lossy(&early.stderr);
    assert!(
        !early.status.success() && said.contains("Push a branch first"),
        "{said}"
    );
    succeeds(&ann.git(&["push", &url, "main", "main^{commit}:refs/tags/v1"]));
    succeeds(&ann.git(&["push", &url, "v0"]));
    succeeds(&ann.git(&["push", &url, ":v1"]));
    let refs = succeeds(&ann.git(&["ls-remote", "--tags", &url]));
    assert!(refs.contains("v0") && !refs.contains("v1"), "{refs}");
    let master = farm.master_address();
    let audit = farm
        .command()
        .args(["audit", "--by", "ann", "--master-url", &master])
        .output();
    let told = succeeds(&audit.unwrap());
    for moved in [
        "refs/heads/main, refs/tags/v1 pushed",
        "refs/tags/v0 pushed",
        "refs/tags/v1 removed",
    ] {
        let lines = told
            .lines()
            .filter(|line| line.contains(moved) && line.contains("127.0.0.1"));
        assert_eq!(lines.count(), 1, "{moved}: {told}");
    }
    assert_eq!(ann.get("apps/hill/releases/").await["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packs_of_many_pushes_become_one() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    let commit = ann.commits(&[("Procfile", SERVER)]);
    let url = ann.by_http("hill");
    succeeds(&ann.git(&["push", &url, "main"]));
    // Each tag of this kind is an object of its own, and each push one more pack.
    let push_tag = |number: u32| {
        let tag = format!("v{number}");
        ann.in_work(&["tag", "--annotate", "--message", "a version", &tag]);
        succeeds(&ann.git(&["push", &url, &tag]));
    };
    push_tag(0);
    let gone = ann.in_work(&["rev-parse", "v0"]);
    succeeds(&ann.git(&["push", &url, ":v0"]));
    let repository = OwnRepository::at(farm.only_repository());
    for number in 1..18 {
        push_tag(number);
    }
    assert_eq!(repository.packs().unwrap().0, 19);
    push_tag(18);
    wait_for("the packs are one", async || {
        (repository.packs().unwrap().0 == 1).then_some(())
    })
    .await;
    // Builds and releases may name what no branch and no tag leads to.
    let directory = farm.only_repository();
    let in_repository = |arguments: &[&str]| {
        let at = ["-C", directory.to_str().unwrap()];
        succeeds(&ann.git(&[&at, arguments].concat()));
    };
    for object in [commit.as_str(), gone.trim()] {
        in_repository(&["cat-file", "-e", object]);
    }
    in_repository(&["fsck", "--strict"]);
    ann.commits(&[("page.txt", "second\n")]);
    let said = succeeds(&ann.git(&["push", &url, "main"]));
    assert!(said.contains("done, hill:v3 deployed"), "{said}");
    succeeds(&ann.git(&[
        "clone",
        &url,
        ann.directory().join("clone").to_str().unwrap(),
    ]));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_ssh_port_are_bounded() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    // Connections that say nothing: those beyond the bound are closed at once.
    let mut silent = pusher::connections(farm.ssh_address(), 100).await;
    let greeted = pusher::greeted(&mut silent).await;
    assert!((1..=32).contains(&greeted), "{greeted}");
    drop(silent);
    // Packets that are longer than any.
    let memory = processes_memory(farm.master_process());
    for bytes in [
        b"SSH-2.0-x\r\n\xff\xff\xff\xff".repeat(1000),
        b"SSH-2.0-x\r\n\x00\x00\x00\x00\x00\x00\x00".repeat(1000),
        vec![b'x'; 1 << 20],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        pusher::is_closed_after(farm.ssh_address(), &bytes).await;
    }
    let more = processes_memory(farm.master_process()).saturating_sub(memory);
    assert!(more < 64 << 20, "{more} bytes");
    // Bodies that are no pack.
    for (path, body) in [
        ("git-receive-pack", "ffff".repeat(10_000)),
        ("git-upload-pack", "0032want 0".repeat(10_000)),
        ("git-receive-pack", "0000".to_owned()),
    ] {
        let kind = format!("application/x-{path}-request");
        let path = format!("hill.git/{path}");
        ann.sends(&path, &kind, body).await;
    }
    ann.commits(&[("Procfile", SERVER)]);
    wait_for("there is room again", async || {
        let pushed = ann.git(&["push", &ann.by_ssh("hill"), "main"]);
        pushed.status.success().then_some(())
    })
    .await;
}

/// What a process has in memory.
fn processes_memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/statm")).unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
