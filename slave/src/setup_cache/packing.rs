//! Making an entry of what a set-up has left, in a child process: the tree is a stranger's. No link is followed, and
//! nothing recurses.
//!
//! An entry is a tar archive, compressed with gzip:
//!
//! ```text
//! origin      the paths of the project that it was made in, each with a NUL behind it
//! f/<path>    a directory, a file or a link of the project
//! r/<path>    a text in which one of these paths stands
//! end         the last member, without which an entry is a part of one
//! ```

use super::places::names;
use super::{END, FILES, ORIGIN, SpaceCheck, Stopped, TEXTS, refused};
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::text::printable::plain;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tokio_util::sync::CancellationToken;

/// Larger files are no scripts.
const LONGEST_TEXT: u64 = 1 << 20;

/// What is to be kept, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackOrder {
    /// `$PROJECT_DIR`.
    pub(super) project: PathBuf,
    /// What of it.
    pub(super) paths: Vec<String>,
    /// The file that is made.
    pub(super) archive: PathBuf,
    /// The most bytes that all files may have, and that the entry may have.
    pub(super) max_bytes: u64,
    /// How many bytes stay free on the disk.
    pub(super) reserve: u64,
}

struct Packing<'o> {
    archive: Builder<GzEncoder<Bounded>>,
    top: Beneath,
    origins: Vec<Vec<u8>>,
    /// How many more bytes of files may come.
    left: u64,
    entries: u64,
    stop: &'o CancellationToken,
}

/// Makes the entry, and says how many bytes it has. Blocks.
pub(super) fn pack(order: &PackOrder, stop: &CancellationToken) -> Result<u64, Stopped> {
    let made = regular_file::create(&order.archive)?;
    let directory = order.archive.parent().unwrap_or(Path::new("/"));
    let made = Bounded {
        file: BufWriter::new(made),
        left: order.max_bytes,
        space: SpaceCheck::new(DiskSpace::new(directory, order.reserve)),
    };
    let mut packing = Packing {
        archive: Builder::new(GzEncoder::new(made, Compression::fast())),
        top: Beneath::open(&order.project)?,
        origins: names_of(&order.project)?,
        left: order.max_bytes,
        entries: 0,
        stop,
    };
    let mut origins = packing.origins.join(&0);
    origins.push(0);
    packing.member(ORIGIN, &origins)?;
    for path in &order.paths {
        let is_there = match path.as_str() {
            "." => packing.tree(PathBuf::new()).map(|()| true)?,
            _ => packing.path(Path::new(path))?,
        };
        if !is_there {
            // Who finds the entry would have less than the set-up has left.
            return Err(refused(&format!(
                "there is no {path} when setup_build has run"
            )));
        }
    }
    packing.member(END, &[])?;
    let file = packing.archive.into_inner()?.finish()?;
    let file = file
        .file
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// What programs call the directory of a project: as they are told, and as the system does where links lead there.
fn names_of(project: &Path) -> io::Result<Vec<Vec<u8>>> {
    let told = project.as_os_str().as_bytes().to_vec();
    let real = project.canonicalize()?.into_os_string().into_vec();
    Ok(match told == real {
        true => vec![told],
        false => vec![told, real],
    })
}

impl Packing<'_> {
    fn member(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        self.archive.append_data(&mut header, name, content)
    }

    /// Packs one of the job's paths; says whether there is something.
    fn path(&mut self, path: &Path) -> Result<bool, Stopped> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(refused("a path of the job has no name"));
        };
        let found = self
            .top
            .directory(above)
            .and_then(|directory| Ok((directory.stat(name)?, directory)));
        let (found, directory) = match found {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if leads_away(&error) => {
                return Err(refused(&format!("\"{}\" lies below a link", shown(path))));
            }
            Err(error) => return Err(error.into()),
        };
        if kind(&found) == FileType::Directory {
            self.directory(path, &found)?;
            self.tree(path.to_owned())?;
        } else {
            self.entry(&directory, path, &found)
                .map_err(|stopped| at(path, stopped))?;
        }
        Ok(true)
    }

    /// Packs all that is in a directory.
    fn tree(&mut self, root: PathBuf) -> Result<(), Stopped> {
        let mut waiting = vec![root];
        while let Some(path) = waiting.pop() {
            if path.components().count() > super::DEEPEST {
                return Err(refused(&format!("\"{}\" is nested too deep", shown(&path))));
            }
            let opened = self.top.directory(&path);
            let opened = opened.and_then(|directory| Ok((directory.entries()?, directory)));
            let (mut entries, directory) = opened.map_err(|error| at(&path, error.into()))?;
            // The same tree is the same entry.
            entries.sort_unstable();
            let mut inner = Vec::new();
            for (name, is_directory) in entries {
                let path = path.join(&name);
                let found = match directory.stat(&name) {
                    Ok(found) => found,
                    // A process that the set-up has left behind still works there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                };
                if belongs_to_git(&path, &name, &found) {
                    continue;
                }
                if is_directory {
                    self.directory(&path, &found)?;
                    inner.push(path);
                } else {
                    self.entry(&directory, &path, &found)
                        .map_err(|stopped| at(&path, stopped))?;
                }
            }
            waiting.extend(inner.into_iter().rev());
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path, found: &Stat) -> Result<(), Stopped> {
        self.count()?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(found.st_mode & 0o777);
        header.set_size(0);
        let name = Path::new(FILES).join(path);
        Ok(self.archive.append_data(&mut header, name, io::empty())?)
    }

    /// Packs a file or a link; a pipe, a socket or a device is left out.
    fn entry(&mut self, directory: &Beneath, path: &Path, found: &Stat) -> Result<(), Stopped> {
        let name = path.file_name().unwrap_or_default();
        let mut header = Header::new_gnu();
        header.set_mode(found.st_mode & 0o777);
        header.set_mtime(u64::try_from(found.st_mtime).unwrap_or(0));
        match kind(found) {
            FileType::Symlink => {
                self.count()?;
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                let target = directory.link_target(name)?;
                let name = Path::new(FILES).join(path);
                Ok(self.archive.append_link(&mut header, name, target)?)
            }
            FileType::RegularFile => {
                self.count()?;
                let file = directory.open_file(name)?;
                let size = file.metadata()?.len();
                self.left = self.left.checked_sub(size).ok_or_else(too_large)?;
                header.set_size(size);
                self.file(header, path, file, size)
            }
            _ => Ok(()),
        }
    }

    fn file(
        &mut self,
        mut header: Header,
        path: &Path,
        file: File,
        size: u64,
    ) -> Result<(), Stopped> {
        let mut text = Vec::new();
        if size <= LONGEST_TEXT {
            (&file).take(size).read_to_end(&mut text)?;
        }
        let is_named = |origin: &Vec<u8>| names(&text, origin);
        let is_text = !text.contains(&0) && self.origins.iter().any(is_named);
        let folder = if is_text { TEXTS } else { FILES };
        // What a process that was left running changes meanwhile does not break the archive.
        let content = text.as_slice().chain(file).chain(io::repeat(0));
        let name = Path::new(folder).join(path);
        Ok(self
            .archive
            .append_data(&mut header, name, content.take(size))?)
    }

    fn count(&mut self) -> Result<(), Stopped> {
        self.entries += 1;
        if self.stop.is_cancelled() {
            return Err(io::Error::other("canceled").into());
        }
        match self.entries > super::MOST_ENTRIES {
            true => Err(refused(&format!(
                "it has more than {} entries",
                super::MOST_ENTRIES
            ))),
            false => Ok(()),
        }
    }
}

/// What a work tree is linked to the slave's own copy of the repository with: the next one has its own.
fn belongs_to_git(path: &Path, name: &OsStr, found: &Stat) -> bool {
    let is_top = path.as_os_str() == name;
    name == ".git" && (is_top || kind(found) == FileType::RegularFile)
}

fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

fn leads_away(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotADirectory
        || error.raw_os_error() == Some(libc::ELOOP)
        || error.raw_os_error() == Some(libc::EXDEV)
}

fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy()).to_string()
}

fn too_large() -> Stopped {
    io::Error::from(io::ErrorKind::FileTooLarge).into()
}

/// The same with the file where it happened.
fn at(path: &Path, stopped: Stopped) -> Stopped {
    match stopped {
        Stopped::Failed(error) => {
            let text = format!("{}: {error}", shown(path));
            Stopped::Failed(io::Error::new(error.kind(), text))
        }
        refused @ Stopped::Refused(_) => refused,
    }
}

/// A file that does not grow beyond a size, and leaves free on the disk what has to be.
struct Bounded {
    file: BufWriter<File>,
    left: u64,
    space: SpaceCheck,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.left = self
            .left
            .checked_sub(written as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        self.space.written(written)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// For tests of what reads it: an entry with these members.
#[cfg(test)]
pub(super) fn entry_of(file: &Path, members: &[(&str, EntryType, &str)]) {
    let file = GzEncoder::new(File::create(file).unwrap(), Compression::fast());
    let mut archive = Builder::new(file);
    for (name, kind, content) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let bytes = match kind {
            EntryType::Symlink | EntryType::Link => {
                header.set_link_name_literal(content).unwrap();
                &[]
            }
            _ => content.as_bytes(),
        };
        header.set_size(bytes.len() as u64);
        // Names that the builder refuses, too.
        let field = header.as_old_mut();
        field.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
}
