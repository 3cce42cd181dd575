//! Connections that go on in another protocol, such as web sockets: bytes pass both ways until one side ends.

use super::uses::{Taken, Use};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio_util::sync::CancellationToken;

/// How much is taken from one side at a time.
const PIECE: usize = 16 << 10;

/// Joins both sides of an upgrade until one of them fails, both have ended, or `stop`.
pub(super) async fn join(
    user: OnUpgrade,
    program: OnUpgrade,
    taken: Taken,
    stop: CancellationToken,
) {
    let joined = async {
        let (user, program) = tokio::try_join!(user, program).map_err(io::Error::other)?;
        pass(user, program, &taken.using).await
    };
    let ended = tokio::select! {
        ended = joined => ended,
        () = stop.cancelled() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an upgraded connection to an instance ended early");
    }
}

async fn pass(user: Upgraded, program: Upgraded, using: &Use) -> io::Result<()> {
    let (mut from_user, mut to_user) = split(TokioIo::new(user));
    let (mut from_program, mut to_program) = split(TokioIo::new(program));
    tokio::try_join!(
        copy(&mut from_user, &mut to_program, using),
        copy(&mut from_program, &mut to_user, using),
    )?;
    Ok(())
}

/// What moves keeps the instance from being idle; a connection that is merely open does not.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    using: &Use,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        using.goes_on();
        to.write_all(&piece[..length]).await?;
    }
}
