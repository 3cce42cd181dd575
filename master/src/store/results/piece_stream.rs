//! What is made piece by piece, as its reader takes it.

use bytes::Bytes;
use clusterrunner_common::turns::Turns;
use futures_util::Stream;
use std::io;
use tokio::task::spawn_blocking;

/// Something that is made piece by piece.
pub(super) trait Pieces: Send + 'static {
    /// The next piece; none at the end. Blocks.
    fn piece(&mut self) -> io::Result<Option<Bytes>>;
}

/// All pieces; each takes its turn. The stream ends in an error, not in an end, if one can not be made.
pub(super) fn stream(
    maker: impl Pieces,
    turns: Turns,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::unfold(Some((maker, turns)), |state| async {
        let (mut maker, turns) = state?;
        let turn = turns.take().await;
        let made = spawn_blocking(move || {
            let _turn = turn;
            let made = maker.piece();
            (maker, made)
        });
        match made.await {
            Ok((_, Ok(None))) => None,
            Ok((maker, Ok(Some(piece)))) => Some((Ok(piece), Some((maker, turns)))),
            Ok((_, Err(error))) => Some((Err(error), None)),
            Err(broken) => Some((Err(io::Error::other(broken)), None)),
        }
    })
}
