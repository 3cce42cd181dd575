//! `clusterrunner attach` and `clusterrunner wait`: to be there at the end of a build that was submitted before.

use super::interrupt::Interrupt;
use super::progress::Progress;
use super::until_over::UntilOver;
use super::watch::{Failures, Watch};
use super::{report, summary};
use crate::farm::connect;
use crate::options::{
    AttachOptions, CommonOptions, FailureOutput, ShownOptions, WaitOptions, WaitUntil,
};
use crate::output::again::command;
use crate::output::events::Event;
use crate::output::text::count;
use crate::output::{self, BAD, styled};
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::{BuildStatus, BuildView, SubjobFilter};
use clusterrunner_common::ids::BuildId;
use std::time::Duration;

/// Pause before the second look at a build; it grows from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two looks, while the build is not over.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Follows a build as `build` shows it. Ctrl-C leaves it alone.
pub(crate) async fn attach(
    options: AttachOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    output::set_json_lines(options.shown.json);
    let client = connect(&options.master, &common).await?;
    let build = options.build.of(&client).await?;
    follow(&client, build, options.shown).await
}

/// Follows a build to its end and says how it ended.
pub(super) async fn follow(
    client: &Client,
    build: BuildId,
    shown: ShownOptions,
) -> Result<ExitCode, Trouble> {
    let interrupt = Interrupt::listen(false)?;
    let mut watch = Watch::start(client, build, shown);
    let followed = interrupt.unless(Box::pin(watch.follow())).await;
    drop(watch);
    let Some(end) = followed else {
        return Err(left(build));
    };
    let end = end?;
    report::begin_end(&end);
    interrupt.unless(summary::say(client, &end)).await;
    report::list_failures(&end);
    Ok(say_end(&end))
}

/// Waits for the end of a build, or for its first failed atom, and prints nothing but the verdict, unless more is asked for.
pub(crate) async fn wait(options: WaitOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    output::set_json_lines(options.json);
    let interrupt = Interrupt::listen(false)?;
    let client = connect(&options.master, &common).await?;
    let build = options.build.of(&client).await?;
    let waiting = look_until(&client, build, options.until);
    let Some(seen) = interrupt.unless(waiting).await else {
        return Err(left(build));
    };
    let seen = seen?;
    if let Some(how) = options.failure_output {
        // What is known is told, also to who does not want to see more.
        let showing = Box::pin(show_failures(&client, seen.id, how));
        interrupt.unless(showing).await.transpose()?;
        report::begin_end(&seen);
    }
    if seen.status.is_over() {
        return Ok(say_end(&seen));
    }
    output::emit(&Event::Failing { build: &seen });
    let failed = count(seen.num_atoms_failed, "atom");
    output::say(styled(
        BAD,
        format!("Build {} is failing: {failed} failed", seen.id),
    ));
    output::note(format!(
        "the build goes on: `{}` follows it, `{}` cancels it",
        command(format!("attach {}", seen.id)),
        command(format!("cancel {}", seen.id))
    ));
    Ok(ExitCode::AtomsFailed)
}

/// Shows the atoms that have failed by now: a build that goes on does not list them itself.
async fn show_failures(client: &Client, build: BuildId, how: FailureOutput) -> Result<(), Trouble> {
    let progress = Progress::none();
    let mut failures = Failures::new(client, build, how);
    let subjobs = client.filtered_subjobs(build, SubjobFilter::Failed).await?;
    let failed = subjobs.iter().flat_map(|subjob| &subjob.atoms);
    for atom in failed.filter(|atom| atom.has_failed()) {
        failures.show(&progress, atom).await?;
    }
    Ok(())
}

/// Looks at a build until it is over, or fails.
pub(super) async fn look_until(
    client: &Client,
    build: BuildId,
    until: WaitUntil,
) -> Result<BuildView, Trouble> {
    let mut pause = FIRST_PAUSE;
    let mut end = UntilOver::of(client, build);
    loop {
        let view = client.build(build).await?;
        // Masters without the field count failed atoms, too.
        let is_failing = view.failing.unwrap_or(view.num_atoms_failed > 0);
        if view.status.is_over() || until == WaitUntil::Failing && is_failing {
            return Ok(view);
        }
        end.or_after(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

fn say_end(end: &BuildView) -> ExitCode {
    report::say_verdict(end, false);
    if end.status == BuildStatus::Finished {
        let results = command(format!("results {}", end.id));
        output::note(format!("`{results}` fetches the results"));
    }
    let code = ExitCode::of(end).unwrap_or(ExitCode::Trouble);
    report::emit_end(end, code);
    code
}

fn left(build: BuildId) -> Trouble {
    let trouble = Trouble::new(format!("interrupted; build {build} goes on"));
    trouble.hint(format!(
        "`{}` follows it again, `{}` cancels it",
        command(format!("attach {build}")),
        command(format!("cancel {build}"))
    ))
}
