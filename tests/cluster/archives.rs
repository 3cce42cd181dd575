//! A build's archives, downloaded and taken apart.

use crate::farm::Farm;
use clusterrunner_client::client::Archive;
use clusterrunner_common::ids::BuildId;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

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
