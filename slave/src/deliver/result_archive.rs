//! Packs results: a block, as our master keeps it, or the archive that a master of the original takes.

use crate::data_directory::remove_all;
use crate::deliver::result_note::ResultNote;
use crate::work::{AtomConsole, AtomEnd, HandOut};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{AtomId, SubjobId};
use clusterrunner_common::junit::{Reported, collect};
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console, PackError};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// The kind of master that takes results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    Ours,
    Original,
}

/// Writes what the atoms of some subjobs printed and left, and how they ended, in the form in which it
/// is delivered. Its header says `note`, which names the same hand-outs in the same order. Says what of the artifacts is
/// not in it, and which reports of tests were not read. Blocks.
pub(crate) fn pack<'a, W: Write>(
    out: W,
    note: &ResultNote,
    results: impl Iterator<Item = (HandOut, &'a [AtomEnd])>,
    taker: Taker,
    stop: &CancellationToken,
) -> Result<(W, Option<String>), PackError> {
    let (comment, to_stop) = (note.to_comment()?, stop);
    let stop = stop.clone();
    let mut said = Vec::new();
    let mut block = match taker {
        Taker::Ours => BlockWriter::with_comment(&comment, out, stop),
        Taker::Original => BlockWriter::for_the_original(&comment, out, stop),
    };
    for (hand_out, atoms) in results {
        block.begin(hand_out.subjob, hand_out.attempt);
        for (id, atom) in (0..).map(AtomId).zip(atoms) {
            let reports = match taker {
                Taker::Ours if atom.tests.is_none() => reports(hand_out.subjob, id, atom, to_stop),
                Taker::Ours | Taker::Original => None,
            };
            let (tests, warning) = match reports {
                // In this order: what does not fit is said too.
                Some(mut reports) => (reports.to_form(), reports.warning_beside_artifacts()),
                None => (None, None),
            };
            said.extend(warning);
            let known = atom.tests.as_deref().filter(|known| !known.is_empty());
            add(&mut block, id, atom, tests.as_deref().or(known))?;
        }
    }
    said.extend(block.left_out());
    let left_out = (!said.is_empty()).then(|| said.join("; "));
    let mut out = match taker {
        Taker::Ours => block.finish()?.0,
        Taker::Original => block.finish_archive()?,
    };
    out.flush()?;
    Ok((out, left_out))
}

/// What the reports of an atom say of its tests; nothing where it left no files.
fn reports(
    subjob: SubjobId,
    id: AtomId,
    atom: &AtomEnd,
    stop: &CancellationToken,
) -> Option<Reported> {
    let artifacts = atom.artifacts.as_deref()?;
    let known_as = directory_name(subjob, id);
    let is_to_stop = || stop.is_cancelled();
    let (junit, mask) = (&atom.junit, &atom.mask);
    Some(collect(artifacts, &known_as, junit, mask, &is_to_stop))
}

fn add<W: Write>(
    block: &mut BlockWriter<W>,
    id: AtomId,
    atom: &AtomEnd,
    tests: Option<&[u8]>,
) -> Result<(), PackError> {
    let file = match &atom.console {
        AtomConsole::Memory(_) => None,
        AtomConsole::File(path) => open_or_leave_out(path),
    };
    let console = match (&atom.console, &file) {
        (AtomConsole::Memory(text), _) => Console::Memory(text),
        (AtomConsole::File(_), Some(file)) => Console::File(file),
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
    block.add_with_tests(id, &result, tests)
}

/// Removes what atoms left on the disk, once it is packed or not wanted any more. Blocks.
pub(crate) fn remove_files(atoms: &[AtomEnd]) {
    for atom in atoms {
        let console = match &atom.console {
            AtomConsole::File(path) => Some(path),
            AtomConsole::Memory(_) => None,
        };
        for path in console.into_iter().chain(&atom.artifacts) {
            if let Err(error) = remove_all(path) {
                // The build's clean-up tries again.
                tracing::debug!(path = %path.display(), %error, "could not remove what an atom left");
            }
        }
    }
}

fn open_or_leave_out(path: &Path) -> Option<File> {
    match open_console(path) {
        Ok(file) => file,
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "the console of an atom could not be read and is left out");
            None
        }
    }
}

/// Opens what is a file: what the atom left running may still put anything in its place.
pub(crate) fn open_console(path: &Path) -> io::Result<Option<File>> {
    match regular_file::open_itself(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_directory::DataDirectory;
    use crate::deliver::result_note::entry;
    use crate::master::clock::MasterClock;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SessionId, SubjobId};
    use clusterrunner_common::results::artifact::CONSOLE_FILE;
    use clusterrunner_common::results::block::{check_block, convert_archive};
    use clusterrunner_common::work::AtomUsage;
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

        /// The artifact directory of an atom, there with a console.
        fn atom(&self, atom: u32) -> PathBuf {
            let directory = self
                .data
                .artifact_directory(ExecutorIndex(0), u64::from(atom));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(CONSOLE_FILE), format!("atom {atom}\n")).unwrap();
            directory
        }

        /// Where the atoms left everything in files.
        fn ends(&self, num_atoms: u32) -> Vec<AtomEnd> {
            let end = |atom: u32| {
                let directory = self
                    .data
                    .artifact_directory(ExecutorIndex(0), u64::from(atom));
                AtomEnd {
                    command: "true".to_owned(),
                    exit_code: i32::try_from(atom).unwrap(),
                    started_at: Timestamp(1_700_000_000_000),
                    took: Duration::from_millis(1250),
                    ended_at: 1_700_000_000,
                    timed_out: (atom == 2).then_some(Duration::from_secs(5)),
                    hit: None,
                    usage: AtomUsage {
                        output_bytes: 0,
                        processes: None,
                        in_vain_ms: 0,
                        last_in_vain: None,
                        worker: None,
                    },
                    console: AtomConsole::File(directory.join(CONSOLE_FILE)),
                    artifacts: Some(directory),
                    junit: std::sync::Arc::default(),
                    mask: std::sync::Arc::default(),
                    tests: None,
                }
            };
            (0..num_atoms).map(end).collect()
        }

        fn pack(&self, num_atoms: u32, taker: Taker) -> Result<Vec<u8>, PackError> {
            let ends = self.ends(num_atoms);
            let results = [(hand_out(), &ends[..])].into_iter();
            pack(Vec::new(), &note(num_atoms), results, taker, &self.stop).map(|(out, _)| out)
        }
    }

    fn hand_out() -> HandOut {
        HandOut {
            build: BuildId(7),
            subjob: SUBJOB,
            attempt: Attempt(2),
        }
    }

    fn note(num_atoms: u32) -> ResultNote {
        let ends = Scenario::new().ends(num_atoms);
        ResultNote {
            master: None,
            build: BuildId(7),
            session: SessionId("s".to_owned()),
            results: vec![entry(
                hand_out(),
                ExecutorIndex(0),
                &ends,
                &MasterClock::default(),
            )],
        }
    }

    #[test]
    fn a_torn_or_damaged_result_is_found_out() {
        let scenario = Scenario::new();
        scenario.atom(0);
        let whole = scenario.pack(1, Taker::Ours).unwrap();
        assert_eq!(ResultNote::read_checked(&whole[..]).unwrap(), note(1));
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

    fn members(archive: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
        let file = flate2::read::GzDecoder::new(archive);
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
        let atom = scenario.atom(0);
        let deep = atom.join("d".repeat(200)).join("e".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("ü \n"), "deep").unwrap();
        std::fs::create_dir(atom.join("empty")).unwrap();
        std::os::unix::fs::symlink("x".repeat(300), atom.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(atom.join("socket")).unwrap();
        // A console that is none any more; the third atom left nothing at all.
        std::fs::remove_file(scenario.atom(1).join(CONSOLE_FILE)).unwrap();
        let result = scenario.pack(3, Taker::Ours).unwrap();
        let read = ResultNote::read_checked(&result[..]).unwrap();
        assert_eq!(read, note(3));
        assert_eq!(read.results[0].atoms[0].timed_out_after_s, Some(5));
        let checked = check_block(BufReader::new(&result[..])).unwrap().remove(0);
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
        // Two atoms with nothing but our four files, one with seven more.
        assert_eq!(members.len(), 3 * 5 + 5);
    }

    #[test]
    fn a_master_of_the_original_gets_a_whole_archive() {
        let scenario = Scenario::new();
        scenario.atom(0);
        let result = scenario.pack(1, Taker::Original).unwrap();
        assert_eq!(ResultNote::read_checked(&result[..]).unwrap(), note(1));
        let archive = BufReader::new(&result[..]);
        convert_archive(archive, SUBJOB, 1, io::sink()).unwrap();
        let members = members(&result);
        let console = Path::new("artifact_1_0").join(CONSOLE_FILE);
        assert_eq!(members[&console], b"atom 0\n");
    }

    #[test]
    fn a_canceled_result_is_not_packed_and_its_files_can_be_removed() {
        let scenario = Scenario::new();
        let atom = scenario.atom(0);
        scenario.stop.cancel();
        scenario.pack(1, Taker::Ours).unwrap_err();
        remove_files(&scenario.ends(1));
        assert!(!atom.exists());
        // What is gone already is no trouble.
        remove_files(&scenario.ends(1));
    }

    #[test]
    fn many_results_share_a_block() {
        let end = |text: &str| AtomEnd {
            command: "true".to_owned(),
            exit_code: 3,
            started_at: Timestamp(1_700_000_000_000),
            took: Duration::ZERO,
            ended_at: 0,
            timed_out: None,
            hit: None,
            usage: AtomUsage {
                output_bytes: 0,
                processes: None,
                in_vain_ms: 0,
                last_in_vain: None,
                worker: None,
            },
            console: AtomConsole::Memory(text.as_bytes().to_vec()),
            artifacts: None,
            junit: std::sync::Arc::default(),
            mask: std::sync::Arc::default(),
            tests: None,
        };
        let ends = [vec![end("a"), end("b")], vec![end("c")]];
        let mut second = hand_out();
        second.subjob = SubjobId(0);
        let results = [(hand_out(), &ends[0][..]), (second, &ends[1][..])];
        let note = ResultNote {
            master: None,
            build: BuildId(7),
            session: SessionId("s".to_owned()),
            results: results
                .iter()
                .map(|(h, ends)| entry(*h, ExecutorIndex(0), ends, &MasterClock::default()))
                .collect(),
        };
        let stop = CancellationToken::new();
        let packed = pack(Vec::new(), &note, results.into_iter(), Taker::Ours, &stop);
        let (block, _) = packed.unwrap();
        let read = ResultNote::read_checked(&block[..]).unwrap();
        assert_eq!(read.hand_outs().collect::<Vec<_>>(), [hand_out(), second]);
        let checked = check_block(BufReader::new(&block[..])).unwrap();
        let subjobs: Vec<_> = checked.iter().map(|result| result.subjob).collect();
        assert_eq!(subjobs, [SUBJOB, SubjobId(0)]);
        let members = members(&block);
        let console = |directory: &str| &members[&Path::new(directory).join(CONSOLE_FILE)];
        assert_eq!(console("./artifact_1_1"), b"b");
        assert_eq!(console("./artifact_0_0"), b"c");
    }
}
