//! Single files that atoms left: found by a pattern, and put below a directory without replacing what is there.

use super::ResultsError;
use crate::client::Client;
use crate::error::ClientError;
use clusterrunner_common::api::{AtomState, AtomView, ErrorCode};
use clusterrunner_common::caller::CallError;
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::text::path_pattern::fits;
use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use tempfile::NamedTempFile;
use tokio::task::JoinSet;

/// How many calls are under way at a time.
const AT_A_TIME: usize = 4;

/// How the names of the directories of atoms begin.
const ATOM_DIRECTORY: &str = "artifact_";

/// What a master without codes says of a route that it does not know.
const NO_ROUTE: &str = "There is no such route.";

/// The longest path that programs open.
const MAX_PATH: usize = 4_096;

/// A file that an atom left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleFile {
    /// The build.
    pub build: BuildId,
    /// The folder of that build among those of a matrix; none of a build alone.
    pub folder: Option<String>,
    /// The subjob of the atom.
    pub subjob: SubjobId,
    /// The atom.
    pub atom: AtomId,
    /// Its path in the atom's `$ARTIFACT_DIR`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

impl SingleFile {
    /// Where it is below the directory of results: `artifact_3_0/report.xml`.
    #[must_use]
    pub fn place(&self) -> String {
        let place = format!("{}/{}", directory_name(self.subjob, self.atom), self.path);
        match &self.folder {
            None => place,
            Some(folder) => format!("{folder}/{place}"),
        }
    }
}

/// Files that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SingleFiles {
    /// Those that fit, by subjob, atom, and the order in which they are stored.
    pub files: Vec<SingleFile>,
    /// How many files were looked at.
    pub seen: u64,
    /// Atoms that have not ended.
    pub atoms_to_come: u64,
    /// Ended atoms whose files are not there: their results were removed.
    pub atoms_without: u64,
}

/// Whether a file is meant by a pattern. A pattern without a slash is about the name of the file; another one is about
/// the path in `$ARTIFACT_DIR`, or the path with the directory of the atom.
#[must_use]
pub fn is_meant(pattern: &str, file: &SingleFile) -> bool {
    if pattern.contains('/') {
        return fits(pattern, &file.path) || fits(pattern, &file.place());
    }
    let name = file.path.rsplit('/').next();
    name.is_some_and(|name| fits(pattern, name))
}

/// The part of a pattern that is about directories of atoms: files of other atoms are not meant, so nobody looks at them.
#[must_use]
pub fn atoms_meant(pattern: &str) -> Option<&str> {
    let (first, _) = pattern.split_once('/')?;
    first.starts_with(ATOM_DIRECTORY).then_some(first)
}

/// Finds the files that the atoms of a build left, as far as they have ended, and tells after each atom how many atoms
/// were looked at, and how many there are to look at. A build of a matrix has a folder.
///
/// # Errors
/// See [`ClientError`]; [`lacks_lists`] says of one whether the master gives no such lists at all.
pub async fn find(
    client: &Client,
    (build, folder): (BuildId, Option<&str>),
    pattern: Option<&str>,
    mut tell: impl FnMut(u64, u64),
) -> Result<SingleFiles, ClientError> {
    let mut found = SingleFiles::default();
    let subjobs = client.subjobs(build).await?;
    let mut ended = Vec::new();
    let meant = pattern.and_then(atoms_meant);
    let atoms = subjobs.iter().flat_map(|subjob| &subjob.atoms);
    let is_meant_atom = |atom: &&AtomView| {
        meant.is_none_or(|meant| fits(meant, &directory_name(atom.subjob_id, atom.id)))
    };
    for atom in atoms.filter(is_meant_atom) {
        match atom.state {
            AtomState::Completed => ended.push((build, atom.subjob_id, atom.id)),
            AtomState::NotStarted | AtomState::InProgress => found.atoms_to_come += 1,
            AtomState::Canceled | AtomState::NotRun => {}
        }
    }
    let (mut looked_at, all) = (0, ended.len() as u64);
    let mut asked = ended.into_iter();
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < AT_A_TIME {
            let Some(atom) = asked.next() else {
                break;
            };
            let client = client.clone();
            asking.spawn(async move { files_of(&client, atom).await });
        }
        let Some(answered) = asking.join_next().await else {
            break;
        };
        // Nothing ends a task but its own panic, which is passed on.
        match answered.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic())) {
            Ok(mut files) => {
                for file in &mut files {
                    file.folder = folder.map(str::to_owned);
                }
                found.seen += files.len() as u64;
                let is_meant =
                    |file: &SingleFile| pattern.is_none_or(|pattern| is_meant(pattern, file));
                found.files.extend(files.into_iter().filter(is_meant));
            }
            Err(error) if is_gone(&error) => found.atoms_without += 1,
            Err(error) => return Err(error),
        }
        looked_at += 1;
        tell(looked_at, all);
    }
    // Stable: files of an atom stay in their order.
    let place = |file: &SingleFile| (file.subjob, file.atom, file.path.clone());
    found.files.sort_by_cached_key(place);
    Ok(found)
}

async fn files_of(
    client: &Client,
    (build, subjob, atom): (BuildId, SubjobId, AtomId),
) -> Result<Vec<SingleFile>, ClientError> {
    let mut files = Vec::new();
    loop {
        let page = client
            .artifacts((build, subjob, atom), files.len() as u64)
            .await?;
        let is_last = page.artifacts.is_empty();
        files.extend(page.artifacts.into_iter().map(|found| SingleFile {
            build,
            folder: None,
            subjob,
            atom,
            path: found.path,
            bytes: found.bytes,
        }));
        if is_last || files.len() as u64 >= page.total {
            return Ok(files);
        }
    }
}

/// The atom has no files any more, though it had a result.
fn is_gone(error: &ClientError) -> bool {
    let status = error.status().map(|status| status.as_u16());
    matches!(status, Some(404 | 410)) && !lacks_lists(error)
}

/// Whether the master knows no lists of single files: it is an older one, or the original.
#[must_use]
pub fn lacks_lists(error: &ClientError) -> bool {
    let ClientError::Call(CallError::Refused {
        status,
        error,
        code,
        is_explained,
        ..
    }) = error
    else {
        return false;
    };
    // Before refusals had codes, it was said in these words.
    let is_said = *code == Some(ErrorCode::NoRoute) || error == NO_ROUTE;
    status.as_u16() == 404 && (is_said || !is_explained)
}

/// Which of these files have their place taken below a directory, which need not be there.
///
/// # Errors
/// The directory can not be read, or a path would lead out of it.
pub fn taken<'a>(
    directory: &Path,
    files: &'a [SingleFile],
) -> Result<Vec<&'a SingleFile>, ResultsError> {
    let root = match Beneath::open(directory) {
        Ok(root) => Some(root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(ResultsError::disk("open", directory)(error)),
    };
    let mut taken = Vec::new();
    for file in files {
        let (above, name) = safe(file)?;
        let Some(root) = &root else {
            continue;
        };
        let is_there = root
            .directory(&above)
            .and_then(|above| above.stat(OsStr::new(&name)));
        match is_there {
            Ok(_) => taken.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = directory.join(file.place());
                return Err(ResultsError::disk("look for", &path)(error));
            }
        }
    }
    Ok(taken)
}

/// Fetches files, each to its [place](SingleFile::place) below a directory, and tells after each how many bytes it
/// has. A file is there as a whole or not at all. What is there is replaced only where `is_replacing` says so.
///
/// # Errors
/// See [`ResultsError`]; files that were fetched before stay.
pub async fn fetch(
    client: &Client,
    files: &[SingleFile],
    directory: &Path,
    is_replacing: bool,
    mut tell: impl FnMut(u64),
) -> Result<(), ResultsError> {
    let mut waiting = files.iter();
    let mut fetching = JoinSet::new();
    loop {
        while fetching.len() < AT_A_TIME {
            let Some(file) = waiting.next() else {
                break;
            };
            let (client, file) = (client.clone(), file.clone());
            let directory = directory.to_owned();
            fetching.spawn(async move {
                fetch_one(&client, &file, &directory, is_replacing).await?;
                Ok::<_, ResultsError>(file.bytes)
            });
        }
        let Some(fetched) = fetching.join_next().await else {
            return Ok(());
        };
        tell(fetched.unwrap_or(Err(ResultsError::Interrupted))?);
    }
}

async fn fetch_one(
    client: &Client,
    file: &SingleFile,
    directory: &Path,
    is_replacing: bool,
) -> Result<(), ResultsError> {
    let (above, name) = safe(file)?;
    let shown = directory.join(file.place());
    let made = std::fs::create_dir_all(directory).and_then(|()| {
        let above = Beneath::open(directory)?.make(&above)?;
        // Others may read it, as far as the umask lets them.
        let mut new = tempfile::Builder::new();
        new.prefix(".artifact-")
            .permissions(Permissions::from_mode(0o666));
        let new = new.tempfile_in(above.path())?;
        Ok((above, new))
    });
    // The open directory is what the paths below lead to, so it lives to the end.
    let (above, new) = made.map_err(ResultsError::disk("write", &shown))?;
    let atom = (file.build, file.subjob, file.atom);
    let written = client.artifact(atom, &file.path, new.path()).await;
    written.map_err(|error| match error {
        ClientError::Store { source, .. } => ResultsError::disk("write", &shown)(source),
        other => other.into(),
    })?;
    let place = above.path().join(&name);
    put(new, &place, is_replacing).map_err(ResultsError::disk("write", &shown))
}

fn put(new: NamedTempFile, place: &Path, is_replacing: bool) -> io::Result<()> {
    let put = match is_replacing {
        true => new.persist(place),
        false => new.persist_noclobber(place),
    };
    put.map(drop).map_err(|error| error.error)
}

/// The directory and the name of a file, where they stay below the directory of its atom.
fn safe(file: &SingleFile) -> Result<(PathBuf, String), ResultsError> {
    let refuse = |why| ResultsError::UnsafeFile {
        path: file.path.clone(),
        why,
    };
    let place = file.place();
    if place.len() > MAX_PATH {
        return Err(refuse("is longer than 4,096 bytes"));
    }
    let (above, name) = place.rsplit_once('/').unwrap_or(("", &place));
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let parts = place.split('/').count();
    let plain = Path::new(&place)
        .components()
        .filter(|part| is_plain(*part));
    // Empty parts and dots are no components of their own.
    if plain.count() != parts || place.contains('\0') {
        return Err(refuse("leads out of its directory"));
    }
    Ok((PathBuf::from(above), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SingleFile {
        SingleFile {
            build: BuildId(1),
            folder: None,
            subjob: SubjobId(3),
            atom: AtomId(0),
            path: path.to_owned(),
            bytes: 0,
        }
    }

    #[test]
    fn a_pattern_is_about_names_or_about_paths() {
        for (pattern, path, expected) in [
            ("*.xml", "deep/report.xml", true),
            ("*.xml", "deep/report.txt", false),
            ("deep/*", "deep/report.xml", true),
            ("deep/*", "deep/er/report.xml", false),
            ("deep/**", "deep/er/report.xml", true),
            ("artifact_3_0/**", "deep/report.xml", true),
            ("artifact_3_1/**", "deep/report.xml", false),
        ] {
            assert_eq!(is_meant(pattern, &file(path)), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_may_name_atoms() {
        for (pattern, expected) in [
            ("artifact_3_0/**", Some("artifact_3_0")),
            ("artifact_3_*/x/y", Some("artifact_3_*")),
            ("artifact_3_0", None),
            ("deep/*", None),
            ("**/x", None),
            ("*_3_0/x", None),
        ] {
            assert_eq!(atoms_meant(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_master_without_lists_is_not_one_whose_files_are_gone() {
        let refused = |status: u16, code, error: &str, is_explained| {
            ClientError::Call(CallError::Refused {
                url: "http://master".to_owned(),
                status: reqwest::StatusCode::from_u16(status).unwrap(),
                error: error.to_owned(),
                code,
                is_explained,
            })
        };
        for (error, is_gone_expected, lacks_expected) in [
            (refused(404, None, "Not there any more.", true), true, false),
            (refused(410, None, "Removed.", true), true, false),
            (
                refused(404, Some(ErrorCode::NoRoute), "x", true),
                false,
                true,
            ),
            (refused(404, None, NO_ROUTE, true), false, true),
            (refused(404, None, "", false), false, true),
            (refused(503, None, "", false), false, false),
        ] {
            assert_eq!(is_gone(&error), is_gone_expected, "{error}");
            assert_eq!(lacks_lists(&error), lacks_expected, "{error}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        let (above, name) = safe(&file("a/b")).unwrap();
        assert_eq!((above, &*name), (PathBuf::from("artifact_3_0/a"), "b"));
        for path in [
            "", "..", "../x", "a/../b", "/etc/x", "a//b", "a/", "./a", "a\0b",
        ] {
            assert!(safe(&file(path)).is_err(), "{path:?}");
        }
        assert!(safe(&file(&"a".repeat(5_000))).is_err());
    }

    #[test]
    fn what_is_there_is_not_replaced_unless_it_is_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("x");
        let new = || NamedTempFile::new_in(directory.path()).unwrap();
        std::fs::write(&place, "old").unwrap();
        let refused = put(new(), &place, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&place).unwrap(), b"old");
        put(new(), &place, true).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"");
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left of trials");
    }

    #[test]
    fn files_whose_places_are_taken_are_known_before() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("new");
        let files = [file("a"), file("b/c")];
        assert!(taken(&below, &files).unwrap().is_empty());
        std::fs::create_dir_all(below.join("artifact_3_0/b/c")).unwrap();
        assert_eq!(taken(&below, &files).unwrap(), [&files[1]]);
        // A link in the way is no directory.
        std::os::unix::fs::symlink("/", below.join("artifact_3_0/d")).unwrap();
        assert!(taken(&below, &[file("d/etc")]).is_err());
        assert!(taken(&below, &[file("../d")]).is_err());
    }
}
