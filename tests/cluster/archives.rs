//! A build's archives, downloaded and taken apart.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_client::client::Archive;
use clusterrunner_common::ids::BuildId;
use flate2::read::MultiGzDecoder;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_NONE_MATCH, RANGE,
};
use reqwest::{Client, Method};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::process::Command;

/// What a member of a tar archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Directory,
    File(Vec<u8>),
    Link(String),
}

/// The members of a build's `artifacts.tar.gz` by their names, exactly as they are written there.
pub(crate) async fn tar_of(farm: &Farm, build: BuildId) -> BTreeMap<String, Member> {
    let path = farm.path("artifacts.tar.gz");
    let client = farm.client();
    client.download(build, Archive::TarGz, &path).await.unwrap();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(File::open(path).unwrap()));
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let member = match entry.header().entry_type() {
            tar::EntryType::Directory => Member::Directory,
            tar::EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                Member::File(content)
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap().into_owned();
                Member::Link(String::from_utf8(target).unwrap())
            }
            other => panic!("{name} is a {other:?}"),
        };
        let twice = members.insert(name, member);
        assert_eq!(twice, None, "a member is there twice");
    }
    members
}

/// The files of a build's `artifacts.zip` by their names.
pub(crate) async fn zip_of(farm: &Farm, build: BuildId) -> BTreeMap<String, Vec<u8>> {
    let path = farm.path("artifacts.zip");
    let client = farm.client();
    client.download(build, Archive::Zip, &path).await.unwrap();
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        assert!(entry.is_file(), "{name} is no file");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let twice = files.insert(name, content);
        assert_eq!(twice, None, "a member is there twice");
    }
    files
}

async fn ask(
    method: Method,
    url: &str,
    headers: &[(reqwest::header::HeaderName, &str)],
) -> (u16, HeaderMap, Vec<u8>) {
    clusterrunner_common::http::install_crypto();
    let mut request = Client::new().request(method, url);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap().to_vec())
}

/// What any download program may ask for.
#[tokio::test]
async fn archives_are_downloaded_whole_or_in_parts() {
    let repository = Repository::with_jobs(
        "Job:\n  commands:\n    - echo $N; head -c 100000 /dev/urandom > \"$ARTIFACT_DIR/noise\"\n  \
         atomizers: [{N: seq 1 5}]\n",
    );
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await.id;
    let url = |archive: &str| {
        let master = farm.master_address();
        format!("http://{master}/v1/build/{build}/artifacts.{archive}")
    };
    let (tar, zip) = (url("tar.gz"), url("zip"));
    let (status, headers, all) = ask(Method::GET, &tar, &[]).await;
    let length = all.len().to_string();
    let has_length = |headers: &HeaderMap| headers[CONTENT_LENGTH] == length.as_str();
    assert!(status == 200 && has_length(&headers), "{headers:?}");
    assert_eq!(headers[ACCEPT_RANGES], "bytes");
    let tag = headers[ETAG].to_str().unwrap();
    let (status, headers, body) = ask(Method::HEAD, &tar, &[]).await;
    assert!(status == 200 && has_length(&headers) && body.is_empty());
    let (status, headers, part) = ask(Method::GET, &tar, &[(RANGE, "bytes=1000-299999")]).await;
    assert_eq!(status, 206);
    assert_eq!(part, all[1000..300_000]);
    let expected = format!("bytes 1000-299999/{length}");
    assert_eq!(headers[CONTENT_RANGE], expected.as_str());
    let (status, headers, _) = ask(Method::GET, &tar, &[(RANGE, "bytes=9000000-")]).await;
    let expected = format!("bytes */{length}");
    assert_eq!(
        (status, headers[CONTENT_RANGE].to_str().unwrap()),
        (416, expected.as_str())
    );
    let (status, _, body) = ask(Method::GET, &tar, &[(IF_NONE_MATCH, tag)]).await;
    assert!(status == 304 && body.is_empty());

    let (status, headers, whole) = ask(Method::GET, &zip, &[(RANGE, "bytes=0-9")]).await;
    assert_eq!(status, 200);
    assert_eq!(headers[ACCEPT_RANGES], "none");
    assert!(!headers.contains_key(CONTENT_LENGTH));
    assert_ne!(headers[ETAG], tag);
    zip::ZipArchive::new(std::io::Cursor::new(whole)).unwrap();
    let (status, headers, body) = ask(Method::HEAD, &zip, &[]).await;
    assert!(status == 200 && body.is_empty());
    assert!(!headers.contains_key(CONTENT_LENGTH), "{headers:?}");

    // Other programs take many gzip members for one, too.
    let path = farm.path("artifacts.tar.gz");
    std::fs::write(&path, all).unwrap();
    let listed = Command::new("tar").arg("-tzf").arg(&path).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 5 * 6);
}

/// Each file is there by itself while the build still runs, and when it is over.
#[tokio::test]
async fn the_files_of_an_atom_are_listed_and_read() {
    let repository = Repository::of(&job("true"));
    let gate = repository.outside("gate");
    let command = format!(
        "if [ $N = 1 ]; then cd \"$ARTIFACT_DIR\"; seq 10000 | xargs touch; mkdir -p a/b; printf 'é' > 'a/b/ü .txt'; \
         ln -s 7 link; else while [ ! -e '{}' ]; do sleep 0.05; done; fi",
        gate.display()
    );
    repository.commit_job(&job(command).atoms(2));
    let farm = Farm::start(&[2]).await;
    let build = farm.submit(&repository.request()).await;
    let of = |atom: u32, rest: &str| {
        let master = farm.master_address();
        format!("http://{master}/v2/builds/{build}/subjobs/{atom}/atoms/0/artifacts{rest}")
    };
    let list = async |url: String| {
        let (status, _, body) = ask(Method::GET, &url, &[]).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (status, body)
    };
    wait_for("the first atom's files are there", async || {
        (list(of(0, "")).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(list(of(1, "")).await.0, 404, "it runs");
    for is_over in [false, true] {
        if is_over {
            std::fs::write(&gate, "").unwrap();
            farm.end_of(build).await.passes();
            assert_eq!(list(of(1, "")).await.1["total"], 0);
        }
        let (_, first) = list(of(0, "?limit=9000")).await;
        let (_, rest) = list(of(0, "?limit=9000&offset=9000")).await;
        let paths = [&first, &rest].map(|page| page["artifacts"].as_array().unwrap());
        let paths = paths.into_iter().flatten();
        let paths: BTreeSet<_> = paths.map(|file| file["path"].as_str().unwrap()).collect();
        assert_eq!(
            (first["total"].as_u64(), paths.len()),
            (Some(10_001), 10_001)
        );
        assert!(paths.contains("a/b/ü .txt") && !paths.contains("link"));
        for (file, expected) in [("/a/b/%C3%BC%20.txt", (200, "é")), ("/7", (200, ""))] {
            let (status, _, content) = ask(Method::GET, &of(0, file), &[]).await;
            let content = String::from_utf8(content).unwrap();
            assert_eq!((status, content.as_str()), expected, "{file}");
        }
        for file in ["/link", "/a/b", "/..%2F..%2Fetc%2Fpasswd", "/0"] {
            assert_eq!(ask(Method::GET, &of(0, file), &[]).await.0, 404, "{file}");
        }
    }
}
