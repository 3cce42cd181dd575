//! Putting an entry into a project, in a child process: what is in it was a stranger's. All of it is unpacked beside the
//! project first, then it is moved, so that a damaged entry changes nothing. Every name is opened beneath its directory
//! without following links; links are made, and never followed here.

use super::places::moved;
use super::{END, FILES, ORIGIN, PIECE, SpaceCheck, Stopped, TEXTS, refused};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::beneath::{Beneath, Parents};
use clusterrunner_common::disk::regular_file::open_itself;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::job::setup_cache::SetupCache;
use clusterrunner_common::results::tar_reader::{Member, TarReader};
use clusterrunner_common::text::printable::plain;
use flate2::read::GzDecoder;
use rustix::fs::{Timespec, Timestamps, futimens};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use tar::EntryType;
use tokio_util::sync::CancellationToken;

/// The longest path of a project, and the longest text.
const LONGEST_ORIGIN: u64 = 16 << 10;
const LONGEST_TEXT: u64 = 1 << 20;

/// The most that may follow the last member: what fills a tar up.
const LONGEST_END: u64 = 64 << 10;

/// What is to be unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UnpackOrder {
    pub(super) archive: PathBuf,
    /// A new directory on the file system of the project.
    pub(super) beside: PathBuf,
    /// `$PROJECT_DIR`.
    pub(super) project: PathBuf,
    /// What may be in it.
    pub(super) cache: SetupCache,
    /// The most bytes that all files may have.
    pub(super) max_bytes: u64,
    /// How many bytes stay free on the disk.
    pub(super) reserve: u64,
}

struct Unpacking<R> {
    tar: TarReader<R>,
    parents: Parents,
    cache: SetupCache,
    origins: Vec<Vec<u8>>,
    project: Vec<u8>,
    /// All directories with their permissions, each before those in it.
    directories: Directories,
    left: u64,
    space: SpaceCheck,
    piece: Vec<u8>,
}

/// The permissions of directories, each before those in it.
pub(super) type Directories = Vec<(PathBuf, u32)>;

/// Unpacks all of an entry beside the project, and says which permissions its directories get once they are moved. Blocks.
pub(super) fn unpack(
    order: &UnpackOrder,
    stop: &CancellationToken,
) -> Result<Directories, Stopped> {
    std::fs::create_dir(&order.beside)?;
    let archive = open_itself(&order.archive)?;
    let unzipped = GzDecoder::new(BufReader::with_capacity(PIECE, archive));
    let mut unpacking = Unpacking {
        tar: TarReader::new(unzipped),
        parents: Parents::of(Beneath::open(&order.beside)?),
        cache: order.cache.clone(),
        origins: Vec::new(),
        project: order.project.as_os_str().as_bytes().to_vec(),
        directories: Vec::new(),
        left: order.max_bytes,
        space: SpaceCheck::new(DiskSpace::new(&order.beside, order.reserve)),
        piece: vec![0; PIECE],
    };
    let mut entries = 0;
    while let Some(member) = unpacking.tar.next_member().map_err(unreadable)? {
        entries += 1;
        if entries > super::MOST_ENTRIES {
            return Err(refused(&format!(
                "it has more than {} entries",
                super::MOST_ENTRIES
            )));
        }
        if stop.is_cancelled() {
            return Err(io::Error::other("canceled").into());
        }
        if member.path == Path::new(END) {
            // The check sum of all of it comes last.
            let mut rest = unpacking.tar.into_inner().take(LONGEST_END);
            let rest = io::copy(&mut rest, &mut io::sink()).map_err(unreadable)?;
            return match rest < LONGEST_END {
                true => Ok(unpacking.directories),
                false => Err(refused("it goes on behind its end")),
            };
        }
        unpacking.take(&member)?;
    }
    Err(refused("it ends too early"))
}

/// What the system can not read may be whole all the same.
fn unreadable(error: io::Error) -> Stopped {
    if error.raw_os_error().is_some() {
        return Stopped::Failed(error);
    }
    refused(&format!("it can not be read: {error}"))
}

fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy()).to_string()
}

impl<R: Read> Unpacking<R> {
    fn take(&mut self, member: &Member) -> Result<(), Stopped> {
        if member.path == Path::new(ORIGIN) {
            let origins = self.whole(member, LONGEST_ORIGIN)?;
            let origins = origins.split(|byte| *byte == 0);
            let origins = origins.filter(|origin| origin.starts_with(b"/"));
            self.origins = origins.map(<[u8]>::to_vec).collect();
            return Ok(());
        }
        let strip = |folder: &str| member.path.strip_prefix(folder).ok();
        let (path, is_text) = match (strip(FILES), strip(TEXTS)) {
            (Some(path), _) => (path, false),
            (None, Some(path)) => (path, true),
            (None, None) => {
                return Err(refused(&format!(
                    "\"{}\" is no part of an entry",
                    shown(&member.path)
                )));
            }
        };
        let path = self.inside(path)?;
        match member.kind {
            EntryType::Directory => {
                self.parents
                    .top()
                    .make(&path)
                    .map_err(|error| taken(&path, error))?;
                let mode = member.mode.unwrap_or(0o700) & 0o777;
                self.directories.push((path, mode));
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous => self.file(&path, member, is_text),
            EntryType::Symlink => {
                let target = member.target.clone().unwrap_or_default().into_os_string();
                let target = PathBuf::from(OsString::from_vec(self.here(target.into_vec())));
                let (parent, name) = self.enter(&path)?;
                let made = parent.symlink(&name, &target);
                made.map_err(|error| taken(&path, error))
            }
            _ => Err(refused(&format!(
                "\"{}\" is no file, link or directory",
                shown(&path)
            ))),
        }
    }

    /// Where a member lies below the project: in one of the job's paths, and nowhere else.
    fn inside(&self, path: &Path) -> Result<PathBuf, Stopped> {
        let mut inside = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => inside.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(refused(&format!(
                        "\"{}\" leads out of the project",
                        shown(path)
                    )));
                }
            }
        }
        let text = inside.to_string_lossy();
        let is_of_git = inside
            .iter()
            .next()
            .is_some_and(|top| top.eq_ignore_ascii_case(".git"));
        if text.is_empty() || is_of_git || !self.cache.covers(&text) {
            return Err(refused(&format!(
                "\"{}\" is in no path of the job",
                shown(path)
            )));
        }
        if inside.components().count() > super::DEEPEST + 1 || text.contains('\0') {
            return Err(refused(&format!(
                "\"{}\" is nested too deep or no name",
                shown(path)
            )));
        }
        Ok(inside)
    }

    /// The directory of a path, and its last name.
    fn enter(&mut self, path: &Path) -> Result<(&Beneath, OsString), Stopped> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(refused("a file of it has no name"));
        };
        let parent = self.parents.enter(above);
        let parent = parent.map_err(|error| taken(path, error))?;
        Ok((parent, name.to_owned()))
    }

    fn file(&mut self, path: &Path, member: &Member, is_text: bool) -> Result<(), Stopped> {
        let left = self.left.checked_sub(member.size);
        self.left = left
            .ok_or(io::ErrorKind::FileTooLarge)
            .map_err(io::Error::from)?;
        let (parent, name) = self.enter(path)?;
        let created = parent.create(&name, 0o600);
        let mut file = created.map_err(|error| taken(path, error))?;
        if is_text {
            let text = self.whole(member, LONGEST_TEXT)?;
            file.write_all(&self.here(text))?;
        } else {
            self.copy(&mut file)?;
        }
        let mode = member.mode.unwrap_or(0o600) & 0o777 | 0o400;
        file.set_permissions(Permissions::from_mode(mode))?;
        let kept = i64::try_from(member.mtime).unwrap_or(0);
        let time = Timespec {
            // What Python compiled of it names the old path.
            tv_sec: if is_text { now().max(kept + 1) } else { kept },
            tv_nsec: 0,
        };
        // What Python compiled is good for files of this very time.
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        Ok(futimens(&file, &times).map_err(io::Error::from)?)
    }

    fn copy(&mut self, file: &mut File) -> Result<(), Stopped> {
        loop {
            let read = match self.tar.read(&mut self.piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(unreadable)?,
            };
            match self.piece.get(..read) {
                Some([]) | None => return Ok(()),
                Some(piece) => file.write_all(piece)?,
            }
            self.space.written(read)?;
        }
    }

    /// A text with the path of this project for that of the one where it was written.
    fn here(&self, mut text: Vec<u8>) -> Vec<u8> {
        for origin in &self.origins {
            text = moved(&text, origin, &self.project).into_owned();
        }
        text
    }

    /// The content of a member in memory.
    fn whole(&mut self, member: &Member, longest: u64) -> Result<Vec<u8>, Stopped> {
        if member.size > longest {
            return Err(refused(&format!("\"{}\" is too long", shown(&member.path))));
        }
        let mut content = Vec::new();
        self.tar.read_to_end(&mut content).map_err(unreadable)?;
        Ok(content)
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    i64::try_from(Timestamp::now().0 / 1000).unwrap_or(0)
}

/// Something of that name is there already, or on the way to it is a link or a file.
pub(super) fn taken(path: &Path, error: io::Error) -> Stopped {
    use io::ErrorKind::{AlreadyExists, NotADirectory, StorageFull};
    let leads_away = error.raw_os_error() == Some(libc::ELOOP);
    match error.kind() {
        StorageFull => Stopped::Failed(error),
        AlreadyExists | NotADirectory => refused(&format!("\"{}\" comes twice", shown(path))),
        _ if leads_away => refused(&format!("\"{}\" lies below a link", shown(path))),
        _ => Stopped::Failed(error),
    }
}
