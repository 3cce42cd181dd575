//! Results as slaves send them: looked through before they count.

use super::{Block, Results};
use clusterrunner_common::api::{AtomReport, Starts, TIMED_OUT_EXIT_CODE};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::space::is_disk_full;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::results::block::{
    BlockError, CheckedResult, check_block, convert_archive,
};
use clusterrunner_common::work::AtomUsage;
use clusterrunner_core::builds::outcome::{AtomOutcome, AtomTrouble};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek as _, Write as _};

/// What is wrong with an uploaded result. The text goes to the slave and into the log.
#[derive(Debug, thiserror::Error)]
pub enum UnusableResult {
    /// Its content.
    #[error(transparent)]
    Content(#[from] BlockError),
    /// What its slave reports beside it contradicts it.
    #[error("the report about atom {0} does not fit the result")]
    ReportMisfit(AtomId),
}

impl Results {
    /// Looks through what came as the result of a subjob of so many atoms: a block, or a whole
    /// archive, which is made one. Blocks.
    ///
    /// # Errors
    /// The disk refuses. The inner error says what is wrong with the result.
    pub fn check(
        &self,
        build: BuildId,
        received: Block,
        subjob: SubjobId,
        num_atoms: usize,
    ) -> io::Result<Result<(Block, CheckedResult), BlockError>> {
        let checked = match &received {
            Block::Memory(bytes) => check_block(&**bytes),
            Block::File(file) => check_block(from_start(file.file())?),
        };
        let checked = checked.and_then(|results| only(results, subjob, num_atoms));
        let is_archive = match &checked {
            Err(BlockError::StrayMember(name)) => !name.starts_with("./"),
            // An archive without any members.
            Err(BlockError::TooLong) => true,
            Ok(_) | Err(_) => false,
        };
        if !is_archive {
            return Ok(checked.map(|result| (received, result)));
        }
        let converted = match received {
            Block::Memory(archive) => {
                let mut bytes = Vec::new();
                let result = convert_archive(&*archive, subjob, num_atoms, &mut bytes);
                result.map(|result| (Block::Memory(bytes), result))
            }
            Block::File(archive) => {
                let file = self.incoming(build)?;
                let archive = from_start(archive.file())?;
                let mut out = BufWriter::new(file.file());
                let result = convert_archive(archive, subjob, num_atoms, &mut out);
                out.flush()?;
                drop(out);
                result.map(|result| (Block::File(file), result))
            }
        };
        match converted {
            Err(BlockError::NotAnArchive(error)) if is_disk_full(&error) => Err(error),
            converted => Ok(converted),
        }
    }
}

pub(super) fn from_start(mut file: &File) -> io::Result<impl BufRead> {
    file.rewind()?;
    Ok(BufReader::new(file))
}

/// The one result of a block, which is of this subjob.
fn only(
    results: Vec<CheckedResult>,
    subjob: SubjobId,
    num_atoms: usize,
) -> Result<CheckedResult, BlockError> {
    let stray = |subjob, atom| {
        let atom = AtomId(u32::try_from(atom).unwrap_or(u32::MAX));
        BlockError::StrayMember(format!("./{}", directory_name(subjob, atom)))
    };
    let mut wanted = None;
    for result in results {
        if result.subjob != subjob {
            return Err(stray(result.subjob, 0));
        }
        wanted = Some(result);
    }
    let num_found = wanted.as_ref().map_or(0, |result| result.atoms.len());
    match wanted {
        Some(result) if num_found == num_atoms => Ok(result),
        _ if num_found > num_atoms => Err(stray(subjob, num_atoms)),
        _ => {
            let missing = AtomId(u32::try_from(num_found).unwrap_or(u32::MAX));
            Err(BlockError::no_exit_code(subjob, missing))
        }
    }
}

/// How each atom of a result ended.
#[must_use]
pub fn outcomes(result: &CheckedResult) -> Vec<AtomOutcome> {
    let outcome = |atom: &clusterrunner_common::results::block::CheckedAtom| AtomOutcome {
        exit_code: atom.exit_code,
        duration_ms: atom.duration_ms,
        trouble: None,
        started_at: None,
        usage: None,
    };
    result.atoms.iter().map(outcome).collect()
}

/// Adds when each atom started. Where that is said of the first ones only, the others started when the one
/// before had ended.
pub fn add_starts(outcomes: &mut [AtomOutcome], starts: &Starts) {
    let (mut starts, mut next) = (starts.times(), None);
    for outcome in outcomes {
        outcome.started_at = starts.next().or(next);
        let after = |start: Timestamp| Timestamp(start.0.saturating_add(outcome.duration_ms));
        next = outcome.started_at.map(after);
    }
}

/// Adds what the atoms used. Of those of which that is not said it is not known.
pub fn add_usages(outcomes: &mut [AtomOutcome], usages: &[AtomUsage]) {
    for (outcome, usage) in outcomes.iter_mut().zip(usages) {
        outcome.usage = Some(*usage);
    }
}

/// Adds what the slave says beside the result.
///
/// # Errors
/// [`UnusableResult::ReportMisfit`]: an atom that is not there, or has another exit code than one
/// that timed out, or than one that failed at a limit.
pub fn add_reports(
    outcomes: &mut [AtomOutcome],
    reports: &[AtomReport],
) -> Result<(), UnusableResult> {
    for report in reports {
        let misfit = UnusableResult::ReportMisfit(report.id);
        let outcome = outcomes.get_mut(report.id.0 as usize);
        match (report.timed_out_after_s, report.hit, outcome) {
            (None, None, _) => {}
            (Some(after_s), hit, Some(outcome)) if outcome.exit_code == TIMED_OUT_EXIT_CODE => {
                outcome.trouble = Some(AtomTrouble::TimedOut { after_s, hit });
            }
            (None, Some(hit), Some(outcome)) if outcome.exit_code != 0 => {
                outcome.trouble = Some(AtomTrouble::Limit { hit });
            }
            _ => return Err(misfit),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::results::test_blocks::{BUILD, DURATION_MS, EXIT_CODE, block, both};
    use clusterrunner_common::work::LimitHit;

    fn archive() -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        let name = "artifact_3_0/clusterrunner_exit_code";
        tar.append_data(&mut header, name, &b"7\n"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// What becomes of it in memory and as a file.
    fn check(content: &[u8], num_atoms: usize) -> Result<Vec<AtomOutcome>, String> {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        let checked = both(&results, content).map(|received| {
            let checked = results.check(BUILD, received, SubjobId(3), num_atoms);
            let checked = checked.unwrap().map_err(|error| error.to_string());
            checked.map(|(_, result)| outcomes(&result))
        });
        let [memory, file] = checked;
        assert_eq!(memory, file);
        file
    }

    fn outcome(exit_code: i32, duration_ms: u64) -> AtomOutcome {
        AtomOutcome {
            exit_code,
            duration_ms,
            trouble: None,
            started_at: None,
            usage: None,
        }
    }

    #[test]
    fn blocks_and_archives_of_the_right_subjob_are_taken() {
        assert_eq!(
            check(&block(&[(3, 2)]), 2),
            Ok(vec![outcome(EXIT_CODE, DURATION_MS); 2])
        );
        assert_eq!(check(&archive(), 1), Ok(vec![outcome(7, 0)]));
    }

    #[test]
    fn what_is_not_of_this_subjob_is_unusable() {
        for (content, num_atoms, expected) in [
            (block(&[(4, 1)]), 1, "'./artifact_4_0' does not belong"),
            (
                block(&[(3, 1), (4, 1)]),
                1,
                "'./artifact_4_0' does not belong",
            ),
            (block(&[(3, 2)]), 1, "'./artifact_3_1' does not belong"),
            (
                block(&[(3, 1)]),
                2,
                "artifact_3_1/clusterrunner_exit_code is missing",
            ),
            (
                block(&[]),
                1,
                "artifact_3_0/clusterrunner_exit_code is missing",
            ),
            (
                archive(),
                2,
                "artifact_3_1/clusterrunner_exit_code is missing",
            ),
            (
                archive(),
                0,
                "'artifact_3_0/clusterrunner_exit_code' does not belong",
            ),
            (b"plain text".to_vec(), 1, "not a gzip"),
        ] {
            let found = check(&content, num_atoms).unwrap_err();
            assert!(found.contains(expected), "{found} lacks {expected}");
        }
    }

    #[test]
    fn atoms_of_which_no_start_is_said_began_when_the_one_before_ended() {
        let times = |outcomes: &[AtomOutcome]| -> Vec<Option<u64>> {
            let times = outcomes.iter().map(|outcome| outcome.started_at);
            times.map(|time| Some(time?.0)).collect()
        };
        let mut outcomes = [outcome(0, 5), outcome(0, 7), outcome(0, 0)];
        add_starts(&mut outcomes, &Starts::default());
        assert_eq!(times(&outcomes), [None; 3]);
        let starts = [1000, 1006].map(Timestamp).into_iter().collect();
        add_starts(&mut outcomes, &starts);
        assert_eq!(times(&outcomes), [1000, 1006, 1013].map(Some));
        let sent = serde_json::to_value(&starts).unwrap();
        assert_eq!(sent, serde_json::json!([1000, 6]));
    }

    #[test]
    fn what_is_not_said_of_an_atom_is_not_known() {
        let usage = AtomUsage {
            output_bytes: 7,
            processes: None,
            in_vain_ms: 0,
            last_in_vain: None,
            worker: None,
        };
        let mut outcomes = [outcome(0, 5), outcome(0, 7)];
        add_usages(&mut outcomes, &[usage]);
        assert_eq!(outcomes.map(|outcome| outcome.usage), [Some(usage), None]);
        let mut none: [AtomOutcome; 0] = [];
        add_usages(&mut none, &[usage]);
    }

    #[test]
    fn a_report_must_fit_the_result() {
        let report = |id| AtomReport {
            id: AtomId(id),
            timed_out_after_s: Some(7),
            hit: Some(LimitHit::Processes { limit: 40 }),
        };
        let mut outcomes = [outcome(1, 0), outcome(TIMED_OUT_EXIT_CODE, 0)];
        add_reports(&mut outcomes, &[report(1)]).unwrap();
        let trouble = outcomes[1].trouble.unwrap();
        let hit = Some(LimitHit::Processes { limit: 40 });
        assert_eq!(trouble, AtomTrouble::TimedOut { after_s: 7, hit });
        assert_eq!(outcomes[0], outcome(1, 0));
        for misfit in [0, 2] {
            add_reports(&mut outcomes, &[report(misfit)]).unwrap_err();
        }
    }
}
