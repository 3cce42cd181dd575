//! What earlier versions left: `<subjob>.<attempt>.tar.gz` of subjobs, `results.tar.gz` and
//! `results.zip` of ended builds. They are read, not written any more.

use super::build_store::{BuildStore, NewBlock, NewContent, StoredConsole};
use super::incoming::Incoming;
use super::index::Key;
use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};
use clusterrunner_common::results::artifact::{CONSOLE_FILE, directory_name, parse_directory_name};
use clusterrunner_common::results::block::convert_archive;
use clusterrunner_common::results::tar_reader::TarReader;
use flate2::bufread::GzDecoder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The archive of an ended build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldArchive {
    /// As `tar.gz`.
    Tar,
    /// As `zip`.
    Zip,
}

impl OldArchive {
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Tar => "results.tar.gz",
            Self::Zip => "results.zip",
        }
    }
}

/// Whether the directory of a build has an archive from before there were blocks.
pub(super) fn has_archive(directory: &Path) -> bool {
    let has = |archive: OldArchive| directory.join(archive.file_name()).exists();
    has(OldArchive::Tar) || has(OldArchive::Zip)
}

fn of_subjob(directory: &Path, (subjob, attempt): Key) -> PathBuf {
    directory.join(format!("{subjob}.{attempt}.tar.gz"))
}

/// The hand-out whose result has this name.
pub(super) fn key_of(name: &str) -> Option<Key> {
    let (subjob, attempt) = name.strip_suffix(".tar.gz")?.split_once('.')?;
    Some((subjob.parse().ok()?, attempt.parse().ok()?))
}

/// Takes over which of these results only earlier versions have stored.
///
/// # Errors
/// The disk refuses, or such a file is damaged.
pub(super) fn take_in(store: &BuildStore, results: &[Key]) -> io::Result<()> {
    for key in results.iter().filter(|key| !store.has(**key)) {
        let path = of_subjob(store.directory(), *key);
        if !path.exists() {
            continue;
        }
        let open = || Ok::<_, io::Error>(BufReader::new(File::open(&path)?));
        let mut archive = TarReader::new(GzDecoder::new(open()?));
        let mut atoms = BTreeSet::new();
        while let Some(member) = archive.next_member()? {
            let first = member.path.iter().next().and_then(|name| name.to_str());
            atoms.extend(first.and_then(parse_directory_name));
        }
        let incoming = Incoming::new(store.directory())?;
        let mut out = BufWriter::new(incoming.file());
        let result = convert_archive(open()?, key.0, atoms.len(), &mut out);
        let result = result.map_err(io::Error::other)?;
        out.flush()?;
        drop(out);
        store.append(vec![NewBlock {
            results: vec![(*key, result.offset, result.length)],
            content: NewContent::File(incoming),
        }])?;
    }
    Ok(())
}

/// The console output of an atom: from its subjob's archive, or from the build's once that took its
/// place.
///
/// # Errors
/// The disk refuses, or there is no such file (`NotFound`).
pub(super) fn console(
    directory: &Path,
    subjob: SubjobId,
    attempt: Attempt,
    atom: AtomId,
) -> io::Result<StoredConsole> {
    let name = format!("{}/{CONSOLE_FILE}", directory_name(subjob, atom));
    match File::open(of_subjob(directory, (subjob, attempt))) {
        Ok(archive) => {
            let mut archive = TarReader::new(GzDecoder::new(BufReader::new(archive)));
            while let Some(member) = archive.next_member()? {
                if member.path.to_str() == Some(name.as_str()) {
                    return StoredConsole::of(&mut archive);
                }
            }
            Err(io::ErrorKind::NotFound.into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let archive = File::open(directory.join(OldArchive::Zip.file_name()))?;
            let mut archive = zip::ZipArchive::new(BufReader::new(archive))?;
            match archive.by_name(&name) {
                Ok(mut entry) => StoredConsole::of(&mut entry),
                Err(zip::result::ZipError::FileNotFound) => Err(io::ErrorKind::NotFound.into()),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error),
    }
}

/// Removes those of subjobs, once an archive holds what counts of them.
///
/// # Errors
/// The disk refuses.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name();
        if name.to_str().is_some_and(|name| name.ends_with(".tar.gz")) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}
