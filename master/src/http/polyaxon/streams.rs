//! What the logs of builds are read from and sent through.

use super::logs;
use crate::consoles::Consoles;
use crate::http::sockets::Sockets;
use crate::read::builds::Builds;
use crate::read::feed::Feed;
use crate::store::results::Results;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::turns::Turns;
use tokio_util::sync::CancellationToken;

/// What the logs of builds are read from and sent through.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    /// The consoles of atoms.
    pub(super) consoles: Consoles,
    /// What happens to builds.
    pub(super) feed: Feed,
    /// The web sockets.
    pub(super) sockets: Sockets,
    /// The logs that are put together and sent as a text.
    pub(super) logs: Turns,
}

impl Streams {
    /// Streams of these builds, whose sockets are open until `stop` at the latest.
    #[must_use]
    pub(crate) fn new(
        builds: Builds,
        (results, caller, turns): (Results, Caller, Turns),
        feed: Feed,
        stop: CancellationToken,
    ) -> Self {
        Self {
            consoles: Consoles {
                builds,
                results,
                caller,
                turns,
            },
            feed,
            sockets: Sockets::until(stop),
            logs: Turns::at_a_time(logs::AT_A_TIME),
        }
    }
}
