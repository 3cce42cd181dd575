//! `clusterrunner build`: submit, follow, fetch the results, and say how it went.

use super::beside;
use super::failed_before;
use super::interrupt::{Interrupt, unconfirmed};
use super::junit_file;
use super::report;
use super::request::{local_project, request};
use super::send::{self, Sending};
use super::summary;
use super::unpacked;
use super::variables;
use super::watch::Watch;
use crate::farm;
use crate::farm::{client_of, tell_whom};
use crate::options::{BuildOptions, CommonOptions, ShownOptions};
use crate::output;
use crate::output::again::{self, command};
use crate::output::events::Event;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::results::{self, Destination};
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{BuildStatus, BuildView, SlaveView};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::BuildRequest;
use std::path::Path;
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

/// Pause before the second look at them, mostly enough; it grows from one to the next.
const FIRST_CLEARING_PAUSE: Duration = Duration::from_millis(3);

/// The longest pause between two looks at them.
const LONGEST_CLEARING_PAUSE: Duration = Duration::from_millis(50);

/// Runs a build to its end.
pub(crate) async fn run(options: BuildOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    output::set_json_lines(options.shown.json);
    // Programs that read JSON know our codes.
    let is_compat = !options.shown.json
        && (options.compat_exit_codes || Settings::wants_compat_exit_codes(&common));
    let interrupt = Interrupt::listen(is_compat)?;
    let ended = Box::pin(run_to_its_end(&options, &common, &interrupt, is_compat)).await;
    if !is_compat {
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
    is_compat: bool,
) -> Result<ExitCode, Trouble> {
    if let Some(path) = &options.junit {
        junit_file::make_way(path)?;
    }
    let local = local_project(options)?;
    let mut request = request(options, local.as_deref())?;
    let destination = unpacked::destination(options.results_dir.as_deref(), local.as_deref());
    if !options.no_results && !options.detach {
        // Better now than when the build is over.
        results::check(&destination).map_err(|error| {
            Trouble::usage(error.to_string())
                .hint("--results-dir names it, --no-results does without")
        })?;
    }
    let loaded = Settings::load(common)?.with_token(options.master.token.as_ref())?;
    // Where the master is elsewhere and knows the user, no secret of a farm is needed, nor made here.
    let needs_secret = options.master.master_url.is_none() || loaded.user_token.is_none();
    let mut settings = match needs_secret {
        true => loaded.with_secret(common)?,
        false => loaded,
    };
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
    again::remember(
        common.config_file.as_deref(),
        options.master.master_url.as_deref(),
    );
    tell_whom(&master, &settings);
    let client = client_of(&master, options.master.patience(), &settings)?;
    let first = client.with_patience(options.master.patience_or(FIRST_CONTACT));
    let is_elsewhere = local.is_some() && send::is_elsewhere(&master).await;
    if let Some(directory) = &local
        && (is_elsewhere || options.send || options.whole)
    {
        let sending = Sending {
            directory,
            whole: options.whole,
            is_elsewhere,
            needs_job_file: options.config.is_none(),
        };
        match Box::pin(send::send(&client, interrupt, sending, request)).await? {
            Some(of_working_tree) => request = of_working_tree,
            None => return Ok(ExitCode::Canceled),
        }
    }
    if options.failed {
        let of_failed = failed_before::only_failed(&first, request, local.as_deref());
        match Box::pin(of_failed).await? {
            Ok(of_failed) => request = of_failed,
            Err(ended) => return Ok(ended),
        }
    }
    let Some(build) = submit(&first, &request, interrupt).await? else {
        return Ok(ExitCode::Canceled);
    };
    beside::tell_of_others(&first, build, &request).await;
    let following = Following {
        destination: (!options.no_results).then_some(&destination),
        is_detached: options.detach,
        is_compat,
        junit: options.junit.as_deref(),
        shown: options.shown,
    };
    Box::pin(follow_to_its_end(&client, interrupt, build, following)).await
}

/// How a build that was submitted is followed.
pub(super) struct Following<'a> {
    /// Where its results go; nowhere where none is named.
    pub(super) destination: Option<&'a Destination>,
    /// Only its id is said.
    pub(super) is_detached: bool,
    /// What the original prints is said, too.
    pub(super) is_compat: bool,
    /// Where its tests are written as JUnit XML.
    pub(super) junit: Option<&'a Path>,
    /// How it is shown while it runs.
    pub(super) shown: ShownOptions,
}

/// Follows a build, brings its results, and says how it ended.
pub(super) async fn follow_to_its_end(
    client: &Client,
    interrupt: &Interrupt,
    build: BuildId,
    following: Following<'_>,
) -> Result<ExitCode, Trouble> {
    output::emit(&Event::Submitted { build_id: build });
    if following.is_detached {
        say_detached(build);
        return Ok(ExitCode::Success);
    }
    output::tell(format!("Build is running. (Build id: {build})"));
    let mut watch = Watch::start(client, build, following.shown);
    let Some(end) = interrupt.unless(Box::pin(watch.follow())).await else {
        drop(watch);
        let ended = end_early(client, build, interrupt).await?;
        if let Some(path) = following.junit {
            junit_file::write(client, build, path).await?;
        }
        return Ok(ended);
    };
    let end = end.map_err(|error| lost(error, build))?;
    let Following {
        destination,
        is_compat,
        junit,
        ..
    } = following;
    let (end, ended) = Box::pin(finish(
        destination,
        client,
        interrupt,
        (watch, end),
        is_compat,
    ))
    .await;
    let ended = match junit {
        None => ended,
        Some(path) => {
            let written = interrupt.unless(junit_file::write(client, build, path));
            match (written.await, ended) {
                (None, Ok(_)) => Ok(ExitCode::Canceled),
                (Some(Err(trouble)), Ok(ExitCode::Success)) => Err(trouble),
                // How the build ended is the more important news.
                (Some(Err(trouble)), ended) => {
                    trouble.show();
                    ended
                }
                (None | Some(Ok(())), ended) => ended,
            }
        }
    };
    let code = match &ended {
        Ok(code) => *code,
        Err(trouble) => trouble.code,
    };
    report::emit_end(&end, code);
    ended
}

/// The id alone is the output, for scripts.
fn say_detached(build: BuildId) {
    output::say(build);
    output::note(format!(
        "the build goes on by itself: `{}` follows it, `{}` waits for its end, `{}` fetches its results",
        command(format!("attach {build}")),
        command(format!("wait {build}")),
        command(format!("results {build}"))
    ));
}

/// Brings the results of a build that is over, and says how it ended.
async fn finish(
    destination: Option<&Destination>,
    client: &Client,
    interrupt: &Interrupt,
    (mut watch, mut end): (Watch<'_>, BuildView),
    is_compat: bool,
) -> (BuildView, Result<ExitCode, Trouble>) {
    let build = end.id;
    let mut fetched = None;
    // Of a matrix some builds may have run where others could not.
    let has_run_in_part = !end.children.is_empty() && end.num_atoms_completed > 0;
    if end.status == BuildStatus::Finished || (end.status == BuildStatus::Error && has_run_in_part)
    {
        if let Some(destination) = destination {
            watch.progress.show("fetching the results");
            let fetching = results::fetch(client, build, destination);
            fetched = Some(interrupt.unless(fetching).await);
        }
        let clearing = await_clearing(client, &mut watch, &mut end);
        interrupt.unless(clearing).await;
    }
    drop(watch);
    report::begin_end(&end);
    interrupt.unless(summary::say(client, &end)).await;
    report::list_failures(&end);
    if let Some(Some(Ok(fetched))) = &fetched {
        unpacked::say(build, fetched);
    }
    report::say_verdict(&end, is_compat);
    let code = ExitCode::of(&end).unwrap_or(ExitCode::Trouble);
    let ended = match fetched {
        None | Some(Some(Ok(_))) => Ok(code),
        Some(None) if interrupt.has_hung_up() => Err(hang_up(client, build).await),
        Some(None) => {
            let again = command(format!("results {build}"));
            output::complain(format!(
                "interrupted before the results were here; `{again}` fetches them"
            ));
            Ok(ExitCode::Canceled)
        }
        Some(Some(Err(error))) if code == ExitCode::Success => Err(error.into()),
        // That atoms failed is the more important news.
        Some(Some(Err(error))) => {
            Trouble::from(error).show();
            Ok(code)
        }
    };
    (end, ended)
}

/// `teardown_build` runs when the result is known already. One that fails soon is told, of one that takes
/// long it is said where to look; trouble with the master is of no interest any more.
async fn await_clearing(client: &Client, watch: &mut Watch<'_>, end: &mut BuildView) {
    let client = client.with_patience(Duration::ZERO);
    let began = Instant::now();
    let mut pause = FIRST_CLEARING_PAUSE;
    loop {
        // In this order: what a slave reports when it is done is in a later answer.
        let Ok(slaves) = client.slaves().await else {
            return;
        };
        let Ok(build) = client.build(end.id).await else {
            return;
        };
        watch.warn(&build);
        *end = build;
        let is_there =
            |slave: &&SlaveView| slave.is_alive && slave.current_build_id == Some(end.id);
        let left = slaves.iter().filter(is_there).count();
        if left == 0 {
            return;
        }
        if began.elapsed() > CLEARING_PATIENCE {
            watch.progress.note(format!(
                "{} still running teardown_build; `{}` says if it fails",
                match left {
                    1 => "1 slave is".to_owned(),
                    more => format!("{more} slaves are"),
                },
                command(format!("status {}", end.id))
            ));
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_CLEARING_PAUSE);
    }
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
        end_early(client, build, interrupt).await?;
    } else {
        output::complain(format!(
            "interrupted before the master confirmed the build; `{}` shows whether it has it",
            command("status")
        ));
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
            "the build may continue; see `{}` when the master is back",
            command(format!("status {build}"))
        ))
    } else {
        trouble
    }
}

/// Ends the wait for a build: the user has canceled it, or the terminal has gone, which is no reason to end it.
async fn end_early(
    client: &Client,
    build: BuildId,
    interrupt: &Interrupt,
) -> Result<ExitCode, Trouble> {
    match interrupt.has_hung_up() {
        true => Err(hang_up(client, build).await),
        false => cancel(client, build, interrupt).await,
    }
}

/// Leaves a message in the build, since nobody sees what is printed here.
async fn hang_up(client: &Client, build: BuildId) -> Trouble {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let text = format!("the terminal of `clusterrunner build` on {host} was closed");
    let note = format!(
        "{text}; the build went on without it, `clusterrunner attach {build}` follows it and \
         `clusterrunner results {build}` fetches its results"
    );
    let noted = tokio::time::timeout(CANCEL_GRACE, client.note(build, &note)).await;
    match noted {
        Ok(Ok(())) => Trouble::new(format!("{text}; build {build} goes on")),
        Ok(Err(error)) => Trouble::new(format!("{text}; no message in build {build}: {error}")),
        Err(_) => Trouble::new(format!("{text}; no message in build {build}: no answer")),
    }
}

/// Cancels a build and waits a little for its end.
async fn cancel(
    client: &Client,
    build: BuildId,
    interrupt: &Interrupt,
) -> Result<ExitCode, Trouble> {
    output::complain(format!(
        "Canceling build {build}. (Ctrl-C again quits at once)"
    ));
    interrupt.note_cancel(build, false);
    let mut is_confirmed = false;
    let canceled = tokio::time::timeout(CANCEL_GRACE, async {
        client.cancel(build).await?;
        interrupt.note_cancel(build, true);
        loop {
            let view = client.build(build).await?;
            if view.status.is_over() {
                return Ok::<_, ClientError>(view);
            }
            if !std::mem::replace(&mut is_confirmed, true) {
                output::note(format!(
                    "the master cancels build {build}; waiting for its end"
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    match canceled.await {
        Ok(Ok(view)) if view.status == BuildStatus::Canceled => {
            report::emit_end(&view, ExitCode::Canceled);
            output::say(format!("Build {build} is canceled."));
        }
        Ok(Ok(view)) => {
            report::emit_end(&view, ExitCode::Canceled);
            output::say(format!("Build {build} was over already."));
        }
        Ok(Err(error)) => return Err(lost(error, build)),
        Err(_) if is_confirmed => output::say(format!("Build {build} is being canceled.")),
        Err(_) => return Err(Trouble::new(unconfirmed("no answer", build))),
    }
    Ok(ExitCode::Canceled)
}
