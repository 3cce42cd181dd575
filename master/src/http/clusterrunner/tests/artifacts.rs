//! The files that atoms left: listed and given while their build runs.

use super::results::{body, report, working};
use super::*;
use axum::http::HeaderMap;
use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const OF: &str = "/v2/builds/1/subjobs/0/atoms/0/artifacts";

/// The result of subjob 0, whose atom left what is in `directory`.
fn block(directory: &Path) -> Vec<u8> {
    let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
    block.begin(SubjobId(0), Attempt(1));
    let result = AtomResult {
        command: "true",
        exit_code: 0,
        seconds: 0.0,
        ended_at: 0,
        console: Console::Memory(b"said\n"),
        artifacts: Some(directory),
    };
    block.add(AtomId(0), &result).unwrap();
    block.finish().unwrap().0
}

/// A master with a build that runs, one atom of which has left these files.
async fn left(files: &[(&str, &str)]) -> Master {
    let master = working().await;
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let upload = body(&report(&[(0, 1)]).to_string(), &block(directory.path()));
    let (status, answer) = master.upload_to("/v1/build/1/results", upload).await;
    assert_eq!(status, 200, "{answer}");
    master
}

impl Master {
    async fn artifact(&self, rest: &str) -> (u16, HeaderMap, Vec<u8>) {
        self.exchange("GET", &format!("{OF}/{rest}"), &[], "").await
    }
}

#[tokio::test]
async fn files_are_listed_and_downloaded_and_nothing_of_them_runs() {
    let page = "<script>alert(document.cookie)</script>";
    let files = [
        ("page.html", page),
        ("sub/a b\n%.svg", page),
        ("empty", ""),
        ("shot.png", "no picture"),
    ];
    let master = left(&files).await;
    let (status, listed) = master.get(OF).await;
    assert_eq!((status, &listed["total"]), (200, &json!(4)));
    let listed = listed["artifacts"].as_array().unwrap().iter();
    let listed: BTreeSet<_> = listed
        .map(|file| {
            (
                file["path"].as_str().unwrap(),
                file["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = files.map(|(path, text)| (path, text.len() as u64));
    assert_eq!(listed, BTreeSet::from(expected));
    let (_, part) = master.get(&format!("{OF}?limit=1&offset=3")).await;
    assert_eq!(part["artifacts"].as_array().unwrap().len(), 1);

    for (rest, kind, saved_as) in [
        (
            "page.html",
            "application/octet-stream",
            "attachment; filename=\"page.html\"",
        ),
        (
            "sub/a%20b%0A%25.svg",
            "application/octet-stream",
            "attachment; filename=\"a_b__.svg\"",
        ),
        (
            "sub%2Fa%20b%0A%25.svg?view",
            "text/plain; charset=utf-8",
            "inline",
        ),
        ("page.html?view=1", "text/plain; charset=utf-8", "inline"),
        ("shot.png?view", "image/png", "inline"),
    ] {
        let (status, headers, content) = master.artifact(rest).await;
        let text = String::from_utf8(content).unwrap();
        assert_eq!(status, 200, "{rest}: {text}");
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(header("content-type"), kind, "{rest}");
        assert!(header("content-disposition").starts_with(saved_as));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").starts_with("sandbox; default-src 'none'"));
        assert_eq!(header("content-length"), text.len().to_string());
        assert!([page, "no picture"].contains(&text.as_str()), "{text}");
    }
    let (status, headers, content) = master.artifact("empty").await;
    assert_eq!((status, content.len()), (200, 0));
    assert_eq!(headers["content-length"], "0");
}

#[tokio::test]
async fn what_an_atom_did_not_leave_is_not_there() {
    let master = left(&[("report", "x")]).await;
    for rest in [
        "nothing",
        "report/",
        "../artifacts/report",
        "%2e%2e/artifact_0_0/report",
        "..%2fartifact_0_0%2freport",
        "%2fetc%2fpasswd",
        "clusterrunner_console_output",
        "%ff",
        "%00",
    ] {
        let (status, _, answer) = master.artifact(rest).await;
        // A slash at the end of a path never counts.
        let expected = if rest == "report/" { 200 } else { 404 };
        assert_eq!(status, expected, "{rest}: {answer:?}");
    }
    for path in [
        // It runs.
        "/v2/builds/1/subjobs/1/atoms/0/artifacts",
        // It waits.
        "/v2/builds/1/subjobs/3/atoms/0/artifacts",
        "/v2/builds/1/subjobs/0/atoms/1/artifacts",
        "/v2/builds/1/subjobs/9/atoms/0/artifacts",
        "/v2/builds/9/subjobs/0/atoms/0/artifacts",
    ] {
        assert_eq!(master.get(path).await.0, 404, "{path}");
        let (status, _) = master.get(&format!("{path}/report")).await;
        assert_eq!(status, 404, "{path}");
    }
    let (status, answer) = master.get(&format!("{OF}?limit=some")).await;
    assert_eq!(status, 400, "{answer}");
}
