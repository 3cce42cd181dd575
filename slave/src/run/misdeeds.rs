//! What atoms do to their slave: signals that they send it, directories that they take from it.

use crate::coordinator::WorkHandle;
use crate::data_directory::DataDirectory;
use crate::work::Command;
use clusterrunner_common::process::stop_signals::{Blame, IgnoredSignal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Until `stop`: notes for users what was ignored, and ends the slave when it can not work any more.
pub(crate) async fn watch(
    data: &DataDirectory,
    work: &WorkHandle,
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
            note(data, work, &signal);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = broken => {}
        () = noting => {}
    }
}

fn note(data: &DataDirectory, work: &WorkHandle, IgnoredSignal { signal, mark }: &IgnoredSignal) {
    let build = data.build_of(mark);
    let Some(build) = build.or_else(|| work.view().current_build) else {
        return;
    };
    let text = format!("an atom sent {signal} to its slave, which ignored it");
    // It is never refused; at its end the slave does not care.
    work.send(Command::Note { build, text }).ok();
}
