//! Finding out which pieces of which files make the archive of an ended build.

use super::archive::{Archive, MadeOf};
use super::build_store::{BuildStore, NewBlock, NewContent, UsedBlock};
use super::damage::damaged;
use super::incoming::Incoming;
use super::index::{BlockPlace, Key};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::results::block::copy_results;
use std::io;
use tokio_util::sync::CancellationToken;

impl Archive {
    /// Finds out what the archive consists of and brings that to disk. Blocks that hold other
    /// results as well are made anew without them. A report of tests comes after them.
    ///
    /// # Errors
    /// The disk refuses, or one of the results is not there.
    pub(super) fn make(
        store: &BuildStore,
        results: &[Key],
        failures: &[String],
        report: Option<Incoming>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let Some(mut blocks) = whole_blocks(store, results, stop)? else {
            return Ok(());
        };
        let kept = report
            .map(|report| keep_report(store, report))
            .transpose()?;
        blocks.extend(kept);
        let list = || {
            let made_of = MadeOf {
                results: Self::num_counted(results),
                index: store.index_now()?,
            };
            Self::of(blocks, failures, Timestamp::now(), Some(made_of))?
                .keep(store.directory(), store.has_lasting_names())
        };
        let listed = list();
        if let (Err(_), Some(report)) = (&listed, kept) {
            // The next try makes another one, and no index names this one.
            store.remove_large(report.file);
        }
        listed
    }

    /// The archive of a build that ended early, only in memory: a list on the disk would say that the build is whole.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub(super) fn partial(
        store: &BuildStore,
        results: &[Key],
        failures: &[String],
        at: Timestamp,
    ) -> io::Result<Self> {
        let blocks = whole_blocks(store, results, &CancellationToken::new())?;
        Self::of(blocks.unwrap_or_default(), failures, at, None)
    }

    /// The same again, only in memory, where what [`Self::make`] wrote down is damaged. It has no report of tests.
    ///
    /// # Errors
    /// The disk refuses, or the results of this build are not what the blocks hold.
    pub(super) fn again(
        store: &BuildStore,
        results: &[Key],
        failures: &[String],
        at: Timestamp,
    ) -> io::Result<Self> {
        let used = store.blocks_of(results)?;
        if !used.iter().all(|block| block.is_whole) {
            return Err(damaged("the list of its pieces can not be made anew"));
        }
        let blocks = used.into_iter().map(|block| block.place);
        Self::of(blocks.collect(), failures, at, None)
    }

    /// Whether the index still says what it was made by, as far as that is known.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn fits(&self, store: &BuildStore) -> io::Result<bool> {
        self.made_of
            .map_or(Ok(true), |made_of| store.has_kept_index(made_of.index))
    }
}

/// The blocks that hold these results and no others; those that do are made anew without them. Nothing if it was told
/// to stop.
fn whole_blocks(
    store: &BuildStore,
    results: &[Key],
    stop: &CancellationToken,
) -> io::Result<Option<Vec<BlockPlace>>> {
    let used = store.blocks_of(results)?;
    let (whole, partly): (Vec<UsedBlock>, _) = used.into_iter().partition(|b| b.is_whole);
    let mut blocks: Vec<_> = whole.into_iter().map(|block| block.place).collect();
    if !partly.is_empty() {
        let mut anew = Vec::new();
        let mut keys = Vec::new();
        for block in partly {
            if stop.is_cancelled() {
                return Ok(None);
            }
            keys.extend(block.results.iter().map(|(key, ..)| *key));
            anew.push(without_the_rest(store, &block)?);
        }
        store.append(anew)?;
        blocks.extend(store.blocks_of(&keys)?.into_iter().map(|block| block.place));
    }
    Ok(Some(blocks))
}

/// Stores a report of tests like a large block that has no result.
fn keep_report(store: &BuildStore, report: Incoming) -> io::Result<BlockPlace> {
    let place = BlockPlace {
        file: report.number(),
        offset: 0,
        length: report.file().metadata()?.len(),
    };
    store.append(vec![NewBlock {
        content: NewContent::File(report),
        results: Vec::new(),
        tests: Vec::new(),
    }])?;
    Ok(place)
}

/// The wanted results of a block as a block of their own.
fn without_the_rest(store: &BuildStore, block: &UsedBlock) -> io::Result<NewBlock> {
    let incoming = Incoming::new(store.directory())?;
    let parts = block
        .results
        .iter()
        .map(|(_, offset, length)| (*offset, *length));
    let offsets = copy_results(store.read_block(block.place)?, parts, incoming.file())?;
    let results = block.results.iter().zip(offsets);
    let results = results.map(|((key, _, length), offset)| (*key, offset, *length));
    Ok(NewBlock {
        results: results.collect(),
        content: NewContent::File(incoming),
        // Those of its results are kept already.
        tests: Vec::new(),
    })
}
