//! `clusterrunner results`: the results of a build, at any time after its end.

use super::interrupt::Interrupt;
use super::unpacked;
use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, ResultsOptions};
use crate::output::again::command;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::results;
use clusterrunner_common::api::BuildStatus;

/// Fetches the results of a build that is over.
pub(crate) async fn run(
    options: ResultsOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let destination = unpacked::destination(options.output.as_deref(), None);
    results::check(&destination).map_err(|error| {
        Trouble::usage(error.to_string()).hint("--output names another directory")
    })?;
    let client = connect(&options.master, &common).await?;
    let build = options.build.of(&client).await?;
    let view = client.build(build).await?;
    if !view.status.is_over() {
        let wait = command(format!("wait {build}"));
        let trouble = Trouble::new(format!(
            "build {build} is not over, so it has no results yet"
        ));
        return Err(trouble.hint(format!("`{wait}` waits for its end")));
    }
    // A finished build has results; what others have is there now or never.
    let client = match view.status {
        BuildStatus::Finished => client,
        _ => impatient(&client, &options.master),
    };
    let interrupt = Interrupt::listen(false)?;
    let fetching = results::fetch(&client, build, &destination);
    match interrupt.unless(fetching).await {
        None => Err(Trouble::new("interrupted before the results were here")),
        Some(fetched) => {
            unpacked::say(build, &fetched?);
            Ok(ExitCode::Success)
        }
    }
}
