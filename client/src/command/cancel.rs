//! `clusterrunner cancel`.

use crate::farm::{connect, impatient};
use crate::options::{CancelOptions, CommonOptions};
use crate::output;
use crate::output::again::command;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::BuildStatus;

/// Cancels a build.
pub(crate) async fn run(
    options: CancelOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let build = options.build.own(&client).await?;
    let before = client.build(build).await?;
    if before.status.is_over() && before.status != BuildStatus::Canceled {
        output::say(format!(
            "Build {build} is over already; see `{}`.",
            command(format_args!("status {build}"))
        ));
        return Ok(ExitCode::Success);
    }
    client.cancel(build).await?;
    output::tell(format!("Build {build} is canceled."));
    Ok(ExitCode::Success)
}
