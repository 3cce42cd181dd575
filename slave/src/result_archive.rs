//! Packs the result of a subjob: a block, as our master keeps it, or the archive that a master of the
//! original takes.

use crate::data_directory::{DataDirectory, remove_all};
use crate::result_note::ResultNote;
use crate::work::{AtomConsole, AtomEnd};
use clusterrunner_common::ids::AtomId;
use clusterrunner_common::result_block::{AtomResult, BlockWriter, Console, PackError};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Who is to take a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    Ours,
    Original,
}

/// Packs what the atoms of a subjob printed and left, and how they ended, into the file that is
/// delivered. Its header says `note`. Blocks.
pub(crate) fn pack(
    data: &DataDirectory,
    note: &ResultNote,
    atoms: &[AtomEnd],
    taker: Taker,
    stop: &CancellationToken,
) -> Result<(), PackError> {
    let path = data.result_file(note.hand_out());
    let packed = write_result(note, atoms, taker, &path, stop);
    if packed.is_err() {
        // The build's clean-up removes it in any case.
        std::fs::remove_file(&path).ok();
    } else {
        atoms.iter().for_each(remove_files);
    }
    packed
}

/// What was packed of an atom is not needed any more. What can not be removed goes with the build.
fn remove_files(atom: &AtomEnd) {
    let console = match &atom.console {
        AtomConsole::File(path) => Some(path),
        AtomConsole::Memory(_) => None,
    };
    for path in console.into_iter().chain(&atom.artifacts) {
        if let Err(error) = remove_all(path) {
            tracing::debug!(path = %path.display(), %error, "could not remove what was packed");
        }
    }
}

fn write_result(
    note: &ResultNote,
    atoms: &[AtomEnd],
    taker: Taker,
    path: &Path,
    stop: &CancellationToken,
) -> Result<(), PackError> {
    let out = BufWriter::new(File::create(path)?);
    let (comment, stop) = (note.to_comment()?, stop.clone());
    let mut block = match taker {
        Taker::Ours => BlockWriter::with_comment(comment, out, stop),
        Taker::Original => BlockWriter::for_the_original(comment, out, stop),
    };
    let hand_out = note.hand_out();
    block.begin(hand_out.subjob, hand_out.attempt);
    for (id, atom) in (0..).map(AtomId).zip(atoms) {
        let file = match &atom.console {
            AtomConsole::File(path) => open_console(path)?,
            AtomConsole::Memory(_) => None,
        };
        let console = match (&atom.console, &file) {
            (_, Some(file)) => Console::File(file),
            (AtomConsole::Memory(text), None) => Console::Memory(text),
            (AtomConsole::File(_), None) => Console::Memory(b""),
        };
        let result = AtomResult {
            command: &atom.command,
            exit_code: atom.exit_code,
            seconds: atom.took.as_secs_f64(),
            ended_at: atom.ended_at,
            console,
            artifacts: atom.artifacts.as_deref(),
        };
        block.add(id, &result)?;
    }
    let mut out = match taker {
        Taker::Ours => block.finish()?.0,
        Taker::Original => block.finish_archive()?,
    };
    Ok(out.flush()?)
}

/// Opens what is a file: what the atom left running may still put anything in its place.
fn open_console(path: &Path) -> io::Result<Option<File>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    match opened {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the console of an atom could not be read and is left out");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::HandOut;
    use clusterrunner_common::api::AtomReport;
    use clusterrunner_common::artifact::CONSOLE_FILE;
    use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SessionId, SubjobId};
    use clusterrunner_common::result_block::{check_block, convert_archive};
    use std::collections::BTreeMap;
    use std::io::{BufReader, Read as _};
    use std::path::PathBuf;
    use std::time::Duration;

    const SUBJOB: SubjobId = SubjobId(1);

    struct Scenario {
        _base: tempfile::TempDir,
        data: DataDirectory,
        stop: CancellationToken,
    }

    impl Scenario {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let session = SessionId("s".to_owned());
            let data = DataDirectory::open(base.path(), 1, session).unwrap();
            data.empty().unwrap();
            std::fs::create_dir_all(data.results(BuildId(7))).unwrap();
            Self {
                _base: base,
                data,
                stop: CancellationToken::new(),
            }
        }

        /// An atom that printed something, and its artifact directory.
        fn atom(&self, atom: i32) -> (AtomEnd, PathBuf) {
            let number = u64::from(atom.unsigned_abs());
            let directory = self
                .data
                .artifact_directory(BuildId(7), ExecutorIndex(0), number);
            std::fs::create_dir_all(&directory).unwrap();
            let end = AtomEnd {
                command: "true".to_owned(),
                exit_code: atom,
                took: Duration::from_millis(1250),
                ended_at: 1_700_000_000,
                timed_out: None,
                console: AtomConsole::Memory(format!("atom {atom}\n").into_bytes()),
                artifacts: Some(directory.clone()),
            };
            (end, directory)
        }

        fn pack(&self, atoms: &[AtomEnd], taker: Taker) -> Result<PathBuf, PackError> {
            pack(&self.data, &note(), atoms, taker, &self.stop)?;
            Ok(self.data.result_file(note().hand_out()))
        }
    }

    fn note() -> ResultNote {
        let hand_out = HandOut {
            build: BuildId(7),
            subjob: SUBJOB,
            attempt: Attempt(2),
        };
        let report = AtomReport {
            id: AtomId(2),
            timed_out_after_s: Some(5),
        };
        ResultNote::new(hand_out, SessionId("s".to_owned()), vec![report])
    }

    #[test]
    fn a_torn_or_damaged_result_is_found_out() {
        let scenario = Scenario::new();
        let (atom, _) = scenario.atom(0);
        let whole = std::fs::read(scenario.pack(&[atom], Taker::Ours).unwrap()).unwrap();
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
        let scenario = Scenario::new();
        let (first, atom) = scenario.atom(0);
        let deep = atom.join("d".repeat(200)).join("e".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("ü \n"), "deep").unwrap();
        std::fs::create_dir(atom.join("empty")).unwrap();
        std::os::unix::fs::symlink("x".repeat(300), atom.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(atom.join("socket")).unwrap();
        // A console that is none any more; one that is a file, of an atom that left nothing.
        let (mut second, _) = scenario.atom(1);
        second.console = AtomConsole::File(scenario.data.path().join("gone"));
        let (mut third, _) = scenario.atom(2);
        let kept = scenario.data.kept_console(note().hand_out(), AtomId(2));
        std::fs::write(&kept, "large\n").unwrap();
        third.console = AtomConsole::File(kept.clone());
        third.artifacts = None;
        let atoms = [first, second, third];
        let result = scenario.pack(&atoms, Taker::Ours).unwrap();
        assert!(!kept.exists() && !atom.exists());
        let block = || BufReader::new(File::open(&result).unwrap());
        assert_eq!(ResultNote::read_checked(block()).unwrap(), note());
        let checked = check_block(block()).unwrap().remove(0);
        let codes: Vec<i32> = checked.atoms.iter().map(|atom| atom.exit_code).collect();
        assert_eq!(codes, [0, 1, 2]);
        let members = members(&result);
        let root = Path::new("./artifact_1_0");
        let deep = root.join("d".repeat(200)).join("e".repeat(200));
        assert_eq!(members[&deep.join("ü \n")], b"deep");
        assert!(members.contains_key(&root.join("empty")));
        assert!(members.contains_key(&root.join("link")));
        assert!(!members.contains_key(&root.join("socket")));
        assert_eq!(members[&root.join(CONSOLE_FILE)], b"atom 0\n");
        let second = Path::new("./artifact_1_1");
        assert_eq!(members[&second.join(CONSOLE_FILE)], b"");
        let third = Path::new("./artifact_1_2");
        assert_eq!(members[&third.join(CONSOLE_FILE)], b"large\n");
        // Two atoms with nothing but our four files, one with seven more.
        assert_eq!(members.len(), 3 * 5 + 5);
    }

    #[test]
    fn a_master_of_the_original_gets_a_whole_archive() {
        let scenario = Scenario::new();
        let (atom, _) = scenario.atom(0);
        let result = scenario.pack(&[atom], Taker::Original).unwrap();
        let archive = || BufReader::new(File::open(&result).unwrap());
        assert_eq!(ResultNote::read_checked(archive()).unwrap(), note());
        convert_archive(archive(), SUBJOB, 1, io::sink()).unwrap();
        let members = members(&result);
        let console = Path::new("artifact_1_0").join(CONSOLE_FILE);
        assert_eq!(members[&console], b"atom 0\n");
    }

    #[test]
    fn nothing_is_left_of_a_canceled_result() {
        let scenario = Scenario::new();
        let (atom, directory) = scenario.atom(0);
        scenario.stop.cancel();
        std::fs::write(directory.join("x"), "").unwrap();
        scenario.pack(&[atom], Taker::Ours).unwrap_err();
        assert!(!scenario.data.result_file(note().hand_out()).exists());
    }
}
