//! Fetching over `git://` from a real `git daemon`.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use clusterrunner_common::git::{GitError, GitOptions, Revision};
use tokio_util::sync::CancellationToken;

use crate::repository::{Source, TestMirror};
use crate::server::Daemon;

fn start(source: &Source) -> (Daemon, String) {
    let folder = source.folder().to_str().unwrap();
    let (daemon, port) = Daemon::start_on_free_port(|port| {
        let port_option = format!("--port={port}");
        let base = format!("--base-path={folder}");
        let arguments = [
            "daemon",
            "--listen=127.0.0.1",
            &port_option,
            "--export-all",
            "--reuseaddr",
            &base,
            folder,
        ];
        Daemon::start("git", &arguments, source.folder(), port)
    });
    (daemon, format!("git://127.0.0.1:{port}"))
}

#[test]
fn a_repository_is_fetched_and_brought_up_to_date() {
    let source = Source::with_one_commit();
    let (_daemon, url) = start(&source);
    let mirror = TestMirror::new(&format!("{url}/source"), GitOptions::default());
    assert_eq!(mirror.fetch(None, None).unwrap(), source.head());
    for number in 0..30 {
        source.commit(&[("file", &number.to_string())]);
    }
    let commit = mirror.fetch(Some("master"), None).unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("file"), "29");

    let text = TestMirror::new(&format!("{url}/nothing"), GitOptions::default())
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("could not fetch") && text.contains("/nothing"),
        "{text}"
    );
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_or_canceled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/x", listener.local_addr().unwrap());
    let mirror = TestMirror::new(
        &url,
        GitOptions {
            idle_timeout: Duration::from_millis(100),
            ..GitOptions::default()
        },
    );
    let text = mirror.fetch(None, None).unwrap_err().to_string();
    assert!(
        text.contains("the server sent nothing within 0.1 s"),
        "{text}"
    );
    let (mut first, _) = listener.accept().unwrap();
    let mut asked = Vec::new();
    first.read_to_end(&mut asked).unwrap();
    let port = listener.local_addr().unwrap().port();
    let expected = format!("git-upload-pack /x\0host=127.0.0.1:{port}\0");
    assert_eq!(
        asked,
        format!("{:04x}{expected}", expected.len() + 4).into_bytes()
    );

    let patient = TestMirror::new(&url, GitOptions::default());
    let cancel = CancellationToken::new();
    let canceled = cancel.clone();
    let fetch = std::thread::spawn(move || patient.mirror.fetch(&Revision::default(), &canceled));
    let _second = listener.accept().unwrap();
    cancel.cancel();
    assert!(matches!(fetch.join().unwrap(), Err(GitError::Canceled)));
}
