//! What atoms do to their slave: signals that they send it, directories that they take from it.

use crate::data_directory::DataDirectory;
use crate::work::Command;
use clusterrunner_common::process::stop_signals::{Blame, IgnoredSignal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Until `stop`: notes for users what was ignored, and ends the slave when it can not work any more.
pub(crate) async fn watch(
    data: &DataDirectory,
    tell: &impl Fn(Command),
    (blame, ignored): (&Blame, &mut mpsc::Receiver<IgnoredSignal>),
    stop: &CancellationToken,
) {
    let broken = async {
        let reason = data.broken().await;
        tracing::error!(reason, "the slave ends");
        blame.say(reason);
        stop.cancel();
    };
    let noting = async {
        while let Some(signal) = ignored.recv().await {
            tell(note(data, &signal));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = broken => {}
        () = noting => {}
    }
}

fn note(data: &DataDirectory, IgnoredSignal { signal, mark }: &IgnoredSignal) -> Command {
    Command::Note {
        build: data.build_of(mark),
        text: format!("an atom sent {signal} to its slave, which ignored it"),
    }
}
