//! Unpacking an archive that is not trusted: nothing is written outside the target directory, and what can not be
//! brought back is named.

use super::ResultsError;
use super::left_out::LeftOut;
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::results::links::{Links, Misplaced, Verdict};
use clusterrunner_common::results::tar_reader::{Member, TarReader};
use flate2::bufread::MultiGzDecoder;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};
use tar::EntryType;

/// Permission bits that a member may bring along: never set-user-id and the like, and none with which
/// others could write.
const PERMISSIONS: u32 = 0o755;

/// What the owner may do with every file, so that results can be read and deleted.
const OWNER_READS_AND_WRITES: u32 = 0o600;

/// The longest path that programs open.
const MAX_PATH: usize = 4_096;

/// The most links of one archive: they are made when all the rest is there.
const MAX_LINKS: usize = 1_000_000;

/// How much is read of an archive and written to a file at a time.
const CHUNK: usize = 128 << 10;

/// The most bytes behind the end of the archive, which programs fill up to a multiple of a block.
const MAX_PADDING: u64 = 1 << 20;

/// How much was unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files written.
    pub files: u64,
    /// Symbolic links made.
    pub links: u64,
    /// What could not be brought back.
    pub left_out: LeftOut,
}

/// Unpacks the `tar.gz` archive at `archive` into the new directory `target`: files with their times and permissions,
/// directories, and links that stay inside of their atom's directory.
///
/// # Errors
/// [`ResultsError::UnsafeMember`] where a member's name leads outside of `target`; otherwise when the archive or the
/// disk fails. What was unpacked until then is in `target`.
pub fn unpack(archive: &Path, target: &Path) -> Result<Unpacked, ResultsError> {
    let file = File::open(archive).map_err(ResultsError::disk("open", archive))?;
    let made = std::fs::create_dir(target);
    made.map_err(ResultsError::disk("make the directory", target))?;
    let root = Beneath::open(target).map_err(ResultsError::disk("open", target))?;
    let decoder = MultiGzDecoder::new(BufReader::with_capacity(CHUNK, file));
    let mut tar = TarReader::new(decoder);
    let mut unpacking = Unpacking {
        target,
        root,
        latest: None,
        links: BTreeMap::new(),
        num_links: 0,
        unpacked: Unpacked::default(),
    };
    while let Some(member) = tar.next_member().map_err(ResultsError::Archive)? {
        unpacking.add(&member, &mut tar)?;
    }
    // The sum at the end of the last part is checked when it is read.
    let mut rest = tar.into_inner().take(MAX_PADDING);
    io::copy(&mut rest, &mut io::sink()).map_err(ResultsError::Archive)?;
    unpacking.make_links()?;
    Ok(unpacking.unpacked)
}

struct Unpacking<'a> {
    target: &'a Path,
    root: Beneath,
    /// The directory of the file before, which is usually the next one's, too.
    latest: Option<(PathBuf, Beneath)>,
    /// For each directory at the top the links in it, and where they lead.
    links: BTreeMap<OsString, Vec<(PathBuf, PathBuf)>>,
    num_links: usize,
    unpacked: Unpacked,
}

impl Unpacking<'_> {
    fn add(&mut self, member: &Member, content: &mut impl Read) -> Result<(), ResultsError> {
        let path = relative(&member.path)?;
        if path.as_os_str().len() > MAX_PATH {
            self.leave_out(&path, "its path is longer than 4,096 bytes");
            return Ok(());
        }
        match member.kind {
            EntryType::Directory => {
                let made = self.root.make(&path).map(drop);
                self.unless_left_out(&path, "make the directory", made)?;
            }
            EntryType::Regular | EntryType::Continuous => self.file(&path, member, content)?,
            EntryType::Symlink => self.link(path, member.target.clone().unwrap_or_default()),
            EntryType::Link => {
                let target = relative(member.target.as_deref().unwrap_or(Path::new("")))?;
                let linked = self.hard_link(&path, &target);
                if linked
                    .as_ref()
                    .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
                {
                    self.leave_out(&path, "it is a second name of what is not there");
                    return Ok(());
                }
                if self.unless_left_out(&path, "link", linked)?.is_some() {
                    self.unpacked.files += 1;
                }
            }
            // It speaks of all members, and says nothing that matters.
            EntryType::XGlobalHeader => {}
            EntryType::Fifo => self.leave_out(&path, "it is a pipe"),
            EntryType::Char | EntryType::Block => self.leave_out(&path, "it is a device"),
            _ => self.leave_out(&path, "it is neither a file nor a directory nor a link"),
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        member: &Member,
        content: &mut impl Read,
    ) -> Result<(), ResultsError> {
        let mode = member.mode.unwrap_or(0o644) & PERMISSIONS | OWNER_READS_AND_WRITES;
        let created = self.at(path, |directory, name| directory.create(name, mode));
        let Some(mut file) = self.unless_left_out(path, "write", created)? else {
            return Ok(());
        };
        let mut buffer = vec![0; CHUNK.min(usize::try_from(member.size).unwrap_or(CHUNK).max(1))];
        loop {
            let read = content.read(&mut buffer).map_err(ResultsError::Archive)?;
            if read == 0 {
                break;
            }
            let written = file.write_all(&buffer[..read]);
            written.map_err(ResultsError::disk("write", &self.target.join(path)))?;
        }
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(member.mtime));
        if let Some(changed) = changed {
            // A time that the file system can not have is no reason to be without the file.
            file.set_modified(changed).ok();
        }
        self.unpacked.files += 1;
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let parent = target.parent().unwrap_or(Path::new(""));
        let directory = self.root.directory(parent)?;
        let entry = target.file_name().unwrap_or_default();
        self.at(path, |own, name| own.hard_link(name, &directory, entry))
    }

    /// Links wait until all else is there: nothing is written through one.
    fn link(&mut self, path: PathBuf, target: PathBuf) {
        if self.num_links == MAX_LINKS {
            return self.leave_out(&path, "the archive has too many links");
        }
        self.num_links += 1;
        let top = path.components().next();
        let top = top.map_or(OsStr::new(""), Component::as_os_str).to_owned();
        self.links.entry(top).or_default().push((path, target));
    }

    fn make_links(&mut self) -> Result<(), ResultsError> {
        for (top, links) in std::mem::take(&mut self.links) {
            let mut met = Links::default();
            let mut staying = Vec::new();
            let inside = |path: &Path| {
                path.strip_prefix(&top)
                    .map(Path::to_owned)
                    .unwrap_or_default()
            };
            for (path, target) in links {
                match met.link(&inside(&path), &target) {
                    Ok(Verdict::Inside | Verdict::Open) => staying.push((path, target)),
                    Ok(Verdict::Outside) => self.leave_out_link(&path, &target),
                    Err(Misplaced) => self.leave_out(&path, "it is a link where none can be"),
                }
            }
            let leading_out = met.leading_out();
            for (path, target) in staying {
                if leading_out.contains(&inside(&path)) {
                    self.leave_out_link(&path, &target);
                    continue;
                }
                let made = self.at(&path, |directory, name| directory.symlink(name, &target));
                if self.unless_left_out(&path, "link", made)?.is_some() {
                    self.unpacked.links += 1;
                }
            }
        }
        Ok(())
    }

    /// Does something in the directory of a path, which is made where it is missing.
    fn at<T>(
        &mut self,
        path: &Path,
        act: impl FnOnce(&Beneath, &OsStr) -> io::Result<T>,
    ) -> io::Result<T> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let latest = self.latest.take().filter(|(known, _)| known == parent);
        let (known, directory) = match latest {
            Some(latest) => latest,
            None => (parent.to_owned(), self.root.make(parent)?),
        };
        let done = act(&directory, path.file_name().unwrap_or_default());
        self.latest = Some((known, directory));
        done
    }

    /// What a file system does not take is left out; that it takes nothing more is an error.
    fn unless_left_out<T>(
        &mut self,
        path: &Path,
        step: &'static str,
        done: io::Result<T>,
    ) -> Result<Option<T>, ResultsError> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) => match refusal(&error) {
                Some(why) => {
                    self.leave_out(path, &why);
                    Ok(None)
                }
                None => Err(ResultsError::disk(step, &self.target.join(path))(error)),
            },
        }
    }

    fn leave_out(&mut self, path: &Path, why: &str) {
        self.unpacked.left_out.add(path, why);
    }

    fn leave_out_link(&mut self, path: &Path, target: &Path) {
        let why = format!(
            "it is a link to {}, outside of its directory",
            target.display()
        );
        self.leave_out(path, &why);
    }
}

/// Why a file system does not take this one entry; `None` where it is in trouble.
fn refusal(error: &io::Error) -> Option<String> {
    match Errno::from_io_error(error)? {
        Errno::EXIST | Errno::ISDIR => Some("its name is taken".to_owned()),
        Errno::NOTDIR | Errno::LOOP => Some("its directory is none".to_owned()),
        Errno::NAMETOOLONG => Some("its name is too long for this file system".to_owned()),
        Errno::ILSEQ | Errno::INVAL => Some("this file system does not take its name".to_owned()),
        Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK => {
            Some(format!("this file system does not take it: {error}"))
        }
        _ => None,
    }
}

/// A member's name as a path of plain parts. Stricter than needed (`a/../b` stays inside, too),
/// since no archive of ours has such names.
fn relative(name: &Path) -> Result<PathBuf, ResultsError> {
    let refuse = |why| {
        Err(ResultsError::UnsafeMember {
            name: name.to_string_lossy().into_owned(),
            why,
        })
    };
    let mut path = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(plain) => path.push(plain),
            Component::CurDir => {}
            Component::ParentDir => return refuse("leads out of its directory"),
            Component::RootDir | Component::Prefix(_) => return refuse("is an absolute path"),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
