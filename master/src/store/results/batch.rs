//! Several results in one block, each judged by itself.

use super::received::from_start;
use super::{Block, Results, UnusableResult, add_reports, add_starts, add_usages, outcomes};
use clusterrunner_common::api::{AtomReport, Starts};
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::results::block::{
    BlockError, CheckedResult, FoundResult, check_results, copy_results,
};
use clusterrunner_common::work::AtomUsage;
use clusterrunner_core::builds::outcome::AtomOutcome;
use std::io::{self, BufWriter, Write as _};

/// A result that a block should hold.
#[derive(Debug)]
pub struct Expected {
    /// Of which subjob.
    pub subjob: SubjobId,
    /// How many atoms that has; `None` where the result is not wanted.
    pub num_atoms: Option<usize>,
    /// What the slave says beside it.
    pub reports: Vec<AtomReport>,
    /// When it says that the atoms started.
    pub starts: Starts,
    /// What it says that they used.
    pub usages: Vec<AtomUsage>,
}

/// A result with the outcomes of its atoms.
pub type Judged = Result<(CheckedResult, Vec<AtomOutcome>), UnusableResult>;

/// What is there of the results that a block should hold.
#[derive(Debug)]
pub struct CheckedBatch {
    /// A block with the usable ones of those that are wanted, and nothing else.
    pub block: Block,
    /// One for each that was expected, in order; `None` where it is not wanted.
    pub results: Vec<Option<Judged>>,
}

impl Results {
    /// Looks a block through that should hold these results in this order, and nothing else. A single
    /// result may come as a whole archive, which is made a block. Blocks.
    ///
    /// # Errors
    /// The disk refuses. The inner error says why nothing of the block can be used.
    pub fn check_batch(
        &self,
        build: BuildId,
        received: Block,
        expected: &[Expected],
    ) -> io::Result<Result<CheckedBatch, BlockError>> {
        if let [single] = expected
            && let Some(num_atoms) = single.num_atoms
        {
            let checked = self.check(build, received, single.subjob, num_atoms)?;
            return Ok(checked.map(|(block, result)| CheckedBatch {
                block,
                results: vec![Some(with_reports(single, result))],
            }));
        }
        let found = match &received {
            Block::Memory(bytes) => check_results(&**bytes),
            Block::File(file) => check_results(from_start(file.file())?),
        };
        let results = found.and_then(|found| assign(found, expected));
        let mut results = match results {
            Ok(results) => results,
            Err(error) => return Ok(Err(error)),
        };
        let is_usable = |judged: &Option<Judged>| matches!(judged, Some(Ok(_)));
        let block = match results.iter().all(is_usable) {
            true => received,
            false => self.without_the_rest(build, &received, &mut results)?,
        };
        Ok(Ok(CheckedBatch { block, results }))
    }

    /// A block of the usable results alone: what is stored is what the archive of the build is made of.
    fn without_the_rest(
        &self,
        build: BuildId,
        received: &Block,
        results: &mut [Option<Judged>],
    ) -> io::Result<Block> {
        let usable = results.iter_mut().flatten().flatten();
        let mut usable: Vec<&mut CheckedResult> = usable.map(|(result, _)| result).collect();
        let parts: Vec<(u64, u64)> = usable.iter().map(|r| (r.offset, r.length)).collect();
        let parts = parts.into_iter();
        let (block, offsets) = match received {
            Block::Memory(bytes) => {
                let mut anew = Vec::new();
                let offsets = copy_results(&**bytes, parts, &mut anew)?;
                (Block::Memory(anew), offsets)
            }
            Block::File(file) => {
                let anew = self.incoming(build)?;
                let mut out = BufWriter::new(anew.file());
                let offsets = copy_results(from_start(file.file())?, parts, &mut out)?;
                out.flush()?;
                drop(out);
                (Block::File(anew), offsets)
            }
        };
        for (result, offset) in usable.iter_mut().zip(offsets) {
            result.offset = offset;
        }
        Ok(block)
    }
}

/// Gives each expected result what was found of it. A result that is not expected spoils the block.
fn assign(
    found: Vec<FoundResult>,
    expected: &[Expected],
) -> Result<Vec<Option<Judged>>, BlockError> {
    let mut found = found.into_iter().peekable();
    let mut results = Vec::with_capacity(expected.len());
    for expected in expected {
        let result = found.next_if(|found| found.subjob() == expected.subjob);
        let result = match result {
            Some(found) => found.checked(),
            None => Err(BlockError::no_exit_code(expected.subjob, AtomId(0))),
        };
        let judged = expected.num_atoms.map(|num_atoms| {
            let result = result.and_then(|result| with_atoms(result, num_atoms))?;
            with_reports(expected, result)
        });
        results.push(judged);
    }
    match found.next() {
        None => Ok(results),
        Some(stray) => Err(stray_atom(stray.subjob(), 0)),
    }
}

/// The result, if it has so many atoms.
fn with_atoms(result: CheckedResult, num_atoms: usize) -> Result<CheckedResult, BlockError> {
    let num_found = result.atoms.len();
    match num_found.cmp(&num_atoms) {
        std::cmp::Ordering::Equal => Ok(result),
        std::cmp::Ordering::Greater => Err(stray_atom(result.subjob, num_atoms)),
        std::cmp::Ordering::Less => {
            let missing = AtomId(u32::try_from(num_found).unwrap_or(u32::MAX));
            Err(BlockError::no_exit_code(result.subjob, missing))
        }
    }
}

fn with_reports(expected: &Expected, result: CheckedResult) -> Judged {
    let mut outcomes = outcomes(&result);
    add_reports(&mut outcomes, &expected.reports)?;
    add_starts(&mut outcomes, &expected.starts);
    add_usages(&mut outcomes, &expected.usages);
    Ok((result, outcomes))
}

fn stray_atom(subjob: SubjobId, atom: usize) -> BlockError {
    let atom = AtomId(u32::try_from(atom).unwrap_or(u32::MAX));
    BlockError::StrayMember(format!("./{}", directory_name(subjob, atom)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::results::test_blocks::{BUILD, block, both};
    use clusterrunner_common::results::block::check_block;

    fn expected(subjob: u32, num_atoms: Option<usize>) -> Expected {
        Expected {
            subjob: SubjobId(subjob),
            num_atoms,
            reports: Vec::new(),
            starts: Starts::default(),
            usages: Vec::new(),
        }
    }

    /// What becomes of each, in a word, and which subjobs the block that is left holds; the same in
    /// memory and as a file.
    fn check(content: &[u8], expected: &[Expected]) -> Result<(String, Vec<u32>), String> {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        let judged = both(&results, content).map(|received| {
            let checked = results.check_batch(BUILD, received, expected).unwrap();
            let checked = checked.map_err(|error| error.to_string())?;
            let kept = match checked.block {
                Block::Memory(bytes) => check_block(&*bytes),
                Block::File(file) => check_block(from_start(file.file()).unwrap()),
            };
            let kept = kept.unwrap();
            let usable = checked.results.iter().flatten().flatten();
            let usable: Vec<&CheckedResult> = usable.map(|(result, _)| result).collect();
            assert_eq!(kept.iter().collect::<Vec<_>>(), usable);
            let word = |judged: &Option<Judged>| match judged {
                None => '-',
                Some(Ok(_)) => '+',
                Some(Err(_)) => '!',
            };
            let words = checked.results.iter().map(word).collect();
            Ok((words, kept.iter().map(|result| result.subjob.0).collect()))
        });
        let [memory, file] = judged;
        assert_eq!(memory, file);
        file
    }

    #[test]
    fn each_result_is_judged_by_itself_and_only_the_usable_are_kept() {
        let three = block(&[(5, 1), (2, 2), (9, 1)]);
        let ones = [Some(1), Some(2), Some(1)];
        let all = |atoms: [Option<usize>; 3]| {
            let [first, second, third] = atoms;
            [expected(5, first), expected(2, second), expected(9, third)]
        };
        let found = |words: &str, kept: &[u32]| Ok((words.to_owned(), kept.to_vec()));
        assert_eq!(check(&three, &all(ones)), found("+++", &[5, 2, 9]));
        let unwanted = all([None, Some(2), Some(1)]);
        assert_eq!(check(&three, &unwanted), found("-++", &[2, 9]));
        for wrong in [1, 3] {
            let unusable = all([Some(1), Some(wrong), Some(1)]);
            assert_eq!(check(&three, &unusable), found("+!+", &[5, 9]));
        }
        let mut misreported = all(ones);
        misreported[0].reports.push(AtomReport {
            id: AtomId(0),
            timed_out_after_s: Some(1),
            hit: None,
        });
        assert_eq!(check(&three, &misreported), found("!++", &[2, 9]));
        let missing = [
            expected(5, Some(1)),
            expected(7, Some(1)),
            expected(2, Some(2)),
        ];
        let two = block(&[(5, 1), (2, 2)]);
        assert_eq!(check(&two, &missing), found("+!+", &[5, 2]));
    }

    #[test]
    fn what_nobody_expects_spoils_the_block() {
        let three = block(&[(5, 1), (2, 1), (9, 1)]);
        let (five, two, nine) = (
            expected(5, Some(1)),
            expected(2, None),
            expected(9, Some(1)),
        );
        let stray = check(&three, &[five, nine]).unwrap_err();
        assert!(stray.contains("artifact_2_0"), "{stray}");
        let turned = [expected(2, Some(1)), expected(5, Some(1)), two];
        assert!(check(&three, &turned).is_err());
        let cut = &three[..three.len() - 20];
        let all = [
            expected(5, Some(1)),
            expected(2, Some(1)),
            expected(9, Some(1)),
        ];
        assert!(check(cut, &all).is_err());
        assert!(check(b"plain text", &all).is_err());
    }
}
