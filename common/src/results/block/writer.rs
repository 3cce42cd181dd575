//! Making blocks: the slave's side.

use super::checking::is_ours;
use super::gzip::Gzip;
use super::member::{Counted, write_member};
use super::tree::{Tree, TreeEntry, tree_entry};
use super::{ROOT, directory_header, file_header};
use crate::ids::{AtomId, Attempt, SubjobId};
use crate::results::artifact::{
    COMMAND_FILE, CONSOLE_FILE, EXIT_CODE_FILE, TESTS_FILE, TIME_FILE, directory_name,
};
use crate::results::links::{Links, Misplaced, Verdict};
use crate::results::tar_reader::END_OF_TAR;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};
use tokio_util::sync::CancellationToken;

/// Why a block could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The block itself can not be written.
    #[error("could not write the results: {0}")]
    Write(#[from] io::Error),
    /// It was told to stop.
    #[error("packing was canceled")]
    Canceled,
}

/// How one atom ended and what it left.
#[derive(Debug)]
pub struct AtomResult<'a> {
    /// The command as it was run.
    pub command: &'a str,
    /// Its exit code; `-N` for an end by signal N.
    pub exit_code: i32,
    /// How long it took.
    pub seconds: f64,
    /// When it ended, in seconds since 1970.
    pub ended_at: u64,
    /// Its output.
    pub console: Console<'a>,
    /// Its artifact directory, if it left anything there.
    pub artifacts: Option<&'a Path>,
}

/// An atom's output.
#[derive(Debug)]
pub enum Console<'a> {
    /// All of it.
    Memory(&'a [u8]),
    /// A file, from its beginning.
    File(&'a File),
}

/// Where a result lies in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultPlace {
    /// The subjob that the result is of.
    pub subjob: SubjobId,
    /// Of which hand-out.
    pub attempt: Attempt,
    /// Where it begins, in bytes of the uncompressed block.
    pub offset: u64,
    /// How long it is, in the same bytes.
    pub length: u64,
}

/// A block that is being made.
#[derive(Debug)]
pub struct BlockWriter<W: Write> {
    out: Counted<Gzip<W>>,
    places: Vec<ResultPlace>,
    /// What every name begins with.
    root: &'static str,
    stop: CancellationToken,
    left_out: LeftOut,
}

/// What of the artifacts is not in a block.
#[derive(Debug, Default)]
struct LeftOut {
    count: u64,
    /// The first of them, with the reasons.
    first: Vec<String>,
}

/// How many of them are named.
const NAMED: usize = 3;

impl LeftOut {
    fn add(&mut self, path: &Path, why: &str) {
        let path = path.display();
        tracing::warn!(%path, "an artifact is left out: {why}");
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{path} ({why})"));
        }
    }
}

impl<W: Write> BlockWriter<W> {
    /// Begins a block. Packing of files ends early at `stop`.
    pub fn new(out: W, stop: CancellationToken) -> Self {
        Self::begun(Gzip::new(out), ROOT, stop)
    }

    /// Begins a block with a comment in its header, which readers of archives do not show. It must
    /// be shorter than 64 KiB and have no NUL.
    pub fn with_comment(comment: &str, out: W, stop: CancellationToken) -> Self {
        Self::begun(Gzip::with_comment(comment, out), ROOT, stop)
    }

    /// Begins an archive as a master of the original expects it, with such a comment: its names
    /// begin with the directories of the atoms. To be ended by [`Self::finish_archive`].
    pub fn for_the_original(comment: &str, out: W, stop: CancellationToken) -> Self {
        Self::begun(Gzip::with_comment(comment, out), "", stop)
    }

    fn begun(gzip: Gzip<W>, root: &'static str, stop: CancellationToken) -> Self {
        let out = Counted {
            inner: gzip,
            written: 0,
        };
        Self {
            out,
            places: Vec::new(),
            root,
            stop,
            left_out: LeftOut::default(),
        }
    }

    /// What of the artifacts was left out so far, in words for the users of the build.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let what = match self.left_out.count {
            0 => return None,
            1 => "an artifact was left out".to_owned(),
            more => format!("{more} artifacts were left out"),
        };
        let first = self.left_out.first.join(", ");
        let more = match self.left_out.count > NAMED as u64 {
            true => " and others",
            false => "",
        };
        Some(format!("{what}: {first}{more}"))
    }

    /// How many bytes there are before compression.
    #[must_use]
    pub fn uncompressed_length(&self) -> u64 {
        self.out.written
    }

    /// Begins a result; the atoms that follow belong to it.
    pub fn begin(&mut self, subjob: SubjobId, attempt: Attempt) {
        self.places.push(ResultPlace {
            subjob,
            attempt,
            offset: self.out.written,
            length: 0,
        });
    }

    /// Adds the next atom of the result begun last: its directory, our files, then what it
    /// left itself. Symbolic links inside the directory stay links; those that lead out of it, and
    /// what is neither file, directory nor link, are left out, as is what can not be read or goes
    /// away meanwhile: one odd file must not cost the result.
    ///
    /// # Errors
    /// See [`PackError`]. The block is of no use then.
    pub fn add(&mut self, atom: AtomId, result: &AtomResult<'_>) -> Result<(), PackError> {
        self.add_with_tests(atom, result, None)
    }

    /// As [`Self::add`], with what its reports say of its tests.
    ///
    /// # Errors
    /// See [`PackError`]. The block is of no use then.
    pub fn add_with_tests(
        &mut self,
        atom: AtomId,
        result: &AtomResult<'_>,
        tests: Option<&[u8]>,
    ) -> Result<(), PackError> {
        let Some(subjob) = self.places.last().map(|place| place.subjob) else {
            return Err(io::Error::other("an atom outside of a result").into());
        };
        let name = format!("{}{}/", self.root, directory_name(subjob, atom));
        let time = result.ended_at;
        write_member(
            &mut self.out,
            directory_header(time),
            name.as_bytes(),
            None,
            io::empty(),
        )?;
        let console = format!("{name}{CONSOLE_FILE}");
        match &result.console {
            Console::Memory(text) => self.add_text(&console, time, text)?,
            Console::File(file) => {
                let length = file.metadata()?.len();
                let header = file_header(length, time);
                self.add_file(header, console.as_bytes(), file, length)?;
            }
        }
        for (file, text) in [
            (COMMAND_FILE, format!("{}\n", result.command)),
            (EXIT_CODE_FILE, format!("{}\n", result.exit_code)),
            (TIME_FILE, format!("{:.2}\n", result.seconds)),
        ] {
            self.add_text(&format!("{name}{file}"), time, text.as_bytes())?;
        }
        if let Some(tests) = tests {
            self.add_text(&format!("{name}{TESTS_FILE}"), time, tests)?;
        }
        if let Some(directory) = result.artifacts {
            self.add_tree(name.as_bytes(), directory)?;
        }
        if let Some(place) = self.places.last_mut() {
            place.length = self.out.written - place.offset;
        }
        Ok(())
    }

    /// Ends the block.
    ///
    /// # Errors
    /// It can not be written.
    pub fn finish(self) -> io::Result<(W, Vec<ResultPlace>)> {
        Ok((self.out.inner.finish()?, self.places))
    }

    /// Ends it with the end of an archive.
    ///
    /// # Errors
    /// It can not be written.
    pub fn finish_archive(mut self) -> io::Result<W> {
        self.out.write_all(&END_OF_TAR)?;
        self.out.inner.finish()
    }

    fn add_text(&mut self, name: &str, time: u64, text: &[u8]) -> io::Result<()> {
        let header = file_header(text.len() as u64, time);
        write_member(&mut self.out, header, name.as_bytes(), None, text)
    }

    fn add_file(
        &mut self,
        header: Header,
        name: &[u8],
        file: &File,
        length: u64,
    ) -> Result<(), PackError> {
        let content = Exactly {
            file,
            remaining: length,
            stop: &self.stop,
        };
        let written = write_member(&mut self.out, header, name, None, content);
        if self.stop.is_cancelled() {
            return Err(PackError::Canceled);
        }
        Ok(written?)
    }

    fn add_tree(&mut self, root_name: &[u8], root: &Path) -> Result<(), PackError> {
        let tree = match Tree::open(root) {
            Ok(tree) => tree,
            Err(error) => {
                self.leave_out(root_name, Path::new(""), &error.to_string());
                return Ok(());
            }
        };
        let mut links = FoundLinks::default();
        let mut waiting = vec![PathBuf::new()];
        while let Some(inside) = waiting.pop() {
            if let Err(error) =
                self.add_directory(root_name, &tree, &inside, &mut links, &mut waiting)?
            {
                self.leave_out(root_name, &inside, &error.to_string());
            }
        }
        let (staying, leading_out) = links.sorted();
        for inside in leading_out {
            self.leave_out(
                root_name,
                &inside,
                "the link leads out of its atom's artifacts",
            );
        }
        for (inside, target, mtime) in staying {
            let mut header = file_header(0, mtime);
            header.set_entry_type(EntryType::Symlink);
            let name = [root_name, inside.as_os_str().as_bytes()].concat();
            let target = Some(target.as_os_str());
            write_member(&mut self.out, header, &name, target, io::empty())?;
        }
        Ok(())
    }

    /// Adds a directory and the files in it. Directories in it go to `waiting`, links to `links`.
    fn add_directory(
        &mut self,
        root_name: &[u8],
        tree: &Tree,
        inside: &Path,
        links: &mut FoundLinks,
        waiting: &mut Vec<PathBuf>,
    ) -> Result<io::Result<()>, PackError> {
        let (directory, names) = match tree.directory(inside) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let in_archive = |inside: &Path| [root_name, inside.as_os_str().as_bytes()].concat();
        if inside != Path::new("") {
            let metadata = match directory.metadata() {
                Ok(metadata) => metadata,
                Err(error) => return Ok(Err(error)),
            };
            let name = [&in_archive(inside)[..], b"/"].concat();
            write_member(
                &mut self.out,
                header(&metadata, 0),
                &name,
                None,
                io::empty(),
            )?;
            links.tree.directory(inside).ok();
        }
        for name in names {
            if self.stop.is_cancelled() {
                return Err(PackError::Canceled);
            }
            let found = match name.and_then(|name| {
                let entry = tree_entry(&directory, &name)?;
                Ok((name, entry))
            }) {
                Ok(found) => found,
                Err(error) => {
                    self.leave_out(root_name, inside, &error.to_string());
                    continue;
                }
            };
            let path = inside.join(&found.0);
            match found.1 {
                _ if is_ours(&path) => {}
                TreeEntry::Directory => waiting.push(path),
                TreeEntry::Link { target, mtime } => links.found.push((path, target, mtime)),
                TreeEntry::File(file, metadata) => {
                    let length = metadata.len();
                    self.add_file(header(&metadata, length), &in_archive(&path), &file, length)?;
                }
                TreeEntry::Other => {
                    self.leave_out(root_name, &path, "it is no file, directory or link");
                }
            }
        }
        Ok(Ok(()))
    }

    fn leave_out(&mut self, root_name: &[u8], inside: &Path, why: &str) {
        let root = String::from_utf8_lossy(root_name);
        let root = root.strip_prefix(self.root).unwrap_or(&root);
        self.left_out.add(&Path::new(root).join(inside), why);
    }
}

/// The links of an atom's directory, with target and time.
#[derive(Default)]
struct FoundLinks {
    found: Vec<(PathBuf, PathBuf, u64)>,
    tree: Links,
}

impl FoundLinks {
    /// Those that do not lead out of their directory, also not through each other; and those that do.
    fn sorted(mut self) -> (Vec<(PathBuf, PathBuf, u64)>, Vec<PathBuf>) {
        let mut leading_out = Vec::new();
        let mut staying = Vec::new();
        for (inside, target, mtime) in std::mem::take(&mut self.found) {
            match self.tree.link(&inside, &target) {
                Err(Misplaced) | Ok(Verdict::Outside) => leading_out.push(inside),
                Ok(_) => staying.push((inside, target, mtime)),
            }
        }
        let out = self.tree.leading_out();
        let led = staying.extract_if(.., |(inside, ..)| out.contains(inside));
        leading_out.extend(led.map(|(inside, ..)| inside));
        (staying, leading_out)
    }
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
    file: &'a File,
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
