//! A build's archives, downloaded and taken apart.

use crate::farm::Farm;
use crate::repository::Repository;
use clusterrunner_client::client::Archive;
use clusterrunner_common::ids::BuildId;
use flate2::read::MultiGzDecoder;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_NONE_MATCH, RANGE,
};
use reqwest::{Client, Method};
use std::collections::BTreeMap;
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
