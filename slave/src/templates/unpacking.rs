//! Unpacking a snapshot, in a child process: it was made by somebody else's build. Every name is opened beneath the
//! template's directory without following links. Links may lead anywhere, as those of virtual environments do: they are
//! made, and never followed here.

use super::listing::Listing;
use clusterrunner_common::child::{self, Inside};
use clusterrunner_common::disk::beneath::{Beneath, Parents};
use clusterrunner_common::disk::regular_file::open_itself;
use clusterrunner_common::results::tar_reader::{Member, TarReader};
use clusterrunner_common::text::printable::plain;
use flate2::read::MultiGzDecoder;
use rustix::fs::{Timespec, Timestamps, futimens};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use tar::EntryType;
use tokio_util::sync::CancellationToken;

/// The most entries of a snapshot: large environments have some hundred thousand.
const MOST_ENTRIES: u64 = 4_000_000;

/// How deep its directories may be nested.
const DEEPEST: usize = 200;

/// How much is read at a time.
const PIECE: usize = 64 << 10;

/// What a child is to unpack.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) archive: PathBuf,
    /// A new directory.
    pub(super) directory: PathBuf,
    /// Where what was unpacked is listed.
    pub(super) listing: PathBuf,
    /// The most bytes that all files may have.
    pub(super) max_bytes: u64,
}

/// What becomes of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Unpacked {
    /// So many bytes.
    Done(u64),
    /// The snapshot is at fault.
    Refused(String),
    /// The disk is, or nobody wants it any more.
    Failed(String),
}

/// Why it was not unpacked.
enum Stopped {
    Refused(String),
    Failed(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Is a process that unpacks one snapshot, as its parent says. To be called from `main`, before anything else.
#[must_use]
pub(crate) fn unpack_snapshot() -> ExitCode {
    child::serve(|order: Order, inside: Inside| async move {
        let unpacked = tokio::task::spawn_blocking(move || unpack(&order, &inside.stop)).await;
        match unpacked {
            Ok(Ok(bytes)) => Unpacked::Done(bytes),
            Ok(Err(Stopped::Refused(reason))) => Unpacked::Refused(reason),
            Ok(Err(Stopped::Failed(error))) => Unpacked::Failed(error.to_string()),
            Err(error) => Unpacked::Failed(error.to_string()),
        }
    })
}

fn unpack(order: &Order, stop: &CancellationToken) -> Result<u64, Stopped> {
    std::fs::create_dir(&order.directory)?;
    let archive = open_itself(&order.archive)?;
    let unzipped = MultiGzDecoder::new(BufReader::with_capacity(PIECE, archive));
    let mut unpacking = Unpacking {
        tar: TarReader::new(unzipped),
        parents: Parents::of(Beneath::open(&order.directory)?),
        root: &order.directory,
        listing: Listing::default(),
        left: order.max_bytes,
        piece: vec![0; PIECE],
    };
    let mut entries = 0;
    while let Some(member) = unpacking.tar.next_member().map_err(unreadable)? {
        entries += 1;
        if entries > MOST_ENTRIES {
            return Err(refused(&format!("it has more than {MOST_ENTRIES} entries")));
        }
        if stop.is_cancelled() {
            return Err(io::Error::other("canceled").into());
        }
        unpacking.take(&member)?;
    }
    unpacking.listing.write(&order.listing)?;
    Ok(unpacking.listing.size)
}

fn refused(reason: &str) -> Stopped {
    Stopped::Refused(format!("the snapshot is refused: {reason}"))
}

fn unreadable(error: io::Error) -> Stopped {
    refused(&format!("it can not be read: {error}"))
}

fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy()).to_string()
}

struct Unpacking<'a, R> {
    tar: TarReader<R>,
    parents: Parents,
    root: &'a Path,
    listing: Listing,
    /// How many more bytes may come.
    left: u64,
    piece: Vec<u8>,
}

impl<R: Read> Unpacking<'_, R> {
    fn take(&mut self, member: &Member) -> Result<(), Stopped> {
        let path = relative(&member.path)?;
        match member.kind {
            EntryType::XGlobalHeader => Ok(()),
            EntryType::Directory => {
                self.parents
                    .top()
                    .make(&path)
                    .map_err(|error| taken(&path, error))?;
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous => self.file(&path, member),
            EntryType::Symlink => {
                let target = member.target.clone().unwrap_or_default();
                let (parent, name) = self.enter(&path)?;
                let made = parent.symlink(&name, &target);
                made.map_err(|error| taken(&path, error))?;
                Ok(self.listing.add(self.root, &path)?)
            }
            EntryType::Link => self.same_file(&path, member),
            _ => Err(refused(&format!(
                "\"{}\" is a device, a pipe or something else that is no file",
                shown(&path)
            ))),
        }
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

    fn file(&mut self, path: &Path, member: &Member) -> Result<(), Stopped> {
        self.left = self.left.checked_sub(member.size).ok_or_else(|| {
            refused("it is larger than the cache (setting max_template_cache_bytes)")
        })?;
        let (parent, name) = self.enter(path)?;
        let created = parent.create(&name, 0o600);
        let mut file = created.map_err(|error| taken(path, error))?;
        loop {
            let read = match self.tar.read(&mut self.piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(unreadable)?,
            };
            match self.piece.get(..read) {
                Some([]) | None => break,
                Some(piece) => file.write_all(piece)?,
            }
        }
        // All instances share it: it is nobody's to change.
        let mode = member.mode.unwrap_or(0) & 0o555 | 0o444;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        let time = Timespec {
            tv_sec: i64::try_from(member.mtime).unwrap_or(0),
            tv_nsec: 0,
        };
        // What Python compiled is good for files of this very time.
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        futimens(&file, &times).map_err(io::Error::from)?;
        Ok(self.listing.add(self.root, path)?)
    }

    /// A second name of a file that came before.
    fn same_file(&mut self, path: &Path, member: &Member) -> Result<(), Stopped> {
        let target = relative(member.target.as_deref().unwrap_or(Path::new("")))?;
        let none = || {
            let (path, target) = (shown(path), shown(&target));
            refused(&format!(
                "\"{path}\" is another name of \"{target}\", which is no file that comes before it"
            ))
        };
        let (Some(above), Some(old)) = (target.parent(), target.file_name()) else {
            return Err(none());
        };
        let directory = self.parents.top().directory(above).map_err(|_| none())?;
        let found = directory.stat(old).map_err(|_| none())?;
        let kind = rustix::fs::FileType::from_raw_mode(found.st_mode);
        if kind != rustix::fs::FileType::RegularFile {
            return Err(none());
        }
        let (parent, name) = self.enter(path)?;
        let linked = parent.hard_link(&name, &directory, old);
        linked.map_err(|error| taken(path, error))?;
        Ok(self.listing.add(self.root, path)?)
    }
}

/// Where a member lies below the template's directory.
fn relative(path: &Path) -> Result<PathBuf, Stopped> {
    let leads_out = || refused(&format!("\"{}\" leads out of it", shown(path)));
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(leads_out());
            }
        }
    }
    let bytes = OsStr::as_bytes(inside.as_os_str());
    if bytes.contains(&0) || inside.components().count() > DEEPEST {
        return Err(refused(&format!(
            "\"{}\" is nested too deep or no name",
            shown(path)
        )));
    }
    Ok(inside)
}

/// Something of that name is there already, or on the way to it is a link or a file.
fn taken(path: &Path, error: io::Error) -> Stopped {
    use io::ErrorKind::{AlreadyExists, NotADirectory, StorageFull};
    let leads_away = error.raw_os_error() == Some(libc::ELOOP);
    match error.kind() {
        StorageFull => Stopped::Failed(error),
        AlreadyExists | NotADirectory => refused(&format!("\"{}\" comes twice", shown(path))),
        _ if leads_away => refused(&format!("\"{}\" lies below a link", shown(path))),
        _ => Stopped::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::listing::{first_damage, listed_size};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    enum Part<'a> {
        File(&'a str, &'a str),
        Link(&'a str, &'a str),
        Same(&'a str, &'a str),
        Pipe(&'a str),
    }

    /// Unpacks these parts below a new directory.
    fn unpacked(parts: &[Part<'_>], max_bytes: u64) -> (tempfile::TempDir, Result<u64, String>) {
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("a.tar.gz");
        let file = std::fs::File::create(&archive).unwrap();
        let mut tar = Builder::new(GzEncoder::new(file, Compression::fast()));
        for part in parts {
            let mut header = Header::new_gnu();
            header.set_mode(0o755);
            header.set_mtime(1_000_000);
            let (path, content) = match part {
                Part::File(path, content) => (path, *content),
                Part::Link(path, target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_link_name_literal(target).unwrap();
                    (path, "")
                }
                Part::Same(path, target) => {
                    header.set_entry_type(EntryType::Link);
                    header.set_link_name_literal(target).unwrap();
                    (path, "")
                }
                Part::Pipe(path) => {
                    header.set_entry_type(EntryType::Fifo);
                    (path, "")
                }
            };
            header.set_size(content.len() as u64);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        let order = Order {
            archive,
            directory: place.path().join("t"),
            listing: place.path().join("listing"),
            max_bytes,
        };
        let done = unpack(&order, &CancellationToken::new());
        let done = done.map_err(|stopped| match stopped {
            Stopped::Refused(reason) => reason,
            Stopped::Failed(error) => panic!("{error}"),
        });
        (place, done)
    }

    #[test]
    fn what_is_unpacked_is_listed_and_damage_is_seen() {
        let (place, done) = unpacked(
            &[
                Part::File("source/run", "12345"),
                Part::Same("source/again", "source/run"),
                Part::Link("environment/bin/python", "/usr/bin/python3"),
            ],
            5,
        );
        assert_eq!(done, Ok(5 + 5 + 16));
        let (root, listing) = (place.path().join("t"), place.path().join("listing"));
        let run = root.join("source/run");
        let mode = std::fs::metadata(&run).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o555);
        assert_eq!(listed_size(&listing), Some(26));
        assert_eq!(first_damage(&root, &listing).unwrap(), None);
        std::fs::write(root.join("source/new"), "more").unwrap();
        assert_eq!(first_damage(&root, &listing).unwrap(), None);
        std::fs::remove_file(root.join("environment/bin/python")).unwrap();
        let damage = first_damage(&root, &listing).unwrap();
        assert_eq!(damage, Some("environment/bin/python".into()));
        std::fs::write(&listing, "26\0cut o").unwrap();
        assert!(first_damage(&root, &listing).unwrap().is_some());
    }

    #[test]
    fn hostile_snapshots_are_refused() {
        let cases: [(&[Part<'_>], &str); 9] = [
            (&[Part::File("../out", "")], "leads out"),
            (&[Part::File("/etc/x", "")], "leads out"),
            (&[Part::File("a/../../x", "")], "leads out"),
            (
                &[Part::Link("l", "/tmp"), Part::File("l/x", "")],
                "comes twice",
            ),
            (&[Part::File("a", ""), Part::File("a", "")], "comes twice"),
            (&[Part::File("a", ""), Part::File("a/b", "")], "comes twice"),
            (&[Part::Same("a", "/etc/passwd")], "leads out"),
            (
                &[Part::Link("l", "/etc"), Part::Same("a", "l/passwd")],
                "no file that",
            ),
            (&[Part::Pipe("p")], "no file"),
        ];
        for (parts, expected) in cases {
            let (place, done) = unpacked(parts, 100);
            let reason = done.unwrap_err();
            assert!(reason.contains(expected), "{reason}");
            assert!(!place.path().join("out").exists() && !place.path().join("x").exists());
        }
        let (_, done) = unpacked(&[Part::File("large", "123456")], 5);
        assert!(done.unwrap_err().contains("max_template_cache_bytes"));
    }

    #[test]
    fn a_snapshot_that_is_cut_off_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("a");
        std::fs::write(&archive, b"\x1f\x8b\x08\0\0\0\0\0\0\x03").unwrap();
        let order = Order {
            archive,
            directory: place.path().join("t"),
            listing: place.path().join("l"),
            max_bytes: 1,
        };
        let done = unpack(&order, &CancellationToken::new());
        assert!(
            matches!(done, Err(Stopped::Refused(reason)) if reason.contains("can not be read"))
        );
    }
}
