//! What a commit's trees may hold, looked at before anything of them is written.
//!
//! Trees are data of strangers: git programs write only good ones, but a pack can hold any bytes. A name that is there
//! twice, once as a link and once as a directory, would lead libgit2 out of the work tree; a name such as `.git` would
//! become a repository of its own; ten small objects can stand for a billion files. Each distinct tree is read once, so
//! the check costs what the objects do and not what they stand for, and it does not recurse.

use std::collections::{HashMap, HashSet};

use git2::{ErrorCode, Odb, Oid};
use tokio_util::sync::CancellationToken;

use super::tree_names::{shown, what_is_wrong};
use super::{GitLimits, MAXIMUM_TREE_DEPTH};

/// The length of an object id in a tree.
const ID_LENGTH: usize = 20;

/// The longest tree object that is read into memory: some millions of entries.
const LONGEST_TREE: usize = 256 << 20;

/// Why a commit's files are refused.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A name that must not be used.
    #[error("its tree {tree} has the name \"{name}\", which {reason}")]
    Name {
        /// The tree object.
        tree: String,
        /// The name, made fit to be shown.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The object is no tree that can be read.
    #[error("its tree {tree} is malformed")]
    Malformed {
        /// The tree object.
        tree: String,
    },
    /// Directories are nested too deep.
    #[error("its directories are nested more than {most} deep (setting git_max_depth)")]
    Depth {
        /// The limit.
        most: u32,
    },
    /// It has too many files and directories.
    #[error("it has more than {most} files and directories (setting git_max_entries)")]
    Entries {
        /// The limit.
        most: u64,
    },
    /// A file that is too large.
    #[error(
        "its file \"{name}\" has {bytes} bytes, and {most} are allowed (setting git_max_file_bytes)"
    )]
    File {
        /// The file's name, made fit to be shown.
        name: String,
        /// How large it is.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// All files together are too large.
    #[error("its files have more than {most} bytes (setting git_max_work_tree_bytes)")]
    WorkTree {
        /// The limit.
        most: u64,
    },
    /// An object can not be read.
    #[error("an object of it can not be read: {0}")]
    Object(#[from] git2::Error),
    /// The caller's token fired.
    #[error("canceled")]
    Canceled,
}

/// What a tree stands for, with all beneath it.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    entries: u64,
    depth: u32,
    bytes: u64,
}

/// Looks at trees; what was found good is remembered.
pub(super) struct TreeCheck<'a> {
    objects: &'a Odb<'a>,
    limits: GitLimits,
    cancel: &'a CancellationToken,
    known: HashMap<Oid, Extent>,
    file_sizes: HashMap<Oid, u64>,
    /// Whether names and extents matter, too, and not only what libgit2 bears.
    thorough: bool,
}

impl<'a> TreeCheck<'a> {
    /// For trees that are to be written to a disk.
    pub(super) fn thorough(
        objects: &'a Odb<'a>,
        limits: GitLimits,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self {
            objects,
            limits,
            cancel,
            known: HashMap::new(),
            file_sizes: HashMap::new(),
            thorough: true,
        }
    }

    /// For trees that libgit2 only makes packs of: it walks them by recursion, and has each file in memory.
    pub(super) fn for_packs(
        objects: &'a Odb<'a>,
        limits: GitLimits,
        cancel: &'a CancellationToken,
    ) -> Self {
        let limits = GitLimits {
            depth: MAXIMUM_TREE_DEPTH,
            ..limits
        };
        Self {
            thorough: false,
            ..Self::thorough(objects, limits, cancel)
        }
    }

    /// Looks at a tree and all beneath it.
    pub(super) fn check(&mut self, root: Oid) -> Result<(), TreeError> {
        let depth = self.limits.depth.min(MAXIMUM_TREE_DEPTH);
        if self.known.contains_key(&root) {
            return Ok(());
        }
        // A tree that contains itself, which takes a collision of hashes, ends at the depth.
        let mut open = vec![self.open(root)?];
        while let Some(tree) = open.last_mut() {
            let Some(child) = tree.trees.pop() else {
                let Some(done) = open.pop() else { break };
                self.known.insert(done.oid, done.extent);
                if let Some(above) = open.last_mut() {
                    add(&mut above.extent, done.extent);
                    self.check_extent(above.extent, depth)?;
                }
                continue;
            };
            if let Some(known) = self.known.get(&child).copied() {
                add(&mut tree.extent, known);
                let extent = tree.extent;
                self.check_extent(extent, depth)?;
            } else {
                if open.len() >= depth as usize {
                    return Err(TreeError::Depth { most: depth });
                }
                open.push(self.open(child)?);
            }
        }
        Ok(())
    }

    fn check_extent(&self, extent: Extent, depth: u32) -> Result<(), TreeError> {
        if extent.depth > depth {
            return Err(TreeError::Depth { most: depth });
        }
        if !self.thorough {
            return Ok(());
        }
        if extent.entries > self.limits.entries {
            let most = self.limits.entries;
            return Err(TreeError::Entries { most });
        }
        if extent.bytes > self.limits.work_tree_bytes {
            let most = self.limits.work_tree_bytes;
            return Err(TreeError::WorkTree { most });
        }
        Ok(())
    }

    /// Reads one tree and looks at its own entries.
    fn open(&mut self, oid: Oid) -> Result<Open, TreeError> {
        if self.cancel.is_cancelled() {
            return Err(TreeError::Canceled);
        }
        let malformed = || TreeError::Malformed {
            tree: oid.to_string(),
        };
        let (length, kind) = self.objects.read_header(oid)?;
        if kind != git2::ObjectType::Tree || length > LONGEST_TREE {
            return Err(malformed());
        }
        let object = self.objects.read(oid)?;
        let entries = entries(object.data()).ok_or_else(malformed)?;
        let mut open = Open {
            oid,
            extent: Extent {
                entries: entries.len() as u64,
                depth: 1,
                bytes: 0,
            },
            trees: Vec::new(),
        };
        if self.thorough {
            check_names(oid, &entries)?;
        }
        for entry in entries {
            match entry.kind().ok_or_else(malformed)? {
                Kind::Directory => open.trees.push(entry.oid().ok_or_else(malformed)?),
                Kind::File => {
                    let oid = entry.oid().ok_or_else(malformed)?;
                    let bytes = self.size(oid)?;
                    if bytes > self.limits.file_bytes {
                        return Err(TreeError::File {
                            name: shown(entry.name),
                            bytes,
                            most: self.limits.file_bytes,
                        });
                    }
                    open.extent.bytes = open.extent.bytes.saturating_add(bytes);
                }
                Kind::Submodule => {}
            }
        }
        self.check_extent(open.extent, self.limits.depth.min(MAXIMUM_TREE_DEPTH))?;
        Ok(open)
    }

    fn size(&mut self, oid: Oid) -> Result<u64, TreeError> {
        if let Some(size) = self.file_sizes.get(&oid) {
            return Ok(*size);
        }
        let size = match self.objects.read_header(oid) {
            Ok((size, _)) => size as u64,
            // Writing it says so in better words, or, in a cut history, does without.
            Err(error) if error.code() == ErrorCode::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        self.file_sizes.insert(oid, size);
        Ok(size)
    }
}

/// A tree whose directories are being looked at.
struct Open {
    oid: Oid,
    extent: Extent,
    /// Those that are still to come.
    trees: Vec<Oid>,
}

/// Takes a directory into what is above it.
fn add(above: &mut Extent, inside: Extent) {
    above.entries = above.entries.saturating_add(inside.entries);
    above.bytes = above.bytes.saturating_add(inside.bytes);
    above.depth = above.depth.max(inside.depth.saturating_add(1));
}

/// What an entry is.
enum Kind {
    Directory,
    /// Or a symbolic link.
    File,
    Submodule,
}

/// One entry as it stands in the object.
struct Entry<'a> {
    mode: u32,
    name: &'a [u8],
    id: &'a [u8],
}

impl Entry<'_> {
    fn kind(&self) -> Option<Kind> {
        match self.mode & 0o170_000 {
            0o040_000 => Some(Kind::Directory),
            0o100_000 | 0o120_000 => Some(Kind::File),
            0o160_000 => Some(Kind::Submodule),
            _ => None,
        }
    }

    fn oid(&self) -> Option<Oid> {
        Oid::from_bytes(self.id).ok()
    }
}

/// Reads a tree object: mode in octal digits, blank, name, NUL, id; again and again.
fn entries(mut bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().take(8).position(|byte| *byte == b' ')?;
        let (mode, rest) = (bytes.get(..blank)?, bytes.get(blank + 1..)?);
        if mode.is_empty() || !mode.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
            return None;
        }
        let mode = mode
            .iter()
            .fold(0, |mode, digit| mode << 3 | u32::from(digit - b'0'));
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (name, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
        let (id, rest) = rest.split_at_checked(ID_LENGTH)?;
        entries.push(Entry { mode, name, id });
        bytes = rest;
    }
    Some(entries)
}

fn check_names(tree: Oid, entries: &[Entry<'_>]) -> Result<(), TreeError> {
    let refused = |name: &[u8], reason| TreeError::Name {
        tree: tree.to_string(),
        name: shown(name),
        reason,
    };
    let mut names = HashSet::with_capacity(entries.len());
    for Entry { name, .. } in entries {
        if let Some(reason) = what_is_wrong(name) {
            return Err(refused(name, reason));
        }
        if !names.insert(*name) {
            return Err(refused(name, "is there twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_slashes_and_dots_are_refused() {
        for name in [
            &b""[..],
            b".",
            b"..",
            b"a/b",
            b"a\nb",
            b"\x1b[31m",
            b"a\x7f",
            "\u{9b}x".as_bytes(),
        ] {
            assert!(what_is_wrong(name).is_some(), "{name:?}");
        }
        for name in [&b"..."[..], b"a b", "\u{e4}".as_bytes(), b"\xff\xfe"] {
            assert_eq!(what_is_wrong(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_tree_is_read_to_its_last_byte_or_not_at_all() {
        let one = [&b"100644 a\0"[..], &[7; 20]].concat();
        let two = [&one[..], b"40000 d\0", &[8; 20]].concat();
        let read = entries(&two).unwrap();
        assert_eq!((read[0].name, read[1].name), (&b"a"[..], &b"d"[..]));
        assert_eq!((read[0].mode, read[1].mode), (0o100_644, 0o040_000));
        for cut in 1..two.len() {
            assert_eq!(entries(&two[..cut]).is_some(), cut == one.len(), "{cut}");
        }
        assert!(entries(b"100648 a\0aaaaaaaaaaaaaaaaaaaa").is_none());
        assert!(entries(&[b" a\0", &[7; 20][..]].concat()).is_none());
    }
}
