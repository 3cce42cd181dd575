//! The files of working trees that were sent: `<repository>/<sender>/<commit>-<pack>` with the endings `pack`, `idx`, and
//! `json` for what is known of them. The last one is written last: without it nothing was kept. Nothing is ever replaced by
//! anything else: the name says which objects are in a pack.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::git::{CommitId, SentName, SentPack};
use clusterrunner_common::ids::UserId;
use clusterrunner_core::actor::Actor;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// How many may come after each other.
const LONGEST_CHAIN: usize = 16;

/// How many are looked at for objects that need not be sent again.
const NEWEST: usize = 8;

/// The longest description.
const LONGEST: u64 = 1 << 20;

/// Who sent a working tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// A holder of the farm's secret.
    SecretHolder,
    /// A user.
    User(UserId),
}

impl Sender {
    /// The sender that an actor is; none for those who send nothing.
    #[must_use]
    pub fn of(actor: Actor) -> Option<Self> {
        match actor {
            Actor::SecretHolder => Some(Self::SecretHolder),
            Actor::User(user) => Some(Self::User(user)),
            Actor::Master
            | Actor::Binder
            | Actor::Slave(_)
            | Actor::Nobody
            | Actor::JoinToken(_)
            | Actor::SlaveKey => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name.strip_prefix("user-") {
            None => (name == "farm").then_some(Self::SecretHolder),
            Some(id) => Some(Self::User(id.parse().ok()?)),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretHolder => formatter.write_str("farm"),
            Self::User(user) => write!(formatter, "user-{user}"),
        }
    }
}

/// Where a sender's working trees of a repository are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shelf {
    /// The name of the folder of the repository's mirror.
    pub repository: String,
    /// Who sent them.
    pub sender: Sender,
}

impl Shelf {
    fn below(&self, directory: &Path) -> PathBuf {
        let repository = directory.join(&self.repository);
        repository.join(self.sender.to_string())
    }

    fn file(&self, directory: &Path, name: &SentName, ending: &str) -> PathBuf {
        self.below(directory).join(format!("{name}.{ending}"))
    }
}

/// One that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Where it is.
    pub shelf: Shelf,
    /// Its name there.
    pub name: SentName,
    /// Its pack.
    pub pack: PathBuf,
    /// What is known of it.
    pub known: Known,
}

/// What is stored of one beside its pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The commits that its own come after.
    pub bases: Vec<CommitId>,
    /// The one that was sent before and has what this one lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SentName>,
    /// How many objects it has.
    pub objects: u64,
    /// How many bytes its files have.
    pub bytes: u64,
    /// When it came the last time.
    pub at: Timestamp,
}

impl Sent {
    /// The one that it comes after.
    #[must_use]
    pub fn after(&self) -> Option<(Shelf, SentName)> {
        Some((self.shelf.clone(), self.known.after.clone()?))
    }

    /// The index of its pack.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.pack.with_extension("idx")
    }

    /// Removes it. A process that dies meanwhile leaves what the next start removes. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self) -> io::Result<()> {
        for ending in ["json", "pack", "idx"] {
            remove_all(&self.pack.with_extension(ending))?;
        }
        Ok(())
    }
}

/// Keeps a pack with its index. Nobody else changes anything meanwhile.
pub(super) fn keep(
    directory: &Path,
    (shelf, name): (&Shelf, SentName),
    (found, after): (&SentPack, Option<SentName>),
    at: Timestamp,
) -> io::Result<Sent> {
    let parent = shelf.below(directory);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&parent)?;
    let mut bytes = 0;
    for (ending, from) in [("pack", &found.pack), ("idx", &found.index)] {
        let file = File::open(from)?;
        file.sync_all()?;
        bytes += file.metadata()?.len();
        fs::rename(from, shelf.file(directory, &name, ending))?;
    }
    let known = Known {
        bases: found.bases.clone(),
        after,
        objects: found.objects,
        bytes,
        at,
    };
    let mut written = tempfile::Builder::new()
        .prefix(super::INCOMING)
        .tempfile_in(directory)?;
    written.write_all(&serde_json::to_vec(&known)?)?;
    written.as_file().sync_all()?;
    let description = shelf.file(directory, &name, "json");
    written.persist(&description).map_err(|error| error.error)?;
    for made in [Some(&*parent), parent.parent(), Some(directory)] {
        made.map_or(Ok(()), |made| File::open(made)?.sync_all())?;
    }
    Ok(Sent {
        pack: shelf.file(directory, &name, "pack"),
        shelf: shelf.clone(),
        name,
        known,
    })
}

/// All with this commit on top of this repository, each with those that it comes after, itself first.
pub(super) fn find(directory: &Path, repository: &str, commit: &CommitId) -> Vec<Vec<Sent>> {
    let senders = entries(&directory.join(repository)).unwrap_or_default();
    let senders = senders.iter().filter_map(|name| Sender::named(name));
    let shelves = senders.map(|sender| Shelf {
        repository: repository.to_owned(),
        sender,
    });
    let mut found = Vec::new();
    for shelf in shelves {
        let names = names(directory, &shelf).unwrap_or_default();
        let names = names.into_iter().filter(|name| name.commit == *commit);
        found.extend(names.filter_map(|name| chain(directory, &shelf, name)));
    }
    found
}

/// One with those that it comes after, itself first; nothing where one of them is missing.
pub(super) fn chain(directory: &Path, shelf: &Shelf, name: SentName) -> Option<Vec<Sent>> {
    let mut chain = vec![read(directory, shelf, name)?];
    while let Some(after) = chain.last()?.known.after.clone() {
        if chain.len() >= LONGEST_CHAIN {
            return None;
        }
        chain.push(read(directory, shelf, after)?);
    }
    Some(chain)
}

/// The newest of a sender that another one may come after, each with those that it comes after.
pub(super) fn newest(directory: &Path, shelf: &Shelf) -> io::Result<Vec<Vec<Sent>>> {
    let names = names(directory, shelf)?.into_iter();
    let mut sent: Vec<Sent> = names
        .filter_map(|name| read(directory, shelf, name))
        .collect();
    sent.sort_by_key(|sent| Reverse(sent.known.at));
    let chains = sent.into_iter().take(NEWEST);
    let chains = chains.filter_map(|sent| chain(directory, shelf, sent.name));
    Ok(chains.filter(|chain| chain.len() < LONGEST_CHAIN).collect())
}

/// One that is there whole.
fn read(directory: &Path, shelf: &Shelf, name: SentName) -> Option<Sent> {
    let text = regular_file::read(&shelf.file(directory, &name, "json"), LONGEST).ok()?;
    let known = serde_json::from_slice(&text).ok()?;
    let pack = shelf.file(directory, &name, "pack");
    let shelf = shelf.clone();
    pack.exists().then_some(Sent {
        shelf,
        name,
        pack,
        known,
    })
}

/// The names of all on a shelf.
fn names(directory: &Path, shelf: &Shelf) -> io::Result<Vec<SentName>> {
    let files = entries(&shelf.below(directory))?;
    let names = files
        .iter()
        .filter_map(|file| file.strip_suffix(".json")?.parse().ok());
    Ok(names.collect())
}

/// All that there are.
pub(super) fn all(directory: &Path) -> io::Result<Vec<Sent>> {
    let mut all = Vec::new();
    for repository in entries(directory)? {
        for sender in entries(&directory.join(&repository))? {
            let Some(sender) = Sender::named(&sender) else {
                continue;
            };
            let repository = repository.clone();
            let shelf = Shelf { repository, sender };
            let names = names(directory, &shelf)?.into_iter();
            all.extend(names.filter_map(|name| read(directory, &shelf, name)));
        }
    }
    Ok(all)
}

/// The names in a directory; none where there is no such directory.
fn entries(directory: &Path) -> io::Result<Vec<String>> {
    let found = match fs::read_dir(directory) {
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(Vec::new());
        }
        found => found?,
    };
    let names = found.map(|entry| Ok(entry?.file_name().into_string().ok()));
    let names: io::Result<Vec<Option<String>>> = names.collect();
    Ok(names?.into_iter().flatten().collect())
}

/// Removes what came in when a life of the master ended, and packs that were not kept to the end.
pub(super) fn clear_leftovers(directory: &Path, incoming: &str) -> io::Result<()> {
    for name in entries(directory)? {
        let path = directory.join(&name);
        if name.starts_with(incoming) {
            remove_all(&path)?;
            continue;
        }
        for sender in entries(&path)? {
            let path = path.join(sender);
            for file in entries(&path)? {
                let file = path.join(file);
                if !file.with_extension("json").exists() {
                    remove_all(&file)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(commit: u8, pack: u8) -> SentName {
        let id = |digit: u8| digit.to_string().repeat(40);
        format!("{}-{}", id(commit), id(pack)).parse().unwrap()
    }

    fn put(directory: &Path, shelf: &Shelf, name: SentName, after: Option<SentName>, at: u64) {
        let from = directory.join(".incoming-x");
        fs::create_dir_all(&from).unwrap();
        let [pack, index] = ["pack", "idx"].map(|ending| from.join(ending));
        fs::write(&pack, "pack").unwrap();
        fs::write(&index, "index").unwrap();
        let found = SentPack {
            pack,
            index,
            objects: 3,
            bases: Vec::new(),
        };
        let kept = keep(directory, (shelf, name), (&found, after), Timestamp(at)).unwrap();
        assert_eq!(kept.known.bytes, 9);
    }

    fn packs(chains: &[Vec<Sent>]) -> Vec<Vec<String>> {
        let packs = |chain: &Vec<Sent>| {
            let packs = chain
                .iter()
                .map(|sent| sent.name.pack.as_str()[..1].to_owned());
            packs.collect()
        };
        chains.iter().map(packs).collect()
    }

    #[test]
    fn one_is_whole_with_all_that_it_comes_after() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let shelf = Shelf {
            repository: "r".to_owned(),
            sender: Sender::SecretHolder,
        };
        put(directory, &shelf, name(1, 1), None, 1);
        put(directory, &shelf, name(2, 2), Some(name(1, 1)), 2);
        put(directory, &shelf, name(3, 3), Some(name(2, 2)), 3);
        // The same commit by another pack, and of another sender.
        put(directory, &shelf, name(3, 4), None, 4);
        let other = Shelf {
            sender: Sender::User(UserId(7)),
            ..shelf.clone()
        };
        put(directory, &other, name(3, 3), None, 5);
        let commit = &name(3, 3).commit;
        let mut found = packs(&find(directory, "r", commit));
        found.sort();
        assert_eq!(found, [vec!["3"], vec!["3", "2", "1"], vec!["4"]]);
        let newest = packs(&newest(directory, &shelf).unwrap());
        assert_eq!(
            newest,
            [vec!["4"], vec!["3", "2", "1"], vec!["2", "1"], vec!["1"]]
        );
        assert_eq!(all(directory).unwrap().len(), 5);

        let second = read(directory, &shelf, name(2, 2)).unwrap();
        second.remove().unwrap();
        let mut found = packs(&find(directory, "r", commit));
        found.sort();
        assert_eq!(found, [vec!["3"], vec!["4"]]);
    }

    #[test]
    fn what_was_not_kept_to_the_end_goes_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let shelf = Shelf {
            repository: "r".to_owned(),
            sender: Sender::SecretHolder,
        };
        put(directory, &shelf, name(1, 1), None, 1);
        put(directory, &shelf, name(2, 2), None, 2);
        fs::remove_file(shelf.file(directory, &name(2, 2), "json")).unwrap();
        fs::write(directory.join(".incoming-y"), "half").unwrap();
        fs::write(directory.join("a file"), "of somebody").unwrap();
        assert!(find(directory, "r", &name(2, 2).commit).is_empty());
        clear_leftovers(directory, ".incoming-").unwrap();
        assert!(!directory.join(".incoming-y").exists());
        assert!(!directory.join(".incoming-x").exists());
        assert!(!shelf.file(directory, &name(2, 2), "pack").exists());
        assert_eq!(all(directory).unwrap().len(), 1);
        // A shelf may have any number of them; too long a chain is of no use.
        for number in 1..20 {
            let before = (number > 1).then(|| name_of(number - 1));
            put(directory, &shelf, name_of(number), before, 9);
        }
        assert!(chain(directory, &shelf, name_of(16)).is_some());
        assert!(chain(directory, &shelf, name_of(17)).is_none());
    }

    fn name_of(number: u8) -> SentName {
        format!("{number:040}-{number:040}").parse().unwrap()
    }
}
