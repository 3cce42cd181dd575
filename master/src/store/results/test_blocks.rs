//! Blocks for tests, as they come from slaves.

use super::{Block, Results};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console};
use std::io::Write as _;
use tokio_util::sync::CancellationToken;

pub(super) const BUILD: BuildId = BuildId(1);

/// What each atom of [`block`] ended with, and how long it took.
pub(super) const EXIT_CODE: i32 = 7;
pub(super) const DURATION_MS: u64 = 1250;

/// A block with results of these subjobs, each of so many atoms.
pub(super) fn block(subjobs: &[(u32, u32)]) -> Vec<u8> {
    let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
    for (subjob, num_atoms) in subjobs {
        block.begin(SubjobId(*subjob), Attempt(1));
        for atom in 0..*num_atoms {
            let result = AtomResult {
                command: "true",
                exit_code: EXIT_CODE,
                seconds: 1.25,
                ended_at: 0,
                console: Console::Memory(b"said\n"),
                artifacts: None,
            };
            block.add(AtomId(atom), &result).unwrap();
        }
    }
    block.finish().unwrap().0
}

/// What came, in memory and as a file.
pub(super) fn both(results: &Results, content: &[u8]) -> [Block; 2] {
    let file = results.incoming(BUILD).unwrap();
    file.file().write_all(content).unwrap();
    [Block::Memory(content.to_vec()), Block::File(file)]
}
