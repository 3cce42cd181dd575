//! `clusterrunner build`: submit, follow, fetch the results, and say how it went.

use super::interrupt::Interrupt;
use super::request::request;
use super::status::stages;
use super::unpacked;
use super::variables;
use super::watch::Watch;
use crate::farm;
use crate::farm::{client_of, tell_whom};
use crate::options::{BuildOptions, CommonOptions};
use crate::output::text::duration;
use crate::output::{self, BAD, GOOD, NOTICE, STRONG, styled};
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::results;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::build_request::BuildRequest;
use clusterrunner_common::api::{BuildResult, BuildStatus, BuildView, SlaveView};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::text::printable::plain_lines;
use std::time::{Duration, Instant};

/// How long the submission waits for a master that does not answer: enough for one that is just being
/// started, and soon enough to learn that there is none.
const FIRST_CONTACT: Duration = Duration::from_secs(5);

/// How long a submission that is on its way is waited for after Ctrl-C: if it arrives, the build
/// must be canceled.
const SUBMISSION_GRACE: Duration = Duration::from_secs(2);

/// How long the end of a canceled build is waited for.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How long `build` stays for slaves that clear a finished build away.
const CLEARING_PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two looks at them.
const CLEARING_PAUSE: Duration = Duration::from_millis(50);

/// Runs a build to its end.
pub(crate) async fn run(options: BuildOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let interrupt = Interrupt::listen()?;
    let ended = Box::pin(run_to_its_end(&options, &common, &interrupt)).await;
    if !options.compat_exit_codes && !Settings::wants_compat_exit_codes(&common) {
        return ended;
    }
    let is_interrupted = interrupt.has_come();
    ended
        .map(|code| code.as_the_original(is_interrupted))
        .map_err(|trouble| Trouble {
            code: trouble.code.as_the_original(is_interrupted),
            ..trouble
        })
}

async fn run_to_its_end(
    options: &BuildOptions,
    common: &CommonOptions,
    interrupt: &Interrupt,
) -> Result<ExitCode, Trouble> {
    let mut request = request(options)?;
    let destination = unpacked::destination(options);
    if !options.no_results {
        // Better now than when the build is over.
        results::check(&destination).map_err(|error| {
            Trouble::usage(error.to_string())
                .hint("--results-dir names it, --no-results does without")
        })?;
    }
    let mut settings = Settings::load_with_secret(common)?;
    settings.port = options.port.unwrap_or(settings.port);
    let master = match options.master.with_port(settings.port) {
        Some(master) => master,
        None => match interrupt
            .unless(Box::pin(farm::find_or_start(
                &settings,
                common,
                options.port,
            )))
            .await
        {
            Some(master) => master?,
            None => return Ok(ExitCode::Canceled),
        },
    };
    if options.master.master_url.is_none() && farm::is_private(&master, &settings).await? {
        request.inherited_env = Some(variables::brought(std::env::vars_os()));
    }
    tell_whom(&master, &settings);
    let client = client_of(&master, options.master.patience, &settings)?;
    let patience = Duration::from_secs(options.master.patience);
    let first = client.with_patience(FIRST_CONTACT.min(patience));
    let Some(build) = submit(&first, &request, interrupt).await? else {
        return Ok(ExitCode::Canceled);
    };
    output::tell(format!("Build is running. (Build id: {build})"));
    let mut watch = Watch::start(&client, build);
    let Some(end) = interrupt.unless(watch.follow()).await else {
        drop(watch);
        return cancel(&client, build).await;
    };
    let end = end.map_err(|error| lost(error, build))?;
    let seconds = watch.progress.seconds();
    drop(watch);
    let code = ExitCode::of(&end).unwrap_or(ExitCode::Trouble);
    say_how_it_ended(&end, seconds);
    if end.status == BuildStatus::Finished && !options.no_results {
        let fetched = interrupt.unless(results::fetch(&client, build, &destination));
        match fetched.await {
            None => {
                output::complain("interrupted before the results were here");
                return Ok(ExitCode::Canceled);
            }
            Some(Ok(fetched)) => unpacked::say(&fetched),
            Some(Err(error)) if code == ExitCode::Success => return Err(error.into()),
            // That atoms failed is the more important news.
            Some(Err(error)) => Trouble::from(error).show(),
        }
    }
    if end.status == BuildStatus::Finished {
        interrupt.unless(await_clearing(&client, &end)).await;
    }
    Ok(code)
}

/// `teardown_build` runs when the result is known already. One that fails soon is told, of one that takes
/// long it is said where to look; trouble with the master is of no interest any more.
async fn await_clearing(client: &Client, end: &BuildView) {
    let client = client.with_patience(Duration::ZERO);
    let began = Instant::now();
    let mut told = end.warnings.len();
    loop {
        // In this order: what a slave reports when it is done is in a later answer.
        let Ok(slaves) = client.slaves().await else {
            return;
        };
        let Ok(build) = client.build(end.id).await else {
            return;
        };
        for warning in build.warnings.iter().skip(told) {
            warn(warning);
        }
        told = told.max(build.warnings.len());
        let is_there =
            |slave: &&SlaveView| slave.is_alive && slave.current_build_id == Some(end.id);
        let left = slaves.iter().filter(is_there).count();
        if left == 0 {
            return;
        }
        if began.elapsed() > CLEARING_PATIENCE {
            output::note(format!(
                "{} still running teardown_build; `clusterrunner status {}` says if it fails",
                match left {
                    1 => "1 slave is".to_owned(),
                    more => format!("{more} slaves are"),
                },
                end.id
            ));
            return;
        }
        tokio::time::sleep(CLEARING_PAUSE).await;
    }
}

fn warn(warning: &str) {
    // No line of it stands where a line of ours would.
    let warning = plain_lines(warning).replace('\n', "\n    ");
    output::complain(format!("{} {warning}", styled(NOTICE, "warning:")));
}

/// Submits the build; `None` when the user wants an end instead.
async fn submit(
    client: &Client,
    request: &BuildRequest,
    interrupt: &Interrupt,
) -> Result<Option<BuildId>, Trouble> {
    let submission = client.submit(request);
    tokio::pin!(submission);
    tokio::select! {
        submitted = &mut submission => return submitted.map(Some).map_err(refused),
        () = interrupt.wait() => {}
    }
    if let Ok(Ok(build)) = tokio::time::timeout(SUBMISSION_GRACE, submission).await {
        cancel(client, build).await?;
    } else {
        output::complain("interrupted before the build was submitted");
    }
    Ok(None)
}

fn refused(error: ClientError) -> Trouble {
    let bad_request = error.status().is_some_and(|status| status.as_u16() == 400);
    let mut trouble = Trouble::from(error);
    if bad_request {
        trouble.code = ExitCode::Usage;
    }
    trouble
}

fn lost(error: ClientError, build: BuildId) -> Trouble {
    let lost = error.is_unreachable();
    let trouble = Trouble::from(error);
    if lost {
        trouble.hint(format!(
            "the build may continue; see `clusterrunner status {build}` when the master is back"
        ))
    } else {
        trouble
    }
}

/// Cancels a build and waits a little for its end.
async fn cancel(client: &Client, build: BuildId) -> Result<ExitCode, Trouble> {
    output::complain(format!(
        "Canceling build {build}. (Ctrl-C again quits at once)"
    ));
    let canceled = tokio::time::timeout(CANCEL_GRACE, async {
        client.cancel(build).await?;
        loop {
            let view = client.build(build).await?;
            if view.status.is_over() {
                return Ok::<_, ClientError>(view);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    match canceled.await {
        Ok(Ok(view)) if view.status == BuildStatus::Canceled => {
            output::say(format!("Build {build} is canceled."));
        }
        Ok(Ok(_)) => output::say(format!("Build {build} was over already.")),
        Ok(Err(error)) => return Err(lost(error, build)),
        Err(_) => {
            output::complain(format!(
                "the master has not confirmed it yet; see `clusterrunner status {build}`"
            ));
        }
    }
    Ok(ExitCode::Canceled)
}

fn say_how_it_ended(build: &BuildView, seconds: f64) {
    let id = build.id;
    match build.status {
        BuildStatus::Error => {
            let reason = build.error_message.as_deref().unwrap_or("no reason given");
            let text = format!("Build aborted due to error: {}", plain_lines(reason));
            output::say(styled(BAD, text));
        }
        BuildStatus::Canceled => output::say(format!("Build {id} was canceled.")),
        BuildStatus::Finished => {
            output::tell(format!("Build is finished. (Build id: {id})"));
            // The original's word for a build without atoms.
            let (style, result) = match build.result {
                Some(BuildResult::NoFailures) if build.lacks_atoms => (BAD, "NO_FAILURES"),
                Some(BuildResult::NoFailures) => (GOOD, "NO_FAILURES"),
                Some(BuildResult::Failure | BuildResult::Canceled) | None => (BAD, "FAILURE"),
            };
            output::tell(format!("Build {id} result was {}", styled(style, result)));
            output::say(styled(STRONG, summary(build, seconds)));
            if build.num_atoms_in_trouble > 0 {
                output::say(format!(
                    "{} of them timed out or took slaves down; `clusterrunner status {id}` says which",
                    build.num_atoms_in_trouble
                ));
            }
        }
        BuildStatus::Queued | BuildStatus::Building => {}
    }
    for warning in &build.warnings {
        warn(warning);
    }
    if let Some(commit) = &build.commit {
        output::detail(format!("commit {commit}"));
    }
    for (state, seconds) in stages(build) {
        output::detail(format!("{state} for {}", duration(seconds)));
    }
}

/// `Build 3 is finished: 193 passed, 7 failed in 12.3 s`
fn summary(build: &BuildView, seconds: f64) -> String {
    let listed = build.failed_atoms.as_ref().map_or(0, Vec::len);
    let failed = u64::try_from(listed).unwrap_or(u64::MAX);
    let time = duration(seconds);
    let id = build.id;
    match build.num_atoms {
        None | Some(0) => format!("Build {id} is finished: it has no atoms, so nothing was tested"),
        Some(atoms) => format!(
            "Build {id} is finished: {} passed, {failed} failed in {time}",
            atoms.saturating_sub(failed)
        ),
    }
}
