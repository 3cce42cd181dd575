//! The files that an atom left: listed, and read one at a time, also while its build runs.

use super::Results;
use super::build_store::CHECKED_BLOCK;
use bytes::Bytes;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::results::block::{OpenedFile, is_ours, open_file};
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::ops::Range;
use std::path::Path;

/// How much of a file is read at a time.
const PIECE: u64 = 1 << 17;

/// Names the result of an atom.
pub(super) type AtomResult = (SubjobId, Attempt, AtomId);

/// Some of the files that an atom left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Artifacts {
    /// The path of each in the atom's artifact directory, with U+FFFD for what is no UTF-8, and its length in bytes; in the
    /// order in which they are stored.
    pub files: Vec<(String, u64)>,
    /// How many files the atom left in all.
    pub total: u64,
}

/// A file that an atom left, to be read piece by piece.
#[derive(Debug)]
pub struct Artifact {
    /// Nothing at the end.
    file: Option<OpenedFile<BufReader<io::Take<File>>>>,
    left: u64,
    /// Whether the block is read to its checksum before the last piece is given.
    is_checked: bool,
}

impl Results {
    /// The regular files that an atom with a result left in its artifact directory, those with a place in `wanted`. What
    /// the slave puts beside them (console output, command, exit code, time) does not count; links are in the archive
    /// only. Blocks.
    ///
    /// # Errors
    /// The disk refuses, there is no such result (`NotFound`), or what there is is damaged: see [`super::is_damage`].
    pub fn artifacts(
        &self,
        build: BuildId,
        (subjob, attempt, atom): AtomResult,
        wanted: &Range<usize>,
    ) -> io::Result<Artifacts> {
        let directory = directory_name(subjob, atom);
        let mut found = Artifacts::default();
        let mut place = 0;
        let read = self.left_files(build, subjob, attempt, |path, bytes, _| {
            let inside = path.strip_prefix(&directory);
            if let Some(inside) = inside.ok().filter(|inside| !is_ours(inside)) {
                if wanted.contains(&place) {
                    let path = inside.to_string_lossy().into_owned();
                    found.files.push((path, bytes));
                }
                place += 1;
            }
            Ok(())
        });
        read.inspect_err(|error| self.damages.note_error(build, error))?;
        found.total = place as u64;
        Ok(found)
    }

    /// Opens a file that an atom left, by its path in [`Artifacts::files`]. It can be read to its end also if the build is
    /// removed meanwhile. Blocks.
    ///
    /// # Errors
    /// As [`Self::artifacts`]; there is no such file (`NotFound`).
    pub fn artifact(
        &self,
        build: BuildId,
        (subjob, attempt, atom): AtomResult,
        path: &str,
    ) -> io::Result<Artifact> {
        if is_ours(Path::new(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let opened = self.stored(build).and_then(|store| {
            let place = store.place_of((subjob, attempt))?;
            let block = store.read_block(place.block)?;
            let name = format!("{}/{path}", directory_name(subjob, atom));
            let file = open_file(block, place.offset, place.length, &name)?;
            Ok(Artifact {
                left: file.size(),
                file: Some(file),
                is_checked: place.block.length <= CHECKED_BLOCK,
            })
        });
        opened.inspect_err(|error| self.damages.note_error(build, error))
    }
}

impl Artifact {
    /// How many bytes are still to be read.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; none at the end. Of a file in a small block the last piece comes only if all was as it was
    /// written. Blocks.
    ///
    /// # Errors
    /// The disk refuses, or the file is damaged.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let mut piece = Vec::new();
        file.take(PIECE).read_to_end(&mut piece)?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        if self.left > 0 && piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.left == 0
            && let Some(file) = self.file.take()
            && self.is_checked
        {
            file.check()?;
        }
        Ok(Some(Bytes::from(piece)).filter(|piece| !piece.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::results::Block;
    use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console, check_block};
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use tokio_util::sync::CancellationToken;

    const BUILD: BuildId = BuildId(1);
    const OF: super::AtomResult = (SubjobId(4), Attempt(2), AtomId(1));

    /// A block of two atoms, of which the second left what is in `directory`.
    fn block(directory: &Path) -> Vec<u8> {
        let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
        block.begin(SubjobId(4), Attempt(2));
        for (atom, artifacts) in [(0, None), (1, Some(directory))] {
            let result = AtomResult {
                command: "true",
                exit_code: 0,
                seconds: 0.5,
                ended_at: 0,
                console: Console::Memory(b"said\n"),
                artifacts,
            };
            block.add(AtomId(atom), &result).unwrap();
        }
        block.finish().unwrap().0
    }

    async fn stored(results: &Results, bytes: Vec<u8>) {
        let checked = check_block(&*bytes).unwrap().into_iter();
        let keys = checked.map(|result| (result, Attempt(2))).collect();
        let appended = results.append(BUILD, Block::Memory(bytes), keys);
        appended.await.unwrap();
    }

    fn content(results: &Results, path: &str) -> io::Result<Vec<u8>> {
        let mut file = results.artifact(BUILD, OF, path)?;
        let (size, mut content) = (file.left(), Vec::new());
        while let Some(piece) = file.piece()? {
            content.extend_from_slice(&piece);
        }
        assert_eq!(content.len() as u64, size);
        Ok(content)
    }

    #[tokio::test]
    async fn files_are_listed_and_read_whatever_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("left");
        fs::create_dir_all(left.join("sub/empty directory")).unwrap();
        let large = (0..1 << 19).map(|n: u32| n.to_le_bytes()[1]).collect();
        let names: [(&[u8], Vec<u8>); 6] = [
            (b"report.xml", b"<x/>".to_vec()),
            (b"sub/a\nb\"<img>", b"lines".to_vec()),
            (b"empty", vec![]),
            (b"safe\xe2\x80\xaegnp.exe", b"bidi".to_vec()),
            (b"no \xff text", b"bytes".to_vec()),
            (b"large", large),
        ];
        for (name, content) in &names {
            fs::write(left.join(OsStr::from_bytes(name)), content).unwrap();
        }
        symlink("report.xml", left.join("link")).unwrap();
        let results = Results::new(directory.path().join("results")).unwrap();
        stored(&results, block(&left)).await;

        let all = results.artifacts(BUILD, OF, &(0..100)).unwrap();
        assert_eq!(all.total, 6, "{all:?}");
        for (name, expected) in &names {
            let name = String::from_utf8_lossy(name).into_owned();
            let listed = (name.clone(), expected.len() as u64);
            assert!(all.files.contains(&listed), "{name} in {all:?}");
            assert_eq!(&content(&results, &name).unwrap(), expected, "{name}");
        }
        let some = results.artifacts(BUILD, OF, &(2..4)).unwrap();
        assert_eq!((some.total, &some.files[..]), (6, &all.files[2..4]));
        let none = results.artifacts(BUILD, (OF.0, OF.1, AtomId(0)), &(0..9));
        assert_eq!(none.unwrap(), Artifacts::default());
        for missing in [
            "",
            "nothing",
            "sub",
            "link",
            "clusterrunner_exit_code",
            "../artifact_4_0/clusterrunner_command",
            "../artifact_4_1/report.xml",
            "./report.xml",
            "/report.xml",
            "report.xml/",
        ] {
            let error = content(&results, missing).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{missing}");
        }
        let other = results.artifact(BUILD, (SubjobId(5), OF.1, OF.2), "empty");
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn what_is_damaged_does_not_come_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("report"), "x").unwrap();
        let results = Results::new(directory.path().join("results")).unwrap();
        stored(&results, block(&left)).await;
        let blocks = directory.path().join("results/1/blocks");
        let mut bytes = fs::read(&blocks).unwrap();
        // The checksum of the block.
        let place = bytes.len() - 8;
        bytes[place] ^= 1;
        fs::write(&blocks, &bytes).unwrap();
        let error = content(&results, "report").unwrap_err();
        assert!(super::super::is_damage(&error), "{error}");
        let listed = results.artifacts(BUILD, OF, &(0..9)).unwrap_err();
        assert!(super::super::is_damage(&listed), "{listed}");
        assert_eq!(results.damages(BUILD).len(), 1);
    }
}
