//! Packs the artifact directories of a subjob into the archive that the master takes.

use crate::result_note::ResultNote;
use clusterrunner_common::artifact::directory_name;
use clusterrunner_common::ids::AtomId;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tar::{Builder, Header};
use tokio_util::sync::CancellationToken;

/// Speed counts here, not size: the way to the master is short.
const LEVEL: Compression = Compression::new(1);

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error("could not pack {}: {source}", .path.display())]
    Entry {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not write {}: {source}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("packing was canceled")]
    Canceled,
}

type Archive = Builder<GzEncoder<BufWriter<File>>>;

/// Packs `artifact_<subjob>_<atom>` of each atom, from below `artifacts` into the file `archive`.
/// The archive's header says `note`. Symbolic links stay links; what is neither file, directory nor link is left out. Blocks.
pub(crate) fn pack(
    artifacts: &Path,
    note: &ResultNote,
    num_atoms: u32,
    archive: &Path,
    stop: &CancellationToken,
) -> Result<(), PackError> {
    let packed = write_archive(artifacts, note, num_atoms, archive, stop);
    if packed.is_err() {
        // The build's clean-up removes it in any case.
        std::fs::remove_file(archive).ok();
    }
    packed
}

fn write_archive(
    artifacts: &Path,
    note: &ResultNote,
    num_atoms: u32,
    archive: &Path,
    stop: &CancellationToken,
) -> Result<(), PackError> {
    let write = |source| PackError::Write {
        path: archive.to_owned(),
        source,
    };
    let file = File::create(archive).map_err(write)?;
    let subjob = note.hand_out().subjob;
    let comment = note.to_comment().map_err(write)?;
    let gzip = GzBuilder::new().comment(comment);
    let mut tar = Builder::new(gzip.write(BufWriter::new(file), LEVEL));
    tar.follow_symlinks(false);
    for atom in (0..num_atoms).map(AtomId) {
        let name = PathBuf::from(directory_name(subjob, atom));
        let mut waiting = vec![name];
        while let Some(name) = waiting.pop() {
            if stop.is_cancelled() {
                return Err(PackError::Canceled);
            }
            let path = artifacts.join(&name);
            append(&mut tar, &path, &name, &mut waiting, stop)
                .map_err(|source| PackError::Entry { path, source })?;
        }
    }
    let mut buffered = tar
        .into_inner()
        .and_then(GzEncoder::finish)
        .map_err(write)?;
    buffered.flush().map_err(write)
}

/// Appends one entry; what is in a directory goes to `waiting`. An entry that is not readable, or
/// goes away meanwhile (children of an atom may go on), is left out: one odd file must not cost
/// the result.
fn append(
    tar: &mut Archive,
    path: &Path,
    name: &Path,
    waiting: &mut Vec<PathBuf>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let left_out = |error: &io::Error| {
        tracing::warn!(path = %path.display(), %error, "an artifact could not be read and is left out");
    };
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            left_out(&error);
            return Ok(());
        }
    };
    if metadata.is_dir() {
        tar.append_data(&mut header(&metadata, 0), name, io::empty())?;
        match std::fs::read_dir(path) {
            Ok(entries) => waiting.extend(entries.flatten().map(|e| name.join(e.file_name()))),
            Err(error) => left_out(&error),
        }
    } else if metadata.is_symlink() {
        match std::fs::read_link(path) {
            Ok(target) => tar.append_link(&mut header(&metadata, 0), name, target)?,
            Err(error) => left_out(&error),
        }
    } else if metadata.is_file() {
        // The file may have become something else since: no link is followed, no pipe waited for.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let opened = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path);
        match opened {
            Ok(file) => {
                let length = metadata.len();
                let content = Exactly {
                    file,
                    remaining: length,
                    stop,
                };
                tar.append_data(&mut header(&metadata, length), name, content)?;
            }
            Err(error) => left_out(&error),
        }
    }
    Ok(())
}

fn header(metadata: &Metadata, length: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(metadata);
    header.set_size(length);
    header
}

/// The first `remaining` bytes of a file, filled up with zeros where it has become shorter: an
/// archive states the length of a file before its content.
struct Exactly<'a> {
    file: File,
    remaining: u64,
    /// A large file is not packed to its end when nobody wants it any more.
    stop: &'a CancellationToken,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("packing was canceled"));
        }
        let wanted = usize::try_from(self.remaining).map_or(buffer.len(), |r| r.min(buffer.len()));
        let buffer = &mut buffer[..wanted];
        let read = match self.file.read(buffer)? {
            0 => {
                buffer.fill(0);
                wanted
            }
            read => read,
        };
        self.remaining -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::HandOut;
    use clusterrunner_common::api::AtomReport;
    use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SubjobId};
    use std::collections::BTreeMap;

    fn note() -> ResultNote {
        let hand_out = HandOut {
            build: BuildId(7),
            subjob: SubjobId(1),
            attempt: Attempt(2),
        };
        let report = AtomReport {
            id: AtomId(2),
            timed_out_after_s: Some(5),
        };
        ResultNote::new(hand_out, SessionId("s".to_owned()), vec![report])
    }

    #[test]
    fn a_torn_or_damaged_archive_is_found_out() {
        let directory = tempfile::tempdir().unwrap();
        let atom = directory.path().join("artifact_1_0");
        std::fs::create_dir(&atom).unwrap();
        std::fs::write(atom.join("file"), "some text").unwrap();
        let archive = directory.path().join("archive");
        pack(
            directory.path(),
            &note(),
            1,
            &archive,
            &CancellationToken::new(),
        )
        .unwrap();
        let whole = std::fs::read(&archive).unwrap();
        assert_eq!(ResultNote::read(&whole[..]).unwrap(), note());
        for length in 0..whole.len() {
            let torn = ResultNote::read_checked(&whole[..length]);
            assert!(torn.is_err(), "{length} of {}", whole.len());
        }
        // A bit of the checksum stands for any other.
        let mut damaged = whole;
        let checksum = damaged.len() - 5;
        damaged[checksum] ^= 1;
        ResultNote::read_checked(&damaged[..]).unwrap_err();
    }

    fn members(archive: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let file = flate2::read::GzDecoder::new(File::open(archive).unwrap());
        let mut archive = tar::Archive::new(file);
        let read = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().into_owned(), content)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn odd_names_and_odd_files_do_not_cost_the_result() {
        let directory = tempfile::tempdir().unwrap();
        let atom = directory.path().join("artifact_1_0");
        let deep = atom.join("d".repeat(200)).join("e".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("ü \n"), "deep").unwrap();
        std::fs::create_dir(atom.join("empty")).unwrap();
        std::os::unix::fs::symlink("x".repeat(300), atom.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(atom.join("socket")).unwrap();
        std::fs::create_dir(directory.path().join("artifact_1_1")).unwrap();
        let archive = directory.path().join("archive");
        let stop = CancellationToken::new();
        // The third atom left nothing at all.
        pack(directory.path(), &note(), 3, &archive, &stop).unwrap();
        let found = ResultNote::read_checked(File::open(&archive).unwrap()).unwrap();
        assert_eq!(found, note());
        let members = members(&archive);
        let names: Vec<_> = members.keys().collect();
        let root = Path::new("artifact_1_0");
        let deep = root.join("d".repeat(200));
        let deeper = deep.join("e".repeat(200));
        let file = deeper.join("ü \n");
        let (empty, link) = (root.join("empty"), root.join("link"));
        let second = PathBuf::from("artifact_1_1");
        let expected = [
            &root.to_owned(),
            &deep,
            &deeper,
            &file,
            &empty,
            &link,
            &second,
        ];
        assert_eq!(names, expected);
        assert_eq!(members[&file], b"deep");
    }

    #[test]
    fn a_file_that_became_shorter_is_filled_up() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"abc").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let stop = CancellationToken::new();
        let mut exactly = Exactly {
            file,
            remaining: 5,
            stop: &stop,
        };
        let mut content = Vec::new();
        exactly.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"abc\0\0");
    }

    #[test]
    fn nothing_is_left_of_a_canceled_archive() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("artifact_1_0")).unwrap();
        let archive = directory.path().join("archive");
        let stop = CancellationToken::new();
        stop.cancel();
        pack(directory.path(), &note(), 1, &archive, &stop).unwrap_err();
        assert!(!archive.exists());
    }
}
