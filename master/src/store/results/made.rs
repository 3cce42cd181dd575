//! Results that the master makes itself.

use super::Block;
use clusterrunner_common::ids::AtomId;
use clusterrunner_common::results::block::{
    AtomResult, BlockWriter, CheckedAtom, CheckedResult, Console, PackError,
};
use clusterrunner_core::effect::MadeResult;
use std::io;
use tokio_util::sync::CancellationToken;

/// The result of a subjob that no slave could run, in the layout in which slaves send theirs.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn block_of(made: &MadeResult) -> io::Result<(Block, CheckedResult)> {
    let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
    block.begin(made.subjob, made.attempt);
    for (id, atom) in (0..).map(AtomId).zip(&made.atoms) {
        let result = AtomResult {
            command: &atom.command,
            exit_code: atom.exit_code,
            seconds: 0.0,
            ended_at: 0,
            console: Console::Memory(atom.console.as_bytes()),
            artifacts: None,
        };
        block.add(id, &result).map_err(|error| match error {
            PackError::Write(error) => error,
            PackError::Canceled => io::Error::other(error),
        })?;
    }
    let length = block.uncompressed_length();
    let (bytes, _) = block.finish()?;
    let atoms = made.atoms.iter().map(|atom| CheckedAtom {
        exit_code: atom.exit_code,
        duration_ms: 0,
    });
    let result = CheckedResult {
        subjob: made.subjob,
        offset: 0,
        length,
        atoms: atoms.collect(),
        tests: Vec::new(),
    };
    Ok((Block::Memory(bytes), result))
}
