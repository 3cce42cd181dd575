//! Runs one atomizer, and reads what it prints.

use super::error::PreparationError;
use super::output::{MAX_OUTPUT, Output, Printed};
use super::step::{LOOK, Step};
use clusterrunner_common::process::command::{Ended, ShellCommand, Streams};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long what an atomizer leaves running may still print.
const LATE: Duration = Duration::from_secs(10);

/// Runs it to its end, within a time limit; it is killed after the grace that comes with that. How it ended, and what it printed.
///
/// # Errors
/// It can not be started or read, it prints too much, or it was stopped.
pub(super) async fn run(
    shell: &ShellCommand,
    stop: &CancellationToken,
    (limit, grace): (Option<Duration>, Duration),
    step: &mut Step,
) -> Result<(Ended, Printed), PreparationError> {
    let (mut output, to) = Output::new(MAX_OUTPUT).map_err(PreparationError::Output)?;
    let (mut errors, to_errors) = Output::new(MAX_OUTPUT).map_err(PreparationError::Output)?;
    let streams = Streams {
        output: to.into(),
        errors: Some(to_errors.into()),
    };
    let flooded = stop.child_token();
    let ended = {
        let run = shell.run(streams, &flooded, limit, grace);
        tokio::pin!(run);
        let mut look = tokio::time::interval(LOOK);
        loop {
            let more = tokio::select! {
                ended = &mut run => break ended,
                more = output.more() => more,
                more = errors.more() => more,
                _ = look.tick() => {
                    step.copy([&output, &errors]);
                    Ok(())
                }
            };
            more.map_err(PreparationError::Output)?;
            if output.is_too_much() || errors.is_too_much() {
                flooded.cancel();
                break run.await;
            }
        }
    };
    let ended = ended?;
    let has_all = tokio::select! {
        has_all = has_all(&mut output, &mut errors) => has_all?,
        () = stop.cancelled() => false,
    };
    step.copy([&output, &errors]);
    step.note(ended, limit);
    if stop.is_cancelled() {
        return Err(PreparationError::Canceled);
    }
    // A part of it would be a part of the atoms, and the build would pass without the rest.
    if output.is_too_much() || errors.is_too_much() {
        let command = shell.command_line.clone();
        return Err(PreparationError::Flood { command });
    }
    let printed = Printed {
        output: output.text(),
        errors: errors.text(),
        is_cut: !has_all,
    };
    Ok((ended, printed))
}

/// Waits for what is still to come of an atomizer that has ended: a shell does not wait for `>(...)`, nor for what it starts in
/// the background. Whether that was all.
async fn has_all(output: &mut Output, errors: &mut Output) -> Result<bool, PreparationError> {
    let rest = async { tokio::try_join!(output.rest(), errors.rest()) };
    match tokio::time::timeout(LATE, rest).await {
        Ok(all) => all.map(|_| true).map_err(PreparationError::Output),
        Err(_) => Ok(false),
    }
}
